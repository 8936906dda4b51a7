//! What a write does to who owns what, and what an applied configuration makes of an object.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/merge`, `Updater`, and the chain of managers in
//! `k8s.io/apimachinery/pkg/util/managedfields/internal`.

use serde_json::Value;

use super::check::check;
use super::compare::{Comparison, compare};
use super::fields_of::fields_of;
use super::managers::{Entry, Managed, Manager, Operation, is_reset};
use super::merge::merge;
use super::remove::remove;
use super::set::Set;
use super::tree::{Tape, Tree};
use super::types::Type;
use super::{Error, last_applied};

/// Whose the fields are of an object that was there before its fields were tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The fields that a write cannot change, whatever it says: they are not tracked.
#[derive(Clone, Copy, Debug)]
pub enum Reset {
    /// All but these may be changed.
    Except(&'static [&'static [&'static str]]),
    /// Only these may be changed; `*` is any step.
    AllBut(&'static [&'static [&'static str]]),
}

impl Reset {
    /// Everything may be changed.
    pub const NOTHING: Reset = Reset::Except(&[]);

    pub(super) fn filter(self, set: &mut Set<'_>) {
        match self {
            Reset::Except(paths) => paths.iter().for_each(|path| set.cut(path)),
            Reset::AllBut(paths) => set.keep(paths),
        }
    }
}

/// The other versions in which an object is served.
pub trait Versions {
    /// An object, of whichever version it says, as another one has it, and its type there; `None` if it is not served in
    /// that.
    fn convert(&self, object: &Value, api_version: &str) -> Option<(Value, Type<'_>)>;

    /// The type of an object in a version; `None` if it is not served in that.
    fn type_in(&self, api_version: &str) -> Option<Type<'_>>;

    /// Whether a write cannot change the same fields of an object as other versions have it.
    fn share_reset(&self) -> bool;

    /// Whether the type of an object may have changed since its entries were written.
    fn may_change(&self) -> bool;
}

/// There is no other version.
#[derive(Clone, Copy, Debug)]
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _: &Value, _: &str) -> Option<(Value, Type<'_>)> {
        None
    }

    fn type_in(&self, _: &str) -> Option<Type<'_>> {
        None
    }

    fn share_reset(&self) -> bool {
        true
    }

    fn may_change(&self) -> bool {
        false
    }
}

/// A write of one manager.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Empty if the client has no name.
    pub manager: &'r str,
    /// The version in which it writes: `apps/v1`.
    pub api_version: &'r str,
    /// The subresource that it writes, or nothing.
    pub subresource: &'r str,
    /// The time, in seconds of the Unix epoch.
    pub seconds: i64,
    pub type_: Type<'r>,
    pub reset: Reset,
    /// For managers that wrote another version of the object.
    pub versions: &'r dyn Versions,
}

/// An object, encoded by the [codec] without its managers, and the entries of those.
#[derive(Clone, Copy, Debug)]
pub struct State<'s> {
    pub json: &'s [u8],
    /// As JSON, or nothing.
    pub managed: &'s [u8],
}

/// What became of an applied configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// `None` when it changes nothing of the object.
    pub object: Option<Value>,
    /// The entries, as JSON.
    pub managed: Vec<u8>,
}

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `"kubectl" using apps/v1`
    pub manager: String,
    /// `.spec.replicas`
    pub field: String,
}

/// Why a configuration is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own what it would change.
    #[error("{} fields are owned by others", .0.len())]
    Conflicts(Vec<Conflict>),
    /// It does not fit its type.
    #[error("{0}")]
    Config(Error),
    /// The object cannot be merged with it.
    #[error("{0}")]
    Unfit(Error),
}

/// Conflicts with one manager.
struct Contested<'a> {
    manager: Manager<'a>,
    fields: Set<'a>,
}

/// The objects before and after a change, whole, where only parts of them were compared.
type Whole<'w> = &'w dyn Fn() -> (Value, Value);

