//! JSON as a tree that is walked: a [`Value`], or a text that is read once into a [`Tape`] and copied nowhere.
//!
//! What a write changes is found on tapes: of two objects that the codec wrote, what is the same is the same text, and is
//! passed over by its bytes.

use std::borrow::Cow;

use serde_json::Value;

use super::Error;
use super::step::{Number, Scalar};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Null,
    /// A text, a number or a boolean.
    Scalar,
    List,
    Map,
}

/// A node of a tree.
pub(super) trait Tree<'v>: Copy {
    fn form(self) -> Form;

    /// The scalar that the node is, if it is one or null.
    fn scalar(self) -> Option<Scalar<'v>>;

    /// The entries of a map: none of anything else.
    fn entries(self) -> impl Iterator<Item = (Cow<'v, str>, Self)>;

    /// The elements of a list: none of anything else.
    fn elements(self) -> impl Iterator<Item = Self>;

    /// The entry of a map with this name.
    fn get(self, name: &str) -> Option<Self>;

    /// Whether both stand for the same.
    fn same(self, other: Self) -> bool;

    /// Whether both are surely the same, if that can be told at once.
    fn is_same_text(self, other: Self) -> bool;
}

impl<'v> Tree<'v> for &'v Value {
    fn form(self) -> Form {
        match self {
            Value::Null => Form::Null,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Form::Scalar,
            Value::Array(_) => Form::List,
            Value::Object(_) => Form::Map,
        }
    }

    fn scalar(self) -> Option<Scalar<'v>> {
        Scalar::of(self)
    }

    fn entries(self) -> impl Iterator<Item = (Cow<'v, str>, Self)> {
        self.as_object().into_iter().flatten().map(|(name, value)| (Cow::Borrowed(&**name), value))
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }

    fn get(self, name: &str) -> Option<Self> {
        Value::get(self, name)
    }

    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Number::from(a) == Number::from(b),
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| a.same(b)))
            }
            (a, b) => a == b,
        }
    }

    fn is_same_text(self, _: Self) -> bool {
        false
    }
}

/// Where a value stands in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    start: u32,
    end: u32,
    /// The place after all that is inside of this one.
    next: u32,
}

/// The places of all values of a text, each before those inside of it; entries of maps as name and value in turn.
#[derive(Debug)]
pub(super) struct Tape<'j> {
    json: &'j str,
    places: Vec<Place>,
}

/// A value of a text. What it tells of the text lives as long as that; the tape may be gone by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'j, 't> {
    json: &'j str,
    places: &'t [Place],
    at: usize,
}

/// How deep a text may be nested.
const DEPTH_MAX: usize = 128;

impl<'j> Tape<'j> {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(super) fn read(json: &'j [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(json).map_err(|error| Error::new(error.to_string()))?;
        // Most values are short.
        let mut reader = Reader { json, at: 0, places: Vec::with_capacity(json.len() / 10 + 8) };
        u32::try_from(json.len()).ok().and_then(|_| reader.value(0)).ok_or_else(|| Error::new("this is not JSON"))?;
        reader.skip_space();
        if reader.at != json.len() {
            return Err(Error::new("something stands after the JSON"));
        }
        Ok(Self { json: text, places: reader.places })
    }

    pub(super) fn root(&self) -> Node<'j, '_> {
        Node { json: self.json, places: &self.places, at: 0 }
    }
}

