//! The target's screen, as far as it must be known: where the cursor is, and what was written there.
//!
//! An emulator costs more than all the rest of a relay, and most output never matters: so output is only kept, the last
//! of it, and parsed when something was typed. What is parsed is bounded by a budget, because a few hostile bytes can
//! keep an emulator busy for long.

use std::{
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
};

use recording::Elapsed;

/// A place on the screen, from 0; the column behind the last one means that the next letter wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    row: u16,
    col: u16,
}

/// What a byte of output was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The last byte of a letter that was written.
    Letter(char),
    /// A new line was begun, or the screen scrolled.
    Newline,
    /// Part of a letter, a control byte, an escape sequence.
    Other,
    /// It was not parsed: the budget is spent, and where the cursor is is not known for a while.
    Lost,
}

/// A screen that is parsed when somebody looks.
#[derive(Debug)]
pub(crate) struct Screen {
    rows: u16,
    cols: u16,
    /// Made at the first look: an idle session has none.
    model: Option<Box<Model>>,
    /// The end of the output that was not parsed yet.
    waiting: Vec<u8>,
    /// All of it, also what is no longer kept.
    waiting_bytes: usize,
    lost: bool,
    budget: u64,
    refilled: Elapsed,
}

struct Model {
    parser: vt100::Parser<Scrolled>,
    lexer: Lexer,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Model")
    }
}

/// Counts the rows that scrolled off.
#[derive(Default)]
struct Scrolled(u32);

impl vt100::Callbacks for Scrolled {
    fn on_scroll(&mut self, _: vt100::capture::RowContents<'_>, _: bool) {
        self.0 = self.0.saturating_add(1);
    }
}

/// Of output that nobody looked at, the last one to two blocks are kept: two to four screenfuls of text, or the end of
/// a repainted screen, which is where the cursor is. Parsing them keeps a key waiting for 0.1 to 0.4 ms.
const BLOCK_BYTES: usize = 4 * 1024;
/// An emulator takes 32 bytes a cell, twice. A terminal that is larger than any monitor is not modelled, and what is
/// typed there stays a count.
const CELLS_MAX: u32 = 100_000;
/// What may be parsed in a second, in units of a byte of text (about 25 ns): a tenth of a core.
const BUDGET: u64 = 4_000_000;
/// An escape sequence costs this, and something for each cell that it may clear.
const SEQUENCE_COST: u64 = 16;
/// Cells that are cleared in the time of a byte of text.
const CELLS_PER_UNIT: u64 = 128;
/// A sequence that repeats itself more than 999 times.
const REPEAT_COST: u64 = 16 * 1024;

impl Screen {
    pub(crate) fn new(cols: u16, rows: u16) -> Screen {
        Screen {
            rows: rows.max(1),
            cols: cols.max(1),
            model: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            lost: false,
            budget: BUDGET,
            refilled: Elapsed::ZERO,
        }
    }

