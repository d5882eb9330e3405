//! What is logged, and how it looks.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{Log, LogFormat};

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
#[error("log filter \"{filter}\": {fault}; try: \"info\" or \"bastion=debug\"")]
pub struct LogFault {
    filter: String,
    fault: tracing_subscriber::filter::ParseError,
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
