//! Why a rule does not hold for a caller whom it is about, in words.

use std::{net::IpAddr, time::Duration};

use crate::notice::Spoken;

/// What a rule wants and did not find, or what it makes an exception of: `rule x` or `it` stands before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It holds at other times.
    #[error("holds {0} only")]
    Time(String),
    /// It is about callers from elsewhere.
    #[error("wants a call from {wanted}; this one comes from {}", place(*.found))]
    Source {
        /// Its networks.
        wanted: String,
        /// Where she calls from.
        found: IpAddr,
    },
    /// It wants another way of signing in.
    #[error("wants a sign-in by {wanted} (amr); this one was by {found}")]
    Amr {
        /// One of these.
        wanted: String,
        /// What she used.
        found: String,
    },
    /// It wants a sign-in that the provider trusts in another way.
    #[error("wants a sign-in at level {wanted} (acr); this one was at {found}")]
    Acr {
        /// One of these.
        wanted: String,
        /// What the provider told.
        found: String,
    },
    /// It wants a sign-in that is not as old.
    #[error("wants a sign-in at most {} old; this one {}", Spoken(*.most), age(*.found))]
    Age {
        /// How old it may be.
        most: Duration,
        /// How old it is; none if it lies in the future.
        found: Option<Duration>,
    },
    /// One of its exceptions is about this.
    #[error("is taken out by its exception {number} (line {line}): {says}")]
    Exception {
        /// Which, from 1.
        number: usize,
        /// Where it stands.
        line: usize,
        /// What it is about.
        says: String,
    },
}

fn place(source: IpAddr) -> String {
    match source.is_unspecified() {
        true => "an unknown address".to_owned(),
        false => source.to_canonical().to_string(),
    }
}

fn age(found: Option<Duration>) -> String {
    found.map_or("lies in the future".to_owned(), |found| format!("is {} old", to_the_second(found)))
}

/// `2 h`, `15 min 1 s`: nothing is rounded, or a sign-in a second too old would read like one that is not.
fn to_the_second(length: Duration) -> String {
    let seconds = length.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if told.is_empty() { "0 s".to_owned() } else { told.join(" ") }
}
