//! Who owns the number of replicas, as the scale of a workload shows it and as the workload keeps it.
//!
//! Source: `k8s.io/apimachinery/pkg/util/managedfields`, `ScaleHandler`.

use std::borrow::Cow;

use super::managers::{Entry, Managed, Manager};
use super::set::Set;
use super::step::Step;

/// The version of a scale.
pub const SCALE_VERSION: &str = "autoscaling/v1";

/// Where a version of a workload has its replicas.
#[derive(Clone, Debug)]
pub struct Replicas<'r> {
    pub api_version: Cow<'r, str>,
    /// A path of names; `None` in a version that has no scale.
    pub path: Option<Vec<&'r str>>,
}

impl<'r> Replicas<'r> {
    fn owned_in(&self, fields: &Set<'_>) -> Option<&[&'r str]> {
        self.path.as_deref().filter(|path| has(fields, path))
    }
}

const IN_SCALE: [&str; 2] = ["spec", "replicas"];

/// The entries of the workload as those of its scale: who owns the replicas.
#[must_use]
pub fn to_scale(workload: &[u8], versions: &[Replicas<'_>]) -> Vec<u8> {
    let mut managed = Managed::read(workload).unwrap_or_default();
    managed.entries.retain(|entry| {
        let version = versions.iter().find(|version| version.api_version == entry.api_version);
        version.is_some_and(|version| version.owned_in(&entry.fields).is_some())
    });
    for entry in &mut managed.entries {
        let manager = in_version(&entry.manager, SCALE_VERSION);
        *entry = Entry::new(manager, SCALE_VERSION, entry.seconds, set_of(&IN_SCALE));
    }
    managed.write()
}

/// The entries of the workload after its scale was written in one of its versions, where `scale` are those of the scale.
///
/// Updaters of the scale are never those of the workload, since an updater is told apart by its version: what one of
/// them owned of the replicas is another entry afterwards, as upstream has it.
#[must_use]
pub fn to_workload(workload: &[u8], scale: &[u8], versions: &[Replicas<'_>], api_version: &str) -> Vec<u8> {
    let mut managed = Managed::read(workload).unwrap_or_default();
    let mut of_scale = Managed::read(scale).unwrap_or_default();
    managed.entries.retain_mut(|entry| {
        let Some(version) = versions.iter().find(|version| version.api_version == entry.api_version) else {
            return false;
        };
        match version.owned_in(&entry.fields) {
            Some(path) if of_scale.take(&entry.manager).is_none() => {
                entry.fields.subtract(&set_of(path));
                !entry.fields.is_empty()
            }
            _ => true,
        }
    });
    let own = versions.iter().find(|version| version.api_version == api_version);
    let Some(path) = own.and_then(|version| version.path.as_deref()) else { return managed.write() };
    for entry in of_scale.entries.into_iter().filter(|entry| has(&entry.fields, &IN_SCALE)) {
        let seconds = managed.take(&entry.manager).and_then(|own| own.seconds);
        let manager = in_version(&entry.manager, api_version);
        managed.entries.push(Entry::new(manager, api_version, seconds, set_of(path)));
    }
    managed.write()
}

/// The set of one field.
fn set_of<'a>(path: &[&'a str]) -> Set<'a> {
    let steps: Vec<Step<'a>> = path.iter().map(|name| Step::Field((*name).into())).collect();
    let mut set = Set::default();
    set.insert(&steps);
    set
}

fn has(set: &Set<'_>, path: &[&str]) -> bool {
    let steps: Vec<Step<'_>> = path.iter().map(|name| Step::Field((*name).into())).collect();
    set.has(&steps)
}

/// The manager as one of another version.
fn in_version<'a>(manager: &Manager<'_>, api_version: &'a str) -> Manager<'a> {
    Manager::new(
        manager.name.clone().into_owned(),
        manager.operation,
        api_version,
        manager.subresource.clone().into_owned(),
    )
}
