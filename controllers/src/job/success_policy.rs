//! Whether the indexes that have succeeded are enough. Pure.
//!
//! Source: upstream's `success_policy.go`.

use k8s_openapi::api::batch::v1::{SuccessPolicy, SuccessPolicyRule};

use super::indexes::Indexes;
use super::target::count;

/// The first rule that is met.
pub fn met(policy: Option<&SuccessPolicy>, completions: usize, succeeded: &Indexes) -> Option<usize> {
    let policy = policy.filter(|_| !succeeded.is_empty())?;
    policy.rules.iter().position(|rule| is_met(rule, completions, succeeded))
}

fn is_met(rule: &SuccessPolicyRule, completions: usize, succeeded: &Indexes) -> bool {
    let is_enough = |found: usize| rule.succeeded_count.is_some_and(|wanted| found >= count(Some(wanted)));
    let Some(text) = &rule.succeeded_indexes else { return is_enough(succeeded.count()) };
    let required = Indexes::parse(text, completions);
    let found = required.count_common(succeeded);
    !required.is_empty() && (found == required.count() || is_enough(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_ask_for_indexes_for_a_number_or_for_a_number_of_indexes() {
        let rule = |indexes: Option<&str>, count: Option<i32>| SuccessPolicyRule {
            succeeded_indexes: indexes.map(str::to_owned),
            succeeded_count: count,
        };
        for (rule, succeeded, expected) in [
            (rule(Some("0,2-4"), None), "0,2,3", false),
            (rule(Some("0,2-4"), None), "0-4", true),
            (rule(None, Some(2)), "3", false),
            (rule(None, Some(2)), "3,7", true),
            (rule(Some("0-4"), Some(2)), "4,7-9", false),
            (rule(Some("0-4"), Some(2)), "1,4,7-9", true),
            (rule(Some("what"), Some(0)), "1", false),
        ] {
            let policy = SuccessPolicy { rules: vec![rule] };
            let met = met(Some(&policy), 10, &Indexes::parse(succeeded, 10));
            assert_eq!(met.is_some(), expected, "{policy:?} {succeeded}");
        }
        assert_eq!(met(None, 10, &Indexes::parse("0-9", 10)), None);
    }
}
