//! The recorded screen, or the part of it that fits.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use recording::{AvtReplica, Cell, Color as Recorded, Replica as _};
use unicode_width::UnicodeWidthChar;

use crate::{
    player::{Player, Window},
    printable::printable,
};

/// The part of the recorded screen that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First column.
    pub col: u16,
    /// First row.
    pub row: u16,
    /// How many columns.
    pub cols: u16,
    /// How many rows.
    pub rows: u16,
    /// Columns and rows of the whole.
    pub of: (u16, u16),
}

impl Seen {
    /// Chooses the part that `area` shows.
    pub fn of(player: &Player, area: Rect) -> Self {
        let replica = player.reel().replica();
        let of = replica.size();
        let cursor = replica.cursor();
        let (col, row) = match player.window() {
            Window::At { col, row } => (col, row),
            Window::Follow => {
                let (col, row) = player.drew_from_last();
                (around(cursor.col, col, area.width, of.0), around(cursor.row, row, area.height, of.1))
            }
        };
        let (cols, rows) = (area.width.min(of.0), area.height.min(of.1));
        Seen { col: col.min(of.0 - cols), row: row.min(of.1 - rows), cols, rows, of }
    }

    /// Whether something is not seen.
    pub fn is_cropped(&self) -> bool {
        (self.cols, self.rows) != self.of
    }
}

/// Where a window of `wide` cells begins that shows the cursor: where it began before, if that will do.
fn around(cursor: u16, before: u16, wide: u16, of: u16) -> u16 {
    let last = of.saturating_sub(wide);
    let before = before.min(last);
    let inside = cursor >= before && cursor < before.saturating_add(wide);
    if inside { before } else { cursor.saturating_sub(wide / 2).min(last) }
}

/// Draws that part, and a thin edge where the recorded terminal ends before the viewer's.
pub fn draw(replica: &AvtReplica, seen: &Seen, area: Rect, cells: &mut Buffer) {
    let cursor = replica.cursor();
    let cursor_col = cursor.col.min(seen.of.0.saturating_sub(1));
    for y in 0..seen.rows {
        let row = seen.row + y;
        let mut half = 0;
        for (x, from) in (0..seen.cols).zip(replica.row(row).skip(seen.col.into())) {
            let at_cursor = cursor.is_visible && (cursor_col, cursor.row) == (seen.col + x, row);
            let has_room = x + 1 < seen.cols;
            if half == 0 {
                half = put(&from, at_cursor, has_room, (area.x + x, area.y + y), cells) - 1;
            } else {
                half = 0;
            }
        }
    }
    edge(seen, area, cells);
}

/// Draws one cell, and answers how many columns it took. Half a wide character, cut by the edge, is a space.
fn put(from: &Cell, at_cursor: bool, has_room: bool, to: (u16, u16), cells: &mut Buffer) -> u16 {
    let shown = printable(from.ch);
    let is_wide = shown.width() == Some(2);
    let fits = from.width == 2 && has_room;
    let shown = if from.width == 0 || is_wide && !fits { ' ' } else { shown };
    let style = style(from, at_cursor);
    if let Some(cell) = cells.cell_mut(to) {
        cell.set_char(shown).set_style(style);
    }
    if !is_wide || !fits {
        return 1;
    }
    if let Some(tail) = cells.cell_mut((to.0 + 1, to.1)) {
        tail.set_char(' ').set_style(style);
    }
    2
}

fn style(from: &Cell, at_cursor: bool) -> Style {
    let traits = [
        (from.style.is_bold, Modifier::BOLD),
        (from.style.is_faint, Modifier::DIM),
        (from.style.is_italic, Modifier::ITALIC),
        (from.style.is_underlined, Modifier::UNDERLINED),
        (from.style.is_struck_through, Modifier::CROSSED_OUT),
        (from.style.is_inverse != at_cursor, Modifier::REVERSED),
    ];
    let style = Style::new().fg(color(from.fg)).bg(color(from.bg));
    traits
        .into_iter()
        .filter(|(is_on, _)| *is_on)
        .fold(style, |style, (_, modifier)| style.add_modifier(modifier))
}

/// The sixteen colours go on by number, so that the viewer's own palette shows them.
fn color(recorded: Recorded) -> Color {
    match recorded {
        Recorded::Default => Color::Reset,
        Recorded::Indexed(number) => Color::Indexed(number),
        Recorded::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    }
}

/// Where the recorded terminal ends, if the viewer's goes on.
fn edge(seen: &Seen, area: Rect, cells: &mut Buffer) {
    let line = Style::new().add_modifier(Modifier::DIM);
    let (right, below) = (seen.cols < area.width, seen.rows < area.height);
    let mut put = |x: u16, y: u16, glyph| {
        if let Some(cell) = cells.cell_mut((area.x + x, area.y + y)) {
            cell.set_char(glyph).set_style(line);
        }
    };
    (0..seen.rows).filter(|_| right).for_each(|y| put(seen.cols, y, '│'));
    (0..seen.cols).filter(|_| below).for_each(|x| put(x, seen.rows, '─'));
    if right && below {
        put(seen.cols, seen.rows, '┘');
    }
}
