//! "Did you mean": the known word that a mistyped one is closest to.

/// Longer words are compared by their beginning alone: the work grows with the square.
const COMPARED_CHARS_MAX: usize = 64;

/// The candidate that `word` was probably meant to be, if one is close: at most a third of its letters wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_max = word.chars().count().clamp(3, 9) / 3;
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= wrong_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars().take(COMPARED_CHARS_MAX).flat_map(char::to_lowercase).collect()
    };
    let (from, to) = (letters(from), letters(to));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&above, column) + usize::from(letter != other);
            let mut least = replaced.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let groups = ["sre-oncall", "sre", "dev"];
        assert_eq!(nearest("sre-oncal", groups), Some("sre-oncall"));
        assert_eq!(nearest("sr", groups), Some("sre"));
        assert_eq!(nearest("dve", groups), Some("dev"));
        assert_eq!(nearest("SRE", groups), Some("sre"));
    }

    #[test]
    fn a_word_that_is_like_none_finds_none() {
        assert_eq!(nearest("finance", ["sre", "dev"]), None);
        assert_eq!(nearest("", ["sre"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["sre"]), None);
    }
}
