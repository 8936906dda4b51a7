//! Who owns the number of replicas, as the scale of a workload shows it and as the workload keeps it.
//!
//! Source: `k8s.io/apimachinery/pkg/util/managedfields`, `ScaleHandler`.

use super::managers::{Entry, Managed, Manager};
use super::set::Set;
use super::step::Step;

/// The version of a scale.
pub const SCALE_VERSION: &str = "autoscaling/v1";

/// Where a workload has its replicas: a path of names.
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

const IN_SCALE: [&str; 2] = ["spec", "replicas"];

/// The entries of the workload as those of its scale: who owns the replicas.
#[must_use]
pub fn to_scale(workload: &[u8], api_version: &str, path: &[&str]) -> Vec<u8> {
    let mut managed = Managed::read(workload).unwrap_or_default();
    managed.entries.retain(|entry| entry.api_version == api_version && has(&entry.fields, path));
    for entry in &mut managed.entries {
        let manager = in_version(&entry.manager, SCALE_VERSION);
        *entry = Entry::new(manager, SCALE_VERSION, entry.seconds, set_of(&IN_SCALE));
    }
    managed.write()
}

/// The entries of the workload after its scale was written, whose entries are `scale`.
#[must_use]
pub fn to_workload(workload: &[u8], scale: &[u8], api_version: &str, path: &[&str]) -> Vec<u8> {
    let mut managed = Managed::read(workload).unwrap_or_default();
    let mut of_scale = Managed::read(scale).unwrap_or_default();
    managed.entries.retain_mut(|entry| {
        if entry.api_version == api_version
            && has(&entry.fields, path)
            && of_scale.take(&in_version(&entry.manager, SCALE_VERSION)).is_none()
        {
            entry.fields.subtract(&set_of(path));
        }
        entry.api_version == api_version && !entry.fields.is_empty()
    });
    for entry in of_scale.entries.into_iter().filter(|entry| has(&entry.fields, &IN_SCALE)) {
        let manager = in_version(&entry.manager, api_version);
        match managed.find_mut(&manager) {
            Some(own) => own.fields.unite(set_of(path)),
            // When that was is not told, as upstream doesn't.
            None => managed.entries.push(Entry::new(manager, api_version, None, set_of(path))),
        }
    }
    managed.write()
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
