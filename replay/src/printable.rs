//! What of a recording may be printed: characters, never commands to the terminal.

use unicode_width::UnicodeWidthChar;

/// Stands for a character that must not reach the viewer's terminal.
pub const STAND_IN: char = '\u{fffd}';

/// The character itself if it is drawn as a glyph of its own, else one that stands for it.
///
/// Kept away are C0 and C1 controls, which a terminal obeys; the bidirectional marks, which make a line read
/// otherwise than it ran; and all else that has no width, tags and joiners among it, which hides in plain sight.
/// A variation selector only asks for a prettier glyph and becomes a space.
pub fn printable(c: char) -> char {
    match c {
        ' '..='~' => c,
        '\u{fe00}'..='\u{fe0f}' => ' ',
        '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' => STAND_IN,
        _ if is_bidi_control(c) || c.is_control() => STAND_IN,
        _ if !matches!(c.width(), Some(1 | 2)) => STAND_IN,
        _ => c,
    }
}

/// A text of foreign origin (a name, a title, a marker) on one line, cut after `chars_max` characters.
pub fn printable_text(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(chars_max).map(printable).collect();
    if chars.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_that_acts_on_a_terminal_or_hides_in_it_is_printed() {
        let hostile = [
            0x00, 0x07, 0x08, 0x0a, 0x0d, 0x1b, 0x7f, 0x85, 0x90, 0x9b, 0x9d, 0x9f, 0xad, 0x061c, 0x200b,
            0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0xfeff, 0xfff9,
            0xe0001, 0xe0041, 0xe0100,
        ];
        for code in hostile {
            let c = char::from_u32(code).unwrap();
            assert_ne!(printable(c), c, "U+{code:04X} got through");
        }
    }

    #[test]
    fn every_character_that_is_printed_has_a_width() {
        for c in '\0'..=char::MAX {
            assert!(matches!(printable(c).width(), Some(1 | 2)), "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn letters_line_drawing_and_emoji_stay_what_they_are() {
        for c in "aZ~ é ñ ─│┌ 漢 あ 🦀 ✓ א م".chars() {
            assert_eq!(printable(c), c);
        }
    }

    #[test]
    fn a_long_text_says_that_it_was_cut() {
        assert_eq!(printable_text("abcdef", 4), "abc…");
        assert_eq!(printable_text("a\x1b]52;c;x\x07", 40), "a\u{fffd}]52;c;x\u{fffd}");
    }
}
