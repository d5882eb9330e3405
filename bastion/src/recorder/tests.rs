use std::{sync::Arc, time::Duration};

use archive::{Archive, State, TailReader, twin::Twin};
use bytes::Bytes;
use recording::{Elapsed, Event, Facts, Header, Layout, Person, SessionId, Source, What, decode};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    disk: Twin,
    archive: Archive,
    recorder: Recorder,
}

impl Bench {
    fn new() -> Self {
        Bench::with(RecorderSettings::default())
    }

    fn with(settings: RecorderSettings) -> Self {
        let (folder, disk) = (tempfile::tempdir().unwrap(), Twin::new());
        let archive = Archive::open_on(folder.path(), Arc::new(disk.clone())).unwrap();
        let recorder = Recorder::start(archive.clone(), settings).unwrap();
        Bench { folder, disk, archive, recorder }
    }

    fn begin(&self) -> Tape {
        self.recorder.begin(header(Layout::Lines))
    }

    fn read(&self, id: SessionId) -> Vec<Event> {
        let mut recording = self.archive.open_recording(id).unwrap();
        let segments = recording.timeline().spans().len();
        (0..segments).flat_map(|segment| recording.events(segment).unwrap().to_vec()).collect()
    }

    /// What a kill would leave of a recording.
    fn in_tails(&self, id: SessionId) -> Vec<Event> {
        let tails = archive::list(&self.folder.path().join("tails")).unwrap();
        let (mut events, mut next) = (Vec::new(), 1);
        for (_, path) in tails.get(&id).into_iter().flatten() {
            let mut tail = TailReader::open(path).unwrap();
            while let Some((_, frame)) = tail.next_frame().unwrap() {
                if frame.head.next() > next {
                    next = frame.head.next();
                    events.extend(decode(Layout::Lines, &frame.events).unwrap());
                }
            }
        }
        events
    }
}

/// A recorder that is impatient, for tests in which the disk fails.
fn impatient() -> RecorderSettings {
    RecorderSettings {
        retry_after: Duration::from_millis(1),
        shutdown_within: Duration::from_millis(1),
        silent_at_most: Duration::from_millis(20),
        ..RecorderSettings::default()
    }
}

pub(crate) fn header(layout: Layout) -> Header {
    let facts = Facts {
        format: 1,
        id: archive::new_id(),
        salt: "00112233445566778899aabbccddeeff".into(),
        started_us: 1_700_000_000_000_000,
        layout,
        person: Person { name: "alice".into(), ..Person::default() },
        source: "127.0.0.1:50000".into(),
        key: None,
        certificate: None,
        asked: None,
        connection: "c1".into(),
        target: "web1".into(),
        address: "127.0.0.1:22".into(),
        login: "root".into(),
        channel: "shell".into(),
        rule: "all".into(),
    };
    Header { cols: 80, rows: 24, command: None, title: "alice@web1".into(), env: [].into(), facts }
}

fn output(n: u64) -> Event {
    Event { at: Elapsed::from_micros(n * 1000), what: What::Output(Bytes::from(format!("line {n}\r\n"))) }
}

async fn written(tape: &mut Tape, number: u64) -> u32 {
    reach(tape, |positions| positions.written >= number).await
}

async fn synced(tape: &mut Tape, number: u64) -> u32 {
    reach(tape, |positions| positions.synced >= number).await
}

/// Waits until it is there, and answers how many faults came before.
async fn reach(tape: &mut Tape, there: impl Fn(Positions) -> bool) -> u32 {
    let mut faults = 0;
    while !there(tape.positions()) {
        let reached = tokio::time::timeout(Duration::from_secs(20), tape.reached()).await;
        faults += u32::from(reached.expect("the recorder goes on").is_err());
    }
    faults
}

#[tokio::test]
async fn what_is_written_is_in_the_tail() {
    let bench = Bench::new();
    let mut tape = bench.begin();

    let events: Vec<Event> = (1..=500).map(output).collect();
    for event in &events {
        tape.append(event.clone());
    }
    written(&mut tape, 500).await;

    assert_eq!(bench.in_tails(tape.id()), events);
}

#[tokio::test]
async fn every_written_event_is_synced_soon_without_being_asked() {
    let bench = Bench::new();
    let mut tape = bench.begin();

    let last = tape.append(output(1));
    synced(&mut tape, last).await;

    bench.disk.cut_power().unwrap();
    assert_eq!(bench.in_tails(tape.id()), [output(1)]);
}

