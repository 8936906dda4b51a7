//! Which objects a command line means: `pods`, `pod/a pod/b`, `deploy web`, `all`, `po,svc -l app=x`.

use crate::failure::{Failure, Result};
use crate::server::{Discovery, Resource};

/// What the words of a command line name.
#[derive(Debug)]
pub enum Targets {
    /// Whole kinds.
    Kinds(Vec<Resource>),
    /// Certain objects.
    Objects(Vec<Named>),
}

/// One object by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub resource: Resource,
    pub name: String,
}

impl Targets {
    /// Reads the words after a verb.
    ///
    /// # Errors
    /// When a kind is unknown, or the two forms are mixed.
    pub fn parse(discovery: &Discovery, words: &[String]) -> Result<Self> {
        if words.iter().any(|word| word.contains('/')) {
            return words.iter().map(|word| Named::parse(discovery, word)).collect::<Result<_>>().map(Self::Objects);
        }
        let Some((kinds, names)) = words.split_first() else {
            return Err(Failure::new("no resource type was named").with_hint("for example `pods`, or `pod/NAME`"));
        };
        let mut resources: Vec<Resource> = Vec::new();
        for word in kinds.split(',') {
            resources.extend(discovery.expand(word)?.into_iter().cloned());
        }
        if names.is_empty() {
            return Ok(Self::Kinds(resources));
        }
        let object = |resource: &Resource, name: &String| Named { resource: resource.clone(), name: name.clone() };
        Ok(Self::Objects(resources.iter().flat_map(|it| names.iter().map(move |name| object(it, name))).collect()))
    }
}

impl Named {
    /// Reads `TYPE/NAME`.
    ///
    /// # Errors
    /// When it is not of that form, or the type is unknown.
    pub fn parse(discovery: &Discovery, word: &str) -> Result<Self> {
        match word.split_once('/') {
            Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Self { resource: discovery.named(kind)?.clone(), name: name.to_owned() })
            }
            _ => Err(Failure::new(format!("\"{word}\" is not TYPE/NAME"))
                .with_hint("do not mix `TYPE NAME` and `TYPE/NAME`")),
        }
    }

    /// Reads `TYPE/NAME`, or `TYPE NAME`, as exactly one object.
    ///
    /// # Errors
    /// When the words name none, or several.
    pub fn one(discovery: &Discovery, words: &[String]) -> Result<Self> {
        match Targets::parse(discovery, words)? {
            Targets::Objects(mut objects) if objects.len() == 1 => Ok(objects.remove(0)),
            _ => Err(Failure::new("name one object, as TYPE/NAME")),
        }
    }
}
