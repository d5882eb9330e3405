//! Every key of the table, pressed in a real terminal of several sizes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{Pane, cast};
use replay::keymap::TABLE;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (50, 12)];

/// 100 s: a line each second, markers at 20, 40 and 60 s, and a screen of 80x20.
fn hundred_seconds(folder: &std::path::Path) -> String {
    let mut events = Vec::new();
    let lines: Vec<String> = (0..=100).map(|second| format!("second {second:03}.\r\n")).collect();
    for (second, line) in lines.iter().enumerate() {
        events.push((second as f64, "o", line.as_str()));
        if let Some(label) = [(20, "one"), (40, "two"), (60, "three")].iter().find(|(at, _)| *at == second) {
            events.push((second as f64, "m", label.1));
        }
    }
    cast(folder, "hundred.cast", (80, 20), &events).display().to_string()
}

/// A player that stands paused at the beginning.
fn paused(size: (u16, u16), folder: &std::path::Path, args: &str) -> Pane {
    let pane = Pane::play(size, &format!("{} --speed 0.1 {args}", hundred_seconds(folder)));
    pane.shows("/ 01:40");
    pane.press(&["Space"]);
    pane.shows("paused");
    pane
}

/// What a key of the table does, as the viewer sees it.
fn pressed(pane: &Pane, key: &str) {
    if !moves(pane, key) && !changes(pane, key) {
        panic!("the table has {key:?}, and no test presses it");
    }
}

/// Keys that go to another instant.
fn moves(pane: &Pane, key: &str) -> bool {
    let at = |time: &str| {
        pane.shows(&format!(" {time} / 01:40"));
    };
    let press = |keys: &[&str]| pane.press(keys);
    match key {
        "right" | "left" => {
            press(&["5", "Right"]);
            at("00:55");
            pane.shows("second 055.");
            press(&["Left", "Left"]);
            at("00:45");
            let screen = pane.shows("second 045.");
            assert!(!screen.contains("second 046."), "it shows what had not happened yet:\n{screen}");
        }
        "up" | "down" => {
            press(&["2", "Up"]);
            at("01:20");
            press(&["Down"]);
            at("00:20");
        }
        digit if digit.len() == 1 && digit.starts_with(|c: char| c.is_ascii_digit()) => {
            press(&["End"]);
            at("01:40");
            press(&[digit]);
            let seconds = 10 * digit.parse::<u32>().unwrap();
            at(&format!("{:02}:{:02}", seconds / 60, seconds % 60));
        }
        "Home" | "End" => {
            press(&["End"]);
            pane.shows("ended");
            pane.shows("second 100.");
            press(&["Home"]);
            at("00:00");
        }
        "]" | "[" => {
            press(&["Home", "]", "]"]);
            at("00:40");
            press(&["]"]);
            at("01:00");
            press(&["[", "["]);
            at("00:20");
        }
        "." | "," => {
            press(&["5", "."]);
            at("00:51");
            press(&[",", ","]);
            at("00:49");
            let screen = pane.shows("second 049.");
            assert!(!screen.contains("second 050."));
        }
        _ => return false,
    }
    true
}

/// Keys that change how it is played or shown.
fn changes(pane: &Pane, key: &str) -> bool {
    let press = |keys: &[&str]| pane.press(keys);
    match key {
        "space" | "p" => {
            press(&[if key == "space" { "Space" } else { "p" }]);
            pane.shows("playing");
            press(&["Space"]);
            pane.shows("paused");
        }
        "<" | "-" => {
            press(&["BSpace", key]);
            pane.shows(" 0.5x ");
        }
        ">" | "+" => {
            press(&["BSpace", key, key]);
            pane.shows(" 2x ");
        }
        "Backspace" => {
            press(&[">", "BSpace"]);
            pane.shows(" 1x ");
        }
        "i" => {
            press(&["i"]);
            pane.shows("idle full");
            press(&["i"]);
            pane.shows("idle 2s");
        }
        "H" | "L" | "Shift-left" | "Shift-right" | "J" | "K" | "Shift-up" | "Shift-down" | "v" => {
            pan(pane, key)
        }
        "z" => {
            press(&["z"]);
            pane.until("the screen alone", |screen| !screen.contains("/ 01:40"));
            press(&["z"]);
            pane.shows("/ 01:40");
        }
        "?" => {
            press(&["?"]);
            pane.shows("play or pause");
            press(&["Space"]);
            pane.until("the recording", |screen| !screen.contains("play or pause"));
        }
        "q" | "Esc" | "Ctrl-C" => {} // tried last, each in a player of its own
        _ => return false,
    }
    true
}

