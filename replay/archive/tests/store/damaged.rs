//! A bit that flips in a tail costs the frame that it is in, and nothing behind it; and the tail is kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use archive::{End, INTERRUPTED, Limits, Place, State, TailReader};
use recording::{Event, Layout, Source as _, What};

use crate::bench::{Bench, Session, copy_folder, output, work};

const LAYOUTS: [Layout; 2] = [Layout::Lines, Layout::Chunks];
const EVENTS: usize = 60;

/// Bytes of a frame, from its first one on: magic, version, kind, key, length (twice), check, number, how many, what
/// ends, its events.
const BYTES: [u64; 12] = [0, 4, 5, 7, 10, 12, 13, 15, 25, 29, 30, 50];

fn is_marker(event: &Event, begins: &str) -> bool {
    matches!(&event.what, What::Marker(label) if label.starts_with(begins))
}

/// The frames of a tail.
fn places(tail: &Path) -> Vec<Place> {
    let mut tail = TailReader::open(tail).unwrap();
    std::iter::from_fn(|| tail.next_frame().unwrap()).map(|(place, _)| place).collect()
}

fn flip(tail: &Path, byte: u64, bit: u32) {
    let mut bytes = fs::read(tail).unwrap();
    bytes[byte as usize] ^= 1 << bit;
    fs::write(tail, bytes).unwrap();
}

fn tail_of(bench: &Bench) -> PathBuf {
    let [tail] = &bench.files("tails")[..] else { panic!("one tail") };
    tail.clone()
}

/// Events that were read: those of the work, without the markers of damage and interruption, and how many are said to
/// be missing.
fn read(bench: &Bench, session: &Session) -> (Vec<Event>, u64) {
    let mut events = bench.events(session.id);
    events.retain(|event| !is_marker(event, "damaged: ") && !is_marker(event, INTERRUPTED));
    (events, bench.archive.open_recording(session.id).unwrap().timeline().missing())
}

fn without(damaged: usize) -> Vec<Event> {
    let mut events = work()[..EVENTS].to_vec();
    events.remove(damaged);
    events
}

fn kept(bench: &Bench) -> Vec<Vec<u8>> {
    let named = |path: &PathBuf| path.to_string_lossy().contains(".tail.damaged-");
    bench.files("tails").iter().filter(|path| named(path)).map(|path| fs::read(path).unwrap()).collect()
}

/// Live, interrupted, sealed: each time all is read but for the frame that is damaged, and the count of what is
/// missing is told.
fn check(bench: &Bench, session: &Session, damaged: usize, said: &str) {
    let tail = fs::read(tail_of(bench)).unwrap();
    let is_last = damaged == EVENTS - 1;
    assert_eq!(read(bench, session), (without(damaged), u64::from(!is_last)), "live, {said}");

    let again = bench.killed();
    assert_eq!(read(&again, session), (without(damaged), 1), "interrupted, {said}");
    again.bind();
    assert_eq!(read(&again, session), (without(damaged), 1), "sealed, {said}");
    let events = again.events(session.id);
    let marker = events.iter().position(|event| is_marker(event, "damaged: 1 event cannot be read")).unwrap();
    assert_eq!(marker, damaged, "it stands where the event stood, {said}");
    assert!(is_marker(events.last().unwrap(), INTERRUPTED), "{said}");
    again.archive.verify(session.id).unwrap();
    let summary = again.archive.session(session.id).unwrap().unwrap();
    assert_eq!((summary.state, summary.events), (State::Interrupted, EVENTS as u64 + 1), "{said}");

    assert_eq!(kept(&again), [tail], "the evidence is kept, {said}");
    let files = again.files("tails");
    let third = again.killed();
    third.bind();
    assert_eq!(third.files("tails").len(), files.len(), "and not taken up again, {said}");
    assert_eq!(read(&third, session), (without(damaged), 1));
}

#[test]
fn a_flipped_bit_costs_its_frame_alone_and_the_tail_is_kept() {
    for layout in LAYOUTS {
        for (damaged, byte) in [0, EVENTS / 3, EVENTS - 1].into_iter().flat_map(|n| BYTES.map(|b| (n, b))) {
            let bench = Bench::new();
            let mut session = bench.session(layout);
            session.write(&work()[..EVENTS]);
            let tail = tail_of(&bench);
            let place = places(&tail)[damaged];

            flip(&tail, (place.offset + byte).min(place.end - 1), byte as u32 % 8);
            check(&bench, &session, damaged, &format!("{layout:?}, frame {damaged}, byte {byte}"));
        }
    }
}

