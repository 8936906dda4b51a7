//! Reads a JSON body beside the type graph, before it is decoded, and finds what decoding would pass over: fields that the
//! type doesn't have, fields that are given twice, values of another type than the field, quantities that are none, and
//! nesting that is too deep.
//!
//! It builds nothing but the findings, and it leaves bad syntax to the decoder: where it meets some, it stops, and the
//! decoder says what is wrong.
//!
//! Source: the strict mode and the error texts of `sigs.k8s.io/json`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use crate::field::Path;
use crate::limits;
use crate::quantity::{self, Quantity};
use crate::schema::{self, Field, Presence, Shape, Type, TypeId, go};

/// What a body has that its type has not.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// `unknown field "spec.foo"`, `duplicate field "spec.replicas"`, in the order of the body.
    pub findings: Vec<String>,
    /// The body's own `apiVersion` and `kind`, where it has them.
    pub api_version: Option<String>,
    pub kind: Option<String>,
    /// Whether bad syntax was met.
    pub broken: bool,
    /// What the types here read otherwise than Go's, in the order of the body, and what to read instead.
    pub edits: Vec<Edit>,
}

/// A stretch of a body, and what stands for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub at: Range<usize>,
    pub with: &'static str,
}

impl Scan {
    /// The body as the types here read it.
    pub(super) fn edited<'b>(&self, json: Cow<'b, [u8]>) -> Cow<'b, [u8]> {
        if self.edits.is_empty() {
            return json;
        }
        let mut edited = Vec::with_capacity(json.len());
        let mut from = 0;
        for edit in &self.edits {
            edited.extend_from_slice(&json[from..edit.at.start]);
            edited.extend_from_slice(edit.with.as_bytes());
            from = edit.at.end;
        }
        edited.extend_from_slice(&json[from..]);
        Cow::Owned(edited)
    }
}

/// Why a body can't be decoded, beyond its syntax.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {expected}")]
    Type { found: String, owner: &'static str, path: String, expected: String },
    #[error("json: cannot unmarshal {found} into Go value of type {expected}")]
    Root { found: String, expected: String },
    #[error("{0}")]
    Quantity(#[from] crate::quantity::ParseError),
    #[error("exceeded max depth of {}", limits::NESTING_MAX)]
    Depth,
}

/// Reads `json` as an object of `root`'s fields.
///
/// # Errors
/// When it is well formed, and yet not such an object.
pub(super) fn scan(json: &[u8], root: Shape) -> Result<Scan, ScanError> {
    let mut scanner = Scanner { json, at: 0, depth: 0, owner: None, custom: false, result: Scan::default() };
    let read = scanner.value(root, &Path::ROOT);
    scanner.finish(read)
}

/// Reads `json` as a value of no type: what stands twice is found.
///
/// # Errors
/// As [`scan`].
pub(super) fn scan_untyped(json: &[u8]) -> Result<Scan, ScanError> {
    let mut scanner = Scanner { json, at: 0, depth: 0, owner: None, custom: true, result: Scan::default() };
    let read = scanner.value(Shape::Any, &Path::ROOT);
    scanner.finish(read)
}

/// Reads `json` as an object of a custom kind: its metadata is known here, and of the rest what stands twice is found.
///
/// # Errors
/// As [`scan`].
pub(super) fn scan_custom(json: &[u8]) -> Result<Scan, ScanError> {
    let metadata = schema::find("meta.v1.ObjectMeta").expect("the graph has the metadata of objects");
    let mut scanner = Scanner { json, at: 0, depth: 0, owner: None, custom: true, result: Scan::default() };
    let read = scanner.custom_object(metadata);
    scanner.finish(read)
}

enum Stop {
    /// The decoder will say what is wrong.
    Syntax,
    Error(ScanError),
}

struct Scanner<'j> {
    json: &'j [u8],
    at: usize,
    depth: usize,
    /// The type whose field is being read.
    owner: Option<&'static Type>,
    /// Whether what has no type is looked into as well.
    custom: bool,
    result: Scan,
}

