//! What of typed text is recorded, and when: a count before it is relayed, its content once the screen showed it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use gate::{Decision, FromClient, FromTarget, Gate, Heard, Opening, Pty, Step, ToTarget};
use proptest::prelude::*;
use recording::{Elapsed, What};

/// A terminal session whose recording is kept.
struct Bench {
    gate: Gate,
    now: Elapsed,
    steps: Vec<Step>,
}

impl Bench {
    fn new(cols: u16, rows: u16) -> Bench {
        let pty = Pty { term: "xterm".into(), cols, rows, ..Pty::default() };
        let opening = Opening { pty: Some(pty), ..terminal() };
        let policy = policy("[[rule]]\nname = 'all'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n");
        let asked = request(person("alice", &[]), target("web1", &[], &["deploy"]), opening.clone());
        let Decision::Allow(grant) = policy.decide(&asked) else { panic!("denied") };
        let mut bench = Bench { gate: Gate::new(grant, opening), now: Elapsed::ZERO, steps: vec![] };
        bench.hears(Heard::Begin);
        bench
    }

    /// A shell at its prompt.
    fn prompt() -> Bench {
        let mut bench = Bench::new(80, 24);
        bench.shows("welcome\r\n$ ");
        bench
    }

    fn hears(&mut self, heard: Heard) {
        self.steps.extend(self.gate.hear(heard, self.now));
    }

    fn types(&mut self, text: impl AsRef<[u8]>) {
        self.now = self.now.after(Duration::from_millis(20));
        self.hears(Heard::Client(FromClient::Data(Bytes::copy_from_slice(text.as_ref()))));
    }

    fn shows(&mut self, text: impl AsRef<[u8]>) {
        self.now = self.now.after(Duration::from_millis(1));
        self.hears(Heard::Target(FromTarget::Data(Bytes::copy_from_slice(text.as_ref()))));
    }

    /// Typed key by key, and echoed as a terminal does.
    fn types_echoed(&mut self, text: &str) {
        for letter in text.chars() {
            self.types(letter.to_string());
            self.shows(letter.to_string());
        }
    }

    fn events(&self) -> impl Iterator<Item = &What> {
        self.steps.iter().filter_map(|step| match step {
            Step::Record(event, _) => Some(&event.what),
            _ => None,
        })
    }

    /// What was typed as far as the recording tells: a dot for each byte that stayed a count.
    fn recorded(mut self) -> String {
        self.shows("\r\n");
        self.hears(Heard::Target(FromTarget::Close));
        String::from_utf8(recorded_input(&self.steps)).unwrap()
    }
}

fn recorded_input(steps: &[Step]) -> Vec<u8> {
    let mut all: Vec<u8> = vec![];
    for step in steps {
        let Step::Record(event, _) = step else { continue };
        match &event.what {
            What::Input(data) => all.extend_from_slice(data),
            What::Typed(count) => all.extend(std::iter::repeat_n(b'.', *count as usize)),
            What::Shown { first, data } => {
                let first = usize::try_from(*first).unwrap();
                assert!(all[first..first + data.len()].iter().all(|byte| *byte == b'.'), "shown once");
                all[first..first + data.len()].copy_from_slice(data);
            }
            _ => {}
        }
    }
    all
}

#[test]
fn text_is_a_count_before_it_is_relayed_and_its_content_follows_at_the_end_of_the_line() {
    let mut bench = Bench::prompt();
    bench.types_echoed("ls -l");
    let counts = bench.events().filter(|what| matches!(what, What::Typed(1))).count();
    assert_eq!((counts, bench.events().any(|what| matches!(what, What::Shown { .. }))), (5, false));

    bench.types("\r");
    let last: Vec<&What> = bench.events().skip(bench.events().count() - 2).collect();
    assert_eq!(last[0], &What::Shown { first: 0, data: Bytes::from_static(b"ls -l") });
    assert_eq!(last[1], &What::Input(Bytes::from_static(b"\r")));
}

