//! A journal that is lost costs no sealed recording.

use std::{fs, sync::mpsc, thread, time::Duration};

use archive::{Archive, Filter};
use recording::{Layout, SessionId};
use tempfile::TempDir;

use crate::bench::{Bench, output};

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
