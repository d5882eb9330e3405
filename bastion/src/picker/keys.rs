//! Bytes of a terminal, one at a time, into keys.
//!
//! One at a time, and not by crossterm, which reads as much as there is: what is typed behind the Enter is for the
//! target, byte for byte.

use super::list::Key;

const ESC: u8 = 0x1b;

/// What came of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet, or nothing that means anything.
    Nothing,
    /// A key.
    Key(Key),
    /// An Escape: alone it is a key, and before other bytes the beginning of one. Time tells.
    Escape,
}

/// Reads keys.
#[derive(Default)]
pub struct Keys {
    parser: vte::Parser,
    escaped: bool,
    found: Found,
}

impl Keys {
    /// Hears one byte.
    pub fn hear(&mut self, byte: u8) -> Heard {
        let again = std::mem::replace(&mut self.escaped, byte == ESC);
        if byte == ESC && again {
            return Heard::Key(Key::Leave);
        }
        self.parser.advance(&mut self.found, &[byte]);
        match self.found.key.take() {
            Some(key) => Heard::Key(key),
            None if byte == ESC => Heard::Escape,
            None => Heard::Nothing,
        }
    }
}

#[derive(Default)]
struct Found {
    key: Option<Key>,
    /// `ESC O` has begun a key of a terminal in application mode.
    third_shift: bool,
}

impl vte::Perform for Found {
    fn print(&mut self, letter: char) {
        self.key = match std::mem::take(&mut self.third_shift) {
            true => arrow(letter),
            false if letter == '\x7f' => Some(Key::Backspace),
            false if letter.is_control() || letter == char::REPLACEMENT_CHARACTER => None,
            false => Some(Key::Char(letter)),
        };
    }

    fn execute(&mut self, byte: u8) {
        self.third_shift = false;
        self.key = match byte {
            b'\r' | b'\n' => Some(Key::Enter),
            0x03 | 0x04 => Some(Key::Leave), // Ctrl-C, Ctrl-D
            0x08 | 0x7f => Some(Key::Backspace),
            b'\t' => Some(Key::NextLogin),
            0x01 => Some(Key::Home),      // Ctrl-A
            0x05 => Some(Key::End),       // Ctrl-E
            0x0e => Some(Key::Down),      // Ctrl-N
            0x10 => Some(Key::Up),        // Ctrl-P
            0x15 => Some(Key::EraseAll),  // Ctrl-U
            0x17 => Some(Key::EraseWord), // Ctrl-W
            _ => None,
        };
    }

    fn csi_dispatch(&mut self, params: &vte::Params, intermediates: &[u8], _: bool, action: char) {
        self.third_shift = false;
        let first = params.iter().next().and_then(|param| param.first()).copied();
        self.key = match (intermediates, action, first) {
            ([], '~', Some(1 | 7)) => Some(Key::Home),
            ([], '~', Some(4 | 8)) => Some(Key::End),
            ([], '~', Some(5)) => Some(Key::PageUp),
            ([], '~', Some(6)) => Some(Key::PageDown),
            ([], 'Z', _) => Some(Key::LastLogin),
            ([], letter, _) => arrow(letter),
            _ => None,
        };
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        self.third_shift = intermediates.is_empty() && byte == b'O';
    }
}

fn arrow(letter: char) -> Option<Key> {
    match letter {
        'A' => Some(Key::Up),
        'B' => Some(Key::Down),
        'C' => Some(Key::NextLogin),
        'D' => Some(Key::LastLogin),
        'H' => Some(Key::Home),
        'F' => Some(Key::End),
        'M' => Some(Key::Enter), // of a keypad in application mode
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let heard = bytes.iter().map(|byte| keys.hear(*byte));
        heard.filter_map(|heard| if let Heard::Key(key) = heard { Some(key) } else { None }).collect()
    }

    #[test]
    fn keys_are_known_as_terminals_send_them() {
        for (bytes, key) in [
            (&b"a"[..], Key::Char('a')),
            ("ü".as_bytes(), Key::Char('ü')),
            (b"\r", Key::Enter),
            (b"\n", Key::Enter),
            (b"\x03", Key::Leave),
            (b"\x04", Key::Leave),
            (b"\x1b\x1b", Key::Leave),
            (b"\x7f", Key::Backspace),
            (b"\x08", Key::Backspace),
            (b"\x15", Key::EraseAll),
            (b"\x17", Key::EraseWord),
            (b"\t", Key::NextLogin),
            (b"\x1b[Z", Key::LastLogin),
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::NextLogin),
            (b"\x1b[H", Key::Home),
            (b"\x1b[4~", Key::End),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1bOM", Key::Enter),
        ] {
            assert_eq!(heard(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn no_sequence_swallows_an_enter_or_leaves_a_letter_behind() {
        assert_eq!(heard(b"\x1b[1\r"), [Key::Enter]);
        assert_eq!(heard(b"\x1b[?62;4c\x1b[3~\x1bx\x1bOP"), []);
        assert_eq!(heard(b"\xff\xc3(\xc2\x80z"), [Key::Char('('), Key::Char('z')]);
    }

    #[test]
    fn an_escape_alone_is_told_apart() {
        let mut keys = Keys::default();
        assert_eq!(keys.hear(0x1b), Heard::Escape);
        assert_eq!(keys.hear(b'['), Heard::Nothing);
        assert_eq!(keys.hear(b'B'), Heard::Key(Key::Down));
        assert_eq!(keys.hear(b'x'), Heard::Key(Key::Char('x')));
    }
}
