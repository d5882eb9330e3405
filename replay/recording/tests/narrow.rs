//! A screen that becomes narrow. Alone in its program, because it asks what the program has taken of memory.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "what is tested is memory and time")]

use std::{fs, time::Instant};

use bytes::Bytes;
use recording::{AvtReplica, Elapsed, Event, Replica, What};

fn memory_bytes_max() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_full_screen_made_one_column_wide_takes_little_memory_and_time() {
    let before = memory_bytes_max();
    let begun = Instant::now();

    let mut replica = AvtReplica::blank(1000, 500);
    let alternate = What::Output(Bytes::from_static(b"\x1b#8\x1b[?1049h\x1b#8"));
    for what in [
        What::Output(Bytes::from_static(b"\x1b#8")),
        What::Resize { cols: 1, rows: 1 },
        What::Resize { cols: 1000, rows: 500 },
        alternate,
        What::Resize { cols: 1, rows: 500 },
    ] {
        replica.apply(&Event { at: Elapsed::ZERO, what });
    }

    assert_eq!(replica.size(), (1, 500));
    let taken = memory_bytes_max() - before;
    assert!(taken < 200 << 20, "{taken} bytes");
    // It was ten seconds.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