#[tokio::test]
async fn what_is_synced_survives_a_power_cut_at_any_moment() {
    let settings = RecorderSettings { durability: Durability::Synced, ..RecorderSettings::default() };
    let bench = Bench::with(settings);
    let mut tape = bench.begin();

    for n in 1..=50 {
        tape.append(output(n));
        synced(&mut tape, n).await;
    }

    bench.disk.cut_power().unwrap();
    assert_eq!(bench.in_tails(tape.id()), (1..=50).map(output).collect::<Vec<_>>());
}

#[tokio::test]
async fn reached_is_pending_while_there_is_nothing_new() {
    let bench = Bench::new();
    let mut tape = bench.begin();
    tape.append_synced(output(1));
    synced(&mut tape, 1).await;

    let nothing = tokio::time::timeout(Duration::from_millis(20), tape.reached()).await;
    assert!(nothing.is_err() || nothing.unwrap().is_ok_and(|positions| positions == tape.positions()));
    assert!(tokio::time::timeout(Duration::from_millis(20), tape.reached()).await.is_err());
}

/// Whichever append fails, and however much of it was written: the fault is said, and nothing is lost or doubled.
#[tokio::test]
async fn every_nth_append_may_fail() {
    for (nth, torn) in (1..=7).flat_map(|nth| [0, 1, 17, 18, 40, 60, 1000].map(|torn| (nth, torn))) {
        let bench = Bench::with(impatient());
        bench.disk.fail_appends(nth, 2, torn);
        let mut tape = bench.begin();
        let mut faults = 0;
        for n in 1..=6 {
            tape.append(output(n));
            faults += written(&mut tape, n).await;
        }

        assert!(faults >= 1, "append {nth} failed and nobody was told");
        assert_eq!(
            bench.in_tails(tape.id()),
            (1..=6).map(output).collect::<Vec<_>>(),
            "append {nth}, {torn}"
        );
    }
}