#[test]
fn a_password_stays_a_count() {
    let mut bench = Bench::prompt();
    bench.types_echoed("sudo -i");
    bench.types("\r");
    bench.shows("\r\n[sudo] password for alice: ");
    for key in "hunter2".chars() {
        bench.types(key.to_string());
    }
    bench.types("\r");
    bench.shows("\r\nSorry, try again.\r\n[sudo] password for alice: ");
    bench.types("correct horse\r");
    bench.shows("\r\n# ");
    bench.types_echoed("id");
    bench.types("\r");
    assert_eq!(bench.recorded(), "sudo -i\r.......\r.............\rid\r");
}

#[test]
fn stars_in_place_of_letters_show_nothing() {
    let mut bench = Bench::prompt();
    for key in "a*b**c***".chars() {
        bench.types(key.to_string());
        bench.shows("*");
    }
    bench.types("\r");
    assert_eq!(bench.recorded(), ".........\r");
}

#[test]
fn a_letter_of_other_output_is_no_echo() {
    let mut bench = Bench::prompt();
    bench.shows("Password: ");
    bench.types("b");
    bench.shows("build ok\r\n");
    bench.types("\r");
    assert_eq!(bench.recorded(), ".\r");

    let mut bench = Bench::prompt();
    bench.shows("Password: ");
    bench.types("a");
    bench.shows("\r\n\x1b[1;1Ha\x1b[5;5Ha");
    bench.types("\r");
    bench.shows("\r\nPassword: a\r\n");
    assert_eq!(bench.recorded(), ".\r");
}

#[test]
fn a_cursor_that_moves_over_the_same_letter_is_no_echo() {
    let mut bench = Bench::prompt();
    bench.shows("\x1b[?1049h\x1b[1;1Hlllll\x1b[1;1H");
    for _ in 0..4 {
        bench.types("l");
        bench.shows("\x1b[C");
    }
    bench.types("\x1b");
    assert_eq!(bench.recorded(), "....\x1b");
}

#[test]
fn a_line_that_runs_ahead_of_its_echo_is_shown_all_the_same() {
    let mut bench = Bench::prompt();
    bench.types("uptime\r");
    bench.shows("upt");
    bench.shows("ime\r\n 10:00 up 3 days\r\n$ ");
    bench.types_echoed("w");
    bench.types("\r");
    assert_eq!(bench.recorded(), "uptime\rw\r");
}

#[test]
fn what_an_echo_has_shown_is_recorded_before_the_client_sees_the_echo() {
    let mut bench = Bench::prompt();
    bench.types("uptime\r");
    let before = bench.steps.len();
    bench.shows("uptime\r\n 10:00 up 3 days\r\n");
    let [Step::Record(output, _), Step::Record(shown, _), Step::ToClient(_)] = &bench.steps[before..] else {
        panic!("{:?}", &bench.steps[before..]);
    };
    assert!(matches!(output.what, What::Output(_)));
    assert_eq!(shown.what, What::Shown { first: 0, data: Bytes::from_static(b"uptime") });
}

#[test]
fn a_line_that_somebody_thinks_about_is_recorded_as_far_as_it_goes() {
    let mut bench = Bench::prompt();
    bench.types_echoed("rm -r");
    let typed = bench.now;
    let deadline = bench.gate.deadline().unwrap();
    assert!(deadline.since(typed) <= Duration::from_secs(1));
    bench.now = deadline;
    bench.hears(Heard::Deadline);
    assert_eq!(bench.events().last(), Some(&What::Shown { first: 0, data: Bytes::from_static(b"rm -r") }));
    assert_eq!(bench.gate.deadline(), None, "once is enough");

    bench.types_echoed(" tmp");
    bench.types("\r");
    assert_eq!(bench.recorded(), "rm -r tmp\r");
}

#[test]
fn a_password_that_somebody_thinks_about_stays_a_count() {
    let mut bench = Bench::prompt();
    bench.shows("Password: ");
    for key in "hunter2".chars() {
        bench.types(key.to_string());
        bench.now = bench.now.after(Duration::from_secs(2));
        bench.hears(Heard::Deadline);
    }
    assert_eq!(bench.gate.deadline(), None, "there is nothing to wait for");
    bench.types("\r");
    assert_eq!(bench.recorded(), ".......\r");
}

