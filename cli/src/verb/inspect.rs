//! `coracle inspect`: what a `.wasm` is, whether this node can run it, and what it would be granted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use coracle_runtime::{Form, Inspection, Wasi, World};
use serde_json::json;

use crate::failure::{Failure, Hint, Result};
use crate::output::Out;
use crate::tabs;

/// No file that is longer is read: a module is not.
const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The module or component
    #[arg(value_name = "FILE.wasm")]
    path: PathBuf,

    /// The form of the answer [default: for people]
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Json,
}

/// Runs the verb.
///
/// # Errors
/// When the file cannot be read, or is not wasm. One that this node cannot run is no error.
pub fn run(options: &Options, out: Out<'_>) -> Result {
    let bytes = read(&options.path)?;
    let shown = options.path.display();
    let inspection = coracle_runtime::inspect(&bytes)
        .with_context(|| format!("cannot inspect {shown}"))
        .hint("a module is compiled for wasm32-wasip1, a component for wasm32-wasip2")?;
    let text = match options.output {
        Some(Format::Json) => format!("{:#}\n", as_json(&inspection)),
        None => describe(&options.path, &inspection),
    };
    Ok(write!(out, "{text}")?)
}

/// Reads a module of reasonable size.
///
/// # Errors
/// When it is not there, not readable, not a file, or too long.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if size.is_dir() {
        return Err(Failure::new(format!("{shown} is a folder")).with_hint("name the .wasm file in it"));
    }
    if size.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{shown} is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(fs::read(path).with_context(|| format!("cannot read {shown}"))?)
}

fn describe(path: &Path, inspection: &Inspection) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&format!("{name}:\t{value}\n"));
    field("File", &path.display().to_string());
    field("Form", form(inspection.form));
    field("WASI", inspection.wasi.map_or("none", wasi));
    field("World", world(inspection.world));
    field("Size", &format!("{} bytes", inspection.bytes));
    match (inspection.is_runnable(), inspection.not_offered.is_empty()) {
        (true, _) => field("Runs here", "yes"),
        (false, false) => field("Runs here", "no: it imports what this node does not offer"),
        (false, true) => field("Runs here", "no: it has nothing to run"),
    }
    let mut text = tabs::DESCRIBE.align(&text);
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    };
    list("Not offered", &inspection.not_offered);
    list("Imports", &inspection.imports);
    list("Exports", &inspection.exports);
    list("Granted by default", &granted(inspection));
    text
}

/// What a pod with nothing but an image would give it.
fn granted(inspection: &Inspection) -> Vec<String> {
    let imports = |part: &str| inspection.imports.iter().any(|import| import.contains(part));
    let module = inspection.form == Form::Module;
    let mut grants = vec!["stdout and stderr, kept as the pod's log".to_owned()];
    if imports("environment") || imports("environ_get") || imports("args_get") {
        grants.push("arguments and environment: those of the container, nothing of the host".to_owned());
    }
    if imports("filesystem") || module && imports("path_open") {
        grants.push("files: the container's volumes alone; none unless the pod mounts some".to_owned());
    }
    if imports("sockets") || imports("sock_") {
        grants.push("network: the pod's own address to listen on".to_owned());
    }
    if inspection.world == World::HttpProxy {
        grants.push("HTTP: requests to the pod's address at its containerPort".to_owned());
    }
    if imports("wasi:http/outgoing-handler") {
        grants.push("HTTP: requests to others".to_owned());
    }
    if imports("clock") {
        grants.push("clocks".to_owned());
    }
    if imports("random") {
        grants.push("random numbers".to_owned());
    }
    grants
}

fn as_json(inspection: &Inspection) -> serde_json::Value {
    json!({
        "form": form(inspection.form),
        "wasi": inspection.wasi.map(wasi),
        "world": world(inspection.world),
        "bytes": inspection.bytes,
        "runnable": inspection.is_runnable(),
        "notOffered": inspection.not_offered,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "granted": granted(inspection),
    })
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Module => "module",
        Form::Component => "component",
    }
}

fn wasi(wasi: Wasi) -> &'static str {
    match wasi {
        Wasi::P0 => "preview 0",
        Wasi::P1 => "preview 1",
        Wasi::P2 => "0.2",
        Wasi::P3 => "0.3",
    }
}

fn world(world: World) -> &'static str {
    match world {
        World::Command => "command",
        World::HttpProxy => "wasi:http service",
        World::Reactor => "reactor",
        World::Library => "library",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest module that runs: it exports a function `_start` that does nothing.
    const SMALLEST: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

    #[test]
    fn people_are_told_what_it_is() {
        let inspection = coracle_runtime::inspect(SMALLEST).expect("a module");
        let expected = "\
File:       a.wasm
Form:       module
WASI:       none
World:      command
Size:       36 bytes
Runs here:  yes
Exports:
  _start
Granted by default:
  stdout and stderr, kept as the pod's log
";
        assert_eq!(describe(Path::new("a.wasm"), &inspection), expected);
        assert_eq!(as_json(&inspection)["runnable"], true);
    }
}
