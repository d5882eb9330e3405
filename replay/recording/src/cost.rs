//! What it costs to show a recording again, and when a segment is therefore full.

use std::time::Duration;

use crate::{
    Event, Layout, What,
    emulator::{broken_cells, next_cols, repetitions_max},
    size,
};

/// A segment is closed when its plain form has so many bytes.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// A segment is closed when showing it would cost so much: a seek shows one segment at most, and 3 ms leave room in a
/// frame of 16 ms.
pub const SEGMENT_COST_MAX: Duration = Duration::from_millis(3);

/// What it costs to show these bytes on a terminal of this size, on the machine that the model was measured on.
///
/// 0.02 us for a byte, and 0.0009 us for each column of each line feed, because a screen that scrolls moves its rows.
/// Bytes alone do not tell: 64 KiB of line feeds at 300 columns cost thirty times what 64 KiB of text do. A few
/// sequences cost far more than their bytes too, and a hostile program may send nothing else: 64 KiB of "repeat the last
/// character 65535 times", each of which fills a screen of 80x24, take 0.3 seconds. What those cost was measured with
/// `examples/encode_speed.rs`.
pub fn cost(bytes: &[u8], cols: u16, rows: u16) -> Duration {
    let mut meter = Meter::new(cols, rows);
    meter.read(bytes);
    Duration::from_nanos(meter.nanos)
}

/// How full the open segment is.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    layout: Layout,
    plain_bytes: usize,
    meter: Meter,
}

impl Fill {
    /// An empty segment of this layout, on a terminal of this size. Chunks are not shown on any, and cost their bytes.
    pub fn new(layout: Layout, cols: u16, rows: u16) -> Self {
        Fill { layout, plain_bytes: 0, meter: Meter::new(cols, rows) }
    }

    /// Adds an event, whose plain form has so many bytes.
    pub fn add(&mut self, event: &Event, plain_bytes: usize) {
        self.plain_bytes += plain_bytes;
        if self.layout == Layout::Chunks {
            return;
        }
        match &event.what {
            What::Output(data) | What::ErrorOutput(data) | What::Notice(data) => self.meter.read(data),
            What::Resize { cols, rows } => self.meter.resize(*cols, *rows),
            _ => {}
        }
    }

    /// Whether the segment should be closed now.
    pub fn is_full(&self) -> bool {
        self.plain_bytes >= SEGMENT_BYTES_MAX || self.cost() >= SEGMENT_COST_MAX
    }

    /// What it costs to show the segment.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.meter.nanos)
    }

    /// Begins the next segment on the same terminal.
    pub fn empty(&mut self) {
        self.plain_bytes = 0;
        self.meter.nanos = 0;
    }
}

/// Reads output as far as costs go; a sequence may be cut by the end of a piece.
#[derive(Clone, Copy, Debug)]
struct Meter {
    cols: u64,
    cells: u64,
    /// The most repetitions of a character that are shown.
    repetitions_max: u64,
    nanos: u64,
    state: State,
}

/// Where in a sequence the output stands.
#[derive(Clone, Copy, Debug)]
enum State {
    Ground,
    Escape,
    /// ESC #
    Hash,
    /// The lead byte of U+0080 to U+00BF, among which are the eight-bit controls.
    Eight,
    /// CSI with its first number, or with its last if it is private.
    Csi {
        number: u32,
        is_private: bool,
    },
    /// CSI with its first number, after which there are more.
    More {
        number: u32,
    },
}

/// What the sequences cost that do much: nanoseconds, for each cell of the screen or each column or repetition.
mod nanos {
    pub const BYTE: u64 = 20;
    pub const ERASE_CELL: u64 = 3;
    pub const SCROLL_CELL: u64 = 1;
    pub const SWITCH_CELL: u64 = 1;
    pub const ALIGN_CELL: u64 = 6;
    pub const RESIZE_CELL: u64 = 30;
    pub const BROKEN_CELL: u64 = 5;
    pub const SHIFT_COLUMN: u64 = 1;
    pub const REPETITION: u64 = 16;
}

impl Meter {
    fn new(cols: u16, rows: u16) -> Self {
        let (cols, rows) = size::clamped(cols, rows);
        let repetitions_max = repetitions_max(cols.into(), rows.into()) as u64;
        let (cols, rows) = (u64::from(cols), u64::from(rows));
        Meter { cols, cells: cols * rows, repetitions_max, nanos: 0, state: State::Ground }
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        let before = *self;
        *self = Meter { state: before.state, ..Meter::new(cols, rows) };
        self.nanos = before.nanos
            + nanos::RESIZE_CELL * before.cells.max(self.cells)
            + nanos::BROKEN_CELL * before.broken_cells(self.cols);
    }

    /// Cells that are copied when it becomes as narrow as this; steps after the first are not counted.
    fn broken_cells(&self, to: u64) -> u64 {
        let (cols, rows) = (self.cols as usize, (self.cells / self.cols) as usize);
        broken_cells(cols, rows, next_cols(cols, rows, to as usize)) as u64
    }