#[test]
fn an_echo_that_never_comes_is_given_up_after_a_second() {
    let mut bench = Bench::prompt();
    bench.types("secret\r");
    let deadline = bench.gate.deadline().unwrap();
    assert_eq!(deadline.since(bench.now), Duration::from_secs(1));
    bench.now = deadline;
    bench.hears(Heard::Deadline);
    assert_eq!(bench.gate.deadline(), None);
    bench.shows("secret");
    assert_eq!(bench.recorded(), "......\r");
}

#[test]
fn line_editing_is_shown() {
    let mut bench = Bench::prompt();
    bench.types_echoed("cat fo");
    bench.types("\t");
    bench.shows("o.txt ");
    bench.types_echoed("| wc");
    bench.types("\x1b[D");
    bench.shows("\x08");
    // readline writes the letter, the rest of the line, and goes back.
    bench.types("x");
    bench.shows("xc\x08");
    bench.types("\x7f");
    bench.shows("\x08c \x08\x08");
    bench.types("\r");
    assert_eq!(bench.recorded(), "cat fo\t| wc\x1b[Dx\x7f\r");
}

#[test]
fn shells_that_colour_and_suggest_are_shown() {
    let mut bench = Bench::prompt();
    bench.types("g");
    bench.shows("g\x1b[90mit status\x1b[0m\x1b[9D");
    bench.types("i");
    bench.shows("\x08\x1b[31mgi\x1b[90mt status\x1b[0m\x1b[8D");
    bench.types("\r");
    assert_eq!(bench.recorded(), "gi\r");
}

#[test]
fn text_in_an_editor_is_shown_and_its_commands_stay_counts() {
    let mut bench = Bench::prompt();
    bench.shows("\x1b[?1049h\x1b[2J\x1b[1;1Hfirst line\x1b[2;1H~\x1b[1;1H");
    for key in ["j", "k", "l"] {
        bench.types(key);
        bench.shows("\x1b[1;1H");
    }
    bench.types("i");
    bench.shows("\x1b[24;1H-- INSERT --\x1b[1;1H");
    for key in "hello".chars() {
        bench.types(key.to_string());
        bench.shows(format!("\x1b[?25l{key}first line\x1b[10D\x1b[?25h"));
    }
    bench.types("\x1b");
    assert_eq!(bench.recorded(), "....hello\x1b");
}

#[test]
fn letters_of_every_width_are_shown() {
    let mut bench = Bench::prompt();
    bench.types_echoed("äöü 東京 🦀 e\u{301}");
    bench.types("\r");
    assert_eq!(bench.recorded(), "äöü 東京 🦀 e\u{301}\r");

    let mut bench = Bench::prompt();
    for byte in "ö".bytes() {
        bench.types([byte]);
    }
    bench.shows("ö");
    bench.types("\r");
    assert_eq!(bench.recorded(), "ö\r");
}

#[test]
fn a_line_that_wraps_is_shown_in_the_middle_and_at_the_bottom() {
    for newlines in [0, 30] {
        let mut bench = Bench::new(10, 5);
        bench.shows("\r\n".repeat(newlines));
        bench.shows("$ ");
        bench.types_echoed("0123456789abcdefghijklmnopqrstuvwxyz");
        bench.types("\r");
        assert_eq!(bench.recorded(), "0123456789abcdefghijklmnopqrstuvwxyz\r");

        // readline wraps by a blank and a carriage return of its own.
        let mut bench = Bench::new(10, 5);
        bench.shows("\r\n".repeat(newlines));
        bench.shows("$ ");
        bench.types("0123456789abc\r");
        bench.shows("01234567 \r89abc\r\n");
        assert_eq!(bench.recorded(), "0123456789abc\r");
    }
}

#[test]
fn control_keys_and_sequences_are_recorded_at_once() {
    let mut bench = Bench::prompt();
    bench.types("\x03\x1b[A\x1b[1;5D\x1bOP\x1b[200~");
    let steps = bench.steps.len();
    assert_eq!(recorded_input(&bench.steps), b"\x03\x1b[A\x1b[1;5D\x1bOP\x1b[200~");
    assert!(matches!(&bench.steps[steps - 1], Step::ToTarget(ToTarget::Data(_))));
}