impl<'j> Scanner<'j> {
    fn finish(self, read: Result<(), Stop>) -> Result<Scan, ScanError> {
        match read {
            Ok(()) => Ok(self.result),
            Err(Stop::Syntax) => Ok(Scan { broken: true, ..self.result }),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn custom_object(&mut self, metadata: TypeId) -> Result<(), Stop> {
        match self.peek()? {
            b'{' => self.nested(None, |s| s.custom_members(metadata)),
            // Of another kind of value the decoder says that it is none.
            _ => Ok(()),
        }
    }

    fn custom_members(&mut self, metadata: TypeId) -> Result<(), Stop> {
        let mut seen = Keys::default();
        self.at += 1;
        while let Some(key) = self.key()? {
            let path = Path::ROOT.child(&key);
            if !seen.insert(&key) {
                self.find("duplicate", &path);
            }
            self.note_kind(&key);
            let shape = match &*key {
                "metadata" => Shape::Object(metadata),
                "apiVersion" | "kind" => Shape::String,
                _ => Shape::Any,
            };
            self.value(shape, &path)?;
        }
        Ok(())
    }

    fn value(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        match self.peek()? {
            b'{' => match shape {
                Shape::Object(id) => self.nested(Some(id.get()), |s| s.object(id.get(), path)),
                Shape::Map(entry) => self.nested(self.owner, |s| s.map(*entry, path)),
                Shape::Any => self.nested(self.owner, |s| s.map(Shape::Any, path)),
                _ => Err(self.mismatch("object", shape, path)),
            },
            b'[' => match shape {
                Shape::List(element) => self.nested(self.owner, |s| s.list(*element, path)),
                Shape::Any => self.nested(self.owner, |s| s.list(Shape::Any, path)),
                _ => Err(self.mismatch("array", shape, path)),
            },
            b'"' => self.text(shape, path),
            b't' | b'f' => match shape {
                Shape::Bool | Shape::Any => self.literal(),
                _ => Err(self.mismatch("bool", shape, path)),
            },
            b'n' => self.literal(),
            b'-' | b'0'..=b'9' => match shape {
                Shape::Int32 | Shape::Int64 | Shape::Float | Shape::Quantity | Shape::IntOrString | Shape::Any => {
                    self.number(shape, path)
                }
                _ => Err(self.mismatch("number", shape, path)),
            },
            _ => Err(Stop::Syntax),
        }
    }

    fn nested(
        &mut self,
        owner: Option<&'static Type>,
        read: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.depth == limits::NESTING_MAX {
            return Err(Stop::Error(ScanError::Depth));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.owner, owner);
        let result = read(self);
        self.owner = outer;
        self.depth -= 1;
        result
    }

    fn object(&mut self, type_: &'static Type, path: &Path<'_>) -> Result<(), Stop> {
        let mut seen: u128 = 0;
        let mut hint = 0;
        self.at += 1;
        while let Some(key) = self.key()? {
            let Some(position) = type_.position(&key, hint) else {
                self.find("unknown", &path.child(&key));
                self.value(Shape::Any, &Path::ROOT)?;
                continue;
            };
            if seen & (1 << position) != 0 {
                self.find("duplicate", &path.child(&key));
            }
            seen |= 1 << position;
            hint = position + 1;
            if self.depth == 1 {
                self.note_kind(&key);
            }
            let field = &type_.fields[position];
            let start = self.at;
            self.value(field.shape, &path.child(&key))?;
            if is_required_selector(field) && selects_everything(&self.json[start..self.at]) {
                self.edit(start, EMPTY_SELECTOR);
            }
            if let Some(own) = self.type_of_claim(type_, field) {
                self.edit(start, own);
            }
        }
        Ok(())
    }

    fn map(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        let mut seen = Keys::default();
        self.at += 1;
        while let Some(key) = self.key()? {
            if (self.custom || !matches!(shape, Shape::Any)) && !seen.insert(&key) {
                self.find("duplicate", &path.entry(&key));
            }
            self.element(shape, &path.entry(&key))?;
        }
        Ok(())
    }

    /// Source: what a list or a map holds by value is the zero of its type when it is given as null.
    fn element(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        let is_null = self.peek()? == b'n';
        let start = self.at;
        self.value(shape, path)?;
        if let (true, Some(zero)) = (is_null, zero_of(shape)) {
            self.edit(start, zero);
        }
        Ok(())
    }

    /// What stands from `start` up to here is read as `with`.
    fn edit(&mut self, start: usize, with: &'static str) {
        // Of a value that holds others, which were edited themselves, the outermost counts.
        self.result.edits.retain(|edit| edit.at.end <= start);
        self.result.edits.push(Edit { at: start..self.at, with });
    }

    /// What a template of claims says it is, which is not looked at: it is a claim.
    fn type_of_claim(&self, type_: &Type, field: &Field) -> Option<&'static str> {
        if self.depth == 1 || type_.name != "core.v1.PersistentVolumeClaim" {
            return None;
        }
        match field.name {
            "apiVersion" => Some("\"v1\""),
            "kind" => Some("\"PersistentVolumeClaim\""),
            _ => None,
        }
    }

    fn list(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        for index in 0.. {
            self.element(shape, &path.index(index))?;
            match self.take()? {
                b',' => {}
                b']' => break,
                _ => return Err(Stop::Syntax),
            }
        }
        Ok(())
    }

    /// The next key of an object, and past its colon; none at the object's end.
    fn key(&mut self) -> Result<Option<Cow<'j, str>>, Stop> {
        match self.peek()? {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' => {
                self.at += 1;
                if self.peek()? != b'"' {
                    return Err(Stop::Syntax);
                }
            }
            b'"' => {}
            _ => return Err(Stop::Syntax),
        }
        let key = self.string()?;
        if self.take()? != b':' {
            return Err(Stop::Syntax);
        }
        Ok(Some(key))
    }

    fn text(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        match shape {
            Shape::Bool
            | Shape::Int32
            | Shape::Int64
            | Shape::Float
            | Shape::Object(_)
            | Shape::List(_)
            | Shape::Map(_) => Err(self.mismatch("string", shape, path)),
            Shape::Quantity => {
                let text = self.string()?;
                text.parse::<Quantity>().map(drop).map_err(|e| Stop::Error(e.into()))
            }
            _ => self.string().map(drop),
        }
    }

    fn string(&mut self) -> Result<Cow<'j, str>, Stop> {
        let start = self.at + 1;
        let mut end = start;
        let mut escaped = false;
        loop {
            match self.json.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return Err(Stop::Syntax),
            }
        }
        self.at = end + 1;
        if escaped {
            return serde_json::from_slice(&self.json[start - 1..=end]).map(Cow::Owned).map_err(|_| Stop::Syntax);
        }
        std::str::from_utf8(&self.json[start..end]).map(Cow::Borrowed).map_err(|_| Stop::Syntax)
    }

    fn number(&mut self, shape: Shape, path: &Path<'_>) -> Result<(), Stop> {
        let rest = &self.json[self.at..];
        let len = rest.iter().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count();
        let text = std::str::from_utf8(&rest[..len]).map_err(|_| Stop::Syntax)?;
        if len == 0 {
            return Err(Stop::Syntax);
        }
        let fits = match shape {
            Shape::Int32 | Shape::IntOrString => text.parse::<i32>().is_ok(),
            Shape::Int64 => text.parse::<i64>().is_ok(),
            _ => true,
        };
        if !fits {
            return Err(self.mismatch(&format!("number {text}"), shape, path));
        }
        self.at += len;
        Ok(())
    }

    fn literal(&mut self) -> Result<(), Stop> {
        let rest = &self.json[self.at..];
        let word: &[u8] =
            [&b"true"[..], b"false", b"null"].into_iter().find(|w| rest.starts_with(w)).ok_or(Stop::Syntax)?;
        self.at += word.len();
        Ok(())
    }

    fn peek(&mut self) -> Result<u8, Stop> {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Stop::Syntax),
            }
        }
    }

    fn take(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn find(&mut self, what: &str, path: &Path<'_>) {
        if self.result.findings.len() < limits::FINDINGS_MAX {
            self.result.findings.push(format!("{what} field \"{path}\""));
        }
    }

    /// Remembers the value of a top-level `apiVersion` or `kind` that is about to be read.
    fn note_kind(&mut self, key: &str) {
        if !matches!(key, "apiVersion" | "kind") || !matches!(self.peek(), Ok(b'"')) {
            return;
        }
        let start = self.at;
        let value = self.string().ok().map(Cow::into_owned);
        self.at = start;
        match key {
            "kind" => self.result.kind = value,
            _ => self.result.api_version = value,
        }
    }

    /// Source: types that read themselves say what they want instead: text, a number, a quantity.
    fn mismatch(&self, found: &str, shape: Shape, path: &Path<'_>) -> Stop {
        let found = found.to_owned();
        let field = path.last_field();
        let expected = match (shape, self.owner, field) {
            (Shape::Quantity, ..) => return Stop::Error(quantity::ParseError::Format.into()),
            (Shape::Time | Shape::MicroTime, ..) => "string".to_owned(),
            (Shape::IntOrString, ..) => "int32".to_owned(),
            (shape, Some(owner), Some(field)) => go::name_of(owner, field, shape),
            _ => go::name(shape),
        };
        let path = path.fields_only();
        Stop::Error(match self.owner {
            Some(owner) if !path.is_empty() => ScanError::Type { found, owner: owner.short_name(), path, expected },
            _ => ScanError::Root { found, expected },
        })
    }
}

