//! Killed anywhere, a store comes back with everything that was written.

use std::fs;

use archive::{Archive, BindLimits, Binder, End, Filter, INTERRUPTED, Limits, Next, State};
use recording::{Event, Layout, What};

use crate::bench::{Bench, copy_folder, events, header, work};

fn without_marker(mut events: Vec<Event>) -> (Vec<Event>, bool) {
    let is_marked = events.last().is_some_and(|event| event.what == What::Marker(INTERRUPTED.into()));
    events.truncate(events.len() - usize::from(is_marked));
    (events, is_marked)
}

#[test]
fn an_open_recording_is_closed_as_interrupted_and_whole() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..333]);

        let again = bench.killed();
        let read = without_marker(again.events(session.id));
        assert_eq!(read, (work()[..333].to_vec(), true), "{layout:?}");
        let told = again.archive.session(session.id).unwrap().unwrap();
        assert_eq!((told.state, told.events), (State::Interrupted, 334), "as soon as the server is up");
        again.bind();
        assert_eq!(without_marker(again.events(session.id)), (work()[..333].to_vec(), true));
        let summary = again.archive.session(session.id).unwrap().unwrap();
        assert_eq!((summary.state, summary.events), (State::Interrupted, 334));
        assert!(again.files("tails").is_empty());
        again.archive.verify(session.id).unwrap();
    }
}

/// Wherever the last write was torn: all that was written before it is there, and not a byte of anything else.
#[test]
fn a_tail_cut_at_any_byte_recovers_what_stood_before_the_cut() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&work()[..8]);
    let [tail] = &bench.files("tails")[..] else { panic!("one tail") };
    let len = fs::metadata(tail).unwrap().len();

    let mut most = 0;
    // Every byte of the head and the first frames, then one in seven, and the last ones.
    for cut in (0..=len).filter(|cut| *cut % 7 == 0 || len - cut < 20 || (600..800).contains(cut)) {
        let copy = tempfile::tempdir().unwrap();
        let cut_tail = copy.path().join("tails").join(tail.file_name().unwrap());
        fs::create_dir_all(cut_tail.parent().unwrap()).unwrap();
        fs::write(&cut_tail, &fs::read(tail).unwrap()[..cut as usize]).unwrap();
        let archive = Archive::open_exclusive(copy.path()).unwrap();
        archive.recover().unwrap();
        if archive.session(session.id).unwrap().is_none() {
            assert_eq!(most, 0, "cut at {cut}: only a tail without a whole head tells of no session");
            assert!(!cut_tail.exists());
            continue;
        }
        let (read, is_marked) = without_marker(events(&archive, session.id));
        assert!(is_marked && work().starts_with(&read) && read.len() >= most, "cut at {cut}");
        most = read.len();
    }
    assert_eq!(most, 8);
}

/// Stopped after any step of packing and sealing, and taken up again.
#[test]
fn a_kill_between_any_two_steps_loses_nothing() {
    for (layout, is_ended) in [(Layout::Lines, true), (Layout::Lines, false), (Layout::Chunks, true)] {
        let bench = Bench::new();
        let files = Limits { lines_file_bytes: 40_000, chunks_file_bytes: 40_000 };
        let mut session = bench.session_on(layout, files);
        session.write(&work());
        let id = session.id;
        if is_ended {
            session.end(End::Finished);
        }
        let mut limits = BindLimits::default();
        (limits.lines_part_bytes, limits.chunks_part_bytes) = (500, 500);
        let mut binder = Binder::new(bench.archive.clone(), limits).unwrap();
        binder.segments_ended(id);
        let mut steps = 0;
        loop {
            let next = binder.step();
            let again = bench.killed();
            assert_eq!(without_marker(again.events(id)), (work(), !is_ended), "{layout:?}, step {steps}");
            let state = if is_ended { State::Finished } else { State::Interrupted };
            let told = again.archive.sessions(&Filter::default()).unwrap();
            assert_eq!(told.iter().map(|session| session.state).collect::<Vec<_>>(), [state], "step {steps}");
            again.bind();
            assert_eq!(
                without_marker(again.events(id)),
                (work(), !is_ended),
                "{layout:?}, step {steps}, sealed"
            );
            assert!(again.files("tails").is_empty());
            again.archive.verify(id).unwrap();
            if next != Next::Now {
                break;
            }
            steps += 1;
        }
        assert!(steps > 1);
    }
}

