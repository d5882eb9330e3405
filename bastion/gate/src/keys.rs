//! What a terminal sends for keys: which bytes are printable, and which belong to control keys.

use std::time::Duration;

use recording::Elapsed;

/// What kind of key a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A byte of text: it may be a secret.
    Text,
    /// A control key, or the frame of an escape sequence (`ESC [`, its last letter): never text.
    Control,
    /// A parameter of an escape sequence. What it says is known at its last letter only.
    Parameter,
    /// The last letter of an escape sequence that stands for a key other than text: its parameters are none either.
    ControlEnd,
}

/// Tells text from control keys, byte by byte.
///
/// In doubt a byte is text, because text is kept secret until the screen has shown it. So of `ESC x` the `x` is text,
/// and so are the answers that terminals give with OSC and DCS, which can hold a clipboard. Only the sequences of
/// arrows, function keys, paste markers and the mouse are known to be none. Others stand for letters (`CSI u` of the
/// kitty protocol, `CSI 27 ~` of xterm's modifyOtherKeys, `CSI _` of the Windows console) or may do so, so their
/// parameters stay as secret as letters.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    state: State,
    last: Elapsed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC O`: one letter more.
    Single,
    /// `ESC [`, with so many parameter bytes, of which the first number is so much.
    Control {
        length: u8,
        first: Option<u16>,
        first_done: bool,
        mouse: bool,
    },
}

const ESC: u8 = 0x1b;
/// The longest that is a key: a mouse report, `<35;1000;500`.
const PARAMETER_BYTES_MAX: u8 = 16;
/// The longest of a key that is no mouse: `15;2`, `1;5`, `200`.
const KEY_PARAMETER_BYTES_MAX: u8 = 6;
/// A terminal sends a sequence in one go. What comes later than this after its beginning was typed by a person.
const SEQUENCE_GAP_MAX: Duration = Duration::from_millis(500);

impl Keys {
    /// What kind of key the next byte belongs to.
    pub(crate) fn next(&mut self, byte: u8, now: Elapsed) -> Key {
        if now.since(self.last) > SEQUENCE_GAP_MAX {
            self.state = State::Ground;
        }
        self.last = now;
        let (key, state) = match (self.state, byte) {
            (_, ESC) => (Key::Control, State::Escape),
            (_, 0..=0x1f | 0x7f) => (Key::Control, State::Ground),
            (State::Escape, b'[') => {
                (Key::Control, State::Control { length: 0, first: None, first_done: false, mouse: false })
            }
            (State::Escape, b'O') => (Key::Control, State::Single),
            (State::Single, b'A'..=b'Z') => (Key::Control, State::Ground), // the small letters are a keypad's digits
            (State::Control { length, first, first_done, mouse }, _) => {
                self::control(length, first, first_done, mouse, byte)
            }
            _ => (Key::Text, State::Ground),
        };
        self.state = state;
        key
    }
}

fn control(length: u8, first: Option<u16>, first_done: bool, mouse: bool, byte: u8) -> (Key, State) {
    if length >= PARAMETER_BYTES_MAX {
        return (Key::Text, State::Ground);
    }
    let is_key = !mouse && length <= KEY_PARAMETER_BYTES_MAX;
    let length = length + 1;
    match byte {
        b'0'..=b'9' if !first_done => {
            let first = first.unwrap_or(0).saturating_mul(10).saturating_add(u16::from(byte - b'0'));
            (Key::Parameter, State::Control { length, first: Some(first), first_done, mouse })
        }
        b'0'..=b'9' | b';' | b':' => {
            (Key::Parameter, State::Control { length, first, first_done: true, mouse })
        }
        b'<'..=b'?' if length == 1 => {
            (Key::Parameter, State::Control { length, first, first_done: true, mouse: byte == b'<' })
        }
        b'M' | b'm' if mouse => (Key::ControlEnd, State::Ground),
        b'A'..=b'H' | b'P'..=b'S' | b'Z' if is_key => (Key::ControlEnd, State::Ground),
        b'~' if is_key && first != Some(27) => (Key::ControlEnd, State::Ground),
        b'@'..=b'~' => (Key::Control, State::Ground),
        _ => (Key::Text, State::Ground),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> String {
        let mut keys = Keys::default();
        let letter = |key| match key {
            Key::Text => 't',
            Key::Control => 'c',
            Key::Parameter => 'p',
            Key::ControlEnd => 'e',
        };
        bytes.iter().map(|byte| letter(keys.next(*byte, Elapsed::ZERO))).collect()
    }

    #[test]
    fn arrows_and_function_keys_are_control_keys() {
        assert_eq!(kinds(b"a\x1b[Ab"), "tccet");
        assert_eq!(kinds(b"\x1bOPx"), "ccct");
        assert_eq!(kinds(b"\x1b[15~x"), "ccppet");
        assert_eq!(kinds(b"\x1b[1;5Dx"), "ccpppet");
        assert_eq!(kinds(b"\x1b[200~a\x1b[201~"), "ccpppetccpppe");
        assert_eq!(kinds(b"\r\t\x7f\x03"), "cccc");
    }

    #[test]
    fn what_only_looks_like_a_sequence_is_text() {
        assert_eq!(kinds(b"\x1bsecret"), "ctttttt");
        assert_eq!(kinds(b"\x1b]52;c;c2VjcmV0\x07"), "cttttttttttttttc");
        assert_eq!(kinds("\x1b[ö".as_bytes()), "cctt");
        assert_eq!(kinds(b"\x1b[11111111111111111secret"), "ccpppppppppppppppptttttttt"[..25].to_owned());
    }

    #[test]
    fn letters_sent_as_sequences_stay_as_secret_as_letters() {
        assert_eq!(kinds(b"\x1b[97u"), "ccppc");
        assert_eq!(kinds(b"\x1b[27;2;65~"), "ccpppppppc");
        assert_eq!(kinds(b"\x1b[72;35;72;1;16;1_"), "ccpppppppppppppppc");
        assert_eq!(kinds(b"\x1b[104;5y"), "ccpppppc");
        assert_eq!(kinds(b"\x1b[7382946A"), "ccpppppppc");
        assert_eq!(kinds(b"\x1b[?7382t"), "ccpppppc");
        assert_eq!(kinds(b"\x1bOs\x1bOu"), "cctcct");
    }

    #[test]
    fn the_mouse_says_nothing_secret() {
        assert_eq!(kinds(b"\x1b[<35;1000;500M"), "ccppppppppppppe");
        assert_eq!(kinds(b"\x1b[<0;1;1m"), "ccppppppe");
    }

    #[test]
    fn what_a_person_types_long_after_escape_is_text() {
        let mut keys = Keys::default();
        assert_eq!(keys.next(ESC, Elapsed::ZERO), Key::Control);
        assert_eq!(keys.next(b'[', Elapsed::from_micros(600_000)), Key::Text);
    }
}