fn is_required_selector(field: &Field) -> bool {
    field.presence == Presence::Always
        && matches!(field.shape, Shape::Object(id) if id.get().name == "meta.v1.LabelSelector")
}

/// A selector that is missing selects nothing, and an empty one everything; k8s-openapi has the same value for both where
/// one is required. So an empty one is read as this, which it can tell.
const EMPTY_SELECTOR: &str = r#"{"matchLabels":{}}"#;

fn selects_everything(json: &[u8]) -> bool {
    let Ok(Value::Object(selector)) = serde_json::from_slice(json) else { return false };
    ["matchLabels", "matchExpressions"].iter().all(|name| selector.get(*name).is_none_or(Value::is_null))
}

/// What stands for null among others of this shape; nothing where it is one of the values.
fn zero_of(shape: Shape) -> Option<&'static str> {
    match shape {
        Shape::String | Shape::Bytes => Some("\"\""),
        Shape::Bool => Some("false"),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => Some("0"),
        Shape::Quantity => Some("\"0\""),
        Shape::Object(_) | Shape::Map(_) => Some("{}"),
        Shape::List(_) => Some("[]"),
        Shape::Any | Shape::Time | Shape::MicroTime => None,
    }
}

/// The keys of a map that have been seen: a few in a list, many in a set.
#[derive(Default)]
struct Keys {
    few: Vec<String>,
    many: HashSet<String>,
}

