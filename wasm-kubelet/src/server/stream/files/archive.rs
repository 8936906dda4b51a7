//! Archives: members of a block that says what they are, and then so many blocks of content. Source: POSIX, `pax`.

use std::io::{self, Read, Write};

use crate::limits::TAR_EXTENSION_BYTES_MAX;

pub const BLOCK: usize = 512;
/// The largest number in a field of eleven octal digits.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link(String),
    /// Nothing that is made here.
    Other(char),
}

/// A file, a folder or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub size: u64,
    pub mode: u32,
    pub kind: Kind,
}

impl Member {
    /// Writes the member's head; its content is to follow, and then [`pad`].
    ///
    /// # Errors
    /// Of the writer.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let target = if let Kind::Link(target) = &self.kind { target } else { "" };
        let mut records = String::new();
        for (key, value, fits) in [
            ("path", self.name.as_str(), self.name.len() <= 100 && self.name.is_ascii()),
            ("linkpath", target, target.len() <= 100 && target.is_ascii()),
            ("size", &self.size.to_string(), self.size <= OCTAL_MAX),
        ] {
            if !fits {
                records += &record(key, value);
            }
        }
        if !records.is_empty() {
            to.write_all(&head("././@PaxHeader", records.len() as u64, 0o644, b'x', ""))?;
            to.write_all(records.as_bytes())?;
            pad(to, records.len() as u64)?;
        }
        let kind = match self.kind {
            Kind::File => b'0',
            Kind::Link(_) => b'2',
            Kind::Folder => b'5',
            Kind::Other(kind) => u8::try_from(kind).unwrap_or(b'?'),
        };
        to.write_all(&head(&self.name, self.size, self.mode, kind, target))
    }
}

/// A record of an extended head: its own length, with the digits of it, then what it says.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}")
}

fn head(name: &str, size: u64, mode: u32, kind: u8, target: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        let count = bytes.len().min(room);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    put(0, name.as_bytes(), 100);
    put(100, format!("{:07o}", mode & 0o7777).as_bytes(), 7);
    put(108, b"0000000", 7);
    put(116, b"0000000", 7);
    put(124, format!("{:011o}", size.min(OCTAL_MAX)).as_bytes(), 11);
    put(136, b"00000000000", 11);
    put(148, b"        ", 8);
    put(156, &[kind], 1);
    put(157, target.as_bytes(), 100);
    put(257, b"ustar\x0000", 8);
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = |at: usize| (148..156).contains(&at);
    block.iter().enumerate().map(|(at, byte)| if own(at) { 32 } else { u32::from(*byte) }).sum()
}

/// Fills the last block of `size` bytes of content.
///
/// # Errors
/// Of the writer.
pub fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    to.write_all(&[0; BLOCK][..padding(size)])
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK - over }
}

/// Ends an archive.
///
/// # Errors
/// Of the writer.
pub fn finish(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])?;
    to.flush()
}

/// Reads the next member's head; none at the end of the archive. What follows is its content, and then [`skip_padding`].
///
/// # Errors
/// Of the reader, and when what comes is no archive.
pub fn next(from: &mut impl Read) -> io::Result<Option<Member>> {
    let (mut name, mut target, mut size) = (None, None, None);
    loop {
        let Some(block) = block(from)? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            // Whoever sends may be waiting until the rest of it is read.
            io::copy(from, &mut io::sink())?;
            return Ok(None);
        }
        if octal(&block[148..156]) != Some(checksum(&block).into()) {
            return Err(io::Error::other("This does not look like a tar archive"));
        }
        let own_size = number(&block[124..136]).ok_or_else(|| io::Error::other("a member of no size"))?;
        match block[156] {
            b'x' => {
                for (key, value) in records(&extension(from, own_size)?) {
                    match &*key {
                        "path" => name = Some(value),
                        "linkpath" => target = Some(value),
                        "size" => size = value.parse().ok(),
                        _ => {}
                    }
                }
            }
            b'g' => drop(extension(from, own_size)?),
            b'L' => name = Some(text(&extension(from, own_size)?)),
            b'K' => target = Some(text(&extension(from, own_size)?)),
            kind => {
                let size = size.unwrap_or(own_size);
                let kind = match kind {
                    b'0' | 0 | b'7' => Kind::File,
                    b'5' => Kind::Folder,
                    b'2' => Kind::Link(target.unwrap_or_else(|| text(&block[157..257]))),
                    other => Kind::Other(other.into()),
                };
                let mode = u32::try_from(octal(&block[100..108]).unwrap_or(0o644)).unwrap_or(0o644);
                let name = name.unwrap_or_else(|| whole_name(&block));
                // Only files have content, whatever is said of others.
                let size = if matches!(kind, Kind::Folder | Kind::Link(_)) { 0 } else { size };
                return Ok(Some(Member { name, size, mode, kind }));
            }
        }
    }
}

