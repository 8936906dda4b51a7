//! What a kernel's terminal does between a person and a program: lines are put together, shown, and corrected, and a few
//! keys have a meaning of their own. A guest has no terminal device to do that for it.
//!
//! Pure: bytes in, what to show and what to pass on out. There is no raw mode, since WASI has no way to ask for one.

use bytes::Bytes;

/// Longest line that can be typed; more is not taken. Source: Linux, `N_TTY_BUF_SIZE`.
const LINE_BYTES_MAX: usize = 4096;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BELL: u8 = 0x07;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];
const KILL_LINE: u8 = 0x15;
const QUIT: u8 = 0x1c;

/// What typing leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the program to read.
    Text(Bytes),
    /// There is nothing more to read.
    End,
    /// The program is to end.
    Interrupt,
}

/// A line that is being typed.
#[derive(Debug, Default)]
pub struct Tty {
    line: Vec<u8>,
}

impl Tty {
    /// Takes what was typed: what the person is shown, and what comes of it.
    pub fn type_in(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<Typed>) {
        let (mut shown, mut typed) = (Vec::new(), Vec::new());
        for byte in bytes {
            match *byte {
                INTERRUPT | QUIT => {
                    shown.extend_from_slice(if *byte == INTERRUPT { b"^C\r\n" } else { b"^\\\r\n" });
                    self.line.clear();
                    typed.push(Typed::Interrupt);
                }
                END if self.line.is_empty() => typed.push(Typed::End),
                END => typed.push(self.take()),
                b'\r' | b'\n' => {
                    shown.extend_from_slice(b"\r\n");
                    self.line.push(b'\n');
                    typed.push(self.take());
                }
                byte if BACKSPACE.contains(&byte) => {
                    if self.rub_out() {
                        shown.extend_from_slice(b"\x08 \x08");
                    }
                }
                KILL_LINE => {
                    while self.rub_out() {
                        shown.extend_from_slice(b"\x08 \x08");
                    }
                }
                _ if self.line.len() >= LINE_BYTES_MAX => shown.push(BELL),
                byte => {
                    self.line.push(byte);
                    match byte {
                        b'\t' | 0x20.. => shown.push(byte),
                        control => shown.extend_from_slice(&[b'^', control + 0x40]),
                    }
                }
            }
        }
        (shown, typed)
    }

    fn take(&mut self) -> Typed {
        Typed::Text(std::mem::take(&mut self.line).into())
    }

    /// Removes the last character; whether there was one.
    fn rub_out(&mut self) -> bool {
        while let Some(byte) = self.line.pop() {
            // What follows the first byte of a character in UTF-8 goes with it.
            if byte & 0xc0 != 0x80 {
                return true;
            }
        }
        false
    }
}

/// Lines as a terminal wants them ended.
pub fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for byte in bytes {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_they_do_at_a_terminal() {
        let text = |text: &'static str| Typed::Text(Bytes::from_static(text.as_bytes()));
        let table: [(&str, &str, Vec<Typed>); 9] = [
            ("ab\r", "ab\r\n", vec![text("ab\n")]),
            ("ab", "ab", vec![]),
            ("aé\x7fb\r", "aé\x08 \x08b\r\n", vec![text("ab\n")]),
            ("\x7f\x08", "", vec![]),
            ("abc\x15d\r", "abc\x08 \x08\x08 \x08\x08 \x08d\r\n", vec![text("d\n")]),
            ("\x04", "", vec![Typed::End]),
            ("ab\x04", "ab", vec![text("ab")]),
            ("ab\x03", "ab^C\r\n", vec![Typed::Interrupt]),
            ("\x01\r", "^A\r\n", vec![text("\x01\n")]),
        ];
        for (keys, show, want) in table {
            let (shown, typed) = Tty::default().type_in(keys.as_bytes());
            assert_eq!((String::from_utf8_lossy(&shown).as_ref(), typed), (show, want), "{keys:?}");
        }
        assert_eq!(shown(b"a\n\nb"), b"a\r\n\r\nb");
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let mut tty = Tty::default();
        for _ in 0..100 {
            tty.type_in(&[b'x'; 1000]);
        }
        assert_eq!(tty.line.len(), LINE_BYTES_MAX);
        let (_, typed) = tty.type_in(b"\r");
        assert_eq!(typed.len(), 1);
    }
}