impl Keys {
    const FEW: usize = 16;

    /// Whether the key is new.
    fn insert(&mut self, key: &str) -> bool {
        if self.few.iter().any(|k| k == key) || self.many.contains(key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key.to_owned());
        } else {
            self.many.insert(key.to_owned());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: &str) -> Result<Scan, ScanError> {
        scan(json.as_bytes(), Shape::Object(schema::find("core.v1.Pod").expect("a pod")))
    }

    #[test]
    fn unknown_and_duplicate_fields_are_found_with_their_paths() {
        let found = pod(
            r#"{"kind":"Pod","spec":{"foo":{"x":[1,{}]},"containers":[{"name":"a","nmae":1},{"name":"b","name":"c"}]},
               "metadata":{"labels":{"a":"1","a":"2"}},"spec":null}"#,
        )
        .expect("a pod");
        assert_eq!(
            found.findings,
            [
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.containers[0].nmae""#,
                r#"duplicate field "spec.containers[1].name""#,
                r#"duplicate field "metadata.labels.a""#,
                r#"duplicate field "spec""#,
            ]
        );
        assert_eq!(found.kind.as_deref(), Some("Pod"));
    }

    #[test]
    fn wrong_types_are_told_as_go_tells_them() {
        for (json, message) in [
            (
                r#"{"metadata":{"name":7}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
            ),
            (
                r#"{"spec":{"containers":{}}}"#,
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                r#"{"metadata":{"labels":{"a":true}}}"#,
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                r#"{"spec":{"containers":[{"stdin":"yes"}]}}"#,
                "json: cannot unmarshal string into Go struct field Container.spec.containers.stdin of type bool",
            ),
            (
                r#"{"spec":{"priority":1.5}}"#,
                "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32",
            ),
            (
                r#"{"spec":{"restartPolicy":7}}"#,
                "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
            ),
            (
                r#"{"metadata":{"creationTimestamp":7}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
            ),
            (r"[]", "json: cannot unmarshal array into Go value of type v1.Pod"),
        ] {
            assert_eq!(pod(json).expect_err(json).to_string(), message);
        }
        let quantity = r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"10 apples"}}}]}}"#;
        assert!(matches!(pod(quantity), Err(ScanError::Quantity(_))));
    }

    #[test]
    fn what_go_reads_otherwise_is_edited() {
        let set = |json: &'static str| {
            let root = Shape::Object(schema::find("apps.v1.StatefulSet").expect("a set"));
            let edited = scan(json.as_bytes(), root).expect(json).edited(json.as_bytes().into());
            String::from_utf8(edited.into_owned()).expect("JSON is text")
        };
        for (json, edited) in [
            (r#"{"metadata":{"labels":{"a":null,"b":"c"}}}"#, r#"{"metadata":{"labels":{"a":"","b":"c"}}}"#),
            (r#"{"metadata":{"finalizers":[null],"name":null}}"#, r#"{"metadata":{"finalizers":[""],"name":null}}"#),
            (
                r#"{"spec":{"template":{"spec":{"containers":[null ,{"args":[ null]}],"nodeSelector":null}}}}"#,
                r#"{"spec":{"template":{"spec":{"containers":[{} ,{"args":[ ""]}],"nodeSelector":null}}}}"#,
            ),
            (
                r#"{"spec":{"template":{"spec":{"overhead":{"cpu":null}}}}}"#,
                r#"{"spec":{"template":{"spec":{"overhead":{"cpu":"0"}}}}}"#,
            ),
            (r#"{"spec":{"selector":{ }}}"#, r#"{"spec":{"selector":{"matchLabels":{}}}}"#),
            (r#"{"spec":{"selector":{"matchLabels":null,"x":[null]}}}"#, r#"{"spec":{"selector":{"matchLabels":{}}}}"#),
            (
                r#"{"spec":{"selector":{"matchLabels":{"a":null}}}}"#,
                r#"{"spec":{"selector":{"matchLabels":{"a":""}}}}"#,
            ),
            (
                r#"{"kind":"StatefulSet","spec":{"volumeClaimTemplates":[{"kind":"Claim","apiVersion":null}]}}"#,
                r#"{"kind":"StatefulSet","spec":{"volumeClaimTemplates":[{"kind":"PersistentVolumeClaim","apiVersion":"v1"}]}}"#,
            ),
        ] {
            assert_eq!(set(json), edited);
        }
    }

    #[test]
    fn depth_is_limited_and_bad_syntax_left_to_the_decoder() {
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(matches!(pod(&deep), Err(ScanError::Depth)));
        for bad in ["", "{", "{\"a\"", "{\"kind\":\"x", "{,}", "nope", "{\"kind\":\"\\", "{\"spec\":}"] {
            assert!(pod(bad).is_ok(), "{bad}");
        }
    }
}
