//! The list on a screen, cell by cell.

use gate::Name;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};
use unicode_width::UnicodeWidthStr;

use super::list::{List, Row};

/// Below these widths the labels go, and then the last use: names and logins stay.
const WIDTH_FOR_LABELS: u16 = 60;
const WIDTH_FOR_LAST: u16 = 40;
/// Below this height names of the columns are left out.
const HEIGHT_FOR_HEADER: u16 = 8;
/// No column of names or logins is wider than this, in hundredths of the screen.
const COLUMN_SHARE_MAX: u16 = 40;
/// Between two columns.
const GAP: u16 = 2;

const PROMPT: &str = "> ";
const HELP: &str = "Enter opens  Tab other login  Esc leaves";
const NOTHING: &str = "nothing matches";

/// Draws it; answers where the cursor stands.
pub fn draw(list: &mut List, area: Rect, cells: &mut Buffer) -> Position {
    let typed = cut_left(list.words(), area.width.saturating_sub(width(PROMPT) + 1));
    let (matching, all) = list.count();
    let count = format!("{matching} of {all}");
    let mut line = Line { cells, y: area.top(), end: area.right() };
    let cursor = line.put(area.left(), &format!("{PROMPT}{typed}"), Style::new());
    let count_at = area.right().saturating_sub(width(&count));
    if cursor + GAP <= count_at {
        line.put(count_at, &count, dim());
    }
    let header = u16::from(area.height >= HEIGHT_FOR_HEADER);
    let columns = Columns::of(list.rows(), area.width);
    if header == 1 {
        let line = Line { cells, y: area.top() + 1, end: area.right() };
        columns.put(line, ["TARGET", "LOGIN", "LAST USED", "LABELS"], dim());
    }
    let page = area.height.saturating_sub(2 + header);
    let (rows, chosen) = list.screen(page.into());
    let is_empty = rows.is_empty();
    for ((at, row), y) in rows.into_iter().enumerate().zip(area.top() + 1 + header..) {
        let style = if at == chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        let texts =
            [row.name.as_str(), &logins(row, columns.room_for_logins(area.width)), &row.ago, &row.labels];
        cells.set_style(Rect { y, height: 1, ..area }, style);
        columns.put(Line { cells, y, end: area.right() }, texts, style);
    }
    if is_empty {
        Line { cells, y: area.top() + 1 + header, end: area.right() }.put(area.left(), NOTHING, dim());
    }
    if area.height > 2 {
        Line { cells, y: area.bottom() - 1, end: area.right() }.put(area.left(), HELP, dim());
    }
    Position { x: cursor.min(area.right().saturating_sub(1)), y: area.top() }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// A line of the screen.
struct Line<'b> {
    cells: &'b mut Buffer,
    y: u16,
    end: u16,
}

impl Line<'_> {
    /// Writes from `x` on, and no further than the line's end; answers where it ends.
    fn put(&mut self, x: u16, text: &str, style: Style) -> u16 {
        let room = self.end.saturating_sub(x);
        if room == 0 || self.y >= self.cells.area.bottom() {
            return x;
        }
        self.cells.set_stringn(x, self.y, text, room.into(), style).0
    }
}

/// Where columns begin; none for one that is left out.
struct Columns {
    begins: [Option<u16>; 4],
}

impl Columns {
    fn of(rows: &[Row], screen: u16) -> Columns {
        let most = u32::from(screen) * u32::from(COLUMN_SHARE_MAX) / 100;
        let most = u16::try_from(most).unwrap_or(screen).max(1);
        let widest = |of: &dyn Fn(&Row) -> u16, least: u16| rows.iter().map(of).max().unwrap_or(0).max(least);
        let name = widest(&|row| width(row.name.as_str()), 6).min(most);
        let login = widest(&|row| width(&logins(row, u16::MAX)), 5).min(most);
        let last = widest(&|row| width(&row.ago), 9);
        let (at_login, at_last) = (name + GAP, name + GAP + login + GAP);
        let has_last = screen >= WIDTH_FOR_LAST;
        let has_labels = screen >= WIDTH_FOR_LABELS;
        let begins = [
            Some(0),
            Some(at_login),
            has_last.then_some(at_last),
            has_labels.then_some(at_last + last + GAP),
        ];
        Columns { begins }
    }

    fn room_for_logins(&self, screen: u16) -> u16 {
        let [_, login, others @ ..] = &self.begins;
        let end = others.iter().flatten().next().map_or(screen, |next| next.saturating_sub(GAP));
        end.saturating_sub(login.unwrap_or(screen))
    }

