//! The files of a container image, read to find the one module that it runs. Nothing is ever unpacked to where an archive
//! says: only the bytes of that file leave it. Every size and number in an archive is bound before it is believed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::limits::{IMAGE_FILES_MAX, IMAGE_UNPACKED_BYTES_MAX, ZSTD_WINDOW_BYTES_MAX};

/// Why no module came out of an image's files.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    #[error("a layer is broken")]
    Broken(#[source] io::Error),
    #[error("it unpacks to more than {} MiB", IMAGE_UNPACKED_BYTES_MAX >> 20)]
    TooLarge,
    #[error("it holds more than {IMAGE_FILES_MAX} files")]
    TooMany,
    #[error("it has no file {0:?}, which it says to run")]
    Missing(String),
    #[error("it does not say what to run, and holds {0} files whose name ends in .wasm")]
    Unclear(usize),
}

/// Longest path, and longest extended header, in bytes.
const PATH_BYTES_MAX: usize = 4096;
const EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// Symbolic links that are followed for one path.
const LINKS_MAX: usize = 16;
const BLOCK: usize = 512;

/// Finds the file at `path`, or the only `.wasm` there is, in layers from the lowest to the highest, and gives its bytes
/// to `take`.
///
/// # Errors
/// When there is none, when a layer is broken or too large, or when `take` fails.
pub fn extract<E: From<LayersError>>(
    layers: &[File],
    path: Option<&str>,
    take: impl FnOnce(&mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut budget = IMAGE_UNPACKED_BYTES_MAX;
    let mut tree = Tree::default();
    for (layer, file) in layers.iter().enumerate() {
        tree.add(layer, open(file)?, &mut budget)?;
    }
    let (layer, at) = tree.find(path)?;
    let mut budget = IMAGE_UNPACKED_BYTES_MAX;
    let mut archive = Archive::new(open(&layers[layer])?, &mut budget);
    for _ in 0..=at {
        archive.next()?;
    }
    take(&mut archive)
}

/// A layer's archive, unpacked as its first bytes say and not as its media type does.
fn open(file: &File) -> Result<Box<dyn Read + '_>, LayersError> {
    use std::io::Seek;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    reader.rewind().map_err(LayersError::Broken)?;
    match reader.fill_buf().map_err(LayersError::Broken)? {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Box::new(Frames::new(reader))),
        _ => Ok(Box::new(reader)),
    }
}

/// The contents of zstd frames, one after another. Source: RFC 8878, section 3.1.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Self { source, decoder, is_within: false }
    }

    /// Goes into the next frame that holds anything; false at the end.
    fn enter(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within && !self.enter()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            self.is_within = read > 0 || buffer.is_empty();
            if self.is_within {
                return Ok(read);
            }
        }
    }
}

/// What the layers make together: paths without a leading slash.
#[derive(Default)]
struct Tree {
    nodes: HashMap<String, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// The `at`th entry of a layer.
    File {
        layer: usize,
        at: usize,
    },
    Symbolic(String),
    Hard(String),
}

impl Tree {
    /// Puts a layer on top. Source: the OCI image specification, "whiteouts".
    fn add(&mut self, layer: usize, archive: impl Read, budget: &mut u64) -> Result<(), LayersError> {
        let mut archive = Archive::new(archive, budget);
        let mut own: HashMap<String, Node> = HashMap::new();
        for at in 0.. {
            let Some(entry) = archive.next()? else { break };
            let Some(path) = plain(&entry.path) else { continue };
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                self.remove_below(folder);
            } else if let Some(hidden) = name.strip_prefix(".wh.") {
                let hidden = if folder.is_empty() { hidden.to_owned() } else { format!("{folder}/{hidden}") };
                self.nodes.remove(&hidden);
                self.remove_below(&hidden);
            } else {
                let node = match entry.kind {
                    b'0' | 0 | b'7' => Node::File { layer, at },
                    b'1' => Node::Hard(entry.link),
                    b'2' => Node::Symbolic(entry.link),
                    _ => continue,
                };
                own.insert(path, node);
            }
            if self.nodes.len() + own.len() > IMAGE_FILES_MAX {
                return Err(LayersError::TooMany);
            }
        }
        self.nodes.extend(own);
        Ok(())
    }

    fn remove_below(&mut self, folder: &str) {
        let is_below =
            |path: &str| folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.nodes.retain(|path, _| !is_below(path));
    }

    fn find(&self, path: Option<&str>) -> Result<(usize, usize), LayersError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => {
                let modules: Vec<&String> = self.nodes.keys().filter(|path| path.ends_with(".wasm")).collect();
                match modules.as_slice() {
                    [only] => (*only).clone(),
                    several => return Err(LayersError::Unclear(several.len())),
                }
            }
        };
        self.follow(&path).ok_or(LayersError::Missing(path))
    }

    /// The file that a path leads to; links lead nowhere but within the image.
    fn follow(&self, path: &str) -> Option<(usize, usize)> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut here: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    here.pop();
                    continue;
                }
                _ => here.push(part),
            }
            let target = match self.nodes.get(&here.join("/")) {
                Some(Node::File { layer, at }) if rest.iter().all(String::is_empty) => return Some((*layer, *at)),
                Some(Node::Symbolic(target)) => target,
                Some(Node::Hard(target)) => {
                    here.clear();
                    target
                }
                _ => continue,
            };
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            here.pop();
            if target.starts_with('/') {
                here.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
        }
        None
    }
}

