//! What a `.wasm` is, read from its structure without compiling it.

use wasmparser::{BinaryReaderError, ComponentExternalKind, ExternalKind, Parser, Payload, TypeRef};

use crate::load::LoadError;
use crate::offer::{offers_function, offers_interface};

/// What a `.wasm` says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Core module or component.
    pub form: Form,
    /// The WASI that it imports or exports, if any.
    pub wasi: Option<Wasi>,
    /// What it can be used as.
    pub world: World,
    /// The version of the component interface by which it is used so, if it is one: its world's, whatever it imports.
    pub entry: Option<Wasi>,
    /// Imports, in order: `module.name` of a module, the full interface name of a component.
    pub imports: Vec<String>,
    /// Exports, in order.
    pub exports: Vec<String>,
    /// Those of the imports that this host does not offer.
    pub not_offered: Vec<String>,
    /// Size of the file.
    pub bytes: u64,
}

/// The two forms that the binary format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Versions of WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wasi {
    /// `wasi_unstable`, the first snapshot.
    P0,
    /// `wasi_snapshot_preview1`.
    P1,
    /// The component interfaces at 0.2.
    P2,
    /// The component interfaces at 0.3.
    P3,
}

/// What a program can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Runs from start to end: exports `_start`, or `wasi:cli/run`.
    Command,
    /// Answers HTTP requests: exports `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`.
    HttpProxy,
    /// Is initialised and then called by a host that knows it: exports `_initialize` and no `_start`. Here it is
    /// initialised, and has then ended: nobody calls it.
    Reactor,
    /// None of these.
    Library,
}

impl Inspection {
    /// Whether this host can run it.
    pub fn is_runnable(&self) -> bool {
        self.refusal().is_none()
    }

    /// Whether it can open files: what it is granted of the file system is nothing to it otherwise.
    pub fn opens_files(&self) -> bool {
        self.imports.iter().any(|import| import.ends_with(".path_open") || import.starts_with("wasi:filesystem/"))
    }

    /// Why this host cannot run it.
    pub(crate) fn refusal(&self) -> Option<LoadError> {
        if !self.not_offered.is_empty() {
            return Some(LoadError::NotOffered { imports: self.not_offered.clone() });
        }
        match (self.world, self.form) {
            (World::Command | World::HttpProxy | World::Reactor, _) => None,
            (World::Library, Form::Module) => Some(LoadError::NoStart),
            (World::Library, Form::Component) => Some(LoadError::NoWorld { exports: self.exports.clone() }),
        }
    }
}

/// Reads what `bytes` are.
///
/// # Errors
///
/// When they are not a WebAssembly binary, or a truncated or malformed one. A program that this
/// host cannot run is not an error here: [`Inspection::not_offered`] and [`Inspection::world`] say
/// so.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let form = form(bytes)?;
    let found = Found::within(bytes).map_err(|error| broken(&error, bytes.len()))?;
    Ok(found.conclude(form, bytes.len()))
}

/// What is wrong with `length` bytes. One that is only found at their end is that they end.
fn broken(error: &BinaryReaderError, length: usize) -> LoadError {
    let (offset, message) = (error.offset(), error.message());
    if offset >= length || message.starts_with("unexpected end") {
        LoadError::Truncated { offset }
    } else {
        LoadError::Malformed { offset, message: message.to_owned() }
    }
}

/// Tells the form from the first eight bytes: the magic, the version, the layer.
fn form(bytes: &[u8]) -> Result<Form, LoadError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Ok(Form::Module),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(Form::Component),
        [0, b'a', b's', b'm', _, _, _, _, ..] => {
            Err(LoadError::Malformed { offset: 4, message: "unknown version".to_owned() })
        }
        _ if b"\0asm\x01\0\0\0".starts_with(bytes) && !bytes.is_empty() => {
            Err(LoadError::Truncated { offset: bytes.len() })
        }
        _ if is_text(bytes) => Err(LoadError::Text),
        _ => Err(LoadError::NotWasm { begins: bytes.iter().copied().take(4).collect() }),
    }
}

/// Whether this looks like the text format: a form in parentheses after blanks and comments.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    [&b"(module"[..], b"(component", b";;", b"(;"].iter().any(|start| text.starts_with(start))
}