    /// Writes a text into each column, cut at the next.
    fn put(&self, line: Line<'_>, texts: [&str; 4], style: Style) {
        let Line { cells, y, end } = line;
        for (at, text) in texts.iter().enumerate() {
            let Some(begin) = self.begins.get(at).copied().flatten() else { continue };
            let next = self.begins.iter().skip(at + 1).flatten().next();
            let end = next.map_or(end, |next| end.min(next.saturating_sub(GAP)));
            Line { cells, y, end }.put(begin, text, style);
        }
    }
}

/// The logins, the one that is meant in brackets: `root [deploy]`. Where there is no room for all it stands first.
fn logins(row: &Row, room: u16) -> String {
    let told = |(at, login): (usize, &Name)| {
        if at == row.login && row.logins.len() > 1 { format!("[{login}]") } else { login.to_string() }
    };
    let mut all: Vec<String> = row.logins.iter().enumerate().map(told).collect();
    if width(&all.join(" ")) > room && row.login < all.len() {
        all.rotate_left(row.login);
    }
    all.join(" ")
}

fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// The end of a text that is too wide.
fn cut_left(text: &str, room: u16) -> &str {
    let mut rest = text;
    while width(rest) > room {
        let mut letters = rest.chars();
        letters.next();
        rest = letters.as_str();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Entry, Offer, list::Key, tests::offer},
        *,
    };

    fn drawn(list: &mut List, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut cells = Buffer::empty(area);
        draw(list, area, &mut cells);
        let line = |y| (0..width).map(|x| cells[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen_shows_names_logins_labels_and_last_use() {
        let mut list = List::new(offer());
        list.hear(Key::Down);
        list.hear(Key::NextLogin);
        assert_eq!(
            drawn(&mut list, 80, 8),
            [
                ">                                                                         4 of 4",
                "TARGET  LOGIN            LAST USED   LABELS",
                "web2    root             3 min ago   env=test",
                "db1     root [postgres]  2 days ago  env=prod role=db",
                "app1    root",
                "web1    root                         env=prod",
                "",
                "Enter opens  Tab other login  Esc leaves",
            ]
        );
    }

    #[test]
    fn a_narrow_screen_keeps_names_and_logins() {
        let mut list = List::new(offer());
        list.hear(Key::Char('d'));
        assert_eq!(
            drawn(&mut list, 20, 5),
            ["> d           2 of 4", "db1     [root] postg", "web1    root", "", "Enter opens  Tab oth"]
        );
        list.hear(Key::NextLogin);
        assert_eq!(drawn(&mut list, 20, 5)[1], "db1     [postgres] r");
        list.hear(Key::Char('x'));
        assert_eq!(drawn(&mut list, 20, 5)[1], "nothing matches");
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        for width in 1..70 {
            for height in 1..12 {
                let mut list = List::new(offer());
                "a word that is wide".chars().for_each(|letter| drop(list.hear(Key::Char(letter))));
                drawn(&mut list, width, height);
                list.hear(Key::EraseAll);
                list.hear(Key::End);
                drawn(&mut list, width, height);
            }
        }
    }

    #[test]
    fn the_chosen_row_is_marked_and_always_on_the_screen() {
        let entry = |at: usize| Entry {
            name: format!("t{at:03}").parse().unwrap(),
            logins: vec![],
            labels: vec![],
            last: None,
        };
        let mut list = List::new(Offer { now: 0, entries: (0..100).map(entry).collect() });
        for _ in 0..57 {
            list.hear(Key::Down);
        }
        let area = Rect::new(0, 0, 30, 10);
        let mut cells = Buffer::empty(area);
        draw(&mut list, area, &mut cells);
        let marked: Vec<u16> =
            (0..10).filter(|y| cells[(0, *y)].modifier.contains(Modifier::REVERSED)).collect();
        assert_eq!(marked.len(), 1);
        let name: String = (0..4).map(|x| cells[(x, marked[0])].symbol()).collect();
        assert_eq!(name, "t057");
    }

    #[test]
    fn no_control_character_and_no_hidden_letter_of_a_label_is_drawn() {
        let mut offer = offer();
        offer.entries.truncate(1);
        offer.entries[0].labels = vec!["a=\x1b]0;x\x07\u{202e}".into()];
        let lines = drawn(&mut List::new(offer), 80, 8);
        assert!(lines[2].contains(r"a=\u{1b}]0;x\u{7}\u{202e}"), "{lines:?}");
        assert!(lines.concat().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{lines:?}");
    }
}
