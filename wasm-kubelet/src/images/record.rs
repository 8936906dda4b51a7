//! What a name in the store stands for. As text: the digest of the module on the first line, and for what came from a
//! registry a second one, in JSON.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::program::Program;
use super::store::Digest;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the module's bytes.
    pub digest: Digest,
    /// Of the manifest that the registry has for it; `None` for what came in another way.
    pub manifest: Option<Digest>,
    pub program: Program,
    /// Who was given it by the registry; empty for what came in another way.
    pub readers: Vec<Reader>,
    /// The fingerprint of whoever signed it, where that was asked for.
    pub signer: Option<String>,
}

/// Whom a registry gave an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    Anybody,
    /// Who has credentials with this fingerprint.
    Holder(String),
}

impl Record {
    /// A module that came without a registry.
    pub fn of(digest: Digest) -> Self {
        Self { digest, manifest: None, program: Program::default(), readers: Vec::new(), signer: None }
    }

    /// Whether every pod of this node may use it.
    pub fn is_for_all(&self) -> bool {
        self.manifest.is_none() || self.readers.contains(&Reader::Anybody)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.digest)?;
        let Some(manifest) = &self.manifest else { return Ok(()) };
        let readers: Vec<&str> = self.readers.iter().map(Reader::as_str).collect();
        let said = json!({
            "manifest": manifest.to_string(),
            "readers": readers,
            "signer": self.signer,
            "config": self.program.to_config(),
        });
        writeln!(f, "{said}")
    }
}

impl FromStr for Record {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut lines = text.lines();
        let digest = lines.next().ok_or(())?.trim_end().parse()?;
        let Some(line) = lines.next() else { return Ok(Self::of(digest)) };
        let said: Value = serde_json::from_str(line).map_err(|_| ())?;
        let readers = said["readers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            digest,
            manifest: Some(said["manifest"].as_str().ok_or(())?.parse()?),
            program: Program::of_config(&said["config"]),
            readers: readers.map(Reader::of).collect(),
            signer: said["signer"].as_str().map(str::to_owned),
        })
    }
}

impl Reader {
    fn as_str(&self) -> &str {
        match self {
            Self::Anybody => "*",
            Self::Holder(fingerprint) => fingerprint,
        }
    }

    fn of(text: &str) -> Self {
        if text == "*" { Self::Anybody } else { Self::Holder(text.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let plain = Record::of(Digest::of(b"module"));
        let program = Program {
            entrypoint: vec!["/app.wasm".into()],
            cmd: vec!["a b".into()],
            env: vec![("A".into(), "=\n".into())],
        };
        let pulled = Record {
            manifest: Some(Digest::of(b"manifest")),
            program,
            readers: vec![Reader::Anybody, Reader::Holder("ab12".into())],
            signer: Some("cd34".into()),
            ..plain.clone()
        };
        for record in [plain, pulled] {
            assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        }
        for broken in ["", "sha256:12", &format!("{}\n{{}}", Digest::of(b"x"))] {
            assert!(broken.parse::<Record>().is_err(), "{broken:?}");
        }
    }
}
