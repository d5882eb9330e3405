//! avt, kept from work that no screen can show.

use avt::{
    Observer, Parser, Terminal,
    parser::{Function, State},
};

use crate::size;

/// The terminal emulator. Whoever shows a recording feeds this one, and never avt itself.
///
/// avt bounds by its screen what a sequence may ask for, with one exception: "repeat the last character" (REP) prints as
/// often as it is told to, and ten bytes ask for 65535 characters. Here it is told to fill the screen, and no more.
///
/// Nor does it bound what a narrower screen asks for: it breaks a row into short ones by cutting them off one by one, and
/// each keeps the memory of all that was left then. From 1000x500 to one column that is 4 GB. Here it goes in steps.
pub struct Emulator {
    terminal: Terminal,
    /// Reads along, to know a repetition before avt has heard its last byte.
    ahead: Parser,
}

/// Ends a sequence that is half read, and does nothing else.
const CAN: char = '\u{18}';

/// After so many repetitions of a character each more leaves the screen as it is, but for where in its row the cursor
/// stands.
///
/// A row takes `cols` of them. At most `rows` rows are filled until the cursor has come down to where the screen scrolls,
/// and all that stood above has scrolled away; the row it began in was not empty, and the first line that scrolls away
/// whole is remembered as one that goes on. Wide characters may leave the last column of a row as it was until that
/// row has scrolled away too, and need twice the rows; but half as many fill one.
pub(crate) fn repetitions_max(cols: usize, rows: usize) -> usize {
    cols * (rows + 3)
}

/// The most cells, of 16 bytes, that one step of avt's to fewer columns may copy and keep: 16 MB.
///
/// Enough for 200x50 to go to one column at once, 640x180 to 40, and 1000x500 to 250.
const BROKEN_CELLS_MAX: usize = 1_000_000;

/// Cells that rows of so many columns copy and keep when they are broken into rows of `to` columns.
pub(crate) fn broken_cells(cols: usize, rows: usize, to: usize) -> usize {
    if to < cols { rows * cols * cols / (2 * to) } else { 0 }
}

/// The columns that `cols` are narrowed to next on their way to `to`.
///
/// It goes by sizes alone: restored from a key frame, a screen is narrowed as the one that the key frame was made of.
pub(crate) fn next_cols(cols: usize, rows: usize, to: usize) -> usize {
    to.max(broken_cells(cols, rows, 1).div_ceil(BROKEN_CELLS_MAX)).min(to.max(cols.saturating_sub(1)))
}

impl Emulator {
    /// A blank screen. The size is brought within what can be drawn.
    pub fn blank(cols: u16, rows: u16) -> Self {
        let (cols, rows) = size::clamped(cols, rows);
        let terminal = Terminal::new(cols.into(), rows.into()).expect("a clamped size is at least 1x1");
        Emulator { terminal, ahead: Parser::new() }
    }

    /// What is shown.
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Shows text. The observer answers for each piece of it that was fed at once.
    pub fn feed<O: Observer>(&mut self, text: &str, observer: &mut O) -> Vec<O::Output> {
        let (mut told, mut fed) = (Vec::new(), 0);
        for (at, ch) in text.char_indices() {
            // Text is most of what there is.
            if self.ahead.state == State::Ground && !matches!(ch, '\x1b' | '\u{80}'..='\u{9f}') {
                continue;
            }
            let Some(Function::Rep(times)) = self.ahead.feed(ch) else { continue };
            let (cols, rows) = self.terminal.size();
            if usize::from(times) <= repetitions_max(cols, rows) {
                continue;
            }
            told.push(self.terminal.feed_with(text.get(fed..at).unwrap_or_default(), &mut *observer));
            self.terminal.feed(CAN);
            told.push(self.terminal.execute_with(Function::Rep(self.enough(times)), &mut *observer));
            fed = at + ch.len_utf8();
        }
        told.push(self.terminal.feed_with(text.get(fed..).unwrap_or_default(), observer));
        told
    }