/// Panning moves the part that is seen, if there is more than fits.
fn pan(pane: &Pane, key: &str) {
    let press = |keys: &[&str]| pane.press(keys);
    let screen = pane.screen();
    if !screen.contains("of 80x20 from") {
        press(&["L"]);
        return;
    }
    press(&["v", "Home"]);
    pane.shows("from 0,0");
    let can_go_right = screen.contains("50x");
    let (right, left) = if key.len() > 1 { ("S-Right", "S-Left") } else { ("L", "H") };
    let (down, up) = if key.len() > 1 { ("S-Down", "S-Up") } else { ("J", "K") };
    press(&[down]);
    pane.shows("from 0,4");
    if can_go_right {
        press(&[right]);
        pane.shows("from 8,4");
        press(&[left]);
    }
    pane.shows("from 0,4");
    press(&[up]);
    pane.shows("from 0,0");
    press(&[down, "v"]);
    pane.shows("from 0,0");
}

#[test]
fn every_key_of_the_table_does_what_it_says_at_every_size() {
    let folder = tempfile::tempdir().unwrap();
    for size in SIZES {
        let pane = paused(size, folder.path(), "--idle-limit 2");
        for binding in TABLE {
            for key in binding.keys {
                pressed(&pane, &key.name());
            }
        }
    }
}

#[test]
fn each_way_out_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["q", "Escape", "C-c"] {
        let pane = paused((80, 24), folder.path(), "");
        pane.press(&[key]);
        let screen = pane.shows("left with 0");
        assert!(!screen.contains("second"), "the alternate screen stayed:\n{screen}");
        pane.press(&["echoed", "Enter"]);
        pane.until("what is typed, echoed as before", |screen| screen.matches("echoed").count() == 2);
    }
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let pane = paused((80, 24), folder.path(), "");
        let pid = pane.player_pid().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        pane.shows(&format!("left with {code}"));
        pane.press(&["echoed", "Enter"]);
        pane.until("what is typed, echoed as before", |screen| screen.matches("echoed").count() == 2);
    }
}

#[test]
fn a_window_may_shrink_to_one_cell_and_grow_again() {
    let folder = tempfile::tempdir().unwrap();
    let pane = paused((80, 24), folder.path(), "--at 50");
    for (cols, rows) in [(1, 1), (2, 1), (1, 5), (3, 3), (300, 2), (10, 60), (20, 4)] {
        pane.resize(cols, rows);
        pane.press(&["Right", "?", "x", "J", "L"]);
    }
    pane.resize(80, 24);
    pane.press(&["v", "5"]);
    pane.shows("second 050.");
    pane.press(&["q"]);
    pane.shows("left with 0");
}

#[test]
fn an_idle_stretch_is_cut_to_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let events = [(0.0, "o", "before"), (3600.0, "o", " after the hour")];
    let path = cast(folder.path(), "idle.cast", (80, 20), &events).display().to_string();

    let pane = Pane::play((80, 24), &format!("{path} --idle-limit 0.2"));
    pane.shows("after the hour");
    pane.shows("1:00:00 / 1:00:00");
}

#[test]
fn a_pipe_is_played_and_wound_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = hundred_seconds(folder.path());
    let pane =
        Pane::play((80, 24), &format!("--help-keys >/dev/null; cat {path} | {} - --at 1:30", common::REPLAY));
    pane.shows("second 090.");
    pane.press(&["Space", "3"]);
    let screen = pane.shows("second 030.");
    assert!(!screen.contains("second 031."), "{screen}");
}

#[test]
fn a_viewer_without_a_terminal_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let told = common::replay([hundred_seconds(folder.path()).as_str()]);
    assert_eq!(told.status.code(), Some(1));
    assert!(common::err(&told).contains("not a terminal") && common::err(&told).contains("; try: "));
    assert_eq!(common::err(&told).lines().count(), 1);
}