/// Killed after the sealed file was put, and before the journal knew: the file is taken for what it is.
#[test]
fn a_part_that_the_journal_does_not_know_is_taken_over() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bench = Bench::new();
        let id = bench.recorded(layout, &work());
        let mut binder = bench.binder();
        let mut before = bench.copied();
        for _ in 0..1000 {
            if !bench.files("recordings").is_empty() {
                break;
            }
            before = bench.copied();
            binder.step();
        }
        let file = &bench.files("recordings")[0];
        let sealed = fs::read(file).unwrap();
        copy_folder(&bench.folder.path().join("recordings"), &before.path().join("recordings"));

        let archive = Archive::open_exclusive(before.path()).unwrap();
        archive.recover().unwrap();
        let again = Bench { folder: before, archive };
        again.bind();
        assert_eq!(again.events(id), work(), "{layout:?}");
        assert_eq!(fs::read(&again.files("recordings")[0]).unwrap(), sealed);
        assert_eq!(again.files("recordings").len(), 1);
        assert!(again.files("tails").is_empty());
    }
}

#[test]
fn a_file_in_a_parts_place_that_is_none_is_kept_aside() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    let place = bench.folder.path().join("recordings").join(archive::sealed_name(id, 1));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, b"no part at all").unwrap();
    bench.bind(); // sets it aside
    bench.bind(); // as the next attempt does, a second later

    assert_eq!(bench.events(id), work());
    let kept: Vec<_> = bench.files("recordings").into_iter().filter(|path| *path != place).collect();
    assert_eq!(fs::read(&kept[0]).unwrap(), b"no part at all");
    assert!(bench.files("tails").is_empty());
}

#[test]
fn a_tail_that_nobody_knows_is_left_alone_and_the_others_are_served() {
    let bench = Bench::new();
    let known = bench.recorded(Layout::Lines, &work());
    let tails = bench.archive.tails();
    let newer = tails.join(format!("{}.000000.tail", archive::new_id()));
    let garbage = tails.join(format!("{}.000000.tail", archive::new_id()));
    fs::write(&newer, b"BSTN\x09\x01\0\0\0\0\0\0\0\x01\0\0\0\0x").unwrap();
    fs::write(&garbage, b"something else that lay here").unwrap();

    let again = bench.killed();
    again.bind();
    assert_eq!(again.events(known), work());
    let left: Vec<_> = again.files("tails").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let mut names = vec![newer.file_name().unwrap().to_owned(), garbage.file_name().unwrap().to_owned()];
    names.sort();
    assert_eq!(left, names);
}

/// A journal that is lost takes the list of sessions with it: it is made again out of what is sealed.
#[test]
fn a_lost_journal_is_indexed_again() {
    let bench = Bench::new();
    let sealed = [Layout::Lines, Layout::Chunks].map(|layout| bench.recorded(layout, &work()));
    bench.bind();
    // One more, sealed in part when the server was killed.
    let limits = BindLimits { lines_part_bytes: 500, ..BindLimits::default() };
    let mut binder = Binder::new(bench.archive.clone(), limits).unwrap();
    let mut session = bench.session(Layout::Lines);
    session.write(&work());
    binder.segments_ended(session.id);
    binder.run_dry();
    let before = bench.archive.sessions(&archive::Filter::default()).unwrap();

    let lost = bench.copied();
    fs::remove_dir_all(lost.path().join("journal")).unwrap();
    let archive = Archive::open_exclusive(lost.path()).unwrap();
    archive.recover().unwrap();
    let again = Bench { folder: lost, archive };
    again.bind();
    for id in sealed {
        assert_eq!(again.events(id), work());
        let summary = again.archive.session(id).unwrap();
        assert_eq!(summary.as_ref(), before.iter().find(|summary| summary.id == id));
    }
    assert_eq!(without_marker(again.events(session.id)), (work(), true));
    again.archive.verify(session.id).unwrap();
}

#[test]
fn recovering_twice_changes_nothing() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&work()[..50]);

    let once = bench.killed();
    let twice = once.killed().killed();
    assert_eq!(twice.events(session.id), once.events(session.id));
    assert_eq!(twice.files("tails").len(), once.files("tails").len());
    twice.bind();
    twice.archive.recover().unwrap();
    assert_eq!(twice.events(session.id), once.events(session.id));
}

/// A session that wrote its header and no event was never let through, and is listed all the same.
#[test]
fn a_recording_without_events_is_a_recording() {
    let bench = Bench::new();
    let header = header(Layout::Lines);
    let limits = Limits::default();
    let mut tail = archive::TailWriter::new(bench.archive.disk(), &bench.archive.tails(), &header, limits);
    tail.write().unwrap();

    let again = bench.killed();
    again.bind();
    assert_eq!(without_marker(again.events(header.facts.id)), (vec![], true));
    assert!(again.files("tails").is_empty());

    let empty = bench.recorded(Layout::Chunks, &[]);
    bench.bind();
    assert_eq!(bench.events(empty), []);
    assert_eq!(bench.archive.session(empty).unwrap().unwrap().state, State::Finished);
}
