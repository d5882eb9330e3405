//! Everything in a data folder can be searched, letter by letter recorded words too.

use archive::{Found, decode_everything};
use recording::{Event, Layout, What};

use crate::bench::{Bench, event, noise, output};

fn typed(word: &str) -> Vec<Event> {
    let key = |(n, letter): (u64, char)| {
        let data = letter.to_string().into_bytes().into();
        [event(n * 10, What::Typed(1)), event(n * 10 + 5, What::Shown { first: n, data })]
    };
    (1..).zip(word.chars()).flat_map(key).collect()
}

fn holds(found: &[Found], word: &[u8]) -> bool {
    found.iter().any(|found| found.bytes.windows(word.len()).any(|window| window == word))
}

#[test]
fn a_word_is_found_in_tail_journal_and_sealed_file() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bench = Bench::new();
        let mut session = bench.session(layout);
        session.write(&typed("hunter2"));
        session.write(&[output(1000, noise(1, 70_000)), output(1001, "swordfish")]);
        for stage in ["tail", "journal", "sealed"] {
            if stage == "journal" {
                let mut binder = bench.binder();
                binder.segments_ended(session.id);
                binder.run_dry();
            }
            let copy = bench.copied();
            if stage == "sealed" {
                let again = bench.killed();
                again.bind();
                drop(again.archive);
                let found = decode_everything(again.folder.path()).unwrap();
                assert!(holds(&found, b"hunter2") && holds(&found, b"swordfish"), "{layout:?}, {stage}");
                continue;
            }
            let found = decode_everything(copy.path()).unwrap();
            assert!(holds(&found, b"hunter2") && holds(&found, b"swordfish"), "{layout:?}, {stage}");
            assert!(!holds(&found, b"correct horse"), "{layout:?}, {stage}");
        }
    }
}
