//! Recordings that mean harm, played in a real terminal whose every byte is looked at.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use common::{REPLAY, err, out, replay};
use serde_json::json;

/// Everything that the player wrote to its terminal while it showed the end of a recording and was quit.
fn written_to_the_terminal(path: &Path, folder: &Path) -> Vec<u8> {
    let log = folder.join("typescript");
    let command = format!("stty cols 100 rows 30; exec {REPLAY} --at 1000000 {}", path.display());
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &command, &log.display().to_string()])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = script.stdin.take().unwrap();
    // The keys wait in the terminal until the player reads them.
    keys.write_all(b"  \x1b[H\x1b[F50.,]?xLq").unwrap();
    let answer = script.wait_with_output().unwrap();
    drop(keys);
    assert!(answer.status.code().is_some_and(|code| [0, 3, 6].contains(&code)), "{:?}", answer.status);
    fs::read(log).unwrap()
}

/// Fails unless each escape sequence is one that only moves, colours, erases, or switches screens.
fn only_draws(written: &[u8]) {
    let from = written.windows(8).position(|bytes| bytes == b"\x1b[?1049h").expect("the player has drawn");
    let text = String::from_utf8_lossy(&written[from..]).into_owned();
    let drawn = text.split("\x1b[?1049l").next().unwrap();
    let mut rest = drawn.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            assert!(!c.is_control() || "\r\n".contains(c), "U+{:04X} was written", c as u32);
            assert!(!"\u{202e}\u{2066}\u{200b}\u{feff}".contains(c), "U+{:04X} was written", c as u32);
            continue;
        }
        assert_eq!(rest.next(), Some('['), "an escape sequence that is no CSI was written");
        let last = rest.by_ref().find(|c| ('\x40'..='\x7e').contains(c)).unwrap();
        assert!("HABCDEFGJKmhl".contains(last), "CSI {last} was written");
    }
}

#[test]
fn no_sequence_of_a_recording_reaches_the_terminal_that_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let attacks = [
        "\x1b]52;c;ZWNobyBib28=\x07",
        "\x1b]0;title\x07\x1b]2;title\x1b\\",
        "\x1b]8;;http://example.invalid\x1b\\link\x1b]8;;\x1b\\",
        "\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1b[?2004l\x1b[21t",
        "\x1bP$q\"p\x1b\\\x1bP+q544e\x1b\\",
        "\u{9d}52;c;ZWNobyBib28=\u{9c}\u{9b}6n\u{90}x\u{9c}",
        "a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{e0041}f",
        "e\u{301}\u{301}\u{301}\u{301}\u{20dd}",
        "\x1b[8;1;1t\x1b[3J\x1bc\x1b#8",
        "\x1b]never ends ",
    ];
    let mut events = vec![];
    for (second, attack) in attacks.iter().enumerate() {
        events.push((second as f64, "o", *attack));
        events.push((second as f64, "m", *attack));
    }
    let path = folder.path().join("hostile.cast");
    let mut text = format!(
        "{}\n",
        json!({"version": 2, "width": 90, "height": 20, "title": attacks[0], "command": attacks[6]})
    );
    for event in &events {
        text += &format!("{}\n", json!(event));
    }
    fs::write(&path, text).unwrap();

    only_draws(&written_to_the_terminal(&path, folder.path()));

    for args in [["info", path.to_str().unwrap()], ["export", path.to_str().unwrap()]] {
        let told = replay(args);
        assert!(!out(&told).contains('\x1b') && told.status.success(), "{args:?}");
    }
    let text = out(&replay(["export", "--format", "txt", path.to_str().unwrap()]));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn sizes_and_times_out_of_reason_are_played_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (cols, rows)) in [(0, 0), (1, 1), (65535, 65535), (1, 65535)].into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.cast"));
        let header = json!({"version": 2, "width": cols, "height": rows});
        let lines = [
            r#"[5.0,"o","five"]"#,
            r#"[-3.0,"o","before the beginning"]"#,
            r#"[1.0,"r","0x0"]"#,
            r#"[1.0,"r","65535x65535"]"#,
            r#"[1e300,"o","at the end of time"]"#,
            r#"[2.0,"o","back again"]"#,
        ];
        fs::write(&path, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
        only_draws(&written_to_the_terminal(&path, folder.path()));
    }
}

