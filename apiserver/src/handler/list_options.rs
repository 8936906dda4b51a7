//! The options of lists and watches: what a query says, which of it goes together, and what it means.
//!
//! Source: upstream's `metav1.ListOptions` with its decoding and validation, `ShouldDelegateList`, and
//! `storage.ValidateListOptions`.

use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};

use super::page::Token;
use crate::cache::{Scope, Selection};
use crate::query::{Query, parse_version};

/// What a query says, decoded and checked.
#[derive(Debug, Default)]
pub(super) struct ListOptions {
    pub(super) resource_version: String,
    version_match: String,
    continue_: String,
    limit: i64,
    /// How long a watch may take. A list takes no notice of it.
    pub(super) timeout_seconds: Option<i64>,
    pub(super) send_initial_events: Option<bool>,
    pub(super) allow_bookmarks: bool,
}

/// What a list is of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Everything that had been acknowledged.
    Now,
    /// Not older than this; 0 for whatever is known.
    NotOlder(u64),
    /// Exactly this.
    Exactly(u64),
    /// What comes after an earlier page.
    Continued(Token),
}

const NOT_OLDER: &str = "NotOlderThan";
const EXACT: &str = "Exact";

impl ListOptions {
    /// Reads the options of a list, or of a watch where the query says so.
    ///
    /// # Errors
    /// When one cannot be read, or some do not go together.
    pub(super) fn parse(query: &Query) -> Result<Self, ApiError> {
        let is_watch = query.flag("watch");
        let text = |name: &str| query.first(name).unwrap_or_default().to_owned();
        let mut options = Self {
            resource_version: text("resourceVersion"),
            version_match: text("resourceVersionMatch"),
            continue_: text("continue"),
            timeout_seconds: query.integer("timeoutSeconds")?,
            limit: query.integer("limit")?.unwrap_or_default(),
            send_initial_events: query.optional_flag("sendInitialEvents"),
            allow_bookmarks: query.flag("allowWatchBookmarks"),
        };
        if is_watch {
            options.complete_watch();
        }
        refuse(if is_watch { options.check_watch() } else { options.check_list() })?;
        Ok(options)
    }

    /// A watch from no version in particular begins with what there is.
    fn complete_watch(&mut self) {
        let is_anywhere = matches!(self.resource_version.as_str(), "" | "0");
        if is_anywhere && self.send_initial_events.is_none() && self.version_match.is_empty() {
            self.send_initial_events = Some(true);
            self.version_match = NOT_OLDER.to_owned();
        }
    }

    fn check_list(&self) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        if !self.version_match.is_empty() {
            if self.resource_version.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if self.version_match != EXACT && self.version_match != NOT_OLDER {
                errors.not_supported(&path, &self.version_match, &[EXACT, NOT_OLDER, ""]);
            }
            if self.version_match == EXACT && self.resource_version == "0" {
                errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if self.send_initial_events.is_some() {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
        errors
    }

    fn check_watch(&self) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        let is_told = self.send_initial_events.is_some();
        if is_told && self.version_match != NOT_OLDER {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !self.version_match.is_empty() {
            if !is_told {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.forbidden(&path, why);
            }
            if self.version_match != NOT_OLDER {
                errors.not_supported(&path, &self.version_match, &[NOT_OLDER]);
            }
            if !self.continue_.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
        errors
    }

    /// What a list of `selection` is of. One object is no list that could go on: its token is not looked at, nor is a
    /// limit, which otherwise makes a version exact.
    ///
    /// # Errors
    /// When the token or the version is none, or both are there.
    pub(super) fn from(&self, selection: &Selection) -> Result<From, ApiError> {
        let is_collection = !matches!(selection.scope, Scope::Object(_));
        if is_collection && !self.continue_.is_empty() {
            let token = Token::decode(&self.continue_, selection)?;
            if !matches!(self.resource_version.as_str(), "" | "0") {
                let why = "specifying resource version is not allowed when using continue";
                return Err(ApiError::BadRequest(why.to_owned()));
            }
            return Ok(From::Continued(token));
        }
        let revision = revision(&self.resource_version);
        let revision = revision.map_err(|why| ApiError::BadRequest(format!("invalid resource version: {why}")))?;
        let Some(version) = revision else { return Ok(From::Now) };
        let is_legacy_exact = self.version_match.is_empty() && is_collection && self.limit > 0;
        Ok(if version > 0 && (self.version_match == EXACT || is_legacy_exact) {
            From::Exactly(version)
        } else {
            From::NotOlder(version)
        })
    }

    /// How many objects are wanted at most. Whatever is known is answered as a whole.
    pub(super) fn limit(&self) -> Option<usize> {
        let limit = usize::try_from(self.limit).ok().filter(|limit| *limit > 0);
        limit.filter(|_| self.resource_version != "0" || !self.continue_.is_empty())
    }

    /// The same list from where `token` says.
    pub(super) fn continued(&mut self, token: String) {
        self.continue_ = token;
        self.resource_version.clear();
        self.version_match.clear();
    }

    /// The same list in pages of this size, if it has none.
    pub(super) fn in_pages_of(&mut self, limit: i64) {
        if self.limit == 0 {
            self.limit = limit;
        }
    }

    pub(super) fn has_limit(&self) -> bool {
        self.limit > 0
    }
}

/// A resource version as it stands in a query; `None` for an empty one.
///
/// # Errors
/// What is to be said of one that is none. Upstream has a word for it in lists, and in nothing else.
pub(super) fn revision(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        text => match parse_version(text) {
            Ok(version) => Ok(Some(version)),
            Err(why) => Err(format!("resourceVersion: Invalid value: {text:?}: {why}")),
        },
    }
}

fn refuse(errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("meta.k8s.io", "ListOptions"), name: String::new(), errors })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn from(query: &str, scope: Scope) -> String {
        let parsed = ListOptions::parse(&Query::parse(query));
        let told = parsed.and_then(|options| {
            let from = options.from(&Selection::of(scope))?;
            Ok(format!("{from:?} {:?}", options.limit()))
        });
        told.unwrap_or_else(|error| format!("{} {error}", error.code()))
    }

