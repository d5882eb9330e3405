//! Read from tails, journal or sealed files, a recording is the same; and a sealed file says what was changed in it.

use std::{fs, os::unix::fs::PermissionsExt};

use archive::{Archive, End, Filter, Limits, State};
use recording::{
    AvtReplica, Elapsed, Layout, Playback, Replica, Source,
    piece::{Kind, beginning},
    seek,
};

use crate::bench::{Bench, events, noise, output, work};

#[test]
fn a_recording_reads_the_same_from_tail_journal_and_sealed_file() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work());
        let id = session.id;
        assert_eq!(bench.events(id), work(), "{layout:?}, from the tail");

        let mut binder = bench.binder();
        binder.segments_ended(id);
        binder.run_dry();
        assert_eq!(bench.events(id), work(), "{layout:?}, from the journal and the tail");
        assert!(bench.files("recordings").is_empty());

        session.end(End::Finished);
        binder.segments_ended(id);
        binder.run_dry();
        assert_eq!(bench.events(id), work(), "{layout:?}, from the sealed file");
        assert_eq!(bench.files("recordings").len(), 1);
        assert!(bench.files("tails").is_empty());
    }
}

#[test]
fn a_reader_follows_a_recording_while_it_moves_from_place_to_place() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&work()[..100]);
    let mut reader = bench.archive.open_recording(session.id).unwrap();
    let mut binder = bench.binder();

    let mut seen = 0;
    for chunk in work()[100..].chunks(75) {
        session.write(chunk);
        assert!(reader.refresh().unwrap());
        binder.segments_ended(session.id);
        binder.run_dry();
        let read = |reader: &mut archive::OpenRecording| -> usize {
            let segments = reader.timeline().spans().len();
            (0..segments).map(|segment| reader.events(segment).unwrap().len()).sum()
        };
        assert!(read(&mut reader) > seen);
        seen = read(&mut reader);
    }
    assert!(!reader.has_ended().unwrap());
    let id = session.end(End::Finished);
    binder.segments_ended(id);
    binder.run_dry();

    reader.refresh().unwrap();
    assert!(reader.has_ended().unwrap());
    let segments = reader.timeline().spans().len();
    let all: Vec<_> = (0..segments).flat_map(|s| reader.events(s).unwrap().to_vec()).collect();
    assert_eq!(all, work());
}

#[test]
fn a_sealed_file_may_only_be_read_and_its_folders_only_entered_by_us() {
    let bench = Bench::new();
    bench.recorded(Layout::Lines, &work());
    bench.bind();

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let [file] = &bench.files("recordings")[..] else { panic!("one sealed file") };
    assert_eq!(mode(file), 0o400);
    let below = file.ancestors().skip(1).take_while(|folder| *folder != bench.folder.path());
    for folder in below {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    assert_eq!(mode(&bench.folder.path().join("journal")), 0o700);
    assert_eq!(mode(&bench.folder.path().join("tails")), 0o700);
}

#[test]
fn a_sealed_recording_has_left_the_journal_but_for_its_index() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    bench.bind();

    assert!(bench.archive.journal_bytes().unwrap() < 4096);
    let summary = bench.archive.session(id).unwrap().unwrap();
    assert_eq!((summary.state, summary.events), (State::Finished, work().len() as u64));
    assert_eq!((summary.person.as_str(), summary.target.as_str()), ("alice", "web1"));
    assert_eq!(summary.ended_us, Some(summary.started_us + 401_000));
    assert_eq!(bench.archive.last().unwrap().unwrap(), summary);
}

#[test]
fn a_long_recording_is_sealed_part_by_part_and_reads_as_one() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bench = Bench::new();
        let mut limits = archive::BindLimits::default();
        (limits.lines_part_bytes, limits.chunks_part_bytes, limits.chunks_file_bytes) =
            (100_000, 100_000, 200_000);
        let mut binder = archive::Binder::new(bench.archive.clone(), limits).unwrap();
        let files = Limits { lines_file_bytes: 150_000, chunks_file_bytes: 200_000 };
        let mut session = bench.session_on(layout, files);
        let long: Vec<_> = (0..300).map(|n| output(n, noise(n, 5_000))).collect();
        for chunk in long.chunks(40) {
            session.write(chunk);
            binder.segments_ended(session.id);
            binder.run_dry();
        }
        assert!(bench.files("recordings").len() > 5, "{layout:?}");
        assert!(bench.files("tails").len() < 5, "{layout:?}");
        assert_eq!(bench.events(session.id), long);

        let id = session.end(End::Finished);
        binder.segments_ended(id);
        binder.run_dry();
        assert!(bench.files("tails").is_empty());
        assert_eq!(bench.events(id), long);
        assert_eq!(bench.killed().events(id), long);
        bench.archive.verify(id).unwrap();
    }
}

#[test]
fn every_changed_bit_of_a_sealed_file_is_named() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    bench.bind();
    let [file] = &bench.files("recordings")[..] else { panic!("one sealed file") };
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read(file).unwrap();
    bench.archive.verify(id).unwrap();

    let mut named = std::collections::BTreeSet::new();
    for at in (0..good.len()).step_by(41).chain(good.len() - 300..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(file, &bad).unwrap();
        let fault = bench.archive.verify(id).unwrap_err().to_string();
        assert!(fault.contains(&file.display().to_string()), "{fault}");
        let place = fault.rsplit(".rec: ").next().unwrap().split(':').next().unwrap().to_owned();
        named.insert(place);
    }
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(file, &good[..cut]).unwrap();
        assert!(bench.archive.verify(id).is_err(), "cut to {cut}");
    }
    for place in
        ["header", "segment 1", "segment 2", "key frame before segment 2", "index", "summary", "footer"]
    {
        assert!(named.contains(place), "nothing named {place:?} in {named:?}");
    }
}

