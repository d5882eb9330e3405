//! How fast a recording opens, and how fast any place in it is shown.

use std::{
    fs, io,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use recording::Elapsed;
use serde_json::json;

use crate::{
    cli::Bench,
    reel::Reel,
    source::{self, OpenFault, Shelf, SourceFault, Wanted},
};

mod made;
mod stored;

/// How many places are looked up.
const SEEKS: usize = 2_000;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchFault {
    /// The recording cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenFault),
    /// A recording cannot be made.
    #[error("{0}")]
    Store(String),
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] SourceFault),
    /// Files cannot be made or read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Opens a recording, looks up places all over it, and tells the times in a line.
///
/// # Errors
/// It cannot be made or read.
pub fn bench(wanted: &Bench, shelf: Shelf<'_>) -> Result<String, BenchFault> {
    let Some(name) = &wanted.source else { return of_a_made_one(wanted) };
    let begun = Instant::now();
    let mut reel = Reel::new(source::open(name, shelf, Wanted::Screens)?);
    // The first frame can be drawn as soon as one segment is there.
    reel.go(Elapsed::ZERO)?;
    let opened = begun.elapsed();
    reel.await_all()?;
    let indexed = begun.elapsed();
    let bytes: u64 = reel.plain_bytes();
    let mut times = seek_all_over(&mut reel)?;
    times.sort_unstable();
    let ms = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    let share = |hundredths: usize| times.get(times.len() * hundredths / 100).copied().unwrap_or_default();
    let told = json!({
        "bytes": bytes,
        "open_ms": ms(opened),
        "index_ms": ms(indexed),
        "seek_p50_ms": ms(share(50)),
        "seek_p99_ms": ms(share(99)),
        "seek_max_ms": ms(times.last().copied().unwrap_or_default()),
        "rss_mb": resident_mb(),
    });
    if wanted.json {
        return Ok(format!("{told}\n"));
    }
    let lines = told.as_object().into_iter().flatten().map(|(name, value)| format!("{name:<12} {value}\n"));
    Ok(lines.collect())
}

/// Makes a store, and measures in a process of its own: what making it took of memory is not what playing takes.
fn of_a_made_one(wanted: &Bench) -> Result<String, BenchFault> {
    let folder = tempfile::tempdir()?;
    stored::store(folder.path(), wanted.size)?;
    let mut measure = Command::new(std::env::current_exe()?);
    measure.args(["bench", "last", "--data"]).arg(folder.path());
    if wanted.json {
        measure.arg("--json");
    }
    let measured = measure.stderr(Stdio::inherit()).output()?;
    match String::from_utf8(measured.stdout) {
        Ok(told) if measured.status.success() => Ok(told),
        _ => Err(BenchFault::Store(format!("the measuring process left with {}", measured.status))),
    }
}

fn seek_all_over(reel: &mut Reel) -> Result<Vec<Duration>, SourceFault> {
    let end = reel.end().as_micros();
    let mut dice = made::Dice::new(7);
    (0..SEEKS)
        .map(|_| {
            let at = Elapsed::from_micros(dice.below(end.saturating_add(1)));
            let begun = Instant::now();
            reel.go(at)?;
            Ok(begun.elapsed())
        })
        .collect()
}

/// What the process holds in memory, in MB.
fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kib * 1.024).round() / 1000.0)
}
