//! Sessions of a bastion's store, by id and as the last one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use archive::{Archive, BindLimits, Binder, End, Limits, TailWriter};
use bytes::Bytes;
use common::{Pane, REPLAY, err, out, replay};
use recording::{
    CastReader, Cell, Elapsed, Event, Exit, Facts, Header, Layout, Person, Replica, SessionId, What,
};
use replay::{
    reel::Reel,
    source::{SessionSource, Shelf, Wanted, open},
};

fn header(layout: Layout, channel: &str) -> Header {
    let facts = Facts {
        format: recording::FORMAT,
        id: archive::new_id(),
        salt: "00".repeat(16),
        started_us: 1_700_000_000_000_000,
        layout,
        person: Person { name: "ana".into(), ..Person::default() },
        source: "127.0.0.1:5".into(),
        key: None,
        certificate: None,
        asked: None,
        connection: "c".into(),
        target: "web1".into(),
        address: "127.0.0.1:22".into(),
        login: "deploy".into(),
        channel: channel.into(),
        rule: "all".into(),
    };
    Header { cols: 80, rows: 20, command: None, title: "ana on web1".into(), env: [].into(), facts }
}

fn event(second: u64, what: What) -> Event {
    Event { at: Elapsed::from_micros(second * 1_000_000), what }
}

fn output(second: u64, text: &str) -> Event {
    event(second, What::Output(Bytes::copy_from_slice(text.as_bytes())))
}

/// Records a session into the store, and has it packed and sealed, unless it is to be left as a kill leaves it.
fn recorded(data: &Path, header: &Header, events: &[Event], is_sealed: bool) -> SessionId {
    let archive = Archive::open_exclusive(data).unwrap();
    let live = archive.begin(header);
    let mut tail = TailWriter::new(archive.disk(), &archive.tails(), header, Limits::default());
    for event in events {
        tail.push(event);
    }
    if is_sealed {
        tail.end(End::Finished);
    }
    tail.write().unwrap();
    live.reached(tail.events(), tail.bytes(), tail.last_us());
    if is_sealed {
        live.end(End::Finished);
        Binder::new(archive, BindLimits::default()).unwrap().run_dry();
    }
    header.facts.id
}

fn shell() -> Vec<Event> {
    let mut events: Vec<Event> = (0..=100)
        .map(|second| output(second, &format!("second {second:03}. {}\r\n", "word ".repeat(300))))
        .collect();
    events.push(event(100, What::Marker("the end".into())));
    events.push(event(100, What::Exit(Exit::Status(0))));
    events
}

#[test]
fn a_session_is_told_played_and_exported_by_id_and_as_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = recorded(&data, &header(Layout::Lines, "shell"), &[output(0, "an older one")], true);
    let id = recorded(&data, &header(Layout::Lines, "shell"), &shell(), true).to_string();
    let data = data.to_str().unwrap();

    let told = out(&replay(["info", "last", "--data", data]));
    assert!(
        told.contains(&format!("session    {id}\nprincipal  ana\nlogin      deploy\ntarget     web1")),
        "{told}"
    );
    assert!(out(&replay(["info", first.to_string().as_str(), "--data", data])).contains("events     1\n"));

    // The beginning of an id is enough, unless several have it.
    let only = (1..=26).find(|n| id[..*n] != first.to_string()[..*n]).unwrap();
    let both = err(&replay(["info", &id[..only - 1].to_lowercase(), "--data", data]));
    assert!(both.contains("begins the ids") && both.contains(&id), "{both}");
    assert_eq!(out(&replay(["info", &id[..only].to_lowercase(), "--data", data])), told);
    let file = err(&replay(["info", "nosuch", "--data", data]));
    assert!(file.contains("\"nosuch\": ") && file.contains("No such file"), "{file}");

    let cast = replay(["export", &id, "--data", data]);
    let (mut reader, mut events) = (CastReader::new(), Vec::new());
    reader.feed(&cast.stdout, &mut events).unwrap();
    assert_eq!((events, reader.header().unwrap().facts.as_ref().unwrap().id.to_string()), (shell(), id));

    let pane = Pane::play((100, 30), &format!("last --data {data} --at 0:50 --speed 0.1"));
    pane.shows("second 050.");
    let screen = pane.shows("ana -> deploy@web1  2023-11-14 22:13:20Z");
    assert!(!screen.contains("second 051."), "{screen}");
    pane.press(&["Space", "]"]);
    pane.shows("second 100.");
    pane.shows("marker: the end");
}