#[test]
fn a_bracketed_paste_is_text_between_two_markers() {
    let mut bench = Bench::prompt();
    bench.types("\x1b[200~make all\x1b[201~");
    bench.shows("\x1b[7mmake all\x1b[27m");
    bench.types("\r");
    assert_eq!(bench.recorded(), "\x1b[200~make all\x1b[201~\r");

    let mut bench = Bench::prompt();
    bench.shows("Password: ");
    bench.types("\x1b[200~hunter2\x1b[201~\r");
    bench.shows("\r\n$ ");
    assert_eq!(bench.recorded(), "\x1b[200~.......\x1b[201~\r");
}

#[test]
fn letters_that_a_terminal_sends_as_sequences_stay_counts() {
    let mut bench = Bench::prompt();
    bench.types("\x1b[104u\x1b[117;1u\x1b[27;2;65~");
    assert_eq!(bench.recorded(), "\x1b[...u\x1b[.....u\x1b[.......~");
}

#[test]
fn a_prompt_after_a_flood_is_found() {
    let mut bench = Bench::prompt();
    for line in 0..40_000 {
        bench.shows(format!("{line:08} some line of a long listing that nobody reads\r\n"));
    }
    bench.shows("$ ");
    bench.types_echoed("clear");
    bench.types("\r");
    assert_eq!(bench.recorded(), "clear\r");
}

#[test]
fn output_that_comes_in_the_middle_of_a_line_does_not_spoil_what_follows() {
    let mut bench = Bench::prompt();
    bench.types_echoed("ls");
    bench.shows("\r\n[1]+ Done make\r\n$ ls");
    bench.types_echoed(" -la");
    bench.types("\r");
    assert_eq!(bench.recorded(), "ls -la\r");
}

#[test]
fn a_resize_forgets_what_is_not_shown_yet() {
    let mut bench = Bench::prompt();
    bench.types("ls");
    bench.hears(Heard::Client(FromClient::Resize { cols: 100, rows: 30, width_px: 0, height_px: 0 }));
    bench.shows("ls");
    bench.types("\r");
    bench.shows("\r\n$ ");
    bench.types_echoed("pwd");
    bench.types("\r");
    assert_eq!(bench.recorded(), "..\rpwd\r");
}

#[test]
fn the_smallest_and_the_largest_terminal_are_borne() {
    for (cols, rows) in [(1, 1), (1, 500), (1000, 1), (1000, 500), (u16::MAX, u16::MAX), (0, 0)] {
        let mut bench = Bench::new(cols, rows);
        bench.shows("$ ");
        bench.types_echoed("echo 東京");
        bench.types("\r");
        assert_eq!(bench.recorded().chars().last(), Some('\r'));
    }
}

#[test]
fn text_without_end_is_bounded() {
    let mut bench = Bench::prompt();
    bench.types("x".repeat(1 << 20));
    bench.shows("x".repeat(1 << 20));
    bench.types("\r");
    let recorded = bench.recorded();
    assert_eq!(recorded.len(), (1 << 20) + 1);
    assert!(!recorded.contains('x'));
}

#[test]
fn what_is_shown_when_a_session_ends_is_recorded_before_its_close() {
    let mut bench = Bench::prompt();
    bench.types_echoed("exit");
    bench.hears(Heard::Target(FromTarget::Close));
    assert_eq!(recorded_input(&bench.steps), b"exit");
    assert!(matches!(bench.steps.last(), Some(Step::Close(_))));
}

#[derive(Clone, Debug)]
enum Piece {
    Types(Vec<u8>),
    Shows(Vec<u8>),
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let screen = prop_oneof![
        "[a-e ]{1,6}".prop_map(String::into_bytes),
        "(\\r\\n|\\x08|\\x1b\\[C|\\x1b\\[K|\\x1b\\[H|\\x1b\\[2J|\\x1b\\[3;2H|\\x1bM|\\x1b\\[\\?1049h|\\t|ö|東)".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..12),
    ];
    let keys = prop_oneof![
        "[a-e ]{1,3}".prop_map(String::into_bytes),
        "(\\r|\\x7f|\\x1b\\[A|\\x1b\\[1;5D|\\x03|ö|\\x1b\\[97u)".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..6),
    ];
    prop_oneof![screen.prop_map(Piece::Shows), keys.prop_map(Piece::Types)]
}