#[test]
fn what_cannot_be_read_is_told_in_one_line_and_the_rest_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let header = r#"{"version":2,"width":80,"height":24}"#;
    let cases: [(&str, Vec<u8>, i32, &str); 9] = [
        ("empty", vec![], 1, "empty"),
        ("version", br#"{"version":9,"width":80,"height":24}"#.to_vec(), 1, "versions 2 and 3"),
        ("binary", vec![0xff; 5000], 1, "no JSON"),
        ("cut", format!("{header}\n[1.0,\"o\",\"whole\"]\n[2.0,\"o\",\"cu").into_bytes(), 6, "line 3"),
        ("nan", format!("{header}\n[NaN,\"o\",\"x\"]\n[1.0,\"o\",\"whole\"]\n").into_bytes(), 3, "line 2"),
        (
            "deep",
            format!("{header}\n{}\n[1.0,\"o\",\"whole\"]\n", "[".repeat(100_000)).into_bytes(),
            3,
            "line 2",
        ),
        ("utf8", [header.as_bytes(), b"\n[1.0,\"o\",\"whole \xff\xfe\"]\n"].concat(), 0, ""),
        (
            "header",
            [&b"{\"version\":2,\"x\":\""[..], &vec![b'x'; 3_000_000], b"\"}\n"].concat(),
            1,
            "longer than",
        ),
        (
            "huge",
            [
                header.as_bytes(),
                b"\n[1.0,\"o\",\"whole\"]\n[2.0,\"o\",\"",
                &vec![b'x'; 100_000_000],
                b"\"]\n",
            ]
            .concat(),
            3,
            "line 3",
        ),
    ];
    for (name, bytes, code, says) in cases {
        let path = folder.path().join(format!("{name}.cast"));
        fs::write(&path, bytes).unwrap();
        let told = replay(["export", "--format", "txt", path.to_str().unwrap()]);
        assert_eq!(told.status.code(), Some(code), "{name}: {}", err(&told));
        assert!(err(&told).contains(says), "{name}: {}", err(&told));
        assert_eq!(err(&told).lines().count(), usize::from(code != 0), "{name}: {}", err(&told));
        if code != 1 {
            assert!(out(&told).contains("whole"), "{name}: what can be read is shown");
            only_draws(&written_to_the_terminal(&path, folder.path()));
        }
    }
}

#[test]
fn what_tells_of_a_recording_or_passes_it_on_draws_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let costly = [
        "x\x1b[65535b",
        "\x1b[65535S",
        "\x1b[65535L",
        "\x1b[2J",
        "\x1bc",
        "\x1b#8",
        "\x1b[?1049h\x1b[?1049l",
    ];
    let events: Vec<_> = costly.iter().cycle().take(7_000).map(|costly| (1.0, "o", *costly)).collect();
    let path = common::cast(folder.path(), "costly.cast", (1_000, 500), &events);
    let path = path.to_str().unwrap();

    let told: serde_json::Value = serde_json::from_str(&out(&replay(["info", "--json", path]))).unwrap();
    // Many segments, as it is costly to draw; and not one screen to begin them with, as that would cost drawing it.
    assert_eq!((told["events"].as_u64(), told["keyframes"].as_u64()), (Some(7_000), Some(0)), "{told}");
    assert!(told["segments"].as_u64() > Some(1_000), "{told}");
    assert_eq!(out(&replay(["export", path])).lines().count(), 1 + 7_000);
}

#[test]
fn a_source_that_is_not_there_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for source in ["no/such.cast", folder.path().to_str().unwrap(), "\x1b]0;x\x07.cast"] {
        let told = replay(["info", source]);
        assert_eq!(told.status.code(), Some(1));
        assert!(err(&told).starts_with("error: ") && err(&told).contains("; try: "), "{}", err(&told));
        assert!(!err(&told).contains('\x1b') && err(&told).lines().count() == 1);
    }
    assert_eq!(replay(["--speed", "fast", "x"]).status.code(), Some(2));
    assert_eq!(replay(["info"]).status.code(), Some(2));
}

#[test]
fn an_export_leaves_nothing_partial_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = common::cast(folder.path(), "a.cast", (80, 24), &[(0.0, "o", "text\r\n")]);
    let source = path.to_str().unwrap();

    let to = folder.path().join("b.cast");
    assert!(replay(["export", source, "-o", to.to_str().unwrap()]).status.success());
    assert!(fs::read_to_string(&to).unwrap().ends_with("[0.0,\"o\",\"text\\r\\n\"]\n"));

    let nowhere = folder.path().join("no/folder/c.cast");
    assert_eq!(replay(["export", source, "-o", nowhere.to_str().unwrap()]).status.code(), Some(1));
    // The folder takes the place of the file, so that the rename is what fails.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("kept"), "").unwrap();
    assert_eq!(replay(["export", source, "-o", taken.to_str().unwrap()]).status.code(), Some(1));
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.cast", "b.cast", "taken"]);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let line = "x".repeat(1000);
    let events: Vec<_> = (0..5000).map(|n| (f64::from(n), "o", line.as_str())).collect();
    let path = common::cast(folder.path(), "long.cast", (80, 24), &events);

    for args in ["export", "info --json"] {
        let command = format!("set -o pipefail; {REPLAY} {args} {} | head -c 100 >/dev/null", path.display());
        let run = Command::new("bash").args(["-c", &command]).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{args}: {run:?}");
    }
}
