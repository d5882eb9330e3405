//! Draws a [`Player`]: a header, the recorded screen, the time line, the status.
//!
//! Only cells are drawn, and only characters that `recording::Replica` lets through: nothing that a recording holds can
//! act on the viewer's terminal.

mod layout;
mod screen;
mod words;

pub use words::clock;

use ratatui::Frame;

use crate::player::Player;
use layout::Layout;

/// Draws the player's present frame, and tells the player which part of the recording is seen.
pub fn draw(player: &mut Player, frame: &mut Frame<'_>) {
    let layout = Layout::of(frame.area(), player.is_bare());
    let seen = screen::Seen::of(player, layout.screen);
    let cells = frame.buffer_mut();
    if player.shows_help() {
        words::help(layout.screen, cells);
    } else {
        screen::draw(player.reel().replica(), &seen, layout.screen, cells);
    }
    if let Some(line) = layout.header {
        words::header(player, &seen, line, cells);
    }
    if let Some(line) = layout.time_line {
        words::time_line(player, line, cells);
    }
    if let Some(line) = layout.status {
        words::status(player, &seen, line, cells);
    }
    player.drew_from(seen.col, seen.row);
}
