//! What `replay export` writes, in the hands of other programs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use common::{err, replay};
use recording::{CastReader, Elapsed, Encoder, Event, Exit, Facts, Header, Layout, Person, What};

/// A session without a terminal, as lines: what the store gives for such a channel once it is exported.
fn without_a_terminal(path: &Path) -> Vec<Event> {
    let header = Header {
        cols: 80,
        rows: 24,
        command: Some("make".into()),
        title: "ana: make on web1".into(),
        env: [("TERM".to_owned(), "dumb".to_owned())].into(),
        facts: Facts {
            format: 1,
            id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            salt: "00".repeat(16),
            started_us: 1_700_000_000_000_000,
            layout: Layout::Chunks,
            person: Person { name: "ana".into(), ..Person::default() },
            source: "127.0.0.1:5".into(),
            key: None,
            certificate: None,
            asked: None,
            connection: "c".into(),
            target: "web1".into(),
            address: "127.0.0.1:22".into(),
            login: "deploy".into(),
            channel: "exec".into(),
            rule: "all".into(),
        },
    };
    let bytes = |data: &'static [u8]| Bytes::from_static(data);
    let whats = [
        What::Input(bytes(b"in\n")),
        What::Output(bytes(b"one\ntwo \xff\xfe\n")),
        What::ErrorOutput(bytes(b"warning\n")),
        What::Marker("here".into()),
        What::Output(bytes(b"half \xe2\x82")),
        What::Output(bytes(b"\xac whole\n")),
        What::Exit(Exit::Status(3)),
    ];
    let events: Vec<Event> = (0..)
        .zip(whats)
        .map(|(second, what)| Event { at: Elapsed::from_micros(second * 1_000_000), what })
        .collect();
    let mut file = header.to_line();
    let mut encoder = Encoder::new(Layout::Lines);
    events.iter().for_each(|event| encoder.write(event, &mut file));
    fs::write(path, file).unwrap();
    events
}

fn exported(folder: &Path, from: &Path) -> std::path::PathBuf {
    let to = folder.join("exported.cast");
    let run = replay(["export", from.to_str().unwrap(), "-o", to.to_str().unwrap()]);
    assert!(run.status.success(), "{}", err(&run));
    to
}

fn read(path: &Path) -> Vec<Event> {
    let (mut reader, mut events) = (CastReader::new(), Vec::new());
    reader.feed(&fs::read(path).unwrap(), &mut events).unwrap();
    let ending = reader.finish(&mut events).unwrap();
    assert_eq!((ending.cut, ending.unreadable, ending.skipped), (None, 0, 0));
    events
}

/// Debian's asciinema insists on a terminal of its own even to print; `script` gives it one.
fn asciinema_shows(folder: &Path, cast: &Path) -> Vec<u8> {
    let shown = folder.join("shown");
    let command = format!("asciinema cat {} > {}", cast.display(), shown.display());
    let run = Command::new("script").args(["-q", "-e", "-c", &command, "/dev/null"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    fs::read(shown).unwrap()
}

#[test]
fn an_export_keeps_every_event_and_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("ours.cast");
    let events = without_a_terminal(&source);

    assert_eq!(read(&exported(folder.path(), &source)), events);
}

#[test]
fn asciinema_plays_an_export_with_lines_that_begin_at_the_left() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("ours.cast");
    without_a_terminal(&source);

    let shown = asciinema_shows(folder.path(), &exported(folder.path(), &source));
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(shown, "one\r\ntwo \u{fffd}\u{fffd}\r\nwarning\r\nhalf \u{20ac} whole\r\n");
}

#[test]
fn an_export_of_a_version_3_cast_is_played_by_asciinema_2() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("three.cast");
    let lines = [
        r#"{"version":3,"term":{"cols":90,"rows":30,"type":"xterm"},"timestamp":1700000000}"#,
        "# a comment",
        r#"[0.5,"o","a \u001b[1mbold\u001b[0m\r\n"]"#,
        r#"[0.5,"r","100x40"]"#,
        r#"[0.5,"m","marker"]"#,
        r#"[0.5,"o","b"]"#,
        r#"[0.1,"x","0"]"#,
    ];
    fs::write(&source, lines.join("\n") + "\n").unwrap();

    let to = exported(folder.path(), &source);
    assert_eq!(asciinema_shows(folder.path(), &to), b"a \x1b[1mbold\x1b[0m\r\nb");
    assert_eq!(read(&to).last().unwrap().at, Elapsed::from_micros(2_100_000));
}

#[test]
fn the_text_of_an_export_is_what_was_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let events = [
        (0.0, "o", "$ ls\r\none  two\r\n$ vim\r\n\x1b[?1049h\x1b[Hnot to be kept\x1b[?1049l"),
        (1.0, "o", "$ a line that is wrapped because it is longer than the screen\r\n"),
        (2.0, "o", "typo\x08\x08\x08\x08fixed\x1b[K\r\n\x1b[31mred\x1b[0m"),
    ];
    let path = common::cast(folder.path(), "text.cast", (20, 3), &events);
    let text = common::out(&replay(["export", "--format", "txt", path.to_str().unwrap()]));

    assert_eq!(
        text,
        "$ ls\none  two\n$ vim\n$ a line that is wrapped because it is longer than the screen\nfixed\nred\n"
    );
}