    fn read(&mut self, bytes: &[u8]) {
        self.nanos += nanos::BYTE * bytes.len() as u64;
        let mut rest = bytes.iter();
        loop {
            if matches!(self.state, State::Ground) {
                // Text is most of what there is, and is passed over at once.
                let Some(byte) = rest.find(|byte| matches!(**byte, 0x0a..=0x0c | 0x1b | 0xc2)) else {
                    return;
                };
                self.byte(*byte);
            } else {
                let Some(byte) = rest.next() else { return };
                self.byte(*byte);
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, 0x1b) => State::Escape,
            (State::Ground, 0xc2) => State::Eight,
            (state, 0x0a..=0x0c) => {
                self.line_feed();
                state
            }
            (State::Escape, b'[') | (State::Eight, 0x9b) => State::Csi { number: 0, is_private: false },
            (State::Escape, b'#') => State::Hash,
            (State::Escape, b'D' | b'E' | b'M') | (State::Eight, 0x84 | 0x85 | 0x8d) => self.line_feed(),
            (State::Escape, b'c') => self.each_cell(nanos::ERASE_CELL),
            (State::Hash, b'8') => self.each_cell(nanos::ALIGN_CELL),
            (State::Csi { number, is_private }, b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                State::Csi { number, is_private }
            }
            (State::Csi { .. }, b'<'..=b'?') => State::Csi { number: 0, is_private: true },
            (State::Csi { number, is_private: true }, b';') => {
                // A list of private modes may switch screens more than once.
                self.control(b'h', number, true);
                State::Csi { number: 0, is_private: true }
            }
            (State::Csi { number, is_private: false }, b';') => State::More { number },
            (State::Csi { number, is_private }, 0x40..=0x7e) => {
                self.control(byte, number, is_private);
                State::Ground
            }
            (State::More { number }, 0x40..=0x7e) => {
                self.control(byte, number, false);
                State::Ground
            }
            (state @ (State::Csi { .. } | State::More { .. }), 0x00..=0x3f) => state,
            _ => State::Ground,
        };
    }

    fn control(&mut self, last: u8, number: u32, is_private: bool) {
        self.nanos += match last {
            b'h' | b'l' if is_private && (1047..=1049).contains(&number) => nanos::SWITCH_CELL * self.cells,
            _ if is_private => 0,
            b'J' => nanos::ERASE_CELL * self.cells,
            b'L' | b'M' | b'S' | b'T' => nanos::SCROLL_CELL * self.cells,
            b'@' | b'P' | b'X' | b'K' => nanos::SHIFT_COLUMN * self.cols,
            b'b' => nanos::REPETITION * u64::from(number).clamp(1, self.repetitions_max.min(65_535)),
            _ => 0,
        };
    }

    fn line_feed(&mut self) -> State {
        self.nanos += self.cols * 9 / 10;
        State::Ground
    }

    fn each_cell(&mut self, nanos: u64) -> State {
        self.nanos += nanos * self.cells;
        State::Ground
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Elapsed;

    fn event(what: What) -> Event {
        Event { at: Elapsed::ZERO, what }
    }

    fn output(data: impl Into<Bytes>) -> Event {
        event(What::Output(data.into()))
    }

    #[test]
    fn the_model_is_that_of_the_measurement() {
        assert_eq!(cost(&[b'a'; 1000], 300, 80), Duration::from_micros(20));
        assert_eq!(cost(&[b'\n'; 1000], 300, 80), Duration::from_micros(20 + 270));
    }

    #[test]
    fn a_few_bytes_that_do_much_cost_much() {
        for sequence in [
            "\x1b[65535b",
            "\x1b[65535;1b",
            "\x1b[2J",
            "\u{9b}2J",
            "\x1bc",
            "\x1b#8",
            "\x1b[9S",
            "\x1b[?25;1049h",
        ] {
            let text = cost(&vec![b'a'; sequence.len()], 300, 80);
            assert!(cost(sequence.as_bytes(), 300, 80) > 100 * text, "{sequence:?}");
        }
    }

    #[test]
    fn a_repetition_costs_what_it_prints_up_to_a_screen() {
        let rep = |number, rows| cost(format!("\x1b[{number}b").as_bytes(), 80, rows).as_nanos() / 1_000;

        assert_eq!([rep(10_000, 24), rep(65_535, 24)], [34, 34]);
        assert_eq!([rep(1_000, 24), rep(1_000, 500), rep(65_535, 500)], [16, 16, 644]);
    }

    #[test]
    fn a_segment_is_full_by_its_bytes_or_by_what_it_costs_to_show() {
        let mut fill = Fill::new(Layout::Lines, 80, 24);
        fill.add(&output(vec![b'a'; SEGMENT_BYTES_MAX - 1]), SEGMENT_BYTES_MAX - 1);
        assert!(!fill.is_full());
        fill.add(&event(What::InputEnd), 12);
        assert!(fill.is_full());

        fill.empty();
        fill.add(&event(What::Resize { cols: 300, rows: 80 }), 16);
        fill.add(&output(vec![b'\n'; 7_000]), 14_000);
        assert!(!fill.is_full());
        fill.add(&output(vec![b'\n'; 2_000]), 4_000);
        assert!(fill.is_full());
    }

    #[test]
    fn a_screen_that_becomes_narrow_costs_the_rows_that_are_broken() {
        let cost = |from: (u16, u16), (cols, rows)| {
            let mut fill = Fill::new(Layout::Lines, from.0, from.1);
            fill.add(&event(What::Resize { cols, rows }), 16);
            fill.cost()
        };

        assert!(cost((200, 50), (10, 50)) > cost((200, 50), (201, 50)));
        assert!(cost((1000, 500), (1, 1)) > cost((1000, 500), (999, 500)));
    }

    #[test]
    fn what_no_terminal_shows_costs_its_bytes_alone() {
        let mut fill = Fill::new(Layout::Chunks, 300, 80);
        fill.add(&output("\x1b[65535b".repeat(1_000)), 9_000);

        assert_eq!(fill.cost(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn wherever_output_is_cut_it_costs_the_same(pieces in prop::collection::vec("[\x1b\u{9b}\\[#?;0-9a-zA-Z\n]{0,9}", 0..8)) {
            let mut fill = Fill::new(Layout::Lines, 80, 24);
            pieces.iter().for_each(|piece| fill.add(&output(piece.clone()), 0));

            prop_assert_eq!(fill.cost(), cost(pieces.concat().as_bytes(), 80, 24));
        }
    }
}
