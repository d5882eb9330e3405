//! What is offered, what was typed, and what of it is shown; pure, so that a test can type.

use gate::{Name, Printable};

use super::Offer;

/// More typed than this narrows nothing any further.
const WORDS_CHARS_MAX: usize = 128;

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Typed text.
    Char(char),
    /// Takes back one character.
    Backspace,
    /// Takes back the last word.
    EraseWord,
    /// Takes back all of it.
    EraseAll,
    /// One up.
    Up,
    /// One down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// The entry's next login.
    NextLogin,
    /// The entry's login before.
    LastLogin,
    /// This one.
    Enter,
    /// None of them.
    Leave,
}

/// What came of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    On,
    /// This target, and the login if there is one to name.
    Picked(Name, Option<Name>),
    /// She leaves.
    Left,
}

/// One target of the list.
pub struct Row {
    /// Its name.
    pub name: Name,
    /// Its logins, the default one first.
    pub logins: Vec<Name>,
    /// Which of them is meant now.
    pub login: usize,
    /// Its labels, fit to be drawn.
    pub labels: String,
    /// How long ago it was opened, fit to be drawn; empty if never.
    pub ago: String,
    /// All that is searched, in small letters.
    haystack: String,
}

/// The list.
pub struct List {
    rows: Vec<Row>,
    words: String,
    /// What matches, as places in `rows`.
    shown: Vec<usize>,
    /// The chosen place in `shown`.
    at: usize,
    /// Rows on a screen, as it was last drawn.
    page: usize,
}

impl List {
    /// All that is offered: what was used last first, then by name.
    pub fn new(offer: Offer) -> List {
        let Offer { now, mut entries } = offer;
        entries.sort_by(|a, b| {
            let at = |entry: &super::Entry| entry.last.as_ref().map(|last| last.at);
            at(b).cmp(&at(a)).then_with(|| a.name.cmp(&b.name))
        });
        let rows: Vec<Row> = entries.into_iter().map(|entry| Row::new(entry, now)).collect();
        let mut list = List { rows, words: String::new(), shown: Vec::new(), at: 0, page: 1 };
        list.filter();
        list
    }

    /// What was typed.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// How many match, and of how many.
    pub fn count(&self) -> (usize, usize) {
        (self.shown.len(), self.rows.len())
    }

    /// The rows that a screen of `page` rows shows, and which of them is chosen.
    pub fn screen(&mut self, page: usize) -> (Vec<&Row>, usize) {
        self.page = page.max(1);
        let first = self.at / self.page * self.page;
        let shown = self.shown.iter().skip(first).take(self.page);
        (shown.filter_map(|row| self.rows.get(*row)).collect(), self.at - first)
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Hears a key.
    pub fn hear(&mut self, key: Key) -> Outcome {
        let last = self.shown.len().saturating_sub(1);
        match key {
            Key::Char(letter) if self.words.chars().count() < WORDS_CHARS_MAX => {
                self.retype(|words| words.push(letter))
            }
            Key::Char(_) => {}
            Key::Backspace => self.retype(|words| {
                words.pop();
            }),
            Key::EraseWord => self.retype(|words| {
                let kept = words.trim_end().rfind(' ').map_or(0, |space| space + 1);
                words.truncate(kept);
            }),
            Key::EraseAll => self.retype(String::clear),
            Key::Up => self.at = self.at.saturating_sub(1),
            Key::Down => self.at = last.min(self.at + 1),
            Key::PageUp => self.at = self.at.saturating_sub(self.page),
            Key::PageDown => self.at = last.min(self.at + self.page),
            Key::Home => self.at = 0,
            Key::End => self.at = last,
            Key::NextLogin => self.turn_login(1),
            Key::LastLogin => self.turn_login(-1),
            Key::Enter => {
                if let Some(row) = self.chosen() {
                    return Outcome::Picked(row.name.clone(), row.logins.get(row.login).cloned());
                }
            }
            Key::Leave => return Outcome::Left,
        }
        Outcome::On
    }

    fn chosen(&mut self) -> Option<&mut Row> {
        self.shown.get(self.at).and_then(|row| self.rows.get_mut(*row))
    }

    fn turn_login(&mut self, by: isize) {
        if let Some(row) = self.chosen() {
            let count = row.logins.len().max(1);
            row.login = row.login.saturating_add(count).saturating_add_signed(by) % count;
        }
    }

    fn retype(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.words);
        self.filter();
        self.at = 0;
    }

    /// Every word must match somewhere.
    fn filter(&mut self) {
        let words = self.words.to_lowercase();
        let words: Vec<&str> = words.split_whitespace().collect();
        let matches = |row: &Row| words.iter().all(|word| row.haystack.contains(word));
        let shown = self.rows.iter().enumerate().filter(|(_, row)| matches(row));
        self.shown = shown.map(|(at, _)| at).collect();
    }
}

impl Row {
    fn new(entry: super::Entry, now: i64) -> Row {
        let super::Entry { name, logins, labels, last } = entry;
        // A line each, so that no word matches across two of them.
        let texts = std::iter::once(name.as_str()).chain(labels.iter().map(String::as_str));
        let texts: Vec<&str> = texts.chain(logins.iter().map(Name::as_str)).collect();
        let haystack = texts.join("\n").to_lowercase();
        let labels: Vec<String> = labels.iter().map(|label| Printable::of(label).to_string()).collect();
        let ago = last.map(|last| ago(now.saturating_sub(last.at))).unwrap_or_default();
        Row { name, logins, login: 0, labels: labels.join(" "), ago, haystack }
    }
}