#[test]
fn a_damaged_segment_does_not_hide_the_others() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Chunks, &work());
    bench.bind();
    let [file] = &bench.files("recordings")[..] else { panic!("one sealed file") };
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bad = fs::read(file).unwrap();
    let header = bench.archive.open_recording(id).unwrap().header_line().len();
    bad[header + 18 + 18 + 50] ^= 1; // in the first segment
    fs::write(file, &bad).unwrap();

    let mut recording = bench.archive.open_recording(id).unwrap();
    let fault = recording.events(0).unwrap_err().to_string();
    assert!(fault.contains("segment 1") && fault.contains(".rec"), "{fault}");
    assert!(!recording.events(1).unwrap().is_empty());
}

/// The place of the last piece of this kind.
fn last_piece(bytes: &[u8], kind: Kind) -> usize {
    let beginning = beginning(kind);
    bytes.windows(beginning.len()).rposition(|window| window == beginning).unwrap()
}

/// Segments are pieces that tell what they are: a part is read without its index, without its footer, and without both.
#[test]
fn a_damaged_index_or_footer_costs_no_event() {
    let damages = [&[Kind::Index][..], &[Kind::Footer], &[Kind::Summary], &[Kind::Index, Kind::Footer]];
    for (layout, damaged) in [Layout::Lines, Layout::Chunks].into_iter().flat_map(|l| damages.map(|d| (l, d)))
    {
        let bench = Bench::new();
        let id = bench.recorded(layout, &work());
        bench.bind();
        let [file] = &bench.files("recordings")[..] else { panic!("one sealed file") };
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut bad = fs::read(file).unwrap();
        for kind in damaged {
            let at = last_piece(&bad, *kind);
            bad[at + 40] ^= 1;
        }
        fs::write(file, &bad).unwrap();

        let said = format!("{layout:?}, {damaged:?}");
        assert_eq!(bench.events(id), work(), "{said}");
        assert!(bench.archive.verify(id).is_err(), "it is damaged all the same, {said}");
        let lost = bench.copied();
        fs::remove_dir_all(lost.path().join("journal")).unwrap();
        let archive = Archive::open_exclusive(lost.path()).unwrap();
        archive.recover().unwrap();
        assert_eq!(events(&archive, id), work(), "listed again, {said}");
        let summary = archive.session(id).unwrap().unwrap();
        assert_eq!((summary.state, summary.events), (State::Finished, work().len() as u64), "{said}");
    }
}

/// Law: seeking to an instant equals playing up to it.
#[test]
fn seeking_by_key_frames_shows_what_playing_shows() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    bench.bind();
    let mut recording = bench.archive.open_recording(id).unwrap();
    let spans = recording.timeline().spans().to_vec();
    assert!(spans.len() > 3);
    assert!(spans[1..].iter().all(|span| span.has_keyframe), "every segment but the first has one");

    for millis in (0..402).step_by(19) {
        let at = Elapsed::from_micros(millis * 1000);
        let sought = seek::<AvtReplica, _>(&mut recording, at).unwrap();
        let mut played = Playback::<AvtReplica>::start(&recording);
        played.play_until(&mut recording, at).unwrap();
        for row in 0..24 {
            let cells = |replica: &AvtReplica| replica.row(row).collect::<Vec<_>>();
            assert_eq!(cells(sought.replica()), cells(played.replica()), "at {millis} ms, row {row}");
        }
    }
}

#[test]
fn sessions_are_listed_by_person_target_and_time() {
    let bench = Bench::new();
    let first = bench.recorded(Layout::Lines, &work());
    let live = bench.session(Layout::Chunks);
    bench.bind();

    let list = |filter: Filter| -> Vec<_> {
        bench.archive.sessions(&filter).unwrap().into_iter().map(|summary| summary.id).collect()
    };
    assert_eq!(list(Filter::default()), [live.id, first]);
    assert_eq!(list(Filter { user: Some("alice".into()), ..Filter::default() }).len(), 2);
    assert_eq!(list(Filter { user: Some("bea".into()), ..Filter::default() }), []);
    assert_eq!(list(Filter { target: Some("web2".into()), ..Filter::default() }), []);
    let late = 1_700_000_000_000_000 + 500_000;
    assert_eq!(list(Filter { since_us: Some(late), ..Filter::default() }), [live.id]);
    assert_eq!(list(Filter { until_us: Some(late - 500_000), ..Filter::default() }), []);
    assert_eq!(bench.archive.session(live.id).unwrap().unwrap().state, State::Live);
}

#[test]
fn a_store_that_is_in_use_names_its_owner() {
    let bench = Bench::new();

    let fault = Archive::open_exclusive(bench.folder.path()).err().unwrap().to_string();
    assert!(fault.contains(&format!("process {}", std::process::id())), "{fault}");
}

#[test]
fn a_place_that_takes_no_sealed_file_costs_nothing_but_time() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    let year =
        bench.folder.path().join("recordings").join(archive::sealed_name(id, 1).split('/').next().unwrap());
    fs::write(&year, b"in the way").unwrap();
    bench.bind();
    assert_eq!(bench.events(id), work());
    assert!(bench.files("recordings").len() == 1, "only what is in the way");

    fs::remove_file(&year).unwrap();
    bench.bind();
    assert_eq!(events(&bench.archive, id), work());
    assert!(bench.files("tails").is_empty());
}
