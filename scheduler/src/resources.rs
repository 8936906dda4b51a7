//! Amounts of what nodes have and pods ask for, as plain numbers.

use std::collections::BTreeMap;

use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// What a pod counts for in scores when it asks for nothing, so that such pods do not all go to one node.
/// Source: `DefaultMilliCPURequest`, `DefaultMemoryRequest`.
const UNASKED_CPU_MILLI: i64 = 100;
const UNASKED_MEMORY_BYTES: i64 = 200 << 20;

/// Amounts by resource. The three that every pod has are fields; all others are few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub storage_bytes: i64,
    /// Extended resources and huge pages, by name.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// What a node says it has.
    pub fn of_list(list: Option<&BTreeMap<String, Text>>) -> Self {
        Self::of(list.into_iter().flatten().map(|(name, text)| (name.as_str(), parse_or_zero(Some(text)))))
    }

    /// From amounts by name. A node's number of pods is no amount.
    pub fn of<'a>(amounts: impl IntoIterator<Item = (&'a str, Quantity)>) -> Self {
        let mut resources = Self::default();
        for (name, amount) in amounts {
            match name {
                "cpu" => resources.cpu_milli = amount.milli(),
                "memory" => resources.memory_bytes = amount.units(),
                "ephemeral-storage" => resources.storage_bytes = amount.units(),
                "pods" => {}
                other if amount.is_zero() => drop(resources.others.remove(other)),
                other => drop(resources.others.insert(other.to_owned(), amount.units())),
            }
        }
        resources
    }

    /// As scores count it: nobody asks for nothing.
    pub fn or_unasked(&self) -> (i64, i64) {
        let or = |asked: i64, otherwise| if asked == 0 { otherwise } else { asked };
        (or(self.cpu_milli, UNASKED_CPU_MILLI), or(self.memory_bytes, UNASKED_MEMORY_BYTES))
    }

    pub fn add(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.storage_bytes = self.storage_bytes.saturating_add(other.storage_bytes);
        for (name, amount) in &other.others {
            let sum = self.others.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub fn remove(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
        self.storage_bytes -= other.storage_bytes;
        for (name, amount) in &other.others {
            if let Some(sum) = self.others.get_mut(name) {
                *sum -= amount;
                if *sum <= 0 {
                    self.others.remove(name);
                }
            }
        }
    }

    /// The resources of which `asked` wants more than is left of `self` after `used`.
    pub fn lacking<'a>(&'a self, used: &'a Self, asked: &'a Self) -> impl Iterator<Item = &'a str> {
        let fields = [
            ("cpu", asked.cpu_milli, self.cpu_milli.saturating_sub(used.cpu_milli)),
            ("memory", asked.memory_bytes, self.memory_bytes.saturating_sub(used.memory_bytes)),
            ("ephemeral-storage", asked.storage_bytes, self.storage_bytes.saturating_sub(used.storage_bytes)),
        ];
        let of = |map: &BTreeMap<String, i64>, name: &str| map.get(name).copied().unwrap_or_default();
        let others = asked.others.iter().map(move |(name, &asked)| {
            (name.as_str(), asked, of(&self.others, name).saturating_sub(of(&used.others, name)))
        });
        fields.into_iter().chain(others).filter(|&(_, asked, free)| asked > 0 && asked > free).map(|(name, ..)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(amounts: &[(&str, &str)]) -> Resources {
        Resources::of(amounts.iter().map(|(name, text)| (*name, text.parse().expect("a quantity"))))
    }

    #[test]
    fn what_is_lacking_is_named() {
        let has = resources(&[("cpu", "2"), ("memory", "1Gi"), ("pods", "10")]);
        let cases: [(&[_], &[_], &[&str]); 5] = [
            (&[], &[("cpu", "2"), ("memory", "1Gi")], &[]),
            (&[("cpu", "1")], &[("cpu", "1001m")], &["cpu"]),
            (&[("cpu", "3")], &[], &[]),
            (&[("memory", "1Gi")], &[("memory", "1"), ("ephemeral-storage", "1")], &["memory", "ephemeral-storage"]),
            (&[], &[("example.com/gpu", "1"), ("example.com/none", "0")], &["example.com/gpu"]),
        ];
        for (used, asked, expected) in cases {
            assert_eq!(has.lacking(&resources(used), &resources(asked)).collect::<Vec<_>>(), expected, "{asked:?}");
        }
    }

    #[test]
    fn adding_and_removing_is_nothing() {
        let (mut sum, other) = (resources(&[("cpu", "1")]), resources(&[("cpu", "250m"), ("example.com/gpu", "2")]));
        sum.add(&other);
        sum.remove(&other);
        assert_eq!(sum, resources(&[("cpu", "1")]));
    }
}