/// A path of an archive, without what leads nowhere; `None` for one that leads out.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// A tar archive, entry by entry; reads the entry's bytes. Sources: POSIX `pax`, GNU tar's long names.
struct Archive<'a, R> {
    inner: R,
    /// What may still be unpacked of the whole image.
    budget: &'a mut u64,
    /// Bytes of the entry, and of its padding, that were not read yet.
    left: u64,
    padding: u64,
}

struct EntryHead {
    path: String,
    link: String,
    kind: u8,
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    link: Option<String>,
    bytes: Option<u64>,
}

impl<'a, R: Read> Archive<'a, R> {
    fn new(inner: R, budget: &'a mut u64) -> Self {
        Self { inner, budget, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the end.
    fn next(&mut self) -> Result<Option<EntryHead>, LayersError> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let mut block = [0; BLOCK];
            if !self.fill(&mut block)? || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            check(&block)?;
            let bytes = number(&block[124..136])?;
            let kind = block[156];
            if matches!(kind, b'L' | b'K' | b'x' | b'g') {
                self.enter(bytes);
                let text = self.extension()?;
                match kind {
                    b'L' => extension.path = Some(c_string(&text)?),
                    b'K' => extension.link = Some(c_string(&text)?),
                    b'x' => extension.read(&text)?,
                    _ => {}
                }
                continue;
            }
            let prefix = if block[257..262] == *b"ustar" { c_string(&block[345..500])? } else { String::new() };
            let name = c_string(&block[..100])?;
            let short = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let path = extension.path.unwrap_or(short);
            let link = extension.link.map_or_else(|| c_string(&block[157..257]), Ok)?;
            if path.len() > PATH_BYTES_MAX || link.len() > PATH_BYTES_MAX {
                return Err(broken("a path is too long"));
            }
            let has_bytes = !matches!(kind, b'1'..=b'6');
            self.enter(if has_bytes { extension.bytes.unwrap_or(bytes) } else { 0 });
            return Ok(Some(EntryHead { path, link, kind }));
        }
    }

    fn enter(&mut self, bytes: u64) {
        self.left = bytes;
        self.padding = bytes.next_multiple_of(BLOCK as u64).saturating_sub(bytes);
    }

    fn extension(&mut self) -> Result<Vec<u8>, LayersError> {
        if self.left > EXTENSION_BYTES_MAX {
            return Err(broken("an extended header is too long"));
        }
        let mut text = Vec::new();
        self.read_to_end(&mut text).map_err(unpacking)?;
        Ok(text)
    }

    fn skip(&mut self) -> Result<(), LayersError> {
        self.left = self.left.checked_add(self.padding).ok_or_else(|| broken("an entry is too large"))?;
        self.padding = 0;
        io::copy(self, &mut io::sink()).map_err(unpacking)?;
        if self.left > 0 { Err(broken("it ends too early")) } else { Ok(()) }
    }

    /// Fills a block; `false` at the end.
    fn fill(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayersError> {
        self.left = BLOCK as u64;
        match self.read_exact(block) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.left = 0;
                Ok(false)
            }
            Err(error) => Err(unpacking(error)),
        }
    }
}

