//! The terminal, replayed.
//!
//! A [`Replica`] is what the client's terminal shows at an instant of a recording. It is drawn cell by cell, so no
//! escape sequence of a recording reaches the terminal of whoever watches.

use crate::{Emulator, Event, Keyframe, What, utf8::Carries};

/// A terminal that is fed events, and can be put back to where it was.
///
/// avt stands behind it today. Three generations of its interface came in a year; all that touches one is here.
pub trait Replica: Sized {
    /// A terminal on which nothing has happened. The size is brought within what can be drawn.
    fn blank(cols: u16, rows: u16) -> Self;

    /// The terminal that a key frame was made of.
    fn restore(keyframe: &Keyframe) -> Self;

    /// All that its future depends on; not what has scrolled away.
    fn keyframe(&self) -> Keyframe;

    /// Shows one event: what was sent to the client, or a new size. Other events change nothing.
    fn apply(&mut self, event: &Event);

    /// Columns and rows.
    fn size(&self) -> (u16, u16);

    /// The cells of one row, from the left; none if there is no such row.
    fn row(&self, row: u16) -> impl Iterator<Item = Cell>;

    /// The cursor.
    fn cursor(&self) -> Cursor;

    /// Whether the alternate screen is shown, as a full-screen program does.
    fn is_alternate(&self) -> bool;
}

/// One cell of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What stands in it. Never a control, nor a character that has no width or turns the direction of writing:
    /// whoever draws it draws it where it stands.
    pub ch: char,
    /// Columns that it takes: 1, or 2; 0 for the right half of a wide character.
    pub width: u8,
    /// Colour of the character.
    pub fg: Color,
    /// Colour behind it.
    pub bg: Color,
    /// How it is drawn.
    pub style: Style,
}

/// A colour of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// What the terminal has when nobody chooses.
    #[default]
    Default,
    /// One of the 256: 0 to 15 by name, then the cube, then the greys.
    Indexed(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// How a cell is drawn (SGR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of ECMA-48")]
pub struct Style {
    pub is_bold: bool,
    pub is_faint: bool,
    pub is_italic: bool,
    pub is_underlined: bool,
    pub is_struck_through: bool,
    pub is_blinking: bool,
    pub is_inverse: bool,
}

/// Where the next character goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Column from 0; equal to the number of columns when the next character goes to the next row.
    pub col: u16,
    /// Row from 0.
    pub row: u16,
    /// Whether it is shown.
    pub is_visible: bool,
}

/// A [`Replica`] by avt, the terminal of asciinema.
pub struct AvtReplica {
    emulator: Emulator,
    carries: Carries,
}

impl Replica for AvtReplica {
    fn blank(cols: u16, rows: u16) -> Self {
        AvtReplica { emulator: Emulator::blank(cols, rows), carries: Carries::default() }
    }

    fn restore(keyframe: &Keyframe) -> Self {
        let mut emulator = Emulator::blank(keyframe.cols, keyframe.rows);
        emulator.feed(&keyframe.dump, &mut ());
        AvtReplica { emulator, carries: keyframe.carries.clone() }
    }

    fn keyframe(&self) -> Keyframe {
        let (cols, rows) = self.size();
        Keyframe { cols, rows, dump: self.emulator.terminal().dump(), carries: self.carries.for_viewers() }
    }

    fn apply(&mut self, event: &Event) {
        if let What::Resize { cols, rows } = event.what {
            self.emulator.resize(cols, rows, &mut ());
        } else if let Some(text) = self.carries.shown(event) {
            self.emulator.feed(&text, &mut ());
        }
    }

    fn size(&self) -> (u16, u16) {
        let (cols, rows) = self.emulator.terminal().size();
        (narrow(cols), narrow(rows))
    }

    fn row(&self, row: u16) -> impl Iterator<Item = Cell> {
        let line = self.emulator.terminal().screen().line(row.into());
        line.map(avt::Line::cells).unwrap_or_default().iter().map(cell)
    }

    fn cursor(&self) -> Cursor {
        let avt::Cursor { col, row, visible } = self.emulator.terminal().cursor();
        Cursor { col: narrow(col), row: narrow(row), is_visible: visible }
    }

    fn is_alternate(&self) -> bool {
        self.emulator.terminal().active_screen_kind() == avt::ScreenKind::Alternate
    }
}

fn narrow(side: usize) -> u16 {
    u16::try_from(side).unwrap_or(u16::MAX)
}

