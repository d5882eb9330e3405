//! Which key does what: one table, from which the player, the help screen and `docs/replay.md` are made.

use std::{fmt::Write as _, time::Duration};

/// A key, as far as the player tells keys apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key that types this character.
    Char(char),
    /// Ctrl with this letter.
    Ctrl(char),
    /// An arrow.
    Arrow(Way),
    /// Shift with an arrow.
    ShiftArrow(Way),
    /// The key of that name.
    Home,
    /// The key of that name.
    End,
    /// The key of that name.
    Backspace,
    /// The key of that name.
    Enter,
    /// The key of that name.
    Esc,
}

/// A direction on the keyboard and on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// Upwards.
    Up,
    /// Downwards.
    Down,
}

/// What the player can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Play, or pause; at the end, play again from the beginning.
    PlayOrPause,
    /// Go this far back.
    Back(Duration),
    /// Go this far on.
    Forward(Duration),
    /// Go to the tenth of the recording that the key names.
    Tenth,
    /// Go to the beginning.
    Begin,
    /// Go to the end.
    Finish,
    /// Go to the marker before.
    MarkerBefore,
    /// Go to the marker after.
    MarkerAfter,
    /// Pause, and show the screen one output earlier.
    StepBack,
    /// Pause, and show the screen one output later.
    StepForward,
    /// Play more slowly.
    Slower,
    /// Play faster.
    Faster,
    /// Play at the speed of life.
    SpeedOne,
    /// Cut idle stretches short, or play them in full.
    IdleLimit,
    /// Move the window over a recording that is larger than the terminal.
    Pan(Way),
    /// Let that window follow the cursor again.
    Follow,
    /// Draw the recorded screen alone, or all the rest too.
    Bare,
    /// Show or hide the keys.
    Help,
    /// End the player.
    Quit,
}

/// One line of the table.
pub struct Binding {
    /// Any of these keys,
    pub keys: &'static [Key],
    /// does this,
    pub action: Action,
    /// which is said so.
    pub help: &'static str,
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Every key that the player knows. `[` and `]` are markers and `<` and `>` speed, as asciinema's users know them.
pub const TABLE: &[Binding] = {
    use Action::*;
    use Key::*;
    use Way::*;
    &[
        Binding { keys: &[Char(' '), Char('p')], action: PlayOrPause, help: "play or pause" },
        Binding { keys: &[Arrow(Left)], action: Back(seconds(5)), help: "5 s back" },
        Binding { keys: &[Arrow(Right)], action: Forward(seconds(5)), help: "5 s on" },
        Binding { keys: &[Arrow(Down)], action: Back(seconds(60)), help: "1 min back" },
        Binding { keys: &[Arrow(Up)], action: Forward(seconds(60)), help: "1 min on" },
        Binding {
            keys: &[
                Char('0'),
                Char('1'),
                Char('2'),
                Char('3'),
                Char('4'),
                Char('5'),
                Char('6'),
                Char('7'),
                Char('8'),
                Char('9'),
            ],
            action: Tenth,
            help: "to that tenth",
        },
        Binding { keys: &[Home], action: Begin, help: "to the beginning" },
        Binding { keys: &[End], action: Finish, help: "to the end" },
        Binding { keys: &[Char('[')], action: MarkerBefore, help: "marker before" },
        Binding { keys: &[Char(']')], action: MarkerAfter, help: "marker after" },
        Binding { keys: &[Char(',')], action: StepBack, help: "one output back" },
        Binding { keys: &[Char('.')], action: StepForward, help: "one output on" },
        Binding { keys: &[Char('<'), Char('-')], action: Slower, help: "slower" },
        Binding { keys: &[Char('>'), Char('+')], action: Faster, help: "faster" },
        Binding { keys: &[Backspace], action: SpeedOne, help: "speed 1" },
        Binding { keys: &[Char('i')], action: IdleLimit, help: "idle limit on or off" },
        Binding { keys: &[Char('H'), ShiftArrow(Left)], action: Pan(Left), help: "pan left" },
        Binding { keys: &[Char('J'), ShiftArrow(Down)], action: Pan(Down), help: "pan down" },
        Binding { keys: &[Char('K'), ShiftArrow(Up)], action: Pan(Up), help: "pan up" },
        Binding { keys: &[Char('L'), ShiftArrow(Right)], action: Pan(Right), help: "pan right" },
        Binding { keys: &[Char('v')], action: Follow, help: "follow the cursor" },
        Binding { keys: &[Char('z')], action: Bare, help: "screen alone or all" },
        Binding { keys: &[Char('?')], action: Help, help: "these keys" },
        Binding { keys: &[Char('q'), Esc, Ctrl('c')], action: Quit, help: "quit" },
    ]
};

/// What this key asks for.
pub fn action(key: Key) -> Option<Action> {
    TABLE.iter().find(|binding| binding.keys.contains(&key)).map(|binding| binding.action)
}

impl Key {
    /// The key's name, as the help screen and the documentation print it.
    pub fn name(self) -> String {
        match self {
            Key::Char(' ') => "space".into(),
            Key::Char(c) => c.into(),
            Key::Ctrl(c) => format!("Ctrl-{}", c.to_ascii_uppercase()),
            Key::Arrow(way) => way.name().into(),
            Key::ShiftArrow(way) => format!("Shift-{}", way.name()),
            Key::Home => "Home".into(),
            Key::End => "End".into(),
            Key::Backspace => "Backspace".into(),
            Key::Enter => "Enter".into(),
            Key::Esc => "Esc".into(),
        }
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Left => "left",
            Way::Right => "right",
            Way::Up => "up",
            Way::Down => "down",
        }
    }
}

impl Binding {
    /// The names of its keys, joined; a run such as the ten digits is cut to its ends.
    pub fn names(&self) -> String {
        match self.keys {
            [first, .., last] if self.keys.len() > 4 => format!("{}..{}", first.name(), last.name()),
            keys => keys.iter().map(|key| key.name()).collect::<Vec<_>>().join("  "),
        }
    }
}

/// The table as plain text, for `replay --help-keys`.
pub fn as_text() -> String {
    let wide = TABLE.iter().map(|binding| binding.names().len()).max().unwrap_or_default();
    TABLE.iter().fold(String::new(), |mut text, binding| {
        writeln!(text, "{:wide$}   {}", binding.names(), binding.help)
            .expect("a string takes all that is written");
        text
    })
}

/// The table as Markdown, as it stands in `docs/replay.md`.
pub fn as_markdown() -> String {
    TABLE.iter().fold(String::from("| Key | What it does |\n|---|---|\n"), |mut text, binding| {
        let names: Vec<_> = match binding.names() {
            run if run.contains("..") => vec![format!("`{run}`")],
            _ => binding.keys.iter().map(|key| format!("`{}`", key.name())).collect(),
        };
        writeln!(text, "| {} | {} |", names.join(" "), binding.help)
            .expect("a string takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let keys: Vec<Key> = TABLE.iter().flat_map(|binding| binding.keys).copied().collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{} stands twice in the table", key.name());
        }
    }

    #[test]
    fn the_text_has_a_line_for_each_binding() {
        assert_eq!(as_text().lines().count(), TABLE.len());
        assert!(as_text().contains("0..9"), "{}", as_text());
    }
}