/// A file that could not be synced is not believed again: what it held is synced elsewhere.
#[tokio::test]
async fn every_nth_sync_may_fail() {
    for (nth, count) in (1..=6).flat_map(|nth| [1, 2, 4].map(|count| (nth, count))) {
        let bench = Bench::with(impatient());
        bench.disk.fail_syncs(nth, count);
        let mut tape = bench.begin();
        let mut faults = 0;
        for n in 1..=6 {
            tape.append_synced(output(n));
            faults += synced(&mut tape, n).await;
        }

        assert!(faults >= 1, "sync {nth} failed and nobody was told");
        bench.disk.cut_power().unwrap();
        assert_eq!(bench.in_tails(tape.id()), (1..=6).map(output).collect::<Vec<_>>(), "sync {nth}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_once_and_recording_goes_on_when_there_is_room() {
    let bench = Bench::with(impatient());
    let mut tape = bench.begin();
    tape.append(output(1));
    written(&mut tape, 1).await;

    bench.disk.fail_appends(1, u64::MAX, 3);
    tape.append(output(2));
    while tape.reached().await.is_ok() {}
    assert_eq!(tape.positions().written, 1);
    let again = tokio::time::timeout(Duration::from_millis(15), tape.reached()).await;
    assert!(again.is_err(), "said again: {again:?}");

    bench.disk.heal();
    written(&mut tape, 2).await;
    assert_eq!(bench.in_tails(tape.id()), [output(1), output(2)]);
}

/// Also when it had passed before anybody asked: else whoever is told of it last waits for ever.
#[tokio::test]
async fn a_fault_is_told_before_what_mended_it() {
    for sync_fails in [false, true] {
        let bench = Bench::with(impatient());
        match sync_fails {
            true => bench.disk.fail_syncs(1, 1),
            false => bench.disk.fail_appends(2, 1, 3),
        }
        let mut tape = bench.begin();
        tape.append_synced(output(1));
        while tape.positions().synced < 1 {
            tokio::task::yield_now().await;
        }

        let mut last = tape.reached().await;
        assert!(last.is_err(), "{last:?}");
        while let Ok(next) = tokio::time::timeout(Duration::from_millis(20), tape.reached()).await {
            last = next;
        }
        assert_eq!(last, Ok(Positions { written: 1, synced: 1 }));
    }
}

/// Else a person is told that recording works again by the sync of what was written before it failed.
#[tokio::test]
async fn a_sync_of_what_was_written_before_does_not_mend_a_disk_that_is_full() {
    let bench = Bench::with(impatient());
    let mut tape = bench.begin();
    tape.append(output(1));
    written(&mut tape, 1).await;
    bench.disk.fail_appends(1, u64::MAX, 3);
    tape.append(output(2));
    while tape.reached().await.is_ok() {}

    while tape.positions().synced < 1 {
        tokio::task::yield_now().await;
    }
    let said = tokio::time::timeout(Duration::from_millis(15), tape.reached()).await;
    assert!(!matches!(said, Ok(Ok(_))), "{said:?}");

    bench.disk.heal();
    while !tape.reached().await.is_ok_and(|reached| reached.written >= 2) {}
}

/// Else the time after which a paused session ends would begin anew with every write.
#[tokio::test]
async fn while_every_sync_fails_recording_does_not_work_again_however_well_it_is_written() {
    let bench = Bench::with(impatient());
    bench.disk.fail_syncs(1, u64::MAX);
    let mut tape = bench.begin();
    tape.append_synced(output(1));
    while tape.reached().await.is_ok() {}

    for number in 2..=6 {
        tape.append_synced(output(number));
        let said = tokio::time::timeout(Duration::from_millis(15), tape.reached()).await;
        assert!(!matches!(said, Ok(Ok(_))), "event {number}: {said:?}");
    }

    bench.disk.heal();
    while !tape.reached().await.is_ok_and(|reached| reached.synced >= 6) {}
    assert_eq!(bench.in_tails(tape.id()), (1..=6).map(output).collect::<Vec<_>>());
}

/// A tail that could not be made at first, of a session that has nothing to record yet.
#[tokio::test]
async fn writing_that_works_again_is_told_even_if_no_event_waited() {
    let bench = Bench::with(impatient());
    bench.disk.fail_appends(1, 1, 0);
    let mut tape = bench.begin();

    assert!(tape.reached().await.is_err());
    assert_eq!(tape.reached().await, Ok(Positions::default()));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_disk_that_hangs_for_ever() {
    let bench = Bench::with(impatient());
    let mut tape = bench.begin();
    bench.disk.hang();
    tape.append(output(1));

    let begun = std::time::Instant::now();
    bench.recorder.clone().shutdown();
    assert!(begun.elapsed() < 10 * JOIN_AFTER);
    bench.disk.heal();
}

#[tokio::test]
async fn a_hanging_disk_stops_the_positions_and_is_told() {
    let bench = Bench::with(impatient());
    let mut tape = bench.begin();
    bench.disk.hang();
    tape.append(output(1));

    let fault = tape.reached().await.unwrap_err();
    assert!(fault.0.contains("has not answered"), "{fault:?}");
    assert_eq!(tape.positions(), Positions::default());

    bench.disk.heal();
    written(&mut tape, 1).await;
}

#[tokio::test]
async fn a_closed_tape_is_finished_and_a_dropped_one_is_interrupted() {
    let bench = Bench::new();
    let (mut closed, dropped) = (bench.begin(), bench.begin());
    let ids = [closed.id(), dropped.id()];
    closed.append(output(1));
    closed.close();
    drop(dropped);
    bench.recorder.shutdown();

    let states = ids.map(|id| bench.archive.session(id).unwrap().unwrap().state);
    assert_eq!(states, [State::Finished, State::Interrupted]);
    assert!(archive::list(&bench.archive.tails()).unwrap().is_empty(), "both are sealed");
}

#[tokio::test]
async fn what_is_recorded_can_be_read_at_once_and_is_sealed_behind() {
    let bench = Bench::new();
    let mut tape = bench.begin();
    let events: Vec<Event> = (1..=20_000).map(output).collect();
    for event in &events {
        tape.append(event.clone());
    }
    written(&mut tape, 20_000).await;
    let id = tape.id();
    assert_eq!(bench.read(id), events);
    assert_eq!(bench.archive.session(id).unwrap().unwrap().state, State::Live);

    tape.close();
    bench.recorder.clone().shutdown();
    assert_eq!(bench.read(id), events);
    assert_eq!(bench.archive.session(id).unwrap().unwrap().state, State::Finished);
    bench.archive.verify(id).unwrap();
}