/// Every bit of one frame's wrapping and head, those of its length among them.
#[test]
fn any_bit_of_a_frame_may_flip() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..EVENTS]);
        let tail = tail_of(&bench);
        let place = places(&tail)[EVENTS / 2];
        for bit in 0..8 * 48 {
            flip(&tail, place.offset + bit / 8, bit as u32 % 8);
            assert_eq!(read(&bench, &session), (without(EVENTS / 2), 1), "{layout:?}, bit {bit}");
            flip(&tail, place.offset + bit / 8, bit as u32 % 8);
        }
        assert_eq!(read(&bench, &session), (work()[..EVENTS].to_vec(), 0));
    }
}

/// A sector that the disk has lost takes several frames, from the middle of one to the middle of another.
#[test]
fn what_a_lost_sector_held_is_counted_by_the_numbers_behind_it() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..EVENTS]);
        let tail = tail_of(&bench);
        let (from, to) = (places(&tail)[20].offset + 9, places(&tail)[27].offset + 9);
        let mut bytes = fs::read(&tail).unwrap();
        bytes[from as usize..to as usize].fill(0);
        fs::write(&tail, bytes).unwrap();

        let again = bench.killed();
        again.bind();
        let expected = [&work()[..20], &work()[28..EVENTS]].concat();
        assert_eq!(read(&again, &session), (expected, 8), "{layout:?}");
        again.archive.verify(session.id).unwrap();
        assert_eq!(kept(&again).len(), 1);
    }
}

/// The end of a recording may be a frame without events: what was lost before it is told all the same.
#[test]
fn an_event_lost_before_a_bare_end_is_told() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..EVENTS]);
        let tail = tail_of(&bench);
        let last = places(&tail)[EVENTS - 1];
        let id = session.end(End::Finished);
        flip(&tail, last.offset + 40, 3);

        let again = bench.killed();
        again.bind();
        let events = again.events(id);
        assert_eq!(events[..EVENTS - 1], work()[..EVENTS - 1]);
        assert!(is_marker(&events[EVENTS - 1], "damaged: 1 event cannot be read"));
        assert_eq!(again.archive.open_recording(id).unwrap().timeline().missing(), 1);
        assert_eq!(again.archive.session(id).unwrap().unwrap().state, State::Finished);
        again.archive.verify(id).unwrap();
    }
}

#[test]
fn a_last_frame_cut_anywhere_is_no_damage() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..8]);
        let tail = tail_of(&bench);
        let last = places(&tail)[7];
        for cut in last.offset..last.end {
            let copy = bench.copied();
            let cut_tail = copy.path().join("tails").join(tail.file_name().unwrap());
            fs::OpenOptions::new().write(true).open(&cut_tail).unwrap().set_len(cut).unwrap();
            let archive = archive::Archive::open_exclusive(copy.path()).unwrap();
            archive.recover().unwrap();
            let again = Bench { folder: copy, archive };
            assert_eq!(read(&again, &session), (work()[..7].to_vec(), 0), "{layout:?}, cut at {cut}");
            if (cut - last.offset).is_multiple_of(16) {
                again.bind();
                assert_eq!(read(&again, &session), (work()[..7].to_vec(), 0));
                assert!(again.files("tails").is_empty());
            }
        }
    }
}

/// Somebody fetches a tail through the gateway, and the server is killed in the middle of it: what the client's bytes
/// look like is nobody's event.
#[test]
fn frames_that_a_client_sent_are_never_taken_for_ours() {
    let theirs = Bench::new();
    theirs.session(Layout::Chunks).write(&work()[..20]);
    let mut sent = fs::read(tail_of(&theirs)).unwrap();
    sent.extend(b"and more behind it".repeat(20));
    let bench = Bench::new();
    let mut session = bench.session(Layout::Chunks);
    session.write(&[output(0, "$ "), output(1, sent), output(2, "$ ")]);
    let tail = tail_of(&bench);
    let fetched = places(&tail)[1];

    let whole = fs::read(&tail).unwrap();
    fs::write(&tail, &whole[..fetched.end as usize - 100]).unwrap();
    let torn = bench.killed();
    assert_eq!(read(&torn, &session), (vec![output(0, "$ ")], 0));
    torn.bind();
    assert!(torn.files("tails").is_empty());

    for byte in [0, 10, 11, 12, 60] {
        fs::write(&tail, &whole).unwrap();
        flip(&tail, fetched.offset + byte, 0);
        let damaged = bench.killed();
        assert_eq!(read(&damaged, &session), (vec![output(0, "$ "), output(2, "$ ")], 1), "byte {byte}");
    }
}