/// Imports and exports of the outermost module or component.
#[derive(Default)]
struct Found {
    imports: Vec<String>,
    exports: Vec<String>,
    not_offered: Vec<String>,
    wasi: Option<Wasi>,
    starts: bool,
    initializes: bool,
    /// Versions of `wasi:cli/run` exported.
    runs: Option<Wasi>,
    /// Versions of the interface that handles HTTP requests exported.
    handles: Option<Wasi>,
}

impl Found {
    /// Reads the sections of the outermost level.
    fn within(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut found = Self::default();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                payload if depth == 1 => found.read(payload)?,
                _ => {}
            }
        }
        Ok(found)
    }

    fn read(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.import_item(import.module, import.name, &import.ty);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.export_item(export.name, export.kind);
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    self.import_interface(import?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.export_interface(export.name.name, export.kind);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import_item(&mut self, module: &str, name: &str, ty: &TypeRef) {
        let full = format!("{module}.{name}");
        if !(matches!(ty, TypeRef::Func(_)) && offers_function(module, name)) {
            self.not_offered.push(full.clone());
        }
        self.imports.push(full);
        self.wasi = self.wasi.max(match module {
            "wasi_unstable" => Some(Wasi::P0),
            "wasi_snapshot_preview1" => Some(Wasi::P1),
            _ => None,
        });
    }

    fn export_item(&mut self, name: &str, kind: ExternalKind) {
        self.starts |= name == "_start" && kind == ExternalKind::Func;
        self.initializes |= name == "_initialize" && kind == ExternalKind::Func;
        self.exports.push(name.to_owned());
    }

    fn import_interface(&mut self, name: &str) {
        if !offers_interface(name) {
            self.not_offered.push(name.to_owned());
        }
        self.imports.push(name.to_owned());
        self.wasi = self.wasi.max(Wasi::of_interface(name));
    }

    fn export_interface(&mut self, name: &str, kind: ComponentExternalKind) {
        let version = Wasi::of_interface(name).filter(|_| kind == ComponentExternalKind::Instance);
        match (name.split('@').next(), version) {
            (Some("wasi:cli/run"), Some(_)) => self.runs = earliest(self.runs, version),
            (Some("wasi:http/incoming-handler"), Some(Wasi::P2)) => self.handles = earliest(self.handles, version),
            (Some("wasi:http/handler"), Some(Wasi::P3)) => self.handles = earliest(self.handles, version),
            _ => {}
        }
        self.exports.push(name.to_owned());
        self.wasi = self.wasi.max(Wasi::of_interface(name));
    }

    fn conclude(self, form: Form, bytes: usize) -> Inspection {
        let world = match form {
            _ if self.handles.is_some() => World::HttpProxy,
            _ if self.runs.is_some() || self.starts => World::Command,
            Form::Module if self.initializes => World::Reactor,
            _ => World::Library,
        };
        Inspection {
            form,
            wasi: self.wasi,
            world,
            entry: self.handles.or(self.runs),
            imports: self.imports,
            exports: self.exports,
            not_offered: self.not_offered,
            bytes: bytes as u64,
        }
    }
}

/// The earlier of two versions: what a program offers in both ways is used in the settled one.
fn earliest(one: Option<Wasi>, other: Option<Wasi>) -> Option<Wasi> {
    one.into_iter().chain(other).min()
}

impl Wasi {
    /// The WASI that an interface name such as `wasi:io/poll@0.2.0` belongs to. Drafts belong to none: each is different.
    pub(crate) fn of_interface(interface: &str) -> Option<Self> {
        let (_, version) = interface.strip_prefix("wasi:")?.split_once('@')?;
        let (minor, patch) = version.rsplit_once('.')?;
        patch.parse::<u32>().ok()?;
        match minor {
            "0.2" => Some(Self::P2),
            "0.3" => Some(Self::P3),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wat: &str) -> Inspection {
        inspect(&wat::parse_str(wat).expect("valid text")).expect("a wasm binary")
    }

    #[test]
    fn forms_worlds_and_versions() {
        use {Form::*, World::*};
        let table = [
            (r#"(module (func (export "_start")))"#, Module, None, Command),
            (r#"(module (func (export "_initialize")))"#, Module, None, Reactor),
            (r#"(module (func (export "add")))"#, Module, None, Library),
            (r#"(module (global (export "_start") i32 (i32.const 0)))"#, Module, None, Library),
            (
                r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (func (export "_start")))"#,
                Module,
                Some(Wasi::P1),
                Command,
            ),
            (
                r#"(module (import "wasi_unstable" "proc_exit" (func (param i32))) (func (export "_start")))"#,
                Module,
                Some(Wasi::P0),
                Command,
            ),
            (r#"(component)"#, Component, None, Library),
            (
                r#"(component (instance $i) (export "wasi:cli/run@0.2.3" (instance $i)))"#,
                Component,
                Some(Wasi::P2),
                Command,
            ),
            (
                r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
                Component,
                Some(Wasi::P2),
                HttpProxy,
            ),
            (
                r#"(component (instance $i) (export "wasi:cli/run@0.3.0" (instance $i)))"#,
                Component,
                Some(Wasi::P3),
                Command,
            ),
            (
                r#"(component (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#,
                Component,
                Some(Wasi::P3),
                HttpProxy,
            ),
            (
                r#"(component (instance $i) (export "wasi:http/incoming-handler@0.3.0" (instance $i)))"#,
                Component,
                Some(Wasi::P3),
                Library,
            ),
            (
                r#"(component (instance $i) (export "wasi:cli/run@0.2.0-rc-2023-11-10" (instance $i)))"#,
                Component,
                None,
                Library,
            ),
        ];
        for (wat, form, wasi, world) in table {
            let inspection = read(wat);
            assert_eq!((inspection.form, inspection.wasi, inspection.world), (form, wasi, world), "{wat}");
        }
    }

    #[test]
    fn what_is_offered_twice_is_used_in_the_settled_version() {
        let both = read(
            r#"(component (instance $i)
                (export "wasi:cli/run@0.3.0" (instance $i)) (export "wasi:cli/run@0.2.0" (instance $i)))"#,
        );
        assert_eq!((both.entry, both.wasi), (Some(Wasi::P2), Some(Wasi::P3)));
    }

    #[test]
    fn every_import_that_is_missing_is_named() {
        let component = read(
            r#"(component
                (import "wasi:keyvalue/store@0.2.0" (instance))
                (import "wasi:io/poll@0.2.1" (instance))
                (import "acme:host/thing" (instance)))"#,
        );
        assert_eq!(component.not_offered, ["wasi:keyvalue/store@0.2.0", "acme:host/thing"]);
        assert_eq!(component.imports.len(), 3);
        let module = read(
            r#"(module
                (import "env" "memory" (memory 1))
                (import "wasi_snapshot_preview1" "fd_write" (func))
                (import "wasi_snapshot_preview1" "fd_teleport" (func)))"#,
        );
        assert_eq!(module.not_offered, ["env.memory", "wasi_snapshot_preview1.fd_teleport"]);
    }

    #[test]
    fn what_stands_inside_a_component_is_its_own_business() {
        let component = read(
            r#"(component
                (core module (import "env" "x" (func)) (func (export "_start")))
                (component (import "inner" (instance))))"#,
        );
        assert!(component.imports.is_empty());
        assert_eq!(component.world, World::Library);
    }

    #[test]
    fn no_prefix_of_a_module_is_taken_for_something_else() {
        let whole = wat::parse_str(r#"(module (func (export "_start")) (memory 1))"#).expect("text");
        for length in 1..whole.len() {
            match inspect(&whole[..length]) {
                Ok(_) => assert!(length >= 8, "a header alone is an empty module"),
                Err(LoadError::Truncated { offset }) => assert!(offset <= length),
                Err(error) => panic!("{length}: {error}"),
            }
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(matches!(inspect(b"(module)"), Err(LoadError::Text)));
        assert!(matches!(inspect(b"\n ;; hello\n(module)"), Err(LoadError::Text)));
        assert!(matches!(inspect(b"\x7fELF...."), Err(LoadError::NotWasm { .. })));
        assert!(matches!(inspect(b""), Err(LoadError::NotWasm { .. })));
        assert!(matches!(inspect(b"\0asm\x01\0\x07\0"), Err(LoadError::Malformed { .. })));
    }
}