impl<R: Read> Read for Archive<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        *self.budget = self.budget.checked_sub(read as u64).ok_or_else(|| io::Error::other(OverBudget))?;
        Ok(read)
    }
}

impl Extension {
    /// Source: POSIX, "pax Extended Header": `length keyword=value\n`.
    fn read(&mut self, text: &[u8]) -> Result<(), LayersError> {
        let mut rest = text;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(|| broken("a pax header is broken"))?;
            let length: usize = std::str::from_utf8(&rest[..space])
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|length| (space + 2..=rest.len()).contains(length))
                .ok_or_else(|| broken("a pax header is broken"))?;
            let record = String::from_utf8_lossy(&rest[space + 1..length - 1]);
            if let Some((keyword, value)) = record.split_once('=') {
                match keyword {
                    "path" => self.path = Some(value.to_owned()),
                    "linkpath" => self.link = Some(value.to_owned()),
                    "size" => self.bytes = Some(value.parse().map_err(|_| broken("a size is no number"))?),
                    _ => {}
                }
            }
            rest = &rest[length..];
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it unpacks to too much")]
struct OverBudget;

fn unpacking(error: io::Error) -> LayersError {
    match error.get_ref() {
        Some(inner) if inner.is::<OverBudget>() => LayersError::TooLarge,
        _ => LayersError::Broken(error),
    }
}

fn broken(why: &'static str) -> LayersError {
    LayersError::Broken(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn c_string(field: &[u8]) -> Result<String, LayersError> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).map_err(|_| broken("a path is no UTF-8"))
}

/// Octal, or for large numbers base 256.
fn number(field: &[u8]) -> Result<u64, LayersError> {
    let error = || broken("a size is no number");
    if field[0] & 0x80 != 0 {
        let start = field.len() - 8;
        let is_small = field[0] == 0x80 && field[1..start].iter().all(|byte| *byte == 0);
        let bytes: [u8; 8] = field[start..].try_into().map_err(|_| error())?;
        return if is_small { Ok(u64::from_be_bytes(bytes)) } else { Err(error()) };
    }
    let text = std::str::from_utf8(field).map_err(|_| error())?;
    let digits = text.trim_matches(['\0', ' ']);
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| error()) }
}

