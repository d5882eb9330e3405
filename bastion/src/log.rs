//! What is logged, and how it looks.

use std::io;

use serde::{Deserialize, Deserializer, de::Error as _};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::settings::{Log, LogFormat};

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
#[error("log filter \"{filter}\": {fault}; try: \"info\" or \"bastion=debug\"")]
pub struct LogFault {
    filter: String,
    fault: tracing_subscriber::filter::ParseError,
}

/// A filter as a setting. A word that is no level is one thing to `EnvFilter`, a module's name, and silences all else.
///
/// # Errors
/// If it is none.
pub fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let filter = String::deserialize(from)?;
    let way_out = "write a level (off, error, warn, info, debug, trace), or bastion=debug";
    EnvFilter::try_new(&filter)
        .map_err(|fault| D::Error::custom(format!("{filter:?}: {fault}; {way_out}")))?;
    let is_bare = |part: &&str| !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err();
    match filter.split(',').map(str::trim).find(is_bare) {
        Some(word) => Err(D::Error::custom(format!("{word:?} is no level; {way_out}"))),
        None => Ok(filter),
    }
}

/// Logs to stderr from now on. Foreign text stands escaped: a line stays a line.
pub fn begin(log: &Log) -> Result<(), LogFault> {
    let filter =
        EnvFilter::try_new(&log.filter).map_err(|fault| LogFault { filter: log.filter.clone(), fault })?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
