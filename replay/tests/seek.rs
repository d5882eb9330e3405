//! Seeking to an instant shows exactly what playing up to it shows, in real programs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use common::cast;
use recording::{
    AvtReplica, CastReader, Cell, Cursor, Elapsed, Event, Replica, SEGMENT_COST_MAX, What, cost,
};
use replay::{
    reel::Reel,
    source::{CastSource, Source, Wanted, await_all},
};

/// Records a program as `script` sees it, and cuts its output into events of uneven size.
fn recorded(folder: &Path, name: &str, program: &str, keys: &[u8]) -> PathBuf {
    let log = folder.join(format!("{name}.raw"));
    let command = format!("stty cols 100 rows 30; {program}");
    let mut script = Command::new("script")
        .args(["-q", "-c", &command, "-O", log.to_str().unwrap()])
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("TMUX")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(keys).unwrap();
    assert!(script.wait().unwrap().code().is_some());

    let raw = std::fs::read(log).unwrap();
    // The first and last line are script's own.
    let begin = raw.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let text = String::from_utf8_lossy(&raw[begin..]).into_owned();
    let chars: Vec<char> = text.chars().collect();
    let (mut events, mut at, mut cut) = (Vec::new(), 0, 7);
    while at < chars.len() {
        cut = cut * 31 % 197 + 1;
        let end = chars.len().min(at + cut);
        events.push(chars[at..end].iter().collect::<String>());
        at = end;
    }
    // Played several times over, so that there are many segments, and the alternate screen is entered again and again.
    let rounds = 400_000 / text.len().max(1) + 1;
    let lines: Vec<(f64, &str, &str)> = (0..rounds)
        .flat_map(|_| events.iter())
        .enumerate()
        .map(|(n, event)| (n as f64 / 10.0, "o", event.as_str()))
        .collect();
    assert!(text.len() > 500, "{name} drew only {} bytes", text.len());
    cast(folder, &format!("{name}.cast"), (100, 30), &lines)
}

type Screen = (Vec<Vec<Cell>>, Cursor, bool);

fn screen(replica: &AvtReplica) -> Screen {
    let rows = (0..replica.size().1).map(|row| replica.row(row).collect()).collect();
    (rows, replica.cursor(), replica.is_alternate())
}

/// Winds to instants all over the recording, in no order, and compares each with having played up to there.
fn seeks_as_it_plays(path: &Path) {
    let mut source = CastSource::open(path, Wanted::Screens).unwrap();
    await_all(&mut source);
    assert!(source.timeline().spans().len() > 3, "too few segments to prove anything");
    let mut reel = Reel::new(Box::new(source));
    let end = reel.end().as_micros();
    let mut instants: Vec<Elapsed> = (0..60_u64)
        .map(|n| Elapsed::from_micros(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (end + 1)))
        .collect();
    instants.push(reel.end());

    let sought: Vec<Screen> = instants
        .iter()
        .map(|at| {
            reel.go(*at).unwrap();
            screen(reel.replica())
        })
        .collect();

    let (mut reader, mut events) = (CastReader::new(), Vec::new());
    reader.feed(&std::fs::read(path).unwrap(), &mut events).unwrap();
    let mut played = AvtReplica::blank(100, 30);
    let mut in_order: Vec<usize> = (0..instants.len()).collect();
    in_order.sort_by_key(|n| instants[*n]);
    let mut rest = events.iter().peekable();
    for n in in_order {
        while let Some(event) = rest.next_if(|event| event.at <= instants[n]) {
            played.apply(event);
        }
        assert!(screen(&played) == sought[n], "{}: another screen at {:?}", path.display(), instants[n]);
    }
}

#[test]
fn in_vim() {
    let folder = tempfile::tempdir().unwrap();
    let keys = b":syntax on\r:set number\r50Gdd3joHello w\xc3\xb6rld \xe6\xbc\xa2\xe5\xad\x97\x1b:split\r\x06\x02G:q\rggVG=u:q!\r:q!\r";
    seeks_as_it_plays(&recorded(
        folder.path(),
        "vim",
        &format!("vim -u NONE -N {}/src/player.rs", env!("CARGO_MANIFEST_DIR")),
        keys,
    ));
}

#[test]
fn in_top() {
    let folder = tempfile::tempdir().unwrap();
    seeks_as_it_plays(&recorded(folder.path(), "top", "top -d 0.1 -n 6", b"z1x"));
}

