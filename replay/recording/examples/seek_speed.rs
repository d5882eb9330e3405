//! How long a seek takes: `cargo run --release -p recording --example seek_speed`.
//!
//! Real programs (the golden casts) are repeated to 10 MB and to 100 MB of output; instants are chosen all over each. A
//! seek restores a key frame and shows the rest of one segment, so the two should take the same time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program that measures needs a clock")]

use std::time::Instant;

use recording::{
    AvtReplica, CastHeader, CastReader, Elapsed, Event, MemorySource, Playback, Source, What, cost, seek,
};

const CASTS: [&[u8]; 4] = [
    include_bytes!("../tests/casts/vim.cast"),
    include_bytes!("../tests/casts/top.cast"),
    include_bytes!("../tests/casts/tmux.cast"),
    include_bytes!("../tests/casts/less.cast"),
];
const SEEKS: u64 = 2_000;

fn main() {
    println!(
        "{:<28}{:>9}{:>9}{:>9}{:>9}{:>12}",
        "recording", "segments", "p50 us", "p99 us", "max us", "load MB/s"
    );
    for (name, megabytes, hostile) in [
        ("real programs, 10 MB", 10, false),
        ("real programs, 100 MB", 100, false),
        ("line feeds 300x80, 5 MB", 5, true),
    ] {
        let begin = Instant::now();
        let mut source = if hostile { line_feeds(megabytes) } else { programs(megabytes) };
        source.close();
        let rate = megabytes as f64 / begin.elapsed().as_secs_f64();

        let end = source.timeline().end().as_micros();
        let mut took: Vec<u128> = (0..SEEKS)
            .map(|n| {
                let at = Elapsed::from_micros(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (end + 1));
                let begin = Instant::now();
                let playback: Playback<AvtReplica> = seek(&mut source, at).unwrap();
                std::hint::black_box(playback.position());
                begin.elapsed().as_micros()
            })
            .collect();
        took.sort_unstable();
        let at =
            |part: usize| took.get(took.len() * part / 1000).or(took.last()).copied().unwrap_or_default();
        println!(
            "{name:<28}{:>9}{:>9}{:>9}{:>9}{rate:>12.1}",
            source.timeline().spans().len(),
            at(500),
            at(990),
            at(1000)
        );
    }
}

fn programs(megabytes: usize) -> MemorySource {
    let mut rounds: Vec<Event> = Vec::new();
    for cast in CASTS {
        let mut reader = CastReader::new();
        reader.feed(cast, &mut rounds).unwrap();
        reader.finish(&mut rounds).unwrap();
    }
    let mut source = MemorySource::new(header(100, 30));
    let (mut clock, mut bytes) = (0, 0);
    for event in rounds.iter().cycle() {
        if bytes >= megabytes * 1_000_000 {
            return source;
        }
        if let What::Output(data) = &event.what {
            bytes += data.len();
        }
        clock += 1_000;
        source.push(Event { at: Elapsed::from_micros(clock), what: event.what.clone() });
    }
    source
}

fn line_feeds(megabytes: usize) -> MemorySource {
    let mut source = MemorySource::new(header(300, 80));
    let piece = "\n".repeat(4_000);
    assert!(cost(piece.as_bytes(), 300, 80).as_micros() > 1_000);
    for n in 0..megabytes as u64 * 250 {
        source.push(Event { at: Elapsed::from_micros(n), what: What::Output(piece.clone().into()) });
    }
    source
}

fn header(cols: u16, rows: u16) -> CastHeader {
    CastHeader::from_line(format!(r#"{{"version":2,"width":{cols},"height":{rows}}}"#).as_bytes()).unwrap()
}
