//! Who owns what: the entries of `metadata.managedFields`.
//!
//! Source: `k8s.io/apimachinery/pkg/util/managedfields/internal`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Error;
use super::set::Set;
use super::step::Step;
use super::tree::{Form, Node, Tape, Tree as _};
use crate::codec::write_string;
use crate::limits;

/// How many entries of updates there are before the oldest become one. Source: `DefaultMaxUpdateManagers`.
const UPDATERS_MAX: usize = 10;

/// Whose the oldest updates then are.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It said which fields it wants.
    Apply,
    /// It changed them.
    Update,
}

impl Operation {
    /// As entries have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who owns the fields of an entry. An applier is the same whatever version it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager<'a> {
    pub name: Cow<'a, str>,
    pub operation: Operation,
    /// Empty for an applier.
    version: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
}

impl<'a> Manager<'a> {
    /// A manager that writes objects of this version.
    pub fn new(
        name: impl Into<Cow<'a, str>>,
        operation: Operation,
        api_version: impl Into<Cow<'a, str>>,
        subresource: impl Into<Cow<'a, str>>,
    ) -> Self {
        let version = if operation == Operation::Apply { "".into() } else { api_version.into() };
        Self { name: name.into(), operation, version, subresource: subresource.into() }
    }

    /// As conflicts name it: `"kubectl" with subresource "scale" using apps/v1`.
    #[must_use]
    pub fn told(&self) -> String {
        let mut told = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            told.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            told.push_str(&format!(" using {}", self.version));
        }
        told
    }
}

/// As upstream's identifiers are ordered, which are texts: one of a subresource comes before one of none.
impl Ord for Manager<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| self.operation.cmp(&other.operation))
            .then_with(|| self.version.cmp(&other.version))
            .then_with(|| self.subresource.is_empty().cmp(&other.subresource.is_empty()))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }
}

impl PartialOrd for Manager<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub manager: Manager<'a>,
    /// The version of which its fields are.
    pub api_version: Cow<'a, str>,
    /// When its fields last changed, in seconds of the Unix epoch.
    pub seconds: Option<i64>,
    pub fields: Set<'a>,
    /// The fields as they are written, as long as they have not been read.
    unread: Option<&'a str>,
}

/// What every manager owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managed<'a> {
    pub entries: Vec<Entry<'a>>,
}

impl<'a> Managed<'a> {
    /// Reads the entries; of none when there are none.
    ///
    /// # Errors
    /// When one of them makes no sense: then none is to be believed.
    pub fn read(json: &'a [u8]) -> Result<Self, Error> {
        let mut managed = Self::read_lazily(json)?;
        managed.entries.iter_mut().try_for_each(Entry::load)?;
        Ok(managed)
    }

    /// As [`Managed::read`], of entries that a client gives.
    ///
    /// # Errors
    /// As [`Managed::read`], and when there are too many.
    pub(super) fn read_given(json: &'a [u8]) -> Result<Self, Error> {
        let mut managed = Self::read_lazily(json)?;
        if managed.entries.len() > limits::MANAGERS_GIVEN_MAX {
            return Err(Error::new("there are too many managers"));
        }
        managed.entries.iter_mut().try_for_each(Entry::load)?;
        Ok(managed)
    }

    /// As [`Managed::read`], of entries that were written here: their fields are read when they are needed.
    pub(super) fn read_lazily(json: &'a [u8]) -> Result<Self, Error> {
        let mut managed = Self::default();
        if json.is_empty() {
            return Ok(managed);
        }
        let tape = Tape::read(json)?;
        if tape.root().form() == Form::Map || tape.root().form() == Form::Scalar {
            return Err(Error::new("the managers of fields are no list"));
        }
        managed.entries = tape.root().elements().map(Entry::of_node).collect::<Result<_, _>>()?;
        // Of two entries of one manager the later counts.
        let mut seen = BTreeSet::new();
        let counts: Vec<bool> = managed.entries.iter().rev().map(|entry| seen.insert(&entry.manager)).collect();
        let mut counts = counts.into_iter().rev();
        managed.entries.retain(|_| counts.next().unwrap_or_default());
        Ok(managed)
    }