fn check(block: &[u8; BLOCK]) -> Result<(), LayersError> {
    let sum: u64 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    if number(&block[148..156])? == sum { Ok(()) } else { Err(broken("a header's sum is wrong")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn entry(path: &str, kind: u8, link: &str, bytes: &[u8]) -> Vec<u8> {
        let mut block = head(path, kind, link, bytes.len() as u64);
        block.extend_from_slice(bytes);
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        block
    }

    fn head(path: &str, kind: u8, link: &str, bytes: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        block[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..262].copy_from_slice(b"ustar");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn layer(entries: &[Vec<u8>]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&entries.concat()).unwrap();
        file.write_all(&[0; 2 * BLOCK]).unwrap();
        file
    }

    fn found(layers: &[File], path: Option<&str>) -> Result<String, String> {
        let mut text = String::new();
        let taken =
            extract(layers, path, |bytes| bytes.read_to_string(&mut text).map(drop).map_err(LayersError::Broken));
        let chain = |error: LayersError| crate::pod::execute::chain(&error);
        taken.map(|()| text).map_err(chain)
    }

    #[test]
    fn the_file_that_runs_is_found_through_layers_and_links() {
        let long = format!("{}/app.wasm", "x".repeat(150));
        let pax = format!("{} path={long}\n", 10 + long.len());
        let base = layer(&[
            entry("./", b'5', "", b""),
            entry("./app.wasm", b'0', "", b"old"),
            entry("bin/tool.wasm", b'0', "", b"tool"),
            entry("gone/a.wasm", b'0', "", b"gone"),
            entry("../../etc/passwd", b'0', "", b"out"),
        ]);
        let top = layer(&[
            entry("app.wasm", b'0', "", b"new"),
            entry("run", b'2', "/usr/bin/tool.wasm", b""),
            entry("usr", b'2', ".", b""),
            entry("hard", b'1', "./app.wasm", b""),
            entry("loop", b'2', "loop", b""),
            entry("out", b'2', "../../../../app.wasm", b""),
            entry(".wh.gone", b'0', "", b""),
            entry("pax", b'x', "", pax.as_bytes()),
            entry("short", b'0', "", b"long"),
            entry("././@LongLink", b'L', "", b"gnu/long.bin\0"),
            entry("short", b'0', "", b"gnu"),
        ]);
        let layers = [base, top];
        let table = [
            ("/app.wasm", Some("new")),
            ("run", Some("tool")),
            ("/usr/usr/bin/../bin/tool.wasm", Some("tool")),
            ("hard", Some("new")),
            ("out", Some("new")),
            (&long, Some("long")),
            ("gnu/long.bin", Some("gnu")),
            ("loop", None),
            ("gone/a.wasm", None),
            ("etc/passwd", None),
            ("app.wasm/x", None),
            ("bin", None),
        ];
        for (path, want) in table {
            assert_eq!(found(&layers, Some(path)).ok().as_deref(), want, "{path}");
        }
        assert_eq!(found(&layers[..1], None).unwrap_err(), LayersError::Unclear(3).to_string());
        assert_eq!(found(&[layer(&[entry("d/only.wasm", b'0', "", b"only")])], None).unwrap(), "only");
        let opaque = layer(&[entry(".wh..wh..opq", b'0', "", b""), entry("n.wasm", b'0', "", b"n")]);
        assert_eq!(found(&[layers[0].try_clone().unwrap(), opaque], None).unwrap(), "n");
    }

    #[test]
    fn layers_are_unpacked_however_they_are_compressed() {
        let mut plain = Vec::new();
        let mut archive = layer(&[entry("app.wasm", b'0', "", &[b'x'; 300_000])]);
        io::Seek::rewind(&mut archive).unwrap();
        archive.read_to_end(&mut plain).unwrap();
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&plain)].concat();
        let (one, other) = plain.split_at(plain.len() / 3);
        for compressed in [plain.clone(), zstd(&plain), skipped, [zstd(one), zstd(&[]), zstd(other)].concat()] {
            assert_eq!(found(&[file(&compressed)], None).unwrap().len(), 300_000);
            let broken = found(&[file(&compressed[..compressed.len() / 2])], None);
            assert!(broken.is_err(), "a half of it");
        }
    }

    #[test]
    fn bombs_and_broken_archives_are_refused() {
        let gzip = |write: &dyn Fn(&mut dyn Write)| {
            let mut encoder = flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::fast());
            write(&mut encoder);
            encoder.finish().unwrap()
        };
        let bomb = gzip(&|out| {
            out.write_all(&head("app.wasm", b'0', "", 1 << 32)).unwrap();
            let zeros = vec![0; 1 << 20];
            for _ in 0..1100 {
                out.write_all(&zeros).unwrap();
            }
        });
        assert!(bomb.metadata().unwrap().len() < 16 << 20, "a bomb is small");
        assert!(found(&[bomb], None).unwrap_err().contains("more than 1024 MiB"));
        let crowd = gzip(&|out| {
            for at in 0..=IMAGE_FILES_MAX {
                out.write_all(&entry(&format!("f{at}"), b'0', "", b"")).unwrap();
            }
        });
        assert!(found(&[crowd], None).unwrap_err().contains("files"));
        let short = layer(&[head("app.wasm", b'0', "", 1 << 20)]);
        assert!(found(&[short], None).unwrap_err().contains("too early"));
        let long_name = layer(&[head("x", b'L', "", 1 << 30)]);
        assert!(found(&[long_name], None).unwrap_err().contains("extended header"));
        let mut wrong = entry("app.wasm", b'0', "", b"x");
        wrong[0] = b'b';
        assert!(found(&[layer(&[wrong])], None).unwrap_err().contains("sum"));
        // A frame that asks for a window of a gigabyte.
        let mut wide = tempfile::tempfile().unwrap();
        wide.write_all(&[0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0]).unwrap();
        assert!(found(&[wide], None).unwrap_err().contains("window"), "a window");
        let mut pax = layer(&[entry("x", b'x', "", b"99999999999999999999 path=a\n"), entry("a", b'0', "", b"")]);
        assert!(found(&[pax.try_clone().unwrap()], Some("a")).unwrap_err().contains("pax"));
        pax.flush().unwrap();
    }
}