/// The steps of a story told in pieces of at most so many bytes, neighbours of a kind joined; and that each byte to the
/// target came after its record.
fn told(story: &[Piece], bytes_max: usize) -> Vec<String> {
    let mut bench = Bench::new(12, 4);
    for piece in story {
        let (Piece::Types(bytes) | Piece::Shows(bytes)) = piece;
        bench.now = bench.now.after(Duration::from_millis(5));
        for part in bytes.chunks(bytes_max) {
            let part = Bytes::copy_from_slice(part);
            match piece {
                Piece::Types(_) => bench.hears(Heard::Client(FromClient::Data(part))),
                Piece::Shows(_) => bench.hears(Heard::Target(FromTarget::Data(part))),
            }
        }
    }
    bench.hears(Heard::Target(FromTarget::Close));
    let mut joined: Vec<What> = vec![];
    let (mut counted, mut sent) = (0, 0);
    for step in &bench.steps {
        match step {
            Step::Record(event, _) => {
                match &event.what {
                    What::Input(data) => counted += data.len(),
                    What::Typed(count) => counted += *count as usize,
                    _ => {}
                }
                join(&mut joined, &event.what);
            }
            Step::ToTarget(ToTarget::Data(data)) => {
                sent += data.len();
                assert!(sent <= counted, "a byte left before its record");
            }
            _ => {}
        }
    }
    assert_eq!(sent, counted);
    joined.iter().map(|what| format!("{what:?}")).collect()
}

/// What stands on the screen is told after the piece of output that shows it, however long that piece is.
fn join(all: &mut Vec<What>, what: &What) {
    let not_shown = all.iter_mut().rfind(|before| !matches!(before, What::Shown { .. }));
    if let (Some(What::Output(before)), What::Output(more)) = (not_shown, what) {
        *before = [before.as_ref(), more.as_ref()].concat().into();
        return;
    }
    match (all.last_mut(), what) {
        (Some(What::Typed(a)), What::Typed(b)) => *a += b,
        (Some(What::Input(a)), What::Input(b)) => *a = [a.as_ref(), b.as_ref()].concat().into(),
        _ => all.push(what.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whole_or_byte_by_byte_the_same_is_recorded(story in prop::collection::vec(any_piece(), 0..40)) {
        prop_assert_eq!(told(&story, 1), told(&story, usize::MAX));
    }

    #[test]
    fn a_string_that_was_never_echoed_is_in_no_event(
        secret in "[a-h]{6,12}",
        noise in prop::collection::vec((any_piece(), "[a-h]{1,5}"), 0..30),
        every in 1usize..4,
    ) {
        let mut bench = Bench::new(12, 4);
        let mut keys = secret.as_bytes().chunks(every);
        bench.shows("Password: ");
        let mut output: Vec<u8> = b"Password: ".to_vec();
        for (piece, text) in &noise {
            if let Some(key) = keys.next() {
                bench.types(key);
            }
            let Piece::Shows(bytes) = piece else { continue };
            bench.shows([bytes, text.as_bytes()].concat());
            output.extend_from_slice(bytes);
            output.extend_from_slice(text.as_bytes());
        }
        keys.for_each(|key| bench.types(key));
        bench.types("\r");
        prop_assume!(!output.windows(secret.len()).any(|part| part == secret.as_bytes()));
        let recorded = bench.recorded();
        prop_assert!(!recorded.contains(&secret), "{}", recorded);
    }

    #[test]
    fn what_a_terminal_echoes_is_recorded_whatever_its_size_and_lag(
        cols in 2u16..60,
        rows in 1u16..12,
        lines in prop::collection::vec(("[a-z0-9 ä東./-]{1,40}", 1usize..6), 1..8),
    ) {
        let mut bench = Bench::new(cols, rows);
        let mut typed = String::new();
        for (line, lag) in &lines {
            bench.shows("$ ");
            let letters: Vec<char> = line.chars().collect();
            for part in letters.chunks(*lag) {
                let part: String = part.iter().collect();
                for letter in part.chars() {
                    bench.types(letter.to_string());
                }
                bench.shows(&part);
            }
            bench.types("\r");
            bench.shows("\r\n");
            typed.push_str(line);
            typed.push('\r');
        }
        prop_assert_eq!(bench.recorded(), typed);
    }
}
