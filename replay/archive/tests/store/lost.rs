//! A journal that is lost, wholly or in part, costs no sealed recording.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use archive::{Archive, End, Filter, Library, LibraryFault, State};
use recording::{Layout, SessionId};
use tempfile::TempDir;

use crate::bench::{Bench, copy_folder, noise, output, work};

fn recovered(folder: TempDir) -> Bench {
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    archive.recover().unwrap();
    Bench { folder, archive }
}

fn listed(bench: &Bench) -> Vec<SessionId> {
    let mut ids: Vec<_> =
        bench.archive.sessions(&Filter::default()).unwrap().iter().map(|summary| summary.id).collect();
    ids.sort();
    ids
}

fn put_journal(journal: &Path, into: &Path) {
    fs::remove_dir_all(into.join("journal")).unwrap();
    copy_folder(journal, &into.join("journal"));
}

/// The server opens its store in a task, which is given so many polls: the files of 18 recordings used them up.
#[test]
fn hundreds_of_sealed_files_are_indexed_again_within_a_task() {
    let bench = Bench::new();
    let mut ids: Vec<_> =
        (0..110).map(|n| bench.recorded(Layout::Lines, &[output(n, format!("{n}\r\n"))])).collect();
    bench.bind();
    ids.sort();
    let lost = bench.copied();
    fs::remove_dir_all(lost.path().join("journal")).unwrap();

    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tell.send(runtime.block_on(async { listed(&recovered(lost)) })).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(120)).expect("it ends"), ids);
}

/// Killed while it made the list again, or robbed of its end, a journal is not empty.
#[test]
fn a_journal_that_lost_its_end_is_completed() {
    let bench = Bench::new();
    let mut ids = vec![bench.recorded(Layout::Lines, &work()[..50])];
    bench.bind();
    let before = bench.copied();
    ids.extend([Layout::Lines, Layout::Chunks].map(|layout| bench.recorded(layout, &work())));
    bench.bind();
    ids.sort();
    let summaries = bench.archive.sessions(&Filter::default()).unwrap();

    let folder = bench.copied();
    put_journal(&before.path().join("journal"), folder.path());
    let again = recovered(folder);
    assert_eq!(listed(&again), ids);
    assert_eq!(again.archive.sessions(&Filter::default()).unwrap(), summaries);
    assert_eq!(again.events(*ids.last().unwrap()), work());
}

/// What it still takes for a session that goes on was sealed, and its tails are gone.
#[test]
fn a_journal_that_forgot_an_end_learns_it_from_the_sealed_file() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Lines);
    session.write(&work()[..200]);
    let id = session.id;
    let mut binder = bench.binder();
    binder.segments_ended(id);
    binder.run_dry();
    drop(binder);
    let before = bench.copied();
    session.write(&work()[200..]);
    session.end(End::Finished);
    bench.bind();

    let folder = bench.copied();
    put_journal(&before.path().join("journal"), folder.path());
    let again = recovered(folder);
    again.bind();
    assert_eq!(again.events(id), work());
    assert_eq!(again.archive.session(id).unwrap().unwrap().state, State::Finished);
    again.archive.verify(id).unwrap();
}

#[test]
fn a_sealed_file_that_is_brought_from_elsewhere_is_listed() {
    let bench = Bench::new();
    let here = bench.recorded(Layout::Lines, &work()[..9]);
    bench.bind();
    let other = Bench::new();
    let brought = other.recorded(Layout::Lines, &work());
    other.bind();

    let folder = bench.copied();
    copy_folder(&other.folder.path().join("recordings"), &folder.path().join("recordings"));
    let again = recovered(folder);
    let mut both = vec![here, brought];
    both.sort();
    assert_eq!(listed(&again), both);
    assert_eq!(again.events(brought), work());
}

#[test]
fn a_copy_of_the_sealed_files_alone_is_a_store() {
    let bench = Bench::new();
    let id = bench.recorded(Layout::Lines, &work());
    bench.bind();
    let copy = tempfile::tempdir().unwrap();
    assert!(matches!(Library::open(Some(copy.path()), None), Err(LibraryFault::NoStore(_))));
    copy_folder(&bench.folder.path().join("recordings"), &copy.path().join("recordings"));

    let library = Library::open(Some(copy.path()), None).unwrap();
    assert_eq!(library.last().unwrap(), bench.archive.session(id).unwrap());
    library.verify(id).unwrap();
    assert!(!library.open_recording(id).unwrap().plain(0).unwrap().is_empty());
}

/// Blocks that a disk has lost, and bytes that it has changed: sled panics at some, and finds less at others. Where it
/// panics differs from run to run, with its threads.
#[test]
fn a_journal_that_is_damaged_anywhere_costs_no_sealed_recording() {
    let set_aside = (0..10).map(|_| damaged_everywhere()).find(|set_aside| *set_aside > 0);

    assert!(set_aside.is_some(), "nothing made sled panic");
}

/// Answers how often the journal had to be set aside.
fn damaged_everywhere() -> usize {
    let (mut bench, mut ids) = (Bench::new(), Vec::new());
    for _ in 0..6 {
        ids.extend((0..6).map(|n| bench.recorded(Layout::Lines, &[output(n, noise(n, 40_000))])));
        bench.bind();
        bench = bench.killed(); // sled writes down at each start which pages it has
    }
    ids.sort();
    let sound = fs::read(bench.folder.path().join("journal/db")).unwrap();

    let damages = (0..sound.len()).step_by(sound.len() / 40).flat_map(|at| [(at, 16, 0xa5), (at, 4096, 0)]);
    let set_aside = damages.map(|(at, len, byte)| {
        let mut bad = sound.clone();
        let end = bad.len().min(at + len);
        bad[at..end].fill(byte);
        let folder = bench.copied();
        fs::write(folder.path().join("journal/db"), &bad).unwrap();

        let again = recovered(folder);
        assert_eq!(listed(&again), ids, "{len} bytes at {at}");
        let aside = damaged_journals(&again);
        assert!(aside.iter().all(|aside| aside.join("db").is_file()), "it is kept");
        let later = again.killed();
        assert_eq!(damaged_journals(&later).len(), aside.len(), "the new one is sound");
        assert_eq!(listed(&later), ids);
        aside.len()
    });
    set_aside.sum()
}

fn damaged_journals(bench: &Bench) -> Vec<PathBuf> {
    let folders = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.to_string_lossy().contains("journal.damaged-")).collect()
}
