//! A journal that is lost, wholly or in part, costs no sealed recording.

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use archive::{Archive, End, Filter, State};
use recording::{Layout, SessionId};
use tempfile::TempDir;

use crate::bench::{Bench, copy_folder, output, work};

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
