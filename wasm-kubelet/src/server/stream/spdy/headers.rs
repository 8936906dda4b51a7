//! Blocks of headers: names and values, deflated with a dictionary that both sides know, in one run a connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::Broken;
use crate::limits::{SPDY_HEADERS_BYTES_MAX, SPDY_HEADERS_MAX};

/// The dictionary of the format, with the end that the third version gave it.
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// Names in lower case, with their values.
pub type Headers = Vec<(String, String)>;

/// Reads blocks, in the order in which they were sent.
pub struct Inflate(Decompress);

impl Default for Inflate {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflate {
    /// # Errors
    /// [`Broken`], when the block is none, or larger than headers may be.
    pub fn read(&mut self, block: &[u8]) -> Result<Headers, Broken> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut plain = vec![0; SPDY_HEADERS_BYTES_MAX + 1];
        let mut length = 0;
        loop {
            let (taken, given) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(block, &mut plain[length..], FlushDecompress::Sync);
            block = &block[advance(taken, self.0.total_in())..];
            length += advance(given, self.0.total_out());
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map_err(|_| Broken("headers of another dictionary"))?;
                }
                Err(_) => return Err(Broken("headers that are not deflated")),
                Ok(_) if length > SPDY_HEADERS_BYTES_MAX => return Err(Broken("too many headers")),
                Ok(Status::StreamEnd) => return Err(Broken("headers that end the compression")),
                Ok(_) if block.is_empty() => {
                    plain.truncate(length);
                    return Ok(plain);
                }
                Ok(_) if self.0.total_in() == taken => return Err(Broken("headers that lead nowhere")),
                Ok(_) => {}
            }
        }
    }
}

fn advance(before: u64, after: u64) -> usize {
    // Both are positions in buffers.
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

fn parse(mut plain: &[u8]) -> Result<Headers, Broken> {
    let count = number(&mut plain)?;
    if count > SPDY_HEADERS_MAX {
        return Err(Broken("too many headers"));
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = text(&mut plain)?.to_ascii_lowercase();
        headers.push((name, text(&mut plain)?));
    }
    if plain.is_empty() { Ok(headers) } else { Err(Broken("more than the headers that were counted")) }
}

fn number(plain: &mut &[u8]) -> Result<usize, Broken> {
    let (first, rest) = plain.split_first_chunk::<4>().ok_or(Broken("headers that are cut off"))?;
    *plain = rest;
    usize::try_from(u32::from_be_bytes(*first)).map_err(|_| Broken("too many headers"))
}

fn text(plain: &mut &[u8]) -> Result<String, Broken> {
    let length = number(plain)?;
    let (text, rest) = plain.split_at_checked(length).ok_or(Broken("headers that are cut off"))?;
    *plain = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Broken("headers that are no text"))
}

/// Writes blocks, in the order in which they are sent. The server's side says nothing in them.
pub struct Deflate(Compress);

impl Default for Deflate {
    fn default() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }
}

impl Deflate {
    /// The block that says nothing.
    pub fn nothing(&mut self) -> Vec<u8> {
        self.block(&[])
    }

    /// A block of headers, as a client sends them.
    pub fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        if self.0.total_in() == 0 {
            // It is set before anything is compressed, where it cannot fail.
            let _ = self.0.set_dictionary(DICTIONARY);
        }
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_be_bytes();
        let mut plain = u32::try_from(headers.len()).unwrap_or(0).to_be_bytes().to_vec();
        for (name, value) in headers {
            for text in [name, value] {
                plain.extend_from_slice(&length(text));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut block = Vec::with_capacity(plain.len() * 2 + 64);
        // There is room for all of it, and then it does not fail.
        let _ = self.0.compress_vec(&plain, &mut block, FlushCompress::Sync);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_block_after_block() {
        let (mut deflate, mut inflate) = (Deflate::default(), Inflate::default());
        for round in 0..3 {
            let port = format!("80{round}");
            let block = deflate.block(&[("streamtype", "data"), ("port", &port)]);
            let want = vec![("streamtype".to_owned(), "data".to_owned()), ("port".to_owned(), port)];
            assert_eq!(inflate.read(&block), Ok(want));
        }
        assert_eq!(inflate.read(&deflate.nothing()), Ok(Vec::new()));
    }

    #[test]
    fn hostile_blocks_are_refused() {
        assert!(Inflate::default().read(b"").is_err());
        assert!(Inflate::default().read(&[0xff; 40]).is_err(), "not deflated");
        let huge = "x".repeat(SPDY_HEADERS_BYTES_MAX);
        assert_eq!(
            Inflate::default().read(&Deflate::default().block(&[("a", &huge)])),
            Err(Broken("too many headers"))
        );
        let many: Vec<_> = (0..=SPDY_HEADERS_MAX).map(|_| ("a", "b")).collect();
        assert_eq!(Inflate::default().read(&Deflate::default().block(&many)), Err(Broken("too many headers")));
        for plain in [&[0, 0, 0, 1][..], &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 0, 1], &[0xff; 8]] {
            assert!(parse(plain).is_err(), "{plain:?}");
        }
        let mut cut = Deflate::default().block(&[("a", "b")]);
        cut.truncate(cut.len() / 2);
        assert!(Inflate::default().read(&cut).is_err());
    }
}