#[test]
fn what_a_killed_server_left_open_is_played_as_far_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path(), &header(Layout::Lines, "shell"), &shell(), false);
    let text = out(&replay(["export", "last", "--format", "txt", "--data", folder.path().to_str().unwrap()]));
    assert!(text.contains("second 100."), "{text}");
}

/// A flipped bit in what a killed server left: the rest is told, and the exit code says that it is not all.
#[test]
fn a_recording_of_which_events_are_missing_is_told_and_flawed() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let id = recorded(folder.path(), &header(layout, "shell"), &shell(), false);
        let tail = folder.path().join("tails").join(format!("{id}.000000.tail"));
        let mut bytes = fs::read(&tail).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&tail, bytes).unwrap();

        let run = replay(["info", "last", "--data", data]);
        assert_eq!(run.status.code(), Some(3));
        let told = out(&run);
        assert!(told.contains("events cannot be read here\n") && told.contains("the end\n"), "{told}");
        assert!(err(&run).contains("of its events cannot be read any more; try: "), "{}", err(&run));
        assert_eq!(replay(["export", "last", "--format", "txt", "--data", data]).status.code(), Some(3));
    }
}

/// The one sealed file of a store.
fn sealed_file(data: &Path, id: SessionId) -> PathBuf {
    let file = data.join("recordings").join(archive::sealed_name(id, 1));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn a_sealed_recording_that_was_changed_is_told_with_the_place() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let id = recorded(folder.path(), &header(layout, "shell"), &shell(), true);
        assert!(replay(["info", "last", "--data", data]).status.success());
        let file = sealed_file(folder.path(), id);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle..middle + 4].fill(0xa5);
        fs::write(&file, bytes).unwrap();

        for as_json in [&["info", "last", "--data", data][..], &["info", "last", "--json", "--data", data]] {
            let run = Command::new(REPLAY).args(as_json).output().unwrap();
            assert_eq!(run.status.code(), Some(3), "{}", err(&run));
            assert!(out(&run).contains("flaw") && out(&run).contains(".rec: segment "), "{}", out(&run));
            assert!(err(&run).contains(file.to_str().unwrap()), "{}", err(&run));
        }
    }
}

/// What is proved by nothing any more is told all the same, and exit code 3 says so.
#[test]
fn a_recording_whose_index_or_header_is_damaged_is_no_sound_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let id = recorded(folder.path(), &header(Layout::Lines, "shell"), &shell(), true);
    let file = sealed_file(folder.path(), id);
    let sound = fs::read(&file).unwrap();
    let run = |at: usize, command: &str| {
        let mut bad = sound.clone();
        bad[at] ^= 1;
        fs::write(&file, bad).unwrap();
        let run = replay([command, "last", "--data", data]);
        assert_eq!(run.status.code(), Some(3), "{command}: {}", err(&run));
        assert!(err(&run).contains(file.to_str().unwrap()), "{}", err(&run));
        out(&run)
    };
    let footer = sound.len() - 100;

    assert!(run(footer, "info").contains("events     103\n"));
    assert!(run(footer, "export").contains("second 100."));
    assert_eq!(run(30, "info"), "", "without its header it cannot be opened");
}

#[test]
fn key_frames_are_counted_where_they_are_kept() {
    for (layout, counted) in [(Layout::Lines, "key frames 2 in 3 "), (Layout::Chunks, "key frames 0 in 3 ")] {
        let folder = tempfile::tempdir().unwrap();
        recorded(folder.path(), &header(layout, "shell"), &shell(), true);

        let told = out(&replay(["info", "last", "--data", folder.path().to_str().unwrap()]));
        assert!(told.contains(counted), "{told}");
    }
}

