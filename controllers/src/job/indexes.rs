//! Sets of completion indexes, as a job's status writes them: `1,3-5,7`. Pure.
//!
//! Source: upstream's ordered intervals. A set is as long as its text, however many indexes there are.

use std::fmt;

/// A set of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    /// First and last of each run, in order; between two runs at least one index is missing.
    runs: Vec<(usize, usize)>,
}

impl Indexes {
    /// Reads a set. What is no index, or not below `completions`, is left out: the API server lets neither through, but
    /// a job's completions may have been lowered since.
    pub fn parse(text: &str, completions: usize) -> Self {
        let run = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && first < completions).then(|| (first, last.min(completions - 1)))
        };
        Self::of_runs(text.split(',').filter_map(run).collect())
    }

    fn of_runs(mut unordered: Vec<(usize, usize)>) -> Self {
        unordered.sort_unstable();
        let mut runs: Vec<(usize, usize)> = Vec::with_capacity(unordered.len());
        for (first, last) in unordered {
            match runs.last_mut() {
                Some(run) if first <= run.1 + 1 => run.1 = run.1.max(last),
                _ => runs.push((first, last)),
            }
        }
        Self { runs }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many indexes there are.
    pub fn count(&self) -> usize {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn contains(&self, index: usize) -> bool {
        let at = self.runs.partition_point(|(_, last)| *last < index);
        self.runs.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// The indexes of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of_runs(self.runs.iter().chain(&other.runs).copied().collect())
    }

    /// How many indexes are in both sets.
    pub fn count_common(&self, other: &Self) -> usize {
        let (mut ours, mut theirs) = (self.runs.iter().peekable(), other.runs.iter().peekable());
        let mut count = 0;
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            count += (a.1.min(b.1) + 1).saturating_sub(a.0.max(b.0));
            if a.1 < b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        count
    }

    /// The first `count` indexes below `end` that are not in the set.
    pub fn first_missing(&self, count: usize, end: usize) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut next = 0;
        for (first, last) in self.runs.iter().copied().chain([(end, end)]) {
            missing.extend((next..first.min(end)).take(count - missing.len()));
            next = next.max(last + 1);
        }
        missing
    }
}

impl FromIterator<usize> for Indexes {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        Self::of_runs(indexes.into_iter().map(|index| (index, index)).collect())
    }
}

/// As the API writes it: two neighbours are written apart, a longer run as its ends.
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.runs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn texts_are_read_and_written() {
        for (text, completions, written) in [
            ("", 5, ""),
            ("0", 5, "0"),
            ("0,1", 5, "0,1"),
            ("0-2,4", 5, "0-2,4"),
            ("0,1,2", 5, "0-2"),
            ("1-9", 5, "1-4"),
            ("3,7", 5, "3"),
            ("x,2,1-y,4", 5, "2,4"),
        ] {
            assert_eq!(Indexes::parse(text, completions).to_string(), written, "{text}");
        }
    }

    fn set() -> impl Strategy<Value = BTreeSet<usize>> {
        prop::collection::btree_set(0usize..40, 0..30)
    }

    proptest! {
        /// What sets of numbers do.
        #[test]
        fn is_a_set(a in set(), b in set(), count in 0usize..50) {
            let (x, y): (Indexes, Indexes) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(Indexes::parse(&x.to_string(), 40), x.clone());
            prop_assert_eq!(x.count(), a.len());
            prop_assert_eq!(x.union(&y), a.union(&b).copied().collect());
            prop_assert_eq!(x.count_common(&y), a.intersection(&b).count());
            let missing: Vec<usize> = (0..40).filter(|index| !a.contains(index)).take(count).collect();
            prop_assert_eq!(x.first_missing(count, 40), missing);
            prop_assert!((0..45).all(|index| x.contains(index) == a.contains(&index)));
        }
    }
}