fn cell(cell: &avt::Cell) -> Cell {
    let pen = cell.pen();
    Cell {
        ch: drawable(cell.char(), cell.width()),
        width: cell.width(),
        fg: color(pen.foreground()),
        bg: color(pen.background()),
        style: Style {
            is_bold: pen.is_bold(),
            is_faint: pen.is_faint(),
            is_italic: pen.is_italic(),
            is_underlined: pen.is_underline(),
            is_struck_through: pen.is_strikethrough(),
            is_blinking: pen.is_blink(),
            is_inverse: pen.is_inverse(),
        },
    }
}

/// avt keeps what has no width in a cell of its own: drawn, U+202E would turn the rest of the row.
fn drawable(ch: char, width: u8) -> char {
    match unicode_width::UnicodeWidthChar::width(ch) {
        _ if width == 0 => ' ',
        Some(own) if own == usize::from(width) => ch,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

fn color(color: Option<avt::Color>) -> Color {
    match color {
        None => Color::Default,
        Some(avt::Color::Indexed(index)) => Color::Indexed(index),
        Some(avt::Color::RGB(rgb)) => Color::Rgb(rgb.r, rgb.g, rgb.b),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Elapsed, size};

    fn event(what: What) -> Event {
        Event { at: Elapsed::ZERO, what }
    }

    fn shown(what: impl IntoIterator<Item = What>) -> AvtReplica {
        let mut replica = AvtReplica::blank(10, 3);
        what.into_iter().for_each(|what| replica.apply(&event(what)));
        replica
    }

    fn output(text: &'static str) -> What {
        What::Output(Bytes::from_static(text.as_bytes()))
    }

    fn text(replica: &AvtReplica, row: u16) -> String {
        replica.row(row).map(|cell| cell.ch).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn what_the_client_was_sent_is_shown_and_nothing_else() {
        let replica = shown([
            output("out "),
            What::ErrorOutput(Bytes::from_static(b"err\r\n")),
            What::Input(Bytes::from_static(b"in")),
            What::Injected(Bytes::from_static(b"inj")),
            What::Notice(Bytes::from_static(b"told")),
        ]);

        assert_eq!((text(&replica, 0), text(&replica, 1)), ("out err".to_owned(), "told".to_owned()));
        assert_eq!(replica.cursor(), Cursor { col: 4, row: 1, is_visible: true });
    }

    #[test]
    fn cells_have_their_colours_width_and_style() {
        let replica =
            shown([output("\x1b[1;31;48;2;1;2;3m\u{4e2d}\x1b[0;3;7;38;5;200mx\x1b[?25l\x1b[?1049h")]);
        assert!(replica.is_alternate() && !replica.cursor().is_visible);

        let replica = shown([output("\x1b[1;31;48;2;1;2;3m\u{4e2d}\x1b[0;3;7;38;5;200mx")]);
        let cells: Vec<Cell> = replica.row(0).collect();
        assert_eq!((cells[0].ch, cells[0].width, cells[1].width), ('\u{4e2d}', 2, 0));
        assert_eq!((cells[0].fg, cells[0].bg), (Color::Indexed(1), Color::Rgb(1, 2, 3)));
        assert!(cells[0].style.is_bold && cells[2].style.is_italic && cells[2].style.is_inverse);
        assert_eq!((cells[2].ch, cells[2].fg, cells[2].bg), ('x', Color::Indexed(200), Color::Default));
        assert_eq!(cells.len(), 10);
        assert_eq!(replica.row(3).count(), 0);
    }

    #[test]
    fn nothing_that_is_drawn_turns_or_hides_what_stands_beside_it() {
        let replica = shown([output("a\u{202e}b\u{200b}c\u{2066}\u{61c}\u{1}d")]);

        for row in 0..3 {
            assert!(replica.row(row).all(|cell| !cell.ch.is_control()));
            assert!(!text(&replica, row).contains(['\u{202e}', '\u{200b}', '\u{2066}', '\u{61c}']));
        }
    }

    #[test]
    fn a_size_out_of_reason_costs_no_memory() {
        let replica = shown([What::Resize { cols: u16::MAX, rows: u16::MAX }]);
        assert_eq!(replica.size(), (size::COLS_MAX, size::ROWS_MAX));

        assert_eq!(AvtReplica::blank(0, 0).size(), (1, 1));
        // A program may ask for another size too (XTWINOPS); only the client's terminal decides.
        assert_eq!(shown([output("\x1b[8;60000;60000t")]).size(), (10, 3));
    }

    #[test]
    fn a_character_cut_in_two_is_shown_whole() {
        let replica =
            shown([What::Output(Bytes::from_static(b"\xe2\x82")), What::Output(Bytes::from_static(b"\xac"))]);

        assert_eq!(text(&replica, 0), "\u{20ac}");
    }
}