    #[test]
    fn what_a_list_is_of() {
        for (query, expected) in [
            ("", "Now None"),
            ("limit=5", "Now Some(5)"),
            ("limit=-5", "Now None"),
            ("resourceVersion=0", "NotOlder(0) None"),
            ("resourceVersion=0&limit=5", "NotOlder(0) None"),
            ("resourceVersion=7", "NotOlder(7) None"),
            ("resourceVersion=7&limit=5", "Exactly(7) Some(5)"),
            ("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan", "NotOlder(7) Some(5)"),
            ("resourceVersion=7&resourceVersionMatch=Exact", "Exactly(7) None"),
            (
                "resourceVersion=-1",
                "400 invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            ("limit=", "400 strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "limit=99999999999999999999",
                "400 strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(from(query, Scope::All), expected, "{query}");
        }
        // One object is not cut into pages.
        assert_eq!(from("resourceVersion=7&limit=5", Scope::Object("n/a".to_owned())), "NotOlder(7) Some(5)");
        assert_eq!(from("continue=banana", Scope::Object("n/a".to_owned())), "Now None");
    }

    #[test]
    fn what_goes_together() {
        for (query, expected) in [
            ("resourceVersionMatch=Exact", "[Forbidden]"),
            ("resourceVersionMatch=Exact&resourceVersion=0", "[Forbidden]"),
            ("resourceVersionMatch=Newest&continue=x", "[Forbidden Forbidden NotSupported]"),
            ("sendInitialEvents", "[Forbidden]"),
            ("watch=1&sendInitialEvents=false", "[Forbidden]"),
            ("watch=1&resourceVersionMatch=NotOlderThan", "[Forbidden]"),
            ("watch&resourceVersionMatch=Exact&resourceVersion=3", "[Forbidden NotSupported]"),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x", "[Forbidden]"),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "fine"),
            ("watch=1&continue=x", "[Forbidden]"),
            ("watch=false&resourceVersionMatch=NotOlderThan&resourceVersion=0", "fine"),
        ] {
            let told = match ListOptions::parse(&Query::parse(query)) {
                Err(ApiError::Invalid { errors, .. }) => {
                    let reasons: Vec<_> =
                        errors.iter().map(|e| e.reason.as_str().trim_start_matches("FieldValue")).collect();
                    format!("[{}]", reasons.join(" "))
                }
                Err(error) => error.to_string(),
                Ok(_) => "fine".to_owned(),
            };
            assert_eq!(told, expected, "{query}");
        }
    }

    #[test]
    fn a_watch_from_nowhere_begins_with_what_there_is() {
        for (query, expected) in [
            ("watch=1", Some(true)),
            ("watch=1&resourceVersion=0", Some(true)),
            ("watch=1&resourceVersion=5", None),
            ("watch=1&sendInitialEvents=0&resourceVersionMatch=NotOlderThan", Some(false)),
            ("", None),
        ] {
            let options = ListOptions::parse(&Query::parse(query)).unwrap();
            assert_eq!(options.send_initial_events, expected, "{query}");
        }
    }
}
