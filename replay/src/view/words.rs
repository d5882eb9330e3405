//! The lines around the screen: header, time line, status, and the keys.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use recording::Elapsed;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::screen::Seen;
use crate::{
    keymap,
    player::Player,
    printable::{printable, printable_text},
    source::{About, Growth},
};

/// The most characters that are shown of a name that the recording chose.
const NAME_CHARS_MAX: usize = 60;

const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);
const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const MARKED: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Who, where, when, and how large.
pub fn header(player: &Player, seen: &Seen, line: Rect, cells: &mut Buffer) {
    fill(line, BAR, cells);
    let size = size(seen);
    let room = usize::from(line.width).saturating_sub(size.width() + 1);
    write(&cut(&who(player.reel().about()), room), line, 0, BAR, cells);
    write(&size, line, line.width.saturating_sub(size.width() as u16), BAR, cells);
}

fn who(about: &About) -> String {
    let shown = |text: &str| printable_text(text, NAME_CHARS_MAX);
    let mut parts = Vec::new();
    match (&about.principal, &about.target) {
        (Some(principal), Some(target)) => {
            let login = about.login.as_deref().map(|login| format!("{}@", shown(login))).unwrap_or_default();
            parts.push(format!("{} -> {login}{}", shown(principal), shown(target)));
        }
        _ => parts.push(shown(&about.name)),
    }
    parts.extend(about.started());
    let what = about.command.as_deref().or(about.title.as_deref()).map(shown);
    parts.extend(what.filter(|what| !parts.contains(what))); // a session without a command is called after its two ends
    format!(" {}", parts.join("  "))
}

/// The recorded size, and which part is seen if it is not all.
fn size(seen: &Seen) -> String {
    let (cols, rows) = seen.of;
    if seen.is_cropped() {
        format!(" {}x{} of {cols}x{rows} from {},{} ", seen.cols, seen.rows, seen.col, seen.row)
    } else {
        format!(" {cols}x{rows} ")
    }
}

/// How far it is played, and where its markers are.
pub fn time_line(player: &Player, line: Rect, cells: &mut Buffer) {
    let end = player.reel().end();
    let played = place(player.position(), end, line.width);
    for x in 0..line.width {
        let (glyph, style) = if x <= played { ('━', Style::new()) } else { ('─', QUIET) };
        put(glyph, line, x, style, cells);
    }
    for (at, _) in player.reel().markers() {
        put('▼', line, place(at, end, line.width), MARKED, cells);
    }
    put('●', line, played, Style::new().add_modifier(Modifier::BOLD), cells);
}

/// The column that stands for an instant.
fn place(at: Elapsed, end: Elapsed, width: u16) -> u16 {
    let last = u128::from(width.saturating_sub(1));
    let place = u128::from(at.as_micros()) * last / u128::from(end.as_micros()).max(1);
    place.min(last) as u16
}

/// Where it stands, how it plays, and what is to be known about it.
pub fn status(player: &Player, seen: &Seen, line: Rect, cells: &mut Buffer) {
    let end = player.reel().end();
    let mut parts = vec![format!("{} / {}", clock(player.position()), clock(end)), state(player).into()];
    parts.push(format!("{}x", player.speed()));
    parts.push(
        player.idle_limit().map_or("idle full".into(), |limit| format!("idle {}s", limit.as_secs_f64())),
    );
    if seen.is_cropped() {
        parts.push(format!("cropped {}x{}", seen.of.0, seen.of.1));
    }
    if let Some((_, label)) = player.reel().markers().rev().find(|(at, _)| *at <= player.position()) {
        parts.push(format!("marker: {}", printable_text(label, NAME_CHARS_MAX)));
    }
    let mut left =
        write(&cut(&format!(" {}", parts.join("  ")), line.width.into()), line, 0, Style::new(), cells);
    if let Some(said) = alarm(player) {
        let said = printable_text(&said, usize::from(line.width));
        // What is wrong with a recording goes before how fast it plays.
        let from = left.saturating_add(2).min(line.width.saturating_sub(said.width() as u16));
        left = from.saturating_add(write(&said, line, from, ALARM, cells));
    }
    let hint = "? keys ";
    if left + 2 + hint.len() as u16 <= line.width {
        write(hint, line, line.width - hint.len() as u16, QUIET, cells);
    }
}

fn state(player: &Player) -> &'static str {
    let grows = player.reel().growth() == Growth::Live;
    match (player.is_playing(), player.at_end()) {
        (_, true) if grows => "live",
        (_, true) => "ended",
        (true, false) => "playing",
        (false, false) => "paused",
    }
}

fn alarm(player: &Player) -> Option<String> {
    if let Some(flaw) = player.flaw() {
        return Some(flaw.to_string());
    }
    match player.reel().growth() {
        Growth::Reading(Some(percent)) => Some(format!("reading {percent} %")),
        Growth::Reading(None) => Some("reading".into()),
        Growth::Live | Growth::Done => None,
    }
}

/// The table of keys, in as many columns as there is room for.
pub fn help(area: Rect, cells: &mut Buffer) {
    let lines: Vec<String> = keymap::as_text().lines().map(|line| format!(" {line}")).collect();
    let wide = lines.iter().map(|line| line.width()).max().unwrap_or_default() as u16 + 2;
    let columns = (area.width / wide).max(1);
    let tall = (lines.len() as u16).div_ceil(columns);
    for (n, text) in lines.iter().enumerate() {
        let (column, row) = (n as u16 / tall, n as u16 % tall);
        if row < area.height {
            let line = Rect { y: area.y + row, height: 1, ..area };
            write(&cut(text, usize::from(area.width)), line, column * wide, Style::new(), cells);
        }
    }
    let rest = area.height.saturating_sub(tall);
    let says = if tall > area.height { "more: replay --help-keys" } else { "any key goes back" };
    let y = area.y + if rest > 1 { tall + 1 } else { area.height.saturating_sub(1) };
    if rest != 0 || tall > area.height {
        let line = Rect { y, height: 1, ..area };
        fill(line, Style::new(), cells);
        write(&cut(&format!(" {says}"), usize::from(area.width)), line, 0, QUIET, cells);
    }
}

/// `12:31`, or `1:02:31` from an hour on.
pub fn clock(at: Elapsed) -> String {
    let seconds = at.as_micros() / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// The text, or as much as fits, with a sign that there was more.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.into();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.width().unwrap_or(0) >= width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// Writes on one line from a column on, and answers how many columns it took.
fn write(text: &str, line: Rect, from: u16, style: Style, cells: &mut Buffer) -> u16 {
    let mut x = from;
    for c in text.chars().map(printable) {
        let wide = c.width().unwrap_or(1) as u16;
        if x + wide > line.width {
            break;
        }
        put(c, line, x, style, cells);
        if wide == 2 {
            put(' ', line, x + 1, style, cells);
        }
        x += wide;
    }
    x.saturating_sub(from)
}

fn put(glyph: char, line: Rect, x: u16, style: Style, cells: &mut Buffer) {
    if x < line.width
        && let Some(cell) = cells.cell_mut((line.x + x, line.y))
    {
        cell.set_char(glyph).set_style(style);
    }
}

fn fill(line: Rect, style: Style, cells: &mut Buffer) {
    for x in 0..line.width {
        put(' ', line, x, style, cells);
    }
}
