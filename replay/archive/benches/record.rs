//! What recording costs: `cargo bench -p archive`.
//!
//! Seconds of one core for each GiB that is recorded, as the hot path pays them (encode and append to the tail) and as
//! the thread behind it does (read back, compress, digest, journal, seal), key frames apart; and bytes on disk for each
//! recorded byte.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::{path::Path, sync::Arc, time::Duration};

use archive::{Archive, BindLimits, Binder, End, Limits, RealDisk, TailWriter};
use bytes::Bytes;
use recording::{Elapsed, Event, Facts, Header, Layout, Person, What};
use rustix::time::{ClockId, clock_gettime};

const GIB: f64 = (1 << 30) as f64;

fn main() {
    println!("{:34} {:>6} {:>9} {:>9} {:>9} {:>10}", "what", "MiB", "tail", "behind", "frames", "disk/byte");
    let source = Bytes::from(source_text(1 << 20));
    let noise = Bytes::from(noise(1 << 20));
    for (name, layout, bytes, chunk, mib) in [
        ("bulk, source text, 32 KiB pieces", Layout::Chunks, &source, 32 << 10, 512),
        ("bulk, noise, 32 KiB pieces", Layout::Chunks, &noise, 32 << 10, 512),
        ("terminal, source text, 4 KiB", Layout::Lines, &source, 4 << 10, 128),
        ("terminal, source text, 60 bytes", Layout::Lines, &source, 60, 16),
    ] {
        let run = measure(layout, bytes, chunk, mib);
        let per_gib = |time: Duration| time.as_secs_f64() * GIB / run.recorded as f64;
        println!(
            "{name:34} {mib:>6} {:>9.2} {:>9.2} {:>9.2} {:>10.3}",
            per_gib(run.tail),
            per_gib(run.behind),
            per_gib(run.frames),
            run.on_disk as f64 / run.recorded as f64,
        );
    }
    println!("seconds of one core for each GiB recorded; disk/byte: sealed file for each recorded byte");
}

struct Run {
    recorded: u64,
    tail: Duration,
    behind: Duration,
    frames: Duration,
    on_disk: u64,
}

fn measure(layout: Layout, bytes: &Bytes, chunk: usize, mib: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open_on(folder.path(), Arc::new(RealDisk)).unwrap();
    let header = header(layout);
    let live = archive.begin(&header);
    let mut tail = TailWriter::new(archive.disk(), &archive.tails(), &header, Limits::default());
    let limits = BindLimits { frames_wait: Duration::ZERO, ..BindLimits::default() };
    let mut binder = Binder::new(archive.clone(), limits).unwrap();
    let (mut recorded, mut now) = (0, 0);
    let (mut tail_time, mut behind) = (Duration::ZERO, Duration::ZERO);
    while recorded < mib << 20 {
        let begun = cpu();
        // As many as a busy recorder finds waiting.
        for _ in 0..32 {
            let from = recorded as usize % (bytes.len() - chunk);
            now += 50;
            tail.push(&Event {
                at: Elapsed::from_micros(now),
                what: What::Output(bytes.slice(from..from + chunk)),
            });
            recorded += chunk as u64;
        }
        tail.write().unwrap();
        tail_time += cpu() - begun;
        live.reached(tail.events(), tail.bytes(), tail.last_us());
        let begun = cpu();
        binder.segments_ended(header.facts.id);
        binder.run_dry();
        behind += cpu() - begun;
    }
    tail.end(End::Finished);
    tail.write().unwrap();
    live.reached(tail.events(), tail.bytes(), tail.last_us());
    live.end(End::Finished);
    binder.segments_ended(header.facts.id);
    let begun = cpu();
    binder.run_dry();
    let rest = cpu() - begun;
    let frames = binder.keyframe_time();
    let behind = (behind + rest).saturating_sub(frames);
    Run { recorded, tail: tail_time, behind, frames, on_disk: size(&folder.path().join("recordings")) }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}

fn header(layout: Layout) -> Header {
    let facts = Facts {
        format: 1,
        id: archive::new_id(),
        salt: "00112233445566778899aabbccddeeff".into(),
        started_us: 1_700_000_000_000_000,
        layout,
        person: Person::default(),
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
    Header { cols: 120, rows: 40, command: None, title: String::new(), env: [].into(), facts }
}

/// What people look at: this workspace's own source, over and over.
fn source_text(len: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for folder in ["src", "src/tail", "src/binder", "src/control"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                text.extend(std::fs::read_to_string(path).unwrap().replace('\n', "\r\n").into_bytes());
            }
        }
    }
    text.iter().copied().cycle().take(len).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    };
    (0..len).map(|_| next()).collect()
}
