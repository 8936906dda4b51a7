//! Frames: eight bytes that say what and how much, and then that. Source: the draft of SPDY/3, 2.2 to 2.6.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::headers::{Deflate, Headers, Inflate};
use crate::limits::{SPDY_CONTROL_BYTES_MAX, SPDY_DATA_BYTES_MAX};

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Source: `RstStreamStatus`.
const REFUSED_STREAM: u32 = 3;

/// What makes a connection unreadable from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub &'static str);

/// What the other side sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Open {
        id: u32,
        is_last: bool,
        headers: Headers,
    },
    Data {
        id: u32,
        is_last: bool,
        bytes: Bytes,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Of no meaning here: settings, windows, further headers.
    Other,
}

/// Reads frames from what comes in any pieces.
#[derive(Default)]
pub struct Decoder {
    buffer: BytesMut,
    inflate: Inflate,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is all there.
    ///
    /// # Errors
    /// [`Broken`], when what follows is no frame, or one too large.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        let is_control = first >> 31 == 1;
        if length > if is_control { SPDY_CONTROL_BYTES_MAX } else { SPDY_DATA_BYTES_MAX } {
            return Err(Broken("a frame that is too large"));
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        let is_last = flags & FIN != 0;
        if !is_control {
            return Ok(Some(Frame::Data { id: first, is_last, bytes }));
        }
        let (version, kind) = ((first >> 16 & 0x7fff) as u16, (first & 0xffff) as u16);
        if version != VERSION {
            return Err(Broken("a frame of another version"));
        }
        self.control(kind, is_last, bytes).map(Some)
    }

    fn control(&mut self, kind: u16, is_last: bool, mut bytes: Bytes) -> Result<Frame, Broken> {
        let cut = Broken("a frame that is cut off");
        let id = match kind {
            SYN_STREAM | SYN_REPLY | HEADERS | RST_STREAM | PING => bytes.try_get_u32().map_err(|_| cut)?,
            _ => 0,
        };
        let stream = id & 0x7fff_ffff;
        Ok(match kind {
            SYN_STREAM => {
                // The stream that it belongs to, a priority and a slot.
                if bytes.len() < 6 {
                    return Err(cut);
                }
                Frame::Open { id: stream, is_last, headers: self.inflate.read(&bytes[6..])? }
            }
            SYN_REPLY | HEADERS => {
                // Read all the same: the compression goes on from one block to the next.
                self.inflate.read(&bytes)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { id: stream },
            PING => Frame::Ping { id },
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }
}

/// Writes frames, in the order in which they are sent.
#[derive(Default)]
pub struct Encoder {
    deflate: Deflate,
}

impl Encoder {
    /// A stream of the client's own, with its headers. Its ids are odd, and each is larger than the one before it.
    pub fn open(&mut self, id: u32, headers: &[(&str, &str)]) -> Bytes {
        let mut payload = id.to_be_bytes().to_vec();
        // It belongs to no other stream, and is as urgent as any.
        payload.extend_from_slice(&[0; 6]);
        payload.extend_from_slice(&self.deflate.block(headers));
        control(SYN_STREAM, &payload)
    }

    /// Data of a stream, which may be its last. `bytes` are no more than a frame holds.
    pub fn data(&self, id: u32, is_last: bool, bytes: &[u8]) -> Bytes {
        frame(id, u8::from(is_last) * FIN, bytes)
    }

    /// The answer to a stream that is taken.
    pub fn reply(&mut self, id: u32) -> Bytes {
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.deflate.nothing());
        control(SYN_REPLY, &payload)
    }

    /// The answer to a stream that is not, or no longer.
    pub fn refuse(&self, id: u32) -> Bytes {
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(&REFUSED_STREAM.to_be_bytes());
        control(RST_STREAM, &payload)
    }

    pub fn ping(&self, id: u32) -> Bytes {
        control(PING, &id.to_be_bytes())
    }
}

fn control(kind: u16, payload: &[u8]) -> Bytes {
    frame(1 << 31 | u32::from(VERSION) << 16 | u32::from(kind), 0, payload)
}

fn frame(first: u32, flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    out.put_u32(first);
    // Callers see to it that the length fits into the three bytes that there are for it.
    out.put_u32(u32::from(flags) << 24 | u32::try_from(payload.len()).unwrap_or(0) & 0xff_ffff);
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, Broken> {
        std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
    }

    #[test]
    fn frames_are_read_in_whatever_pieces_they_come() {
        let mut encoder = Encoder::default();
        let mut bytes = encoder.open(1, &[("port", "80")]).to_vec();
        bytes.extend_from_slice(&encoder.data(1, false, b"abc"));
        bytes.extend_from_slice(&encoder.data(1, true, b""));
        bytes.extend_from_slice(&encoder.refuse(3));
        bytes.extend_from_slice(&encoder.ping(9));
        bytes.extend_from_slice(&control(GOAWAY, &[0; 8]));
        bytes.extend_from_slice(&control(4, &[0; 8]));
        for size in [1, 3, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                frames.extend(all(&mut decoder).unwrap_or_default());
            }
            let want = [
                Frame::Open { id: 1, is_last: false, headers: vec![("port".into(), "80".into())] },
                Frame::Data { id: 1, is_last: false, bytes: Bytes::from_static(b"abc") },
                Frame::Data { id: 1, is_last: true, bytes: Bytes::new() },
                Frame::Reset { id: 3 },
                Frame::Ping { id: 9 },
                Frame::GoAway,
                Frame::Other,
            ];
            assert_eq!(frames, want, "in pieces of {size}");
        }
    }

    #[test]
    fn hostile_frames_are_refused() {
        let head = |first: u32, length: u32| {
            let mut head = first.to_be_bytes().to_vec();
            head.extend_from_slice(&length.to_be_bytes());
            head
        };
        let table = [
            ("data too large", head(1, u32::try_from(SPDY_DATA_BYTES_MAX).unwrap_or(0) + 1)),
            ("a control frame too large", head(0x8003_0001, u32::try_from(SPDY_CONTROL_BYTES_MAX).unwrap_or(0) + 1)),
            ("another version", head(0x8002_0001, 0)),
            ("a ping without a number", head(0x8003_0006, 0)),
            ("a stream without headers", [head(0x8003_0001, 4), vec![0; 4]].concat()),
            ("a stream with others", [head(0x8003_0001, 14), vec![0xff; 14]].concat()),
        ];
        for (what, bytes) in table {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert!(all(&mut decoder).is_err(), "{what}");
        }
    }
}
