//! Foreign text, made fit for a terminal, a log and a reader's eye.

use std::fmt;

/// Foreign text in printable ASCII: everything else stands as `\u{..}` or, if it is no UTF-8, as `\xNN`.
///
/// So no control character reaches a terminal, no look-alike or hidden letter deceives, and a line stays a line. It
/// is of bounded length and says how much was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printable<'a> {
    text: &'a [u8],
    room: usize,
}

impl<'a> Printable<'a> {
    /// More of a foreign text is cut: a message is one line.
    pub const CHARS_MAX: usize = 120;
    /// More of a sentence of ours is cut. The longest names two fingerprints and a way out.
    pub const SENTENCE_CHARS_MAX: usize = 600;

    /// This text, whatever it holds; at most [`Printable::CHARS_MAX`] characters of it.
    pub fn of(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Printable { text: text.as_ref(), room: Self::CHARS_MAX }
    }

    /// A sentence of our own that may quote a peer; at most [`Printable::SENTENCE_CHARS_MAX`] characters of it.
    pub fn sentence(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Printable { text: text.as_ref(), room: Self::SENTENCE_CHARS_MAX }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = self.room;
        let mut shown = 0;
        for chunk in self.text.utf8_chunks() {
            let letters = chunk.valid().chars().map(|letter| (letter_shown(letter), letter.len_utf8()));
            let raw = chunk.invalid().iter().map(|byte| (format!("\\x{byte:02x}"), 1));
            for (text, length) in letters.chain(raw) {
                if text.len() > room {
                    return write!(f, "... ({} bytes more)", self.text.len() - shown);
                }
                f.write_str(&text)?;
                room -= text.len();
                shown += length;
            }
        }
        Ok(())
    }
}

fn letter_shown(letter: char) -> String {
    match letter {
        '\\' => "\\\\".to_owned(),
        ' '..='~' => letter.to_string(),
        _ => letter.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_printable_ascii_comes_out() {
        for text in
            ["\u{202e}evil", "a\u{200b}b", "\x1b]0;x\x07", "\r\n", "\u{feff}", "раураl", "\u{e0041}", "\0"]
        {
            let shown = Printable::of(text).to_string();
            assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)), "{shown}");
            assert!(shown.contains("\\u{"), "{shown}");
        }
        assert_eq!(Printable::of(b"a\xff\xc3b").to_string(), "a\\xff\\xc3b");
        assert_eq!(Printable::of(r"C:\u{41}").to_string(), r"C:\\u{41}");
    }

    #[test]
    fn a_megabyte_is_cut_and_counted() {
        let shown = Printable::of(&vec![b'a'; 1 << 20]).to_string();
        assert!(shown.len() < 200);
        assert!(shown.ends_with("(1048456 bytes more)"), "{shown}");
    }
}
