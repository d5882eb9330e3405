//! Switches for tests, in the environment variable `BASTION_STORM`; without it they cost nothing.
//!
//! `1` cuts every wait of every session short at random: a writer that loses or repeats bytes when its wait is
//! interrupted shows itself within a second of this. `panic=NAME` stands for a mistake of ours: the connection of whoever
//! signs in by that name panics.

use std::{cell::Cell, sync::OnceLock};

fn switch() -> &'static str {
    static SWITCH: OnceLock<String> = OnceLock::new();
    SWITCH.get_or_init(|| std::env::var("BASTION_STORM").unwrap_or_default())
}

/// Panics for this user, if that is switched on.
pub fn strike(user: &str) {
    assert!(switch().strip_prefix("panic=") != Some(user), "switched on by BASTION_STORM");
}

/// Never done, unless the storm is on: then done after 0 to 3 turns of the scheduler.
pub async fn jolt() {
    if switch() != "1" {
        return std::future::pending().await;
    }
    thread_local!(static SEED: Cell<u32> = const { Cell::new(1) });
    let turns = SEED.with(|seed| {
        seed.set(seed.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        seed.get() >> 30
    });
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
