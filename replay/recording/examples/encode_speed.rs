//! How fast events become bytes: `cargo run --release -p recording --example encode_speed`.
//!
//! The recorder's own thread does this for every session, so a slow encoder is a slow gateway.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program that measures needs a clock")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use recording::{AvtReplica, Elapsed, Encoder, Event, Fill, Keyframe, Layout, Replica, What, cost, decode};

const TOTAL_BYTES: usize = 256 * 1024 * 1024;

fn main() {
    let ascii = b"drwxr-xr-x 2 alice alice 4096 Nov 21 09:15 some-directory-name\r\n".repeat(600);
    let colour =
        "\x1b[01;34mbin\x1b[0m  \x1b[01;32mrun.sh\x1b[0m  notes.txt \x1b[K\r\n".repeat(800).into_bytes();
    let text = "Grüße aus Köln, 20 €, 中文 und so weiter\r\n".repeat(800).into_bytes();
    let binary: Vec<u8> = (0..32_768u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();

    println!(
        "{:<12}{:>9}{:>12}{:>12}{:>12}{:>12}",
        "payload", "piece", "lines MB/s", "fill MB/s", "chunks MB/s", "decode MB/s"
    );
    for (name, data) in [("ascii", ascii), ("colour", colour), ("utf-8", text), ("binary", binary)] {
        for piece in [64, 1_024, 32_768] {
            let data = Bytes::from(data.clone()).slice(..data.len().min(32_768) / piece * piece);
            let data = if data.is_empty() { continue } else { data };
            let pieces: Vec<Event> = (0..data.len() / piece)
                .map(|n| Event {
                    at: Elapsed::from_micros(1_234_567 + n as u64),
                    what: What::Output(data.slice(n * piece..(n + 1) * piece)),
                })
                .collect();
            let lines = encode(Layout::Lines, &pieces);
            println!(
                "{name:<12}{piece:>9}{lines:>12.0}{:>12.0}{:>12.0}{:>12.0}",
                filling(&pieces),
                encode(Layout::Chunks, &pieces),
                decoding(&pieces)
            );
        }
    }
    terminals();
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

fn payload(events: &[Event]) -> usize {
    events.iter().map(|event| if let What::Output(data) = &event.what { data.len() } else { 0 }).sum()
}

fn encode(layout: Layout, events: &[Event]) -> f64 {
    let rounds = TOTAL_BYTES / 4 / payload(events);
    let mut encoder = Encoder::new(layout);
    let mut out = Vec::with_capacity(1 << 20);
    let begin = Instant::now();
    for _ in 0..rounds {
        out.clear();
        events.iter().for_each(|event| encoder.write(event, &mut out));
        std::hint::black_box(&out);
    }
    rate(rounds * payload(events), begin.elapsed())
}

fn filling(events: &[Event]) -> f64 {
    let rounds = TOTAL_BYTES / 4 / payload(events);
    let begin = Instant::now();
    for _ in 0..rounds {
        let mut fill = Fill::new(Layout::Lines, 120, 40);
        events.iter().for_each(|event| fill.add(event, 0));
        std::hint::black_box(fill.is_full());
    }
    rate(rounds * payload(events), begin.elapsed())
}

fn decoding(events: &[Event]) -> f64 {
    let rounds = TOTAL_BYTES / 16 / payload(events);
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Layout::Lines);
    events.iter().for_each(|event| encoder.write(event, &mut out));
    let begin = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(decode(Layout::Lines, &out).unwrap());
    }
    rate(rounds * payload(events), begin.elapsed())
}

/// What showing costs, against what the model says it costs.
fn terminals() {
    println!("\n{:<24}{:>9}{:>12}{:>12}", "shown", "size", "us", "modelled us");
    for (name, unit) in [
        ("text", "hello, world, this is text. "),
        ("lines", "a line of a listing\r\n"),
        ("line feeds", "\n"),
        ("erase all", "\x1b[2J"),
        ("repeat", "x\x1b[65535b"),
        ("repeat wide", "\u{4e2d}\x1b[65535b"),
        ("repeat inserting", "\x1b[4hx\x1b[65535b"),
        ("repeat in margins", "\x1b[2rx\x1b[65535b"),
        ("text inserting", "\x1b[4hhello, world, this is text. "),
        ("feeds in margins", "\x1b[2r\x1b[999H\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"),
        ("feeds in top margins", "\x1b[1;20r\x1b[20H\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"),
        ("scroll", "\x1b[65535S"),
        ("scroll one", "\x1b[S"),
        ("scroll in margins", "\x1b[2r\x1b[9999S"),
        ("scroll in top margins", "\x1b[1;20r\x1b[9999S"),
        ("scroll down", "\x1b[9999T"),
        ("scroll down one", "\x1b[T"),
        ("insert line", "\x1b[H\x1b[9999L"),
        ("insert one line", "\x1b[H\x1b[L"),
        ("align", "\x1b#8"),
        ("alternate", "\x1b[?1049h\x1b[?1049l"),
        ("tabs", "\x1b[65535I"),
        ("reset", "\x1bc"),
        ("delete", "\x1b[H\x1b[9999P"),
        ("erase line", "\x1b[2K"),
    ] {
        for (cols, rows) in [(120, 40), (300, 80), (1_000, 500), (1, 500)] {
            let data = Bytes::from(unit.repeat(8_192 / unit.len()));
            let event = Event { at: Elapsed::ZERO, what: What::Output(data.clone()) };
            let mut replica = AvtReplica::blank(cols, rows);
            let begin = Instant::now();
            replica.apply(&event);
            let took = begin.elapsed().as_micros();
            println!(
                "{name:<24}{:>9}{took:>12}{:>12}",
                format!("{cols}x{rows}"),
                cost(&data, cols, rows).as_micros()
            );
        }
    }
    let mut replica = AvtReplica::blank(300, 80);
    let fill = Bytes::from("\x1b[31mword \x1b[0m\x1b[42m\u{20ac} ".repeat(20_000));
    replica.apply(&Event { at: Elapsed::ZERO, what: What::Output(fill) });
    let begin = Instant::now();
    let bytes = replica.keyframe().to_bytes();
    let made = begin.elapsed();
    let restored: AvtReplica = Replica::restore(&Keyframe::from_bytes(&bytes).unwrap());
    println!(
        "\nkey frame 300x80: {} bytes, made in {made:?}, restored in {:?}",
        bytes.len(),
        begin.elapsed() - made
    );
    drop(restored);
}