    /// Writes the entries in upstream's order: appliers first, then by time. None at all is nothing.
    #[must_use]
    pub fn write(mut self) -> Vec<u8> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        self.entries.sort_by(|a, b| {
            let key = |entry: &Entry<'_>| (entry.manager.operation, entry.seconds.unwrap_or_default());
            let names = |a: &Entry<'_>, b: &Entry<'_>| {
                a.manager.name.cmp(&b.manager.name).then_with(|| a.api_version.cmp(&b.api_version))
            };
            let order: Ordering = key(a).cmp(&key(b)).then_with(|| names(a, b));
            order.then_with(|| a.manager.subresource.cmp(&b.manager.subresource))
        });
        let mut out = Vec::with_capacity(512);
        for (i, entry) in self.entries.iter().enumerate() {
            out.push(if i == 0 { b'[' } else { b',' });
            entry.write(&mut out);
        }
        out.push(b']');
        out
    }

    #[must_use]
    pub fn find(&self, manager: &Manager<'_>) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.manager == *manager)
    }

    pub fn find_mut(&mut self, manager: &Manager<'_>) -> Option<&mut Entry<'a>> {
        self.entries.iter_mut().find(|entry| entry.manager == *manager)
    }

    /// Takes an entry out.
    pub fn take(&mut self, manager: &Manager<'_>) -> Option<Entry<'a>> {
        let at = self.entries.iter().position(|entry| entry.manager == *manager)?;
        Some(self.entries.remove(at))
    }

    /// Forgets those that own nothing any more.
    pub(super) fn drop_empty(&mut self) {
        self.entries.retain(|entry| !entry.is_empty());
    }

    /// Whether both say the same, whenever it was said.
    #[must_use]
    pub fn same_but_times(&self, other: &Managed<'_>) -> bool {
        self.entries.len() == other.entries.len()
            && self
                .entries
                .iter()
                .zip(&other.entries)
                .all(|(a, b)| a.manager == b.manager && a.api_version == b.api_version && a.fields == b.fields)
    }

    /// Merges the oldest updates of each version into one, as many as are too many.
    pub(super) fn cap(&mut self) -> Result<(), Error> {
        let is_update = |entry: &&Entry<'_>| entry.manager.operation == Operation::Update;
        let mut count = self.entries.iter().filter(is_update).count();
        if count <= UPDATERS_MAX {
            return Ok(());
        }
        self.entries.iter_mut().try_for_each(Entry::load)?;
        let mut updaters: Vec<(i64, Manager<'a>)> = self
            .entries
            .iter()
            .filter(is_update)
            .map(|entry| (entry.seconds.unwrap_or_default(), entry.manager.clone()))
            .collect();
        updaters.sort();
        let mut firsts: Vec<Manager<'a>> = Vec::new();
        for (_, manager) in updaters {
            if count <= UPDATERS_MAX {
                break;
            }
            let Some(first) = firsts.iter().find(|first| first.version == manager.version).cloned() else {
                firsts.push(manager);
                continue;
            };
            let bucket = Manager::new(ANCIENT, Operation::Update, manager.version.clone(), "");
            let Some(entry) = self.take(&manager) else { continue };
            count -= 1;
            // An older bucket that is itself merged is lost, as upstream loses it.
            if manager == bucket {
                continue;
            }
            if self.find(&bucket).is_none()
                && let Some(first) = self.find_mut(&first)
            {
                first.manager = bucket.clone();
            }
            if let Some(oldest) = self.find_mut(&bucket) {
                oldest.fields.unite(entry.fields);
                oldest.seconds = entry.seconds;
                oldest.api_version = entry.api_version;
            }
        }
        Ok(())
    }
}

impl<'a> Entry<'a> {
    /// What a manager owns.
    #[must_use]
    pub fn new(
        manager: Manager<'a>,
        api_version: impl Into<Cow<'a, str>>,
        seconds: Option<i64>,
        fields: Set<'a>,
    ) -> Self {
        Self { manager, api_version: api_version.into(), seconds, fields, unread: None }
    }

    fn of_node(node: Node<'a, '_>) -> Result<Self, Error> {
        let text = |name: &str| node.get(name).and_then(Node::string).unwrap_or_default();
        if node.form() != Form::Map {
            return Err(Error::new("an entry is no object"));
        }
        let operation = match &*text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(Error::new("operation must be `Apply` or `Update`")),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err(Error::new("apiVersion must not be empty"));
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(Error::new(format!("invalid fieldsType {:?}", text("fieldsType"))));
        }
        let time = text("time");
        let seconds = match &*time {
            "" => None,
            time => Some(time.parse::<Timestamp>().map_err(|error| Error::new(error.to_string()))?.as_second()),
        };
        Ok(Self {
            manager: Manager::new(text("manager"), operation, api_version.clone(), text("subresource")),
            api_version,
            seconds,
            fields: Set::default(),
            unread: node.get("fieldsV1").filter(|fields| fields.form() != Form::Null).map(Node::text),
        })
    }

    /// Reads its fields, if that has not been done.
    pub(super) fn load(&mut self) -> Result<(), Error> {
        if let Some(text) = self.unread {
            self.fields = Set::read(text)?;
            self.unread = None;
        }
        Ok(())
    }

    /// Whether it may own something at or below a top-level field.
    pub(super) fn may_touch(&self, fields: &Set<'_>) -> bool {
        let Some(text) = self.unread else { return true };
        fields.nodes().iter().any(|node| match &node.step {
            Step::Field(name) => text.contains(&format!("\"f:{name}\"")),
            _ => true,
        })
    }

    /// Whether it owns nothing.
    fn is_empty(&self) -> bool {
        self.unread.is_none() && self.fields.is_empty()
    }
}

impl Entry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            write_string(out, value);
        };
        text("{\"apiVersion\":", &self.api_version);
        text(",\"fieldsType\":", "FieldsV1");
        out.extend_from_slice(b",\"fieldsV1\":");
        match self.unread {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => self.fields.write(out),
        }
        let mut text = |name: &str, value: &str| {
            if !value.is_empty() {
                out.extend_from_slice(name.as_bytes());
                write_string(out, value);
            }
        };
        text(",\"manager\":", &self.manager.name);
        text(",\"operation\":", self.manager.operation.as_str());
        text(",\"subresource\":", &self.manager.subresource);
        if let Some(time) = self.seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
            text(",\"time\":", &time.to_string());
        }
        out.push(b'}');
    }
}

/// Whether entries are given only to forget all there are: an empty list, or one with nothing but an empty entry.
#[must_use]
pub(super) fn is_reset(json: &[u8]) -> bool {
    let Ok(tape) = Tape::read(json) else { return false };
    let mut elements = tape.root().elements();
    match (tape.root().form(), elements.next(), elements.next()) {
        (Form::List, None, _) => true,
        (Form::List, Some(only), None) => {
            let is_unset = |value: Node<'_, '_>| value.form() == Form::Null || value.text() == "\"\"";
            matches!(only.form(), Form::Map | Form::Null)
                && FIELDS.iter().all(|name| only.get(name).is_none_or(is_unset))
        }
        _ => false,
    }
}

/// The fields of an entry.
const FIELDS: [&str; 7] = ["apiVersion", "fieldsType", "fieldsV1", "manager", "operation", "subresource", "time"];
