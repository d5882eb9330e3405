//! What the journal may take.

use archive::{BindLimits, Binder, End};
use recording::Layout;

use crate::bench::{Bench, noise, output};

/// The promise is 8 MiB of one session, whatever it prints. A terminal that prints noise is the worst.
///
/// `BASTION_TEST_TIER=long` prints a GiB.
#[test]
fn the_journal_never_holds_more_than_8_mib_of_a_terminal_session() {
    let bench = Bench::new();
    let mut binder = Binder::new(bench.archive.clone(), BindLimits::default()).unwrap();
    let mut session = bench.session(Layout::Lines);
    let mib = match std::env::var("BASTION_TEST_TIER").as_deref() {
        Err(_) | Ok("" | "ci") => 24,
        Ok("long") => 1024,
        Ok(other) => panic!("BASTION_TEST_TIER is {other:?}: it may be ci or long"),
    };
    let noise: Vec<Vec<u8>> = (0..16).map(|seed| noise(seed, 64 * 1024)).collect();
    let mut most = 0;
    for n in 0..mib * 16 {
        session.write(&[output(n, noise[n as usize % 16].clone())]);
        binder.segments_ended(session.id);
        if n % 32 == 0 {
            binder.run_dry();
        } else {
            binder.step();
        }
        if n % 16 == 0 {
            most = most.max(bench.archive.journal_bytes().unwrap());
        }
    }
    let id = session.end(End::Finished);
    binder.segments_ended(id);
    while binder.step() == archive::Next::Now {
        most = most.max(bench.archive.journal_bytes().unwrap());
    }

    assert!(most > 1 << 20, "the journal was never used");
    assert!(most <= 8 << 20, "{most} bytes");
    assert!(bench.files("recordings").len() as u64 >= mib / 8);
}

#[test]
fn bulk_never_enters_the_journal() {
    let bench = Bench::new();
    let mut binder = Binder::new(bench.archive.clone(), BindLimits::default()).unwrap();
    let mut session = bench.session(Layout::Chunks);
    for n in 0..40 {
        session.write(&[output(n, noise(n, 256 * 1024))]);
        binder.segments_ended(session.id);
        binder.run_dry();
        assert!(bench.archive.journal_bytes().unwrap() < 4096);
    }
    let id = session.end(End::Finished);
    binder.segments_ended(id);
    binder.run_dry();

    assert!(bench.archive.journal_bytes().unwrap() < 4096);
    assert_eq!(bench.events(id).len(), 40);
}
