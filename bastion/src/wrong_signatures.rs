//! Signatures that do not hold, of which russh tells nobody but its log.
//!
//! The handler of a connection hears that a key is offered and that one was proven. A signature that fails in between
//! is answered by russh itself, and cannot be told from a client that offers keys and has no proof to give, as an agent
//! without its hardware does. russh says it in one line at level `debug`, though, within the task of the connection that
//! it is about: so that line is listened for, and the task names the connection. The version of russh is pinned, and
//! `tests/journeys/turned_away.rs` fails if another one says it in other words.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};
use tokio::task;
use tracing_log::{AsLog, LogTracer};

/// Who says it, and how.
const TARGET: &str = "russh::server::encrypted";
const LINE: &str = "signature wrong";

type Heard = Arc<dyn Fn() + Send + Sync>;

static LISTENERS: LazyLock<Mutex<HashMap<task::Id, Heard>>> = LazyLock::new(Mutex::default);

/// The signatures of one connection are listened for while this lives.
pub struct Listening(task::Id);

/// Calls `heard` for each signature that does not hold in the task that calls this; none outside of any.
pub fn listen(heard: impl Fn() + Send + Sync + 'static) -> Option<Listening> {
    let task = task::try_id()?;
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).insert(task, Arc::new(heard));
    Some(Listening(task))
}

impl Drop for Listening {
    fn drop(&mut self) {
        // What it holds is let go of once nobody else waits for the lock.
        let heard = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        drop(heard);
    }
}

/// Hands the lines of libraries on to our own log, once that is set up, and listens to them.
///
/// # Errors
/// If somebody does already.
pub fn begin() -> Result<(), SetLoggerError> {
    let shown = tracing_subscriber::filter::LevelFilter::current().as_log();
    log::set_boxed_logger(Box::new(Ear { log: LogTracer::new(), shown }))?;
    log::set_max_level(shown.max(LevelFilter::Debug));
    Ok(())
}

struct Ear {
    log: LogTracer,
    /// What is more than this was asked for by nobody but us.
    shown: LevelFilter,
}

impl Log for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET || (metadata.level() <= self.shown && self.log.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == TARGET && record.args().as_str() == Some(LINE) {
            let listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
            let heard = task::try_id().and_then(|task| listeners.get(&task).cloned());
            drop(listeners);
            if let Some(heard) = heard {
                heard();
            }
        }
        if record.level() <= self.shown {
            self.log.log(record);
        }
    }

    fn flush(&self) {
        self.log.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use log::Level;

    use super::*;

    fn says(target: &str) {
        let ear = Ear { log: LogTracer::new(), shown: LevelFilter::Off };
        let record = Record::builder()
            .args(format_args!("signature wrong"))
            .level(Level::Debug)
            .target(target)
            .build();
        ear.log(&record);
    }

    #[tokio::test]
    async fn each_task_hears_of_its_own_signatures_alone_and_only_from_russh() {
        let counts: [Arc<AtomicUsize>; 2] = Default::default();
        for (times, count) in [1, 2].into_iter().zip(counts.clone()) {
            let task = tokio::spawn(async move {
                says(TARGET);
                let listening = listen(move || _ = count.fetch_add(1, Relaxed));
                for _ in 0..times {
                    tokio::task::yield_now().await;
                    says(TARGET);
                    says("bastion");
                }
                drop(listening);
                says(TARGET);
            });
            task.await.unwrap();
        }
        assert_eq!(counts.map(|count| count.load(Relaxed)), [1, 2]);
        assert!(LISTENERS.lock().unwrap().is_empty());
    }
}