impl Request<'_> {
    fn writer(&self, operation: Operation) -> Manager<'_> {
        let name = if self.manager.is_empty() { "unknown" } else { self.manager };
        Manager::new(name, operation, self.api_version, self.subresource)
    }

    /// The entries of an object that is created as `new`, in place of `zero`, an empty object.
    #[must_use]
    pub fn created(&self, zero: &[u8], new: State<'_>) -> Vec<u8> {
        let managed = match Managed::read_given(new.managed) {
            Ok(managed) if !is_reset(new.managed) => managed,
            _ => Managed::default(),
        };
        let is_given = !managed.entries.is_empty();
        self.track(managed, zero, new.json, is_given).unwrap_or_default()
    }

    /// The entries of an object that is changed from `live` to `new`, which has entries if the client gave some.
    #[must_use]
    pub fn updated(&self, live: State<'_>, new: State<'_>) -> Vec<u8> {
        let of_live = || (Managed::read_lazily(live.managed).unwrap_or_default(), self.versions.may_change());
        let (managed, is_odd) = if !self.subresource.is_empty() {
            of_live()
        } else if is_reset(new.managed) {
            (Managed::default(), false)
        } else {
            match Managed::read_given(new.managed) {
                Ok(given) if !given.entries.is_empty() => (given, true),
                _ => of_live(),
            }
        };
        // What is not tracked stays so, until it is applied to.
        if managed.entries.is_empty() {
            return Vec::new();
        }
        // Nor is what cannot be compared tracked any longer.
        self.track(managed, live.json, new.json, is_odd).unwrap_or_default()
    }

    /// Tracks an update of objects of which only what differs is read. Entries are odd that may not fit the type.
    fn track(&self, managed: Managed<'_>, live: &[u8], new: &[u8], are_odd: bool) -> Result<Vec<u8>, Error> {
        let mut managed = managed;
        if are_odd {
            self.reconcile(&mut managed)?;
        }
        let whole = || {
            let read = |json: &[u8]| serde_json::from_slice(json).unwrap_or_default();
            (read(live), read(new))
        };
        let (old, new) = (Tape::read(live)?, Tape::read(new)?);
        self.update(&mut managed, self.writer(Operation::Update), old.root(), new.root(), &whole)?;
        Ok(managed.write())
    }

    /// Gives the writer what it changed, and takes that from all others.
    fn update<'a, T: Tree<'a>>(
        &'a self,
        managed: &mut Managed<'a>,
        writer: Manager<'a>,
        old: T,
        new: T,
        whole: Whole<'_>,
    ) -> Result<(), Error> {
        let mut change = self.compare(old, new)?;
        // An earlier entry of the same manager is one of the others: it loses what this one gains.
        self.settle(managed, &change, None, whole)?;
        change.added.unite(std::mem::take(&mut change.modified));
        let mut gained = change.added;
        strip(&mut gained);
        if !gained.is_empty() {
            let seconds = Some(self.seconds);
            match managed.find_mut(&writer) {
                Some(entry) => {
                    entry.load()?;
                    entry.fields.unite(gained);
                    (entry.seconds, entry.api_version) = (seconds, self.api_version.into());
                }
                None => {
                    managed.entries.push(Entry::new(writer, self.api_version, seconds, gained));
                }
            }
        }
        managed.cap()
    }

    /// Fits entries to the types of their versions.
    fn reconcile(&self, managed: &mut Managed<'_>) -> Result<(), Error> {
        for entry in &mut managed.entries {
            let is_own = entry.api_version == self.api_version;
            let type_ = if is_own { Some(self.type_) } else { self.versions.type_in(&entry.api_version) };
            if let Some(type_) = type_ {
                entry.load()?;
                entry.fields.reconcile(type_);
            }
        }
        Ok(())
    }

    fn compare<'v, T: Tree<'v>>(&'v self, old: T, new: T) -> Result<Comparison<'v>, Error> {
        let mut change = compare(old, new, self.type_)?;
        change.filter(self.reset);
        Ok(change)
    }

    /// Compares objects as another version has them; `None` if they are not served in that.
    fn compare_at<T>(
        &self,
        (old, new): &(Value, Value),
        api_version: &str,
        then: impl FnOnce(&Comparison<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let (Some((old, type_)), Some((new, _))) = (self.at(old, api_version), self.at(new, api_version)) else {
            return Ok(None);
        };
        let mut change = compare(&old, &new, type_)?;
        if self.versions.share_reset() {
            change.filter(self.reset);
        }
        Ok(Some(then(&change)))
    }

    /// Takes what a change touches from all but `own`; those that then own nothing go, as do those of versions that are
    /// no longer served.
    fn settle(
        &self,
        managed: &mut Managed<'_>,
        change: &Comparison<'_>,
        own: Option<&Manager<'_>>,
        whole: Whole<'_>,
    ) -> Result<(), Error> {
        let mut failed = None;
        managed.entries.retain_mut(|entry| {
            if own == Some(&entry.manager) {
                return true;
            }
            let touched = [&change.modified, &change.added, &change.removed];
            if entry.api_version == self.api_version && !touched.iter().any(|fields| entry.may_touch(fields)) {
                return true;
            }
            if let Err(error) = entry.load() {
                failed = Some(error);
                return false;
            }
            let lose = |entry: &mut Entry<'_>, change: &Comparison<'_>| {
                entry.fields.subtract(&change.modified);
                entry.fields.subtract(&change.added);
                entry.fields.subtract(&change.removed);
            };
            if entry.api_version == self.api_version {
                lose(entry, change);
            } else {
                let version = entry.api_version.clone();
                match self.compare_at(&whole(), &version, |change| lose(entry, change)) {
                    Ok(Some(())) => {}
                    Ok(None) => return false,
                    Err(error) => failed = Some(error),
                }
            }
            !entry.fields.is_empty()
        });
        failed.map_or(Ok(()), Err)
    }

    /// An object, of whichever version it says, in another version, and its type there.
    fn at(&self, object: &Value, api_version: &str) -> Option<(Value, Type<'_>)> {
        let own = object.get("apiVersion").and_then(Value::as_str).unwrap_or(self.api_version);
        if own == self.api_version && api_version == self.api_version {
            return Some((object.clone(), self.type_));
        }
        self.versions.convert(object, api_version)
    }

    /// Applies a configuration to an object, which is `zero` when there is none yet. `force` takes fields from others.
    ///
    /// # Errors
    /// When the configuration does not fit, or others own what it changes.
    pub fn apply(
        &self,
        zero: &Value,
        live: &Value,
        managed: &[u8],
        config: &Value,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        check(config, self.type_).map_err(ApplyError::Config)?;
        match self.try_apply(zero, live, managed, config, force) {
            // What kubectl wrote when it applied by itself is its own.
            Err(Refused::Contested(contested)) if self.manager == "kubectl" => {
                match last_applied::still_so(live, self.type_, self.api_version) {
                    Some(allowed) => {
                        let left = contested.into_iter().filter_map(|mut contested| {
                            contested.fields.subtract(&allowed);
                            (!contested.fields.is_empty()).then_some(contested)
                        });
                        let left: Vec<Contested<'_>> = left.collect();
                        if left.is_empty() {
                            self.try_apply(zero, live, managed, config, true).map_err(Refused::told)
                        } else {
                            Err(Refused::Contested(left).told())
                        }
                    }
                    None => Err(Refused::Contested(contested).told()),
                }
            }
            applied => applied.map_err(Refused::told),
        }
        .map(|mut applied| {
            if self.manager == "kubectl" {
                last_applied::renew(&mut applied.object, live, config);
            }
            applied
        })
    }

    fn try_apply<'a>(
        &'a self,
        zero: &'a Value,
        live: &'a Value,
        managed: &'a [u8],
        config: &'a Value,
        force: bool,
    ) -> Result<Applied, Refused<'a>> {
        let mut managed = Managed::read(managed)?;
        self.reconcile(&mut managed)?;
        if managed.entries.is_empty() {
            let writer = Manager::new(BEFORE_FIRST_APPLY, Operation::Update, self.api_version, self.subresource);
            self.update(&mut managed, writer, zero, live, &|| (zero.clone(), live.clone()))?;
        }
        let writer = self.writer(Operation::Apply);
        let mut fields = fields_of(config, self.type_)?;
        self.reset.filter(&mut fields);
        let last = managed.take(&writer);
        let seconds = last.as_ref().and_then(|last| last.seconds);
        managed.entries.push(Entry::new(writer.clone(), self.api_version, seconds, fields));
        let merged = merge(live, config, self.type_)?;
        let new = match last.filter(|last| !last.fields.is_empty()) {
            Some(last) => self.prune(merged, &managed, &last)?,
            None => merged,
        };
        let change = self.compare(live, &new)?;
        let whole = || (live.clone(), new.clone());
        if !force {
            let contested = self.contested(&managed, &change, &writer, &whole)?;
            if !contested.is_empty() {
                return Err(Refused::Contested(contested));
            }
        }
        self.settle(&mut managed, &change, Some(&writer), &whole)?;
        let is_same = live.same(&new);
        if let Some(entry) = managed.find_mut(&writer) {
            strip(&mut entry.fields);
            if !is_same {
                entry.seconds = Some(self.seconds);
            }
        }
        managed.drop_empty();
        let managed = managed.write();
        drop(change);
        Ok(Applied { object: (!is_same).then_some(new), managed })
    }

    /// What others own of what a change adds or modifies.
    fn contested<'a>(
        &self,
        managed: &Managed<'a>,
        change: &Comparison<'_>,
        writer: &Manager<'_>,
        whole: Whole<'_>,
    ) -> Result<Vec<Contested<'a>>, Error> {
        let mut all = Vec::new();
        for entry in managed.entries.iter().filter(|entry| entry.manager != *writer) {
            let shared = |change: &Comparison<'_>| {
                let mut shared = entry.fields.intersection(&change.modified);
                shared.unite(entry.fields.intersection(&change.added));
                shared
            };
            let fields = if entry.api_version == self.api_version {
                shared(change)
            } else {
                match self.compare_at(&whole(), &entry.api_version, shared)? {
                    Some(fields) => fields,
                    None => continue,
                }
            };
            if !fields.is_empty() {
                all.push(Contested { manager: entry.manager.clone(), fields });
            }
        }
        all.sort_by(|a, b| a.manager.cmp(&b.manager));
        Ok(all)
    }

    /// Takes out of a merged object what the applier owned, no longer names, and nobody else owns.
    fn prune(&self, merged: Value, managed: &Managed<'_>, last: &Entry<'_>) -> Result<Value, Error> {
        let Some((base, type_)) = self.at(&merged, &last.api_version) else { return Ok(merged) };
        let last_fields = last.fields.with_named(Some(type_));
        let mut pruned = remove(base.clone(), &last_fields, type_);
        let mut versions: Vec<&str> = vec![&last.api_version];
        for entry in &managed.entries {
            if !versions.contains(&&*entry.api_version) {
                versions.push(&entry.api_version);
            }
        }
        for version in versions {
            let (Some((whole, type_)), Some((less, _))) = (self.at(&base, version), self.at(&pruned, version)) else {
                continue;
            };
            let mut gone = fields_of(&whole, type_)?.with_named(Some(type_));
            gone.subtract(&fields_of(&less, type_)?.with_named(Some(type_)));
            for entry in managed.entries.iter().filter(|entry| entry.api_version == version) {
                gone.subtract(&entry.fields.with_named(Some(type_)));
            }
            pruned = remove(whole.clone(), &gone, type_);
        }
        let Some((pruned, _)) = self.at(&pruned, &last.api_version) else { return Ok(base) };
        // Only what the applier itself owned may go.
        let mut gone = fields_of(&base, type_)?.with_named(Some(type_));
        gone.subtract(&fields_of(&pruned, type_)?.with_named(Some(type_)));
        let gone = gone.intersection(&last_fields);
        let left = remove(base.clone(), &gone, type_);
        Ok(self.at(&left, self.api_version).map_or(left, |(left, _)| left))
    }
}

/// Why a configuration was not applied, with what is contested.
enum Refused<'a> {
    Contested(Vec<Contested<'a>>),
    Unfit(Error),
}

impl From<Error> for Refused<'_> {
    fn from(error: Error) -> Self {
        Self::Unfit(error)
    }
}

impl Refused<'_> {
    fn told(self) -> ApplyError {
        match self {
            Self::Unfit(error) => ApplyError::Unfit(error),
            Self::Contested(all) => ApplyError::Conflicts(
                all.iter()
                    .flat_map(|contested| {
                        let manager = contested.manager.told();
                        let conflict = move |field| Conflict { manager: manager.clone(), field };
                        contested.fields.paths().into_iter().map(conflict)
                    })
                    .collect(),
            ),
        }
    }
}

/// Takes out what says which object it is, which nobody owns.
fn strip(fields: &mut Set<'_>) {
    const META: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    for path in [&["apiVersion"][..], &["kind"], &["metadata"]] {
        fields.release(path);
    }
    for name in META {
        fields.release(&["metadata", name]);
    }
}
