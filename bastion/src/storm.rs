//! Switches for tests, in the environment variable `BASTION_STORM`; without it they cost nothing.
//!
//! `1` cuts every wait of every session short at random: a writer that loses or repeats bytes when its wait is
//! interrupted shows itself within a second of this. `panic STEP NAME` stands for a mistake of ours: the step `sign-in` or `session` of whoever
//! goes by that name panics.

use std::{cell::Cell, sync::OnceLock};

fn switch() -> &'static str {
    static SWITCH: OnceLock<String> = OnceLock::new();
    SWITCH.get_or_init(|| std::env::var("BASTION_STORM").unwrap_or_default())
}

/// Panics in this step for this user, if that is switched on.
pub fn strike(step: &str, user: &str) {
    let is_meant =
        switch().strip_prefix("panic ").and_then(|meant| meant.split_once(' ')) == Some((step, user));
    assert!(!is_meant, "switched on by BASTION_STORM");
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