/// Reads over what fills the last block of `size` bytes of content.
///
/// # Errors
/// Of the reader.
pub fn skip_padding(from: &mut impl Read, size: u64) -> io::Result<()> {
    from.read_exact(&mut [0; BLOCK][..padding(size)])
}

/// A block; none where the input ends, which an archive should not, but may.
fn block(from: &mut impl Read) -> io::Result<Option<[u8; BLOCK]>> {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    while filled < BLOCK {
        match from.read(&mut block[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(Some(block))
}

fn extension(from: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(size).ok().filter(|length| *length <= TAR_EXTENSION_BYTES_MAX);
    let mut bytes = vec![0; length.ok_or_else(|| io::Error::other("a member's head is too large"))?];
    from.read_exact(&mut bytes)?;
    skip_padding(from, size)?;
    Ok(bytes)
}

fn records(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut records = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(record) = length.filter(|length| *length > space + 1).and_then(|length| bytes.get(space + 1..length))
        else {
            break;
        };
        bytes = &bytes[space + 1 + record.len()..];
        let record = String::from_utf8_lossy(record.strip_suffix(b"\n").unwrap_or(record));
        if let Some((key, value)) = record.split_once('=') {
            records.push((key.to_owned(), value.to_owned()));
        }
    }
    records
}

fn whole_name(block: &[u8; BLOCK]) -> String {
    let (name, prefix) = (text(&block[..100]), text(&block[345..500]));
    let is_ustar = &block[257..263] == b"ustar\0";
    if is_ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn octal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(text(field).trim(), 8).ok()
}

/// A size, in octal digits or, where it does not fit, in binary.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    let (high, low) = field.split_at(field.len() - 8);
    let is_small = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
    is_small.then(|| low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for (name, size, kind) in [
            ("a".to_owned(), 7, Kind::File),
            ("b".repeat(101), OCTAL_MAX + 1, Kind::File),
            ("ä".to_owned(), 0, Kind::Folder),
            ("c".to_owned(), 0, Kind::Link("d".repeat(200))),
        ] {
            let member = Member { name, size, mode: 0o640, kind };
            let mut bytes = Vec::new();
            member.write(&mut bytes).unwrap();
            assert_eq!(bytes.len() % BLOCK, 0);
            assert_eq!(next(&mut &bytes[..]).unwrap(), Some(member));
        }
        assert_eq!(record("path", &"x".repeat(90)).len(), 99, "the length counts itself");
        assert_eq!(record("path", &"x".repeat(91)).len(), 101);
    }

    #[test]
    fn hostile_archives_are_refused() {
        let changed = |at: usize, bytes: &[u8]| {
            let mut block = head("a", 3, 0o644, b'0', "");
            block[at..at + bytes.len()].copy_from_slice(bytes);
            let sum = checksum(&block);
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            block
        };
        let mut wrong_sum = head("a", 3, 0o644, b'0', "");
        wrong_sum[0] = b'b';
        let endless = head("a", TAR_EXTENSION_BYTES_MAX as u64 + 1, 0, b'x', "");
        let cut = head("a", 100, 0, b'x', "");
        for (what, bytes) in [
            ("noise", &[7; BLOCK][..]),
            ("a wrong sum", &wrong_sum),
            ("a size that is none", &changed(124, b"zzz")),
            ("a negative size", &changed(124, &[0xff; 12])),
            ("an endless extension", &endless),
            ("an extension that is cut off", &cut),
            ("half a block", &[0; 100]),
        ] {
            assert!(next(&mut &*bytes).is_err(), "{what}");
        }
        assert_eq!(next(&mut &[][..]).unwrap(), None);
        assert_eq!(next(&mut &[0; 2 * BLOCK][..]).unwrap(), None);
        for text in ["5", "5 a", "999999 a=b\n", "0 a=b\n", "x a=b\n", "18446744073709551616 a=b\n"] {
            assert_eq!(records(text.as_bytes()), [], "{text:?}");
        }
    }
}