    /// The size is taken on at the next look.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        (self.cols, self.rows) = (cols.max(1), rows.max(1));
    }

    /// Output that nobody looks at now. Which part of it is kept depends on its length alone, not on its pieces.
    pub(crate) fn keep(&mut self, data: &[u8]) {
        if !self.is_modelled() {
            return;
        }
        self.waiting_bytes += data.len();
        let kept = match self.waiting_bytes {
            all if all <= 2 * BLOCK_BYTES => all,
            all => BLOCK_BYTES + all % BLOCK_BYTES,
        };
        let fresh = data.get(data.len().saturating_sub(kept)..).unwrap_or_default();
        let old = kept - fresh.len();
        self.waiting.drain(..self.waiting.len().saturating_sub(old));
        self.waiting.extend_from_slice(fresh);
    }

    /// Parses what was kept, and tells where the cursor is; none if that is not known.
    pub(crate) fn look(&mut self, now: Elapsed) -> Option<Place> {
        if !self.is_modelled() {
            (self.model, self.waiting) = (None, Vec::new());
            return None;
        }
        self.refill(now);
        if self.lost && self.budget < BUDGET / 2 {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let cut = std::mem::take(&mut self.lost) || self.waiting_bytes > waiting.len();
        self.waiting_bytes = 0;
        let (rows, cols) = (NonZeroU16::new(self.rows)?, NonZeroU16::new(self.cols)?);
        let model = self.model.get_or_insert_with(|| Box::new(Model::new(rows, cols)));
        let mut rest = waiting.as_slice();
        if cut {
            model.lexer = Lexer::default();
            let line = rest.iter().position(|byte| *byte == b'\n');
            rest = line.and_then(|at| rest.get(at + 1..)).unwrap_or(rest);
        }
        let cost: u64 = rest.iter().map(|byte| model.lexer.next(*byte).1.units(rows, cols)).sum();
        self.budget = self.budget.saturating_sub(cost);
        if self.budget == 0 {
            self.lost = true;
            return None;
        }
        let shown = unless_it_panics(|| {
            if cut {
                // What stood before is gone; what flooded the screen left the cursor in its last row.
                model.parser.process(b"\x18\x1b[999;1H");
            }
            model.parser.process(rest);
            if model.parser.screen().size() != (rows, cols) {
                model.parser.set_size(rows, cols);
            }
            model.cursor()
        });
        if shown.is_none() {
            self.give_up();
        }
        shown
    }

    /// Parses one byte at once. Only after a look, with nothing kept since.
    pub(crate) fn watch(&mut self, byte: u8, now: Elapsed) -> Seen {
        self.refill(now);
        let Some(model) = &mut self.model else { return Seen::Lost };
        let (rows, cols) = model.parser.screen().size();
        let (seen, cost) = model.lexer.next(byte);
        self.budget = self.budget.saturating_sub(cost.units(rows, cols));
        if self.lost || self.budget == 0 {
            self.lost = true;
            return Seen::Lost;
        }
        model.parser.callbacks_mut().0 = 0;
        if unless_it_panics(|| model.parser.process(&[byte])).is_none() {
            self.give_up();
            return Seen::Lost;
        }
        seen
    }

    /// The emulator failed: its screen is thrown away, and another one begun when the budget has grown again.
    fn give_up(&mut self) {
        (self.model, self.lost, self.budget) = (None, true, 0);
    }

    /// Whether the last byte that was watched made the screen scroll.
    pub(crate) fn has_scrolled(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.parser.callbacks().0 > 0)
    }

    /// Where the cursor is after what was watched.
    pub(crate) fn cursor(&self) -> Option<Place> {
        self.model.as_ref().map(|model| model.cursor())
    }

    /// Whether the cell just before this place shows this letter; or, for a letter without width, ends in it.
    pub(crate) fn shows_before(&self, place: Place, letter: char, has_width: bool) -> bool {
        let Some(model) = &self.model else { return false };
        let cell = |back: u16| model.parser.screen().cell(place.row, place.col.checked_sub(back)?);
        let cell = match cell(1) {
            Some(second) if second.is_wide_continuation() => cell(2),
            first => first,
        };
        let mut bytes = [0; 4];
        let letter: &str = letter.encode_utf8(&mut bytes);
        cell.is_some_and(|cell| {
            if has_width { cell.contents() == letter } else { cell.contents().ends_with(letter) }
        })
    }

    /// Whether a cursor at `here` writes where one at `there` would: behind a full row means before the next one.
    pub(crate) fn is_same(&self, there: Place, here: Place) -> bool {
        let next_row = there.row.saturating_add(1).min(self.rows - 1);
        there == here || there.col >= self.cols && here == (Place { row: next_row, col: 0 })
    }

    /// Where a letter goes that is written at a place behind a full row, once that row was wrapped.
    pub(crate) fn wrapped(&self, there: Place, after: Place) -> Option<Place> {
        (there.col >= self.cols).then_some(Place { row: after.row, col: 0 })
    }

    fn is_modelled(&self) -> bool {
        u32::from(self.rows) * u32::from(self.cols) <= CELLS_MAX
    }

    fn refill(&mut self, now: Elapsed) {
        let earned = now.since(self.refilled).as_micros().saturating_mul(u128::from(BUDGET)) / 1_000_000;
        if earned > 0 {
            self.budget = self.budget.saturating_add(u64::try_from(earned).unwrap_or(BUDGET)).min(BUDGET);
            self.refilled = now;
        }
    }
}

/// vt100 0.18.1 panics on some output (a wide character that is cut at the edge, with a variation selector), and a target
/// may send any.
fn unless_it_panics<T>(parse: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok()
}

impl Model {
    fn new(rows: NonZeroU16, cols: NonZeroU16) -> Model {
        Model {
            parser: vt100::Parser::new_with_callbacks(rows, cols, 0, Scrolled(0)),
            lexer: Lexer::default(),
        }
    }

    fn cursor(&self) -> Place {
        let (row, col) = self.parser.screen().cursor_position();
        Place { row, col }
    }
}

/// Tells letters from escape sequences, as the emulator does, which does not say.
#[derive(Debug, Default)]
struct Lexer {
    state: State,
    letter: [u8; 4],
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `CSI`, in which so many digits stand in a row.
    Control(u8),
    /// OSC, DCS, APC, PM, SOS: text up to its terminator.
    Text,
}

/// What parsing a byte costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Plain,
    Sequence,
    Repeat,
}

impl Cost {
    fn units(self, rows: NonZeroU16, cols: NonZeroU16) -> u64 {
        match self {
            Cost::Plain => 1,
            Cost::Sequence => SEQUENCE_COST + u64::from(rows.get()) * u64::from(cols.get()) / CELLS_PER_UNIT,
            Cost::Repeat => REPEAT_COST,
        }
    }
}