#[test]
fn in_tmux() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("seek-{}", std::process::id());
    let inside =
        "ls -l --color=always /usr/bin | head -50; tmux split-window -h 'seq 300'; seq 200; ls -l /etc";
    let program = format!("tmux -L {socket} -f /dev/null new-session \"{inside}\"");
    seeks_as_it_plays(&recorded(folder.path(), "tmux", &program, b""));
}

#[test]
fn where_the_terminal_changes_its_size_and_lines_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    let text: Vec<String> = (0..9000)
        .map(|n| {
            format!("\x1b[3{}m{n} wide 漢字 \x1b(0lqqk\x1b(B long {}\r\n", n % 8, "word ".repeat(n % 30))
        })
        .collect();
    for (n, text) in text.iter().enumerate() {
        let size = ["100x30", "40x10", "150x50", "1x1"][n / 50 % 4];
        events.push((
            n as f64,
            if n % 50 == 0 { "r" } else { "o" },
            if n % 50 == 0 { size } else { text.as_str() },
        ));
    }
    seeks_as_it_plays(&cast(folder.path(), "sizes.cast", (100, 30), &events));
}

#[test]
fn a_step_back_undoes_a_step_and_a_way_back_the_way_there() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<(f64, &str, &str)> =
        (0..2000).map(|n| (f64::from(n) * 0.7, "o", "word and more \x1b[31m")).collect();
    let mut source =
        CastSource::open(&cast(folder.path(), "steps.cast", (80, 24), &events), Wanted::Screens).unwrap();
    await_all(&mut source);
    let mut reel = Reel::new(Box::new(source));
    let at = Elapsed::from_micros(700_000_000);
    reel.go(at).unwrap();
    let here = screen(reel.replica());

    let on = reel.step_forward().unwrap();
    assert!(on > at && screen(reel.replica()) != here);
    assert_eq!(reel.step_back().unwrap(), at);
    assert!(screen(reel.replica()) == here);

    let limit = Some(Duration::from_millis(100));
    let later = reel.later(at, Duration::from_secs(5), limit).unwrap();
    assert_eq!(reel.earlier(later, Duration::from_secs(5), limit).unwrap(), at);
    assert!(later.since(at) > Duration::from_secs(30), "idle stretches cost a tenth of a second each");
}

#[test]
fn winding_back_reads_no_more_than_a_key_frame_and_one_segment() {
    let folder = tempfile::tempdir().unwrap();
    let line = "x".repeat(1000);
    let events: Vec<_> = (0..3000).map(|n| (f64::from(n), "o", line.as_str())).collect();
    let path = cast(folder.path(), "long.cast", (80, 24), &events);
    let mut source = CastSource::of(File::open(path).unwrap(), None, "long".into(), Wanted::Screens).unwrap();
    await_all(&mut source);

    let spans = source.timeline().spans();
    assert!(spans.len() > 40 && spans.iter().all(|span| span.has_keyframe));
    assert!(spans.iter().all(|span| span.plain_bytes < 80 * 1024));
}

#[test]
fn an_event_that_takes_long_to_show_can_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{4e2d}\x1b[65535b\x1b[2J\x1b[H\x1b[65535L".repeat(5_000);
    let path = cast(folder.path(), "costly.cast", (100, 30), &[(1.0, "o", &text), (2.0, "o", "end")]);
    let read = |wanted| {
        let mut source = CastSource::open(&path, wanted).unwrap();
        await_all(&mut source);
        let segments = 0..source.timeline().spans().len();
        segments.map(|segment| source.events(segment).unwrap().to_vec()).collect::<Vec<_>>()
    };
    let output = |event: &Event| match &event.what {
        What::Output(data) => data.clone(),
        what => panic!("{what:?}"),
    };
    let joined = |events: &[Event]| events.iter().map(output).collect::<Vec<_>>().concat();

    let (shown, exported) = (read(Wanted::Screens), read(Wanted::Events).concat());
    for segment in &shown {
        let cost = cost(&joined(segment), 100, 30);
        assert!(cost < 3 * SEGMENT_COST_MAX, "{cost:?} without a key frame");
    }
    assert_eq!(exported.len(), 2);
    assert_eq!(joined(&shown.concat()), joined(&exported));
    seeks_as_it_plays(&path);
}