/// After a failed sync the same events stand in the next tail: there they are whole.
#[test]
fn what_was_written_again_is_read_from_there() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&work()[..EVENTS]);
        let tail = tail_of(&bench);
        session.tail.write_again(10).unwrap();
        session.write(&work()[EVENTS..EVENTS + 9]);
        flip(&tail, places(&tail)[30].offset + 40, 1);

        assert_eq!(read(&bench, &session), (work()[..EVENTS + 9].to_vec(), 0), "{layout:?}");
        let again = bench.killed();
        again.bind();
        assert_eq!(read(&again, &session), (work()[..EVENTS + 9].to_vec(), 0), "{layout:?}, sealed");
        assert_eq!(kept(&again).len(), 1, "it is evidence all the same");
    }
}

/// A head that claims to be longer than its file looks like one that was never finished; what stands behind it tells.
#[test]
fn a_tail_whose_head_is_damaged_is_left_where_it_is() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&work()[..EVENTS]);
    let tail = tail_of(&bench);
    for byte in [2, 10, 20] {
        flip(&tail, byte, 0);
        let again = bench.killed();
        again.bind();
        assert_eq!(fs::read(tail_of(&again)).unwrap(), fs::read(&tail).unwrap(), "byte {byte}");
        flip(&tail, byte, 0);
    }
}

/// Killed between the seal and the removal of the tails: the next start keeps what is damaged, too.
#[test]
fn a_damaged_tail_of_a_sealed_recording_is_kept_at_the_next_start() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    let tails = tempfile::tempdir().unwrap();
    copy_folder(&bench.archive.tails(), tails.path());
    bench.bind();
    assert!(bench.files("tails").is_empty());
    copy_folder(tails.path(), &bench.archive.tails());
    let tail = tail_of(&bench);
    flip(&tail, places(&tail)[5].offset + 30, 0);
    let bytes = fs::read(&tail).unwrap();

    let again = bench.killed();
    assert_eq!(kept(&again), [bytes]);
    assert_eq!(again.events(id), work());
}

/// A session that goes on, with its tails packed behind it.
#[test]
fn damage_in_a_session_that_goes_on_is_told_once_and_the_rest_follows() {
    for layout in LAYOUTS {
        let bench = Bench::new();
        let limits = Limits { lines_file_bytes: 40_000, chunks_file_bytes: 40_000 };
        let mut session = bench.session_on(layout, limits);
        session.write(&work()[..EVENTS]);
        let tail = tail_of(&bench);
        flip(&tail, places(&tail)[20].offset + 40, 0);
        let mut binder = bench.binder();
        for events in work()[EVENTS..].chunks(50) {
            session.write(events);
            binder.segments_ended(session.id);
            binder.run_dry();
        }
        let mut expected = work();
        expected.remove(20);
        assert_eq!(read(&bench, &session), (expected.clone(), 1), "{layout:?}");
        let id = session.id;
        session.end(End::Finished);
        binder.segments_ended(id);
        binder.run_dry();

        let again = bench.killed();
        again.bind();
        let mut events = again.events(id);
        assert!(is_marker(&events.remove(20), "damaged: 1 event"));
        assert_eq!(events, expected);
        again.archive.verify(id).unwrap();
        assert_eq!(kept(&again).len(), 1);
    }
}

/// Bytes that only begin as frames do, each claiming all that follows, are passed over in time.
#[test]
fn a_search_through_false_beginnings_comes_to_its_end() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&[output(0, "$ ")]);
    let tail = tail_of(&bench);
    let mut bytes = fs::read(&tail).unwrap();
    let begun = bytes.len();
    for _ in 0..400_000 {
        let left = 400_000_u32 * 18;
        bytes.extend(b"BSTN\x01\x02\0\0\0\0");
        bytes.extend((left.saturating_sub((bytes.len() - begun) as u32)).to_be_bytes());
        bytes.extend([0; 4]);
    }
    fs::write(&tail, bytes).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(bench.events(session.id), [output(0, "$ ")]);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
