//! Names with wildcards: `*` stands for any text, `?` for one character.

use std::fmt;

/// A name in which `*` stands for any text and `?` for one character. Nothing else is special.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Bytes before the first wildcard: most texts differ there, and that is seen at once.
    plain: usize,
}

/// A longer pattern is a mistake.
const PATTERN_BYTES_MAX: usize = 128;

impl Pattern {
    /// A pattern for names: their characters, `*` and `?`. Anything else could never match, so it is refused.
    pub fn for_names(text: &str) -> Option<Pattern> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-*?".contains(&b);
        Pattern::checked(text).filter(|pattern| pattern.text.bytes().all(fits))
    }

    /// A pattern for label values: any printable text.
    pub(crate) fn for_values(text: &str) -> Option<Pattern> {
        Pattern::checked(text).filter(|pattern| !pattern.text.chars().any(char::is_control))
    }

    /// The same in small letters, as names of people are compared.
    pub fn folded(&self) -> Pattern {
        Pattern::new(self.text.to_ascii_lowercase())
    }

    fn checked(text: &str) -> Option<Pattern> {
        (!text.is_empty() && text.len() <= PATTERN_BYTES_MAX).then(|| Pattern::new(text.to_owned()))
    }

    fn new(text: String) -> Pattern {
        let plain = text.find(['*', '?']).unwrap_or(text.len());
        Pattern { text, plain }
    }

    /// Whether every text is what the pattern describes.
    pub(crate) fn is_any(&self) -> bool {
        self.text.bytes().all(|byte| byte == b'*')
    }

    /// Whether some text is what both describe.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let (one, other): (Vec<char>, Vec<char>) =
            (self.text.chars().collect(), other.text.chars().collect());
        // Of each pair of rests, the shorter ones first, whether some text fits both: at most 129 * 129 pairs.
        let mut below: Vec<bool> = Vec::new();
        for i in (0..=one.len()).rev() {
            let mut row = vec![false; other.len() + 1];
            for j in (0..=other.len()).rev() {
                let next = |row: &[bool], j: usize| row.get(j).copied().unwrap_or_default();
                let fits = match (one.get(i), other.get(j)) {
                    (None, None) => true,
                    (Some('*'), theirs) => next(&below, j) || theirs.is_some() && next(&row, j + 1),
                    (ours, Some('*')) => next(&row, j + 1) || ours.is_some() && next(&below, j),
                    (Some(a), Some(b)) => (a == b || *a == '?' || *b == '?') && next(&below, j + 1),
                    (None, Some(_)) | (Some(_), None) => false,
                };
                if let Some(cell) = row.get_mut(j) {
                    *cell = fits;
                }
            }
            below = row;
        }
        below.first().copied().unwrap_or_default()
    }

    /// Whether `text`, the whole of it, is what the pattern describes.
    ///
    /// It never goes back further than the last `*`, so the work is at most the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (plain, wild) = self.text.split_at(self.plain);
        match (text.strip_prefix(plain), wild) {
            (None, _) => false,
            (Some(rest), "") => rest.is_empty(),
            (Some(_), "*") => true,
            (Some(rest), _) => fits(wild, rest),
        }
    }
}

/// Whether `text`, the whole of it, is what `wild` describes, letter by letter.
fn fits(wild: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (wild.chars(), text.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (wanted, found) = (pattern.clone().next(), rest.clone().next());
        match (wanted, found) {
            (Some('*'), _) => {
                pattern.next();
                retry = Some((pattern.clone(), rest.clone()));
            }
            (None, None) => return true,
            (Some(w), Some(f)) if w == '?' || w == f => {
                pattern.next();
                rest.next();
            }
            _ => {
                let Some((after_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, rest) = (after_star.clone(), from.clone());
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::for_values(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("web*", "web"),
            ("web*", "web12"),
            ("*", ""),
            ("w?b", "wäb"),
            ("*-db-*", "a-db-db-1"),
            ("a*b*c", "aXbYbc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("web*", "xweb1"), ("web", "web1"), ("w?b", "wb"), ("a*b*c", "aXbY"), ("?", "")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_stands_before_the_first_wildcard_changes_nothing() {
        let texts = ["", "a", "ab", "ba", "aab", "ä", "äb", "*", "a*"];
        for pattern in ["a", "ab", "a*", "a?", "?b", "*b", "ä*", "ä?", "a**", "ab*b", "**", "*?"] {
            for text in texts {
                assert_eq!(matches(pattern, text), fits(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn what_could_never_match_a_name_is_no_pattern_for_names() {
        for text in ["", "web1.{a,b}", "web[12]", "we b", "web/1", "ω*", &"a".repeat(200)] {
            assert_eq!(Pattern::for_names(text), None, "{text}");
        }
    }

    #[test]
    fn two_patterns_overlap_if_some_text_fits_both() {
        let overlap = |a: &str, b: &str| {
            let [one, other] = [a, b].map(|text| Pattern::for_names(text).unwrap());
            assert_eq!(one.overlaps(&other), other.overlaps(&one), "{a} {b}");
            one.overlaps(&other)
        };
        for (a, b) in
            [("ext-*", "*-corp"), ("a*", "*"), ("ab", "a?"), ("*a*", "b*b"), ("**", "x"), ("a*b?", "??c*")]
        {
            assert!(overlap(a, b), "{a} {b}");
        }
        for (a, b) in
            [("ext-*", "int-*"), ("ab", "a"), ("a?", "a"), ("*a", "*b"), ("?", "??*"), ("a*b?", "a?")]
        {
            assert!(!overlap(a, b), "{a} {b}");
        }
        assert!(!overlap(&format!("{}b", "*a".repeat(60)), &format!("{}c", "*a".repeat(60))));
    }

    #[test]
    fn many_stars_are_no_burden() {
        let text = "a".repeat(10_000);
        assert!(!matches(&format!("{}b", "a*".repeat(60)), &text));
    }
}
