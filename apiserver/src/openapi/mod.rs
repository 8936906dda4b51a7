//! OpenAPI: `/openapi/v2`, and `/openapi/v3` with a document a group and version.
//!
//! | module | what it owns |
//! |---|---|
//! | `text`, `custom` | the types: built-in ones from a packed text, custom ones from their definitions |
//! | `operations`, `parameters`, `about`, `names` | the paths: from the table of kinds |
//! | `schemas`, `v2`, `v3` | how either version says it |
//! | `protobuf`, `messages_v2`, `messages_v3` | the same in gnostic's messages |
//! | `document` | a whole document, written piece by piece |
//! | `publish` | which document is asked for, in which form; what is kept |
//!
//! Nothing is made before somebody asks for it; what was made is kept compressed. A document's hash is known without
//! making it: it is one of what the document is made from.

mod about;
mod custom;
mod document;
mod messages_v2;
mod messages_v3;
mod names;
mod operations;
mod parameters;
mod protobuf;
mod publish;
mod schemas;
mod text;
mod v2;
mod v3;

pub(crate) use publish::{Publisher, answer};

#[cfg(test)]
mod tests;