    /// Gives it a new size, brought within what can be drawn. The observer answers for each step to it.
    ///
    /// There is one step, and all is as with avt alone, unless a wide screen becomes very narrow. In steps a row may be
    /// broken elsewhere at a wide character, a cursor behind the last column comes to stand on it before it is clear on
    /// which row that is, and blanks at the end of a row that scrolls away in part may be left out.
    pub fn resize<O: Observer>(&mut self, cols: u16, rows: u16, observer: &mut O) -> Vec<O::Output> {
        let (cols, rows) = size::clamped(cols, rows);
        self.resize_by(next_cols, (cols.into(), rows.into()), observer)
    }

    fn resize_by<O: Observer>(
        &mut self,
        next_cols: impl Fn(usize, usize, usize) -> usize,
        (cols, rows): (usize, usize),
        observer: &mut O,
    ) -> Vec<O::Output> {
        let mut told = Vec::new();
        loop {
            let (cols_now, rows_now) = self.terminal.size();
            let next = next_cols(cols_now, rows_now, cols);
            if next == cols {
                told.push(self.terminal.resize_with(cols, rows, observer));
                return told;
            }
            told.push(self.terminal.resize_with(next, rows_now, &mut *observer));
        }
    }

    /// A number of repetitions that comes to the same screen, with the cursor at the same place, as `times`.
    fn enough(&self, times: u16) -> u16 {
        let (cols, rows) = self.terminal.size();
        let cursor = self.terminal.cursor();
        let line = self.terminal.screen().line(cursor.row);
        let last = cursor.col.checked_sub(1).and_then(|col| line?.cells().get(col));
        let is_wide = last.is_some_and(|cell| cell.width() != 1);
        let a_row = if is_wide { (cols / 2).max(1) } else { cols };
        let (times, max) = (usize::from(times), repetitions_max(cols, rows));
        let enough = times.min(max + times.saturating_sub(max) % a_row);
        u16::try_from(enough).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use avt::Observation;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// Counts rows that were drawn on; each character printed draws on one.
    #[derive(Default)]
    struct Drawn(usize);

    impl Observer for Drawn {
        type Output = ();

        fn dirty(&mut self, rows: Range<usize>) {
            self.0 += rows.len();
        }

        fn end(&mut self, _: &mut Observation<'_>) {}
    }

    #[test]
    fn no_sequence_makes_more_work_than_a_few_screens_of_text() {
        let (cols, rows) = (80, 24);
        for sequence in [
            "\x1b[65535b",
            "\u{9b}65535b",
            "\x1b[65535;1b",
            "\x1b[?b\x1b[65535\n\x07b",
            "\x1b[4h\x1b[65535b",
            "\x1b[2;9r\x1b[65535b",
            "\x1b[?7l\x1b[65535b",
            "\u{4e2d}\x1b[65535b",
            "\x1b[65535S",
            "\x1b[65535T",
            "\x1b[65535L",
            "\x1b[65535M",
            "\x1b[65535P",
            "\x1b[65535@",
            "\x1b[65535X",
            "\x1b[65535I",
            "\x1b[65535Z",
            "\x1b[65535C\x1b[65535B",
        ] {
            let mut drawn = Drawn::default();
            Emulator::blank(80, 24).feed(&["x", sequence].concat().repeat(100), &mut drawn);

            // A character may scroll, and then draws on every row.
            assert!(drawn.0 <= 100 * 3 * (rows + 4) * cols, "{sequence:?}: {}", drawn.0);
        }
    }

    #[test]
    fn only_a_wide_screen_that_becomes_very_narrow_goes_in_steps() {
        for (cols, rows, to) in
            [(80, 24, 1), (200, 50, 1), (640, 180, 40), (1000, 500, 250), (1, 500, 1000), (80, 24, 80)]
        {
            assert_eq!(next_cols(cols, rows, to), to, "{cols}x{rows} to {to}");
        }
        assert_eq!([1000, 250, 16].map(|cols| next_cols(cols, 500, 1)), [250, 16, 1]);
    }

    proptest! {
        #[test]
        fn every_step_is_narrower_and_bounded(cols in 2usize..=1000, rows in 1usize..=500, to in 1usize..=1000) {
            let next = next_cols(cols, rows, to);

            prop_assert!(next == to || (to..cols).contains(&next));
            prop_assert!(broken_cells(cols, rows, next) <= BROKEN_CELLS_MAX);
        }

        #[test]
        fn at_once_or_in_steps_a_restored_screen_is_narrowed_as_the_one_it_was_made_of(
            (cols, rows) in (1u16..40, 1u16..7),
            pieces in vec(sequence(), 1..12),
            size in (1usize..40, 1usize..7),
            is_in_steps: bool,
        ) {
            let mut played = Emulator::blank(cols, rows);
            played.feed(&pieces.concat(), &mut ());
            let mut restored = Emulator::blank(cols, rows);
            restored.feed(&played.terminal().dump(), &mut ());

            let halves = |cols: usize, _, to: usize| to.max(cols.div_ceil(2)).min(to.max(cols - 1));
            for emulator in [&mut played, &mut restored] {
                emulator.resize_by(if is_in_steps { halves } else { next_cols }, size, &mut ());
            }
            prop_assert_eq!(played.terminal().size(), size);
            prop_assert_eq!(played.terminal().dump(), restored.terminal().dump());
        }
    }

    #[test]
    fn a_repetition_that_fills_the_screen_is_ended_where_the_real_one_ends() {
        let mut emulator = Emulator::blank(10, 3);
        emulator.feed("$ a\x1b[65535", &mut ());
        emulator.feed("b|", &mut ());

        let mut avt = Terminal::new(10, 3).unwrap();
        avt.feed("$ a\x1b[65535b|");
        assert_eq!(emulator.terminal().screen().text(), avt.screen().text());
        assert_eq!(emulator.terminal().cursor(), avt.cursor());
    }

    /// What a screen's answer to a repetition may depend on, and many repetitions.
    fn sequence() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => (0u32..700).prop_map(|times| format!("\x1b[{times}b")),
            2 => select(vec!["x", "中", "ab", "é中", "q", "\u{301}", "\u{9f}", "wörd 中文 text"]).prop_map(Into::into),
            1 => (1u8..9, 1u8..12).prop_map(|(row, col)| format!("\x1b[{row};{col}H")),
            1 => (0u8..6, 0u8..9).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
            1 => select(vec!["\x1b[4h", "\x1b[4l", "\x1b[?7l", "\x1b[?7h", "\x1b[?6h", "\x1b[?6l", "\x1b[20h"])
                .prop_map(Into::into),
            1 => select(vec![
                "\r\n", "\n", "\r", "\x08", "\t", "\x1bM", "\x1b7", "\x1b8", "\x1b[2J", "\x1b[J", "\x1b[1K", "\x1b[2@",
                "\x1b[2P", "\x1b[2S", "\x1b[2T", "\x1b[L", "\x1b[M", "\x1b[3X", "\x1b#8", "\x1bc", "\x1b[!p",
            ])
            .prop_map(Into::into),
            1 => select(vec!["\x1b[?1049h", "\x1b[?1049l", "\x1b[31m", "\x1b[44m", "\x1b[m", "\x1b(0", "\x1b(B", "\x0e"])
                .prop_map(Into::into),
            1 => select(vec![
                "\x1b[999\n;3b", "\x1b[65535:2b", "\x1b[9999", "b", "\x1b]0;b", "\x07", "\x1bP99b", "\u{9c}", "\x18",
                "\x1b[700!b", "\x1b[?700b", "\u{9b}65000b", "\x1b[70000b",
            ])
            .prop_map(Into::into),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_left_out_is_never_seen(
            (cols, rows) in (1u16..14, 1u16..7),
            pieces in vec(sequence(), 1..12),
            cut in any::<prop::sample::Index>(),
            size in (1u16..14, 1u16..7),
        ) {
            let text: Vec<char> = pieces.concat().chars().collect();
            let (head, tail) = text.split_at(cut.index(text.len()));
            let mut emulator = Emulator::blank(cols, rows);
            let mut avt = Terminal::new(cols.into(), rows.into()).unwrap();
            for piece in [head, tail] {
                let piece: String = piece.iter().collect();
                emulator.feed(&piece, &mut ());
                avt.feed(&piece);
                prop_assert_eq!(emulator.terminal().dump(), avt.dump());
            }

            // What goes on from row to row is seen when the columns change.
            emulator.resize(size.0, size.1, &mut ());
            avt.resize(size.0.into(), size.1.into());
            prop_assert_eq!(emulator.terminal().dump(), avt.dump());
        }
    }
}