impl Lexer {
    fn next(&mut self, byte: u8) -> (Seen, Cost) {
        if self.state != State::Ground || byte < 0x80 {
            self.length = 0;
        }
        let (state, seen, cost) = match (self.state, byte) {
            (_, 0x1b) => (State::Escape, Seen::Other, Cost::Sequence),
            (_, 0x18 | 0x1a) => (State::Ground, Seen::Other, Cost::Plain),
            (State::Text, 0x07) => (State::Ground, Seen::Other, Cost::Plain),
            (State::Text, _) => (State::Text, Seen::Other, Cost::Plain),
            // Control bytes work inside of sequences too.
            (state, 0x0a..=0x0c) => (state, Seen::Newline, Cost::Plain),
            (state, 0..=0x1f | 0x7f) => (state, Seen::Other, Cost::Plain),
            (State::Escape, b'[') => (State::Control(0), Seen::Other, Cost::Plain),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::Text, Seen::Other, Cost::Plain),
            (State::Escape, 0x20..=0x2f) => (State::Escape, Seen::Other, Cost::Plain),
            (State::Escape, b'D' | b'E' | b'M') => (State::Ground, Seen::Newline, Cost::Plain),
            (State::Escape, _) => (State::Ground, Seen::Other, Cost::Plain),
            (State::Control(digits), b'0'..=b'9') => {
                let digits = digits.saturating_add(1);
                let cost = if digits == 4 { Cost::Repeat } else { Cost::Plain };
                (State::Control(digits), Seen::Other, cost)
            }
            (State::Control(_), 0x40..=0x7e) => (State::Ground, Seen::Other, Cost::Plain),
            (State::Control(_), _) => (State::Control(0), Seen::Other, Cost::Plain),
            (State::Ground, 0x20..=0x7e) => (State::Ground, Seen::Letter(char::from(byte)), Cost::Plain),
            (State::Ground, _) => (State::Ground, self.part(byte), Cost::Plain),
        };
        self.state = state;
        (seen, cost)
    }

    /// A byte of a letter that has several.
    fn part(&mut self, byte: u8) -> Seen {
        if byte & 0xc0 != 0x80 {
            self.length = 0;
        }
        let Some(place) = self.letter.get_mut(self.length) else { return Seen::Other };
        *place = byte;
        self.length += 1;
        let letter = std::str::from_utf8(self.letter.get(..self.length).unwrap_or_default());
        match letter.ok().and_then(|text| text.chars().next()).filter(|letter| !letter.is_control()) {
            Some(letter) => Seen::Letter(letter),
            None => Seen::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_by_its_end_whatever_its_pieces() {
        let flood: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n}\r\n").into_bytes()).collect();
        let (mut whole, mut pieces) = (Screen::new(80, 24), Screen::new(80, 24));
        whole.keep(&flood);
        flood.chunks(777).for_each(|piece| pieces.keep(piece));
        assert_eq!(whole.waiting, pieces.waiting);
        assert!(whole.waiting.capacity() <= 4 * BLOCK_BYTES);
        assert_eq!(whole.look(Elapsed::ZERO), Some(Place { row: 23, col: 0 }));
    }

    #[test]
    fn hostile_output_spends_a_budget_and_not_the_machine() {
        let mut screen = Screen::new(200, 50);
        screen.look(Elapsed::ZERO);
        let hostile = b"\x1b[65535S\x1b[65535L".repeat(1000);
        assert!(hostile.iter().any(|byte| screen.watch(*byte, Elapsed::ZERO) == Seen::Lost));
        assert_eq!(screen.look(Elapsed::ZERO), None);
        screen.keep(b"\r\n$ ");
        assert_eq!(
            screen.look(Elapsed::from_micros(1_000_000)),
            Some(Place { row: 49, col: 2 }),
            "known again later"
        );
    }

    #[test]
    fn output_that_the_emulator_fails_on_costs_the_screen_and_nothing_else() {
        let fatal = "\x1b[80B\x1b[999G\u{263a}\u{fe0f}\x1b[1A\x1b[999Ga";
        let second = |n: u64| Elapsed::from_micros(n * 1_000_000);
        let mut screen = Screen::new(80, 24);
        screen.keep(fatal.as_bytes());
        assert_eq!(screen.look(second(0)), None);
        screen.keep(b"\r\n$ ");
        assert_eq!(screen.look(second(1)), Some(Place { row: 23, col: 2 }), "known again later");

        let mut screen = Screen::new(80, 24);
        screen.look(second(0));
        assert!(fatal.bytes().any(|byte| screen.watch(byte, second(0)) == Seen::Lost));
        assert_eq!(screen.cursor(), None);
    }

    #[test]
    fn an_idle_screen_has_no_cells_and_a_monstrous_one_never() {
        let mut screen = Screen::new(80, 24);
        screen.keep(b"motd\r\n$ ");
        assert!(screen.model.is_none());
        let mut screen = Screen::new(1000, 500);
        screen.keep(b"$ ");
        assert_eq!((screen.look(Elapsed::ZERO), screen.model.is_none()), (None, true));
    }

    #[test]
    fn letters_are_told_from_sequences() {
        let mut lexer = Lexer::default();
        let text = "a\x1b[31mb\x1b]0;t\x07c\x1bPq\x1b\\ö\x1b(0\u{85}d";
        let letters: String = text
            .bytes()
            .filter_map(|byte| match lexer.next(byte).0 {
                Seen::Letter(letter) => Some(letter),
                _ => None,
            })
            .collect();
        assert_eq!(letters, "abcöd");
    }
}
