//! One record of a log: `2026-01-02T03:04:05.678901234Z stdout F text`. Source: the CRI logging format.

use std::io::Write;

use jiff::Timestamp;

/// Which of a guest's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// As in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A record, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// As written: RFC 3339 with nanoseconds.
    pub time: &'a [u8],
    pub source: Source,
    /// Whether the guest's line ends with this record; the next record goes on with it otherwise.
    pub is_full: bool,
    pub text: &'a [u8],
}

/// Appends one record to `out`; `text` holds no newline.
pub fn write(out: &mut Vec<u8>, time: Timestamp, source: Source, is_full: bool, text: &[u8]) {
    let tag = if is_full { 'F' } else { 'P' };
    write!(out, "{time:.9} {} {tag} ", source.as_str()).expect("a vector takes every write");
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Reads one record, without its newline; `None` when it is torn or foreign.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = parts.next()?;
    let source = match parts.next()? {
        b"stdout" => Source::Stdout,
        b"stderr" => Source::Stderr,
        _ => return None,
    };
    let is_full = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, source, is_full, text: parts.next()? })
}

impl Record<'_> {
    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let time: Timestamp = "2026-01-02T03:04:05.6789Z".parse().unwrap();
        let mut out = Vec::new();
        write(&mut out, time, Source::Stderr, false, b"two  words ");
        assert_eq!(out, b"2026-01-02T03:04:05.678900000Z stderr P two  words \n");
        let record = parse(&out[..out.len() - 1]).unwrap();
        assert_eq!((record.text, record.is_full, record.source), (&b"two  words "[..], false, Source::Stderr));
        assert_eq!(record.timestamp(), Some(time));
    }

    #[test]
    fn foreign_lines_are_none() {
        for line in ["", "x", "t stdout", "t stdout F", "t stdin F x", "t stdout X y"] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