struct Reader<'j> {
    json: &'j [u8],
    at: usize,
    places: Vec<Place>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a value; `None` when there is none.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        let (index, start) = (self.places.len(), self.at);
        self.places.push(Place { start: 0, end: 0, next: 0 });
        match self.peek()? {
            b'"' => self.string()?,
            open @ (b'{' | b'[') => self.container(open == b'{', depth)?,
            _ => {
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                    self.at += 1;
                }
                if self.at == start {
                    return None;
                }
            }
        }
        self.close(index, start);
        Some(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "the text is shorter than four gigabytes, which was looked at")]
    fn close(&mut self, index: usize, start: usize) {
        self.places[index] = Place { start: start as u32, end: self.at as u32, next: self.places.len() as u32 };
    }

    fn container(&mut self, is_map: bool, depth: usize) -> Option<()> {
        let close = if is_map { b'}' } else { b']' };
        self.at += 1;
        self.skip_space();
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            if is_map {
                self.skip_space();
                let (index, start) = (self.places.len(), self.at);
                self.places.push(Place { start: 0, end: 0, next: 0 });
                if self.peek()? != b'"' {
                    return None;
                }
                self.string()?;
                self.close(index, start);
                self.skip_space();
                if self.peek()? != b':' {
                    return None;
                }
                self.at += 1;
            }
            self.value(depth + 1)?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

impl<'j> Node<'j, '_> {
    fn place(self) -> Place {
        self.places[self.at]
    }

    /// The value as it stands in the text.
    pub(super) fn text(self) -> &'j str {
        let place = self.place();
        &self.json[place.start as usize..place.end as usize]
    }

    /// The text that the value is, without quotes and escapes, if it is one.
    pub(super) fn string(self) -> Option<Cow<'j, str>> {
        let text = self.text();
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') { serde_json::from_str(text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
    }

    fn inside(self) -> (usize, usize) {
        (self.at + 1, self.place().next as usize)
    }
}

impl<'j> Tree<'j> for Node<'j, '_> {
    fn form(self) -> Form {
        match self.text().as_bytes().first() {
            Some(b'{') => Form::Map,
            Some(b'[') => Form::List,
            Some(b'n') | None => Form::Null,
            Some(_) => Form::Scalar,
        }
    }

    fn scalar(self) -> Option<Scalar<'j>> {
        Some(match self.text() {
            "null" => Scalar::Null,
            "true" => Scalar::Bool(true),
            "false" => Scalar::Bool(false),
            text if text.starts_with('"') => Scalar::String(self.string()?),
            text => match text.parse() {
                Ok(whole) => Scalar::Number(Number::Whole(whole)),
                Err(_) => Scalar::Number(Number::Real(text.parse().ok()?)),
            },
        })
    }

    fn entries(self) -> impl Iterator<Item = (Cow<'j, str>, Self)> {
        let is_map = self.form() == Form::Map;
        let (mut at, end) = self.inside();
        std::iter::from_fn(move || {
            if !is_map || at >= end {
                return None;
            }
            let name = Node { at, ..self };
            let value = Node { at: at + 1, ..self };
            at = value.place().next as usize;
            Some((name.string().unwrap_or_default(), value))
        })
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let is_list = self.form() == Form::List;
        let (mut at, end) = self.inside();
        std::iter::from_fn(move || {
            if !is_list || at >= end {
                return None;
            }
            let element = Node { at, ..self };
            at = element.place().next as usize;
            Some(element)
        })
    }

    fn get(self, name: &str) -> Option<Self> {
        self.entries().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    fn same(self, other: Self) -> bool {
        self.text() == other.text()
    }

    fn is_same_text(self, other: Self) -> bool {
        self.same(other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn value(node: Node<'_, '_>) -> Value {
        match node.form() {
            Form::Map => Value::Object(node.entries().map(|(name, child)| (name.into_owned(), value(child))).collect()),
            Form::List => Value::Array(node.elements().map(value).collect()),
            Form::Null | Form::Scalar => serde_json::from_str(node.text()).unwrap(),
        }
    }

    #[test]
    fn a_tape_is_the_text() {
        for text in [
            r#"{"a":1,"b":{"c":[1,-2.5e3,"x\"y",true,null,{},[]]},"d\n":""}"#,
            r#" { "a" : [ 1 , { "b" : [ ] } ] , "c" : false } "#,
            "[]",
            "\"é\"",
            "7",
        ] {
            let tape = Tape::read(text.as_bytes()).unwrap();
            assert_eq!(value(tape.root()), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for text in ["", "{", "[1", "{\"a\"}", "{\"a\":}", "{1:2}", "[1}", "\"a", "[] []", "[1 2]", "\"a\\", &deep] {
            assert!(Tape::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Tape::read(b"\"\xff\"").is_err());
    }
}
