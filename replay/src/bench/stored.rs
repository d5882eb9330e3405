//! Puts a made recording into a store, as the gateway does: tail, journal, sealed parts, and key frames at the pace at
//! which it makes them.

use std::{
    io::{self, Read},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use archive::{Archive, BindLimits, Binder, End, Limits, Next, TailWriter};
use recording::{CastReader, Event, Facts, Header, Layout, Person};

use super::{BenchFault, made};

/// How much is made before the binder may take its turn.
const BLOCK_BYTES: usize = 256 * 1024;
/// Key frames are made with a small share of a core; a gigabyte takes its time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Makes a store in `folder` that holds one finished session of about so many bytes.
///
/// # Errors
/// It cannot be written.
pub fn store(folder: &Path, bytes: u64) -> Result<(), BenchFault> {
    let store = |fault: &dyn std::fmt::Display| BenchFault::Store(fault.to_string());
    let archive = Archive::open_exclusive(folder).map_err(|fault| store(&fault))?;
    let limits = BindLimits { frames_wait: PATIENCE, ..BindLimits::default() };
    let mut binder = Binder::new(archive.clone(), limits).map_err(|fault| store(&fault))?;
    let header = header();
    let live = archive.begin(&header);
    let mut tail = TailWriter::new(archive.disk(), &archive.tails(), &header, Limits::default());

    let (mut made, mut reader) = (made::Recording::new(bytes), CastReader::new());
    let (mut block, mut events) = (vec![0; BLOCK_BYTES], Vec::<Event>::new());
    loop {
        let n = made.read(&mut block)?;
        reader.feed(block.get(..n).unwrap_or_default(), &mut events).map_err(io::Error::other)?;
        for event in events.drain(..) {
            tail.push(&event);
        }
        if n == 0 {
            tail.end(End::Finished);
        }
        tail.write().map_err(|fault| store(&fault))?;
        live.reached(tail.events(), tail.bytes(), tail.last_us());
        if n == 0 {
            break;
        }
        binder.segments_ended(header.facts.id);
        while binder.step() == Next::Now {}
    }
    live.end(End::Finished);
    binder.segments_ended(header.facts.id);
    loop {
        match binder.step() {
            Next::Now => {}
            Next::At(then) => thread::sleep(then.saturating_duration_since(Instant::now())),
            Next::WhenAsked => return Ok(()),
        }
    }
}

fn header() -> Header {
    let facts = Facts {
        format: recording::FORMAT,
        id: archive::new_id(),
        salt: "00".repeat(16),
        started_us: 1_700_000_000_000_000,
        layout: Layout::Lines,
        person: Person { name: "bench".into(), ..Person::default() },
        source: "127.0.0.1:0".into(),
        key: None,
        certificate: None,
        asked: None,
        connection: "bench".into(),
        target: "made".into(),
        address: "127.0.0.1:22".into(),
        login: "bench".into(),
        channel: "shell".into(),
        rule: "bench".into(),
    };
    Header { cols: 120, rows: 40, command: None, title: "a made recording".into(), env: [].into(), facts }
}
