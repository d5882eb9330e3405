//! What may stand on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use recording::Elapsed;

/// Plays a recording: a .cast file, - for standard input, a session id or its beginning, or last.
#[derive(Debug, Parser)]
#[command(
    name = "replay",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  replay last\n  replay session.cast --speed 2\n  asciinema rec - | replay -"
)]
pub struct Args {
    /// A .cast file, - for standard input, a session id or its beginning, or last
    pub source: Option<String>,
    /// The control socket of the server that has the session
    #[arg(long, global = true, value_name = "PATH", env = "BASTION_SOCKET")]
    pub socket: Option<PathBuf>,
    /// The data folder of the server or store that has the session
    #[arg(long, global = true, value_name = "DIR", env = "BASTION_DATA")]
    pub data: Option<PathBuf>,
    /// Recorded seconds per second, 0.1 to 64
    #[arg(long, default_value = "1", value_parser = speed)]
    pub speed: f64,
    /// Longest idle stretch that is played in full, in seconds; off plays all
    #[arg(long, default_value = "2", value_parser = idle_limit, value_name = "SECONDS")]
    pub idle_limit: IdleLimit,
    /// Where to begin: 12:34, 1:02:03 or seconds
    #[arg(long, default_value = "0", value_parser = instant, value_name = "TIME")]
    pub at: Elapsed,
    /// Print which key does what
    #[arg(long)]
    pub help_keys: bool,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else can be done with a recording.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a recording to a file that other programs read
    #[command(after_help = "Example:  replay export last -o last.cast")]
    Export(Export),
    /// Tell what a recording is
    #[command(after_help = "Example:  replay info last --json")]
    Info {
        /// A .cast file, - for standard input, a session id or its beginning, or last
        source: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how fast a recording opens and seeks
    #[command(after_help = "Example:  replay bench --size 100M --json")]
    Bench(Bench),
}

/// What to export, and where to.
#[derive(Debug, Group)]
pub struct Export {
    /// A .cast file, - for standard input, a session id or its beginning, or last
    pub source: String,
    /// cast for asciinema and its players, txt for what was on the screen
    #[arg(long, value_enum, default_value = "cast")]
    pub format: Format,
    /// The file to write; - for standard output
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    pub output: PathBuf,
}

/// In which form to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// asciicast version 2.
    Cast,
    /// The text of the screen and of what scrolled off it.
    Txt,
}

/// What to measure.
#[derive(Debug, Group)]
pub struct Bench {
    /// A recording to measure with; without one, one is made
    #[arg(conflicts_with = "size")]
    pub source: Option<String>,
    /// How large a recording to make: 10M, 1G
    #[arg(long, default_value = "100M", value_parser = size)]
    pub size: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// An idle limit, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdleLimit(pub Option<Duration>);

fn speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if (0.1..=64.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.1 to 64 is wanted, such as 2".into()),
    }
}

fn idle_limit(text: &str) -> Result<IdleLimit, String> {
    if text == "off" {
        return Ok(IdleLimit(None));
    }
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => {
            Ok(IdleLimit(Some(Duration::from_secs_f64(seconds))))
        }
        _ => Err("seconds from 0.1 to 86400 are wanted, such as 2, or off".into()),
    }
}

/// Parts of a time count sixty times what stands behind them: 1:02:03.5.
fn instant(text: &str) -> Result<Elapsed, String> {
    let wanted = || "a time is wanted, such as 12:34, 1:02:03 or 90".to_owned();
    let mut parts = text.rsplit(':');
    let last = parts.next().and_then(|part| part.parse::<f64>().ok());
    let mut seconds = last.filter(|seconds| (0.0..1e9).contains(seconds)).ok_or_else(wanted)?;
    let mut worth = 60.0;
    for part in parts {
        seconds += worth * f64::from(part.parse::<u32>().map_err(|_| wanted())?);
        worth *= 60.0;
    }
    if worth > 216_000.0 || seconds >= 1e12 {
        return Err(wanted());
    }
    Ok(Elapsed::from_micros((seconds * 1e6).round() as u64))
}

fn size(text: &str) -> Result<u64, String> {
    let wanted = || "a size from 100K to 4G is wanted, such as 100M".to_owned();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1_000),
        Some((at, 'M' | 'm')) => (&text[..at], 1_000_000),
        Some((at, 'G' | 'g')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wanted)?;
    if (100_000..=4_000_000_000).contains(&bytes) { Ok(bytes) } else { Err(wanted()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |text| instant(text).map(|at| at.as_secs_f64());
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("12:34"), Ok(754.0));
        assert_eq!(seconds("1:02:03.5"), Ok(3723.5));
        for wrong in ["", ":", "1:", ":1:", "-1", "NaN", "1:2:3:4", "inf", "1e300", "x:1"] {
            assert!(instant(wrong).is_err(), "{wrong:?} is no time");
        }
    }

    #[test]
    fn speeds_limits_and_sizes_out_of_reason_are_refused() {
        assert_eq!(speed("2x"), Ok(2.0));
        assert!(["0", "-1", "NaN", "inf", "65", "fast"].iter().all(|text| speed(text).is_err()));
        assert_eq!(idle_limit("off"), Ok(IdleLimit(None)));
        assert!(["0", "-1", "NaN", "inf", "on"].iter().all(|text| idle_limit(text).is_err()));
        assert_eq!(size("10M"), Ok(10_000_000));
        assert!(["", "M", "1", "9999999999999G", "-5M", "é"].iter().all(|text| size(text).is_err()));
    }
}
