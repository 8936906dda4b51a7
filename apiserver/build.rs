//! Packs what is published of the types: the text is kept readable in the repository and small in the program.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

const TEXT: &str = "../api/schema/openapi.txt";
const SOURCES: &str = "src/openapi";

fn main() -> io::Result<()> {
    let text = fs::read(TEXT)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&text)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::write(out.join("openapi.txt.gz"), packed.finish()?)?;
    // The documents are functions of the text, of the code that makes them, and of what is served. Clients keep them for
    // as long as their hash stays: it has to change with the first two, which are told here.
    let mut hasher = DefaultHasher::new();
    hasher.write(&text);
    for source in sources(Path::new(SOURCES))? {
        hasher.write(&fs::read(source)?);
    }
    println!("cargo::rustc-env=OPENAPI_DIGEST={:016x}", hasher.finish());
    println!("cargo::rerun-if-changed={TEXT}");
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
