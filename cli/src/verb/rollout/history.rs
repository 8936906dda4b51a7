//! The revisions of a deployment: its replica sets.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::tabs;
use crate::verb::describe::template;
use crate::verb::rollout::{CHANGE_CAUSE, REVISION, Rollout};

/// The replica sets of a deployment, by revision.
pub struct Revisions(BTreeMap<u64, Value>);

impl Revisions {
    /// Those of a list that belong to the deployment with this uid.
    pub fn of(replica_sets: &Value, uid: &str) -> Self {
        let owned = |set: &&Value| {
            let mut owners = set["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.any(|owner| owner["uid"] == uid && owner["controller"] == true)
        };
        let numbered =
            |set: &Value| Some((set["metadata"]["annotations"][REVISION].as_str()?.parse().ok()?, set.clone()));
        let sets = replica_sets["items"].as_array().into_iter().flatten();
        Self(sets.filter(owned).filter_map(numbered).collect())
    }

    /// A certain revision, or the one before the present.
    ///
    /// # Errors
    /// When there is none.
    pub fn pick(&self, revision: Option<u64>) -> Result<&Value> {
        match revision.filter(|revision| *revision > 0) {
            Some(revision) => {
                let found = self.0.get(&revision);
                found.ok_or_else(|| Failure::new(format!("unable to find specified revision {revision} in history")))
            }
            None => {
                let before = self.0.values().rev().nth(1);
                before.ok_or_else(|| Failure::new("no rollout history found: there is no revision before this one"))
            }
        }
    }
}

pub(super) async fn show(rollout: &Rollout<'_>, revision: Option<u64>, out: Out<'_>) -> Result {
    let deployment = rollout.server.get(&rollout.path()).await?;
    let revisions = rollout.revisions(&deployment).await?;
    let named = rollout.named.resource.named(&rollout.named.name);
    if let Some(number) = revision {
        let set = revisions.pick(Some(number))?;
        writeln!(out, "{named} with revision #{number}")?;
        return Ok(write!(out, "{}", template(&set["spec"]["template"]))?);
    }
    let cause = |set: &Value| set["metadata"]["annotations"][CHANGE_CAUSE].as_str().unwrap_or("<none>").to_owned();
    let mut lines = vec!["REVISION\tCHANGE-CAUSE".to_owned()];
    lines.extend(revisions.0.iter().map(|(number, set)| format!("{number}\t{}", cause(set))));
    writeln!(out, "{named} ")?;
    Ok(write!(out, "{}", tabs::DESCRIBE.align(&lines.join("\n")))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_before_the_present_is_what_undo_means() {
        let set = |revision: &str, owner: &str| {
            json!({"metadata": {
                "name": format!("web-{revision}"), "annotations": {REVISION: revision},
                "ownerReferences": [{"uid": owner, "controller": true}],
            }})
        };
        let list = json!({"items": [set("10", "u"), set("9", "u"), set("11", "other")]});
        let revisions = Revisions::of(&list, "u");
        assert_eq!(revisions.pick(None).expect("nine")["metadata"]["name"], "web-9");
        assert_eq!(revisions.pick(Some(10)).expect("ten")["metadata"]["name"], "web-10");
        assert!(revisions.pick(Some(11)).is_err());
    }
}
