use clap::Parser;

use super::*;
use crate::recorder::{Recorder, RecorderSettings, tests::header};
use archive::Archive;
use bytes::Bytes;
use recording::{Elapsed, Event, Exit, Layout, SessionId, What};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SessionsArgs,
}

/// A folder with one finished session, whose title and command try to write to the reader's terminal.
fn recorded() -> (tempfile::TempDir, SessionId) {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    let recorder = Recorder::start(archive, RecorderSettings::default()).unwrap();
    let mut header = header(Layout::Lines);
    header.command = Some("ls \x1b]52;c;aGk=\x07 \u{202e}x".into());
    header.facts.channel = "exec".into();
    let mut tape = recorder.begin(header);
    tape.append(Event { at: Elapsed::from_micros(1), what: What::Output(Bytes::from_static(b"hello")) });
    tape.append(Event { at: Elapsed::from_micros(61_000_000), what: What::Marker("cmd #1\x1b[2J".into()) });
    tape.append(Event {
        at: Elapsed::from_micros(61_000_000),
        what: What::Exit(Exit::Signal("\x1bTERM".into())),
    });
    tape.append(Event {
        at: Elapsed::from_micros(61_000_000),
        what: What::Ended("the target closed".into()),
    });
    let id = tape.id();
    tape.close();
    recorder.shutdown();
    (folder, id)
}

fn said(folder: &std::path::Path, line: &[&str]) -> Result<String, Failure> {
    let data = folder.display().to_string();
    let line = ["sessions", "--data", &data].into_iter().chain(line.iter().copied());
    let mut out = Vec::new();
    run(&Line::try_parse_from(line).unwrap().args, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn sessions_are_listed_as_a_table_that_no_terminal_obeys() {
    let (folder, id) = recorded();

    let list = said(folder.path(), &["--user", "alice", "--since", "2023-01-01"]).unwrap();
    assert!(list.contains(id.as_str()) && list.contains("root@web1") && list.contains("1:01"), "{list}");
    assert!(list.contains("finished  signal \u{fffd}TERM, the target closed"), "{list}");
    assert!(list.chars().all(|ch| ch == '\n' || is_harmless(ch)), "{list:?}");
    let none = format!("no session matches in {}\n", folder.path().display());
    assert_eq!(said(folder.path(), &["--user", "bea"]).unwrap(), none);
    assert_eq!(said(folder.path(), &["--until", "2023-01-01"]).unwrap(), none);
}

#[test]
fn sessions_are_told_as_json() {
    let (folder, id) = recorded();

    let list: serde_json::Value = serde_json::from_str(&said(folder.path(), &["--json"]).unwrap()).unwrap();
    assert_eq!(list[0]["id"], id.as_str());
    assert_eq!(list[0]["state"], "finished");
    assert_eq!(list[0]["exit"]["signal"], "\u{1b}TERM");
    assert_eq!(list[0]["reason"], "the target closed");
    assert_eq!(list[0]["started"], "2023-11-14T22:13:20Z");
    assert_eq!(list[0]["duration_us"], 61_000_000);
    assert_eq!((&list[0]["started_us"], &list[0]["ended_us"]), (&Value::Null, &Value::Null));
    let one: serde_json::Value =
        serde_json::from_str(&said(folder.path(), &["show", "last", "--json"]).unwrap()).unwrap();
    assert_eq!(one["header"]["bastion"]["target"], "web1");
    assert_eq!(one["markers"][0][0], 61.0);
}

#[test]
fn one_session_is_shown_by_its_id_its_beginning_or_as_the_last() {
    let (folder, id) = recorded();

    let shown = said(folder.path(), &["show", id.as_str()]).unwrap();
    assert!(shown.contains("alice") && shown.contains("4 events"), "{shown}");
    assert!(shown.contains("1:01      cmd #1") && shown.contains("TERM, the target closed"), "{shown}");
    assert!(shown.chars().all(|ch| ch == '\n' || is_harmless(ch)), "{shown:?}");
    assert_eq!(said(folder.path(), &["show", &id.as_str()[..20].to_lowercase()]).unwrap(), shown);
    assert_eq!(said(folder.path(), &["show", "last"]).unwrap(), shown);
    let fault = said(folder.path(), &["show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).unwrap_err();
    assert!(fault.what.contains("no session has the id"), "{fault}");
    assert!(said(folder.path(), &["show", "ZZ"]).unwrap_err().what.contains("begins so"));
}

#[test]
fn a_folder_that_is_none_is_named_and_one_with_nothing_in_it_has_no_sessions() {
    let fault = said(std::path::Path::new("/nonexistent/data"), &[]).unwrap_err();

    assert!(fault.what.contains("/nonexistent/data") && fault.way_out.is_some(), "{fault}");

    let empty = tempfile::tempdir().unwrap();
    let none = format!("no session matches in {}\n", empty.path().display());
    assert_eq!(said(empty.path(), &[]).unwrap(), none);
    assert_eq!(said(empty.path(), &["--json"]).unwrap(), "[]\n");
    assert!(said(empty.path(), &["show", "last"]).unwrap_err().what.contains("nothing was recorded yet in"));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "asking makes no store");

    let line = ["sessions", "--config", "/nonexistent/bastion.toml"];
    let fault = run(&Line::try_parse_from(line).unwrap().args, &mut Vec::new()).unwrap_err();
    assert!(fault.what.contains("/nonexistent/bastion.toml"), "{fault}");
}

#[test]
fn times_are_understood_as_people_write_them() {
    let ago = |text: &str| {
        let then = instant(text).unwrap();
        Timestamp::now().duration_since(then).as_secs()
    };

    assert!((7200..7900).contains(&ago("2h")));
    assert!((5400..6100).contains(&ago("1h 30m")));
    assert!((259_200..259_900).contains(&ago("3d")));
    assert_eq!(instant("2026-11-21T12:00:00Z").unwrap().to_string(), "2026-11-21T12:00:00Z");
    assert!(instant("2026-11-21").is_ok());
    let without_zone = ["2026-11-21T12:00", "2026-11-21T12:00:00", "2026-11-21 12:00:00"];
    for wrong in ["", "yesterday", "2026-13-40", "-", "9999999999999999999d"].into_iter().chain(without_zone)
    {
        assert!(instant(wrong).unwrap_err().contains("is no time"), "{wrong}");
    }
}