#[test]
fn bulk_without_a_terminal_is_wound_anywhere_and_shows_the_same_as_when_played() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<Event> = (0..400)
        .map(|second| {
            output(second, &(0..20).map(|n| format!("{second}.{n} {}\n", "x".repeat(50))).collect::<String>())
        })
        .collect();
    let id = recorded(folder.path(), &header(Layout::Chunks, "exec"), &lines, true);
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    let reel = || Reel::new(Box::new(SessionSource::new(archive.open_recording(id).unwrap()).unwrap()));
    let screen =
        |reel: &Reel| -> Vec<Vec<Cell>> { (0..20).map(|row| reel.replica().row(row).collect()).collect() };

    let (mut sought, mut played) = (reel(), reel());
    for second in 0..400 {
        played.go(Elapsed::from_micros(second * 1_000_000)).unwrap();
        sought.go(Elapsed::from_micros(second * 7 % 400 * 1_000_000)).unwrap();
        sought.go(Elapsed::from_micros(second * 1_000_000)).unwrap();
        assert_eq!(screen(&sought), screen(&played), "another screen at {second} s");
    }
    let last: String = screen(&played)[18].iter().map(|cell| cell.ch).collect();
    assert!(last.starts_with("399.19 xxx"), "lines begin at the left: {last}");
}

#[test]
fn what_is_not_in_the_store_is_told_with_its_place_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shown = data.to_str().unwrap();
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let failed = |args: [&str; 4]| {
        let told = replay(args);
        assert_eq!((told.status.code(), err(&told).lines().count()), (Some(1), 1), "{}", err(&told));
        assert!(err(&told).contains("; try: "), "{}", err(&told));
        err(&told)
    };

    assert!(failed(["info", "last", "--data", shown]).contains(&format!("there is no store in {shown}")));
    assert!(!data.exists(), "asking makes no store");

    drop(Archive::open_exclusive(&data).unwrap());
    assert!(failed(["info", "last", "--data", shown]).contains("no session is recorded"));
    assert!(failed(["info", unknown, "--data", shown]).contains(&format!("{unknown:?}: no such session")));

    let held = Archive::open_exclusive(&data).unwrap();
    assert!(
        failed(["info", "last", "--data", shown])
            .contains(&format!("in use by process {}", std::process::id()))
    );
    drop(held);

    // What lies in the journal's place is no journal.
    fs::remove_dir_all(data.join("journal")).unwrap();
    fs::create_dir(data.join("journal")).unwrap();
    fs::write(data.join("journal/db"), vec![0xff; 5000]).unwrap();
    fs::write(data.join("journal/conf"), "nonsense").unwrap();
    failed(["info", "last", "--data", shown]);
}

#[test]
fn a_file_goes_before_a_session_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    common::cast(folder.path(), name, (80, 24), &[(0.0, "o", "a file")]);

    let run = Command::new(REPLAY).args(["info", name]).current_dir(folder.path()).output().unwrap();
    assert!(out(&run).contains("events     1\n"), "{run:?}");
    assert!(open("last", Shelf { data: Some(folder.path()), socket: None }, Wanted::Events).is_err());
}

#[test]
fn the_benchmark_measures_a_recording_of_ours_and_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let cast = common::cast(folder.path(), "a.cast", (80, 24), &[(0.0, "o", "a"), (9.0, "o", "b")]);
    for args in [vec!["bench", "--size", "1M", "--json"], vec!["bench", cast.to_str().unwrap(), "--json"]] {
        let run = Command::new(REPLAY).args(&args).output().unwrap();
        assert!(run.status.success(), "{}", err(&run));
        let told: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        for name in ["bytes", "open_ms", "seek_p50_ms", "seek_p99_ms", "seek_max_ms", "rss_mb"] {
            assert!(told[name].as_f64().is_some_and(|figure| figure >= 0.0), "{name} in {told}");
        }
        assert!(told["rss_mb"].as_f64().unwrap() < 64.0, "{told}");
    }
}