/// `3 min ago`.
fn ago(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const TWO_DAYS: i64 = 2 * DAY;
    match seconds {
        ..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        DAY..TWO_DAYS => "1 day ago".to_owned(),
        TWO_DAYS.. => format!("{} days ago", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::offer, *};

    fn names(list: &mut List) -> Vec<String> {
        list.screen(100).0.iter().map(|row| row.name.to_string()).collect()
    }

    fn types(list: &mut List, text: &str) {
        for letter in text.chars() {
            assert_eq!(list.hear(Key::Char(letter)), Outcome::On);
        }
    }

    fn picked(target: &str, login: &str) -> Outcome {
        Outcome::Picked(target.parse().unwrap(), Some(login.parse().unwrap()))
    }

    #[test]
    fn what_was_used_last_stands_first_and_the_rest_by_name() {
        let mut list = List::new(offer());
        assert_eq!(names(&mut list), ["web2", "db1", "app1", "web1"]);
        let ago: Vec<String> = list.screen(100).0.iter().map(|row| row.ago.clone()).collect();
        assert_eq!(ago, ["3 min ago", "2 days ago", "", ""]);
    }

    #[test]
    fn every_word_must_match_name_label_or_login_in_any_case() {
        for (typed, left) in [
            ("web", vec!["web2", "web1"]),
            ("PROD", vec!["db1", "web1"]),
            ("prod web", vec!["web1"]),
            ("  web   prod ", vec!["web1"]),
            ("postgres", vec!["db1"]),
            ("1", vec!["db1", "app1", "web1"]),
            ("web db", vec![]),
            ("b1e", vec![]), // not across a name's end
            ("bw=bxa", vec![]),
        ] {
            let mut list = List::new(offer());
            types(&mut list, typed);
            assert_eq!(names(&mut list), left, "{typed:?}");
        }
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        let mut list = List::new(offer());
        types(&mut list, "web prodx");
        assert_eq!(list.hear(Key::Enter), Outcome::On, "nothing matches, so nothing is picked");
        list.hear(Key::Backspace);
        assert_eq!((list.words(), list.count().0), ("web prod", 1));
        list.hear(Key::EraseWord);
        assert_eq!((list.words(), list.count().0), ("web ", 2));
        list.hear(Key::EraseAll);
        list.hear(Key::Backspace);
        assert_eq!((list.words(), list.count().0), ("", 4));
        types(&mut list, &"x".repeat(1000));
        assert_eq!(list.words().len(), WORDS_CHARS_MAX);
    }

    #[test]
    fn keys_move_within_the_list_and_typing_goes_back_to_its_top() {
        let mut list = List::new(offer());
        let mut after = |keys: &[Key]| {
            keys.iter().for_each(|key| drop(list.hear(*key)));
            let (rows, at) = list.screen(3);
            (rows[at].name.to_string(), rows.len())
        };
        assert_eq!(after(&[Key::Up]), ("web2".into(), 3));
        assert_eq!(after(&[Key::Down, Key::Down]), ("app1".into(), 3));
        assert_eq!(after(&[Key::Down, Key::Down]), ("web1".into(), 1));
        assert_eq!(after(&[Key::PageUp]), ("web2".into(), 3));
        assert_eq!(after(&[Key::PageDown]), ("web1".into(), 1));
        assert_eq!(after(&[Key::Home]), ("web2".into(), 3));
        assert_eq!(after(&[Key::End]), ("web1".into(), 1));
        assert_eq!(after(&[Key::Char('1')]), ("db1".into(), 3));
    }

    #[test]
    fn the_default_login_is_meant_until_another_is_turned_to() {
        let mut list = List::new(offer());
        types(&mut list, "db1");
        assert_eq!(list.hear(Key::Enter), picked("db1", "root"));
        list.hear(Key::NextLogin);
        assert_eq!(list.hear(Key::Enter), picked("db1", "postgres"));
        list.hear(Key::NextLogin);
        assert_eq!(list.hear(Key::Enter), picked("db1", "root"));
        list.hear(Key::LastLogin);
        assert_eq!(list.hear(Key::Enter), picked("db1", "postgres"));
        assert_eq!(list.hear(Key::Leave), Outcome::Left);
    }

    #[test]
    fn a_target_without_a_login_to_name_is_picked_without_one() {
        let mut offer = offer();
        offer.entries.retain(|entry| entry.name.as_str() == "app1");
        offer.entries[0].logins.clear();
        let mut list = List::new(offer);
        list.hear(Key::NextLogin);
        assert_eq!(list.hear(Key::Enter), Outcome::Picked("app1".parse().unwrap(), None));
    }

    #[test]
    fn an_empty_list_takes_every_key() {
        let mut list = List::new(Offer { now: 0, entries: vec![] });
        for key in [Key::Up, Key::Down, Key::PageDown, Key::End, Key::NextLogin, Key::Enter, Key::Backspace] {
            assert_eq!(list.hear(key), Outcome::On);
        }
    }

    #[test]
    fn time_that_has_passed_is_told_in_its_own_unit() {
        let told = [-5, 59, 60, 3599, 3600, 86_399, 86_400, 172_800].map(ago);
        let due = [
            "just now",
            "just now",
            "1 min ago",
            "59 min ago",
            "1 h ago",
            "23 h ago",
            "1 day ago",
            "2 days ago",
        ];
        assert_eq!(told, due);
    }
}
