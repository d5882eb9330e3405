//! A switch for tests: every wait of every session is cut short at random.
//!
//! A writer that loses or repeats bytes when its wait is interrupted shows itself within a second of this. It is on
//! when the environment variable `BASTION_STORM` is set to 1, and costs nothing otherwise.

use std::{cell::Cell, sync::OnceLock};

/// Never done, unless the storm is on: then done after 0 to 3 turns of the scheduler.
pub async fn jolt() {
    static ON: OnceLock<bool> = OnceLock::new();
    if !ON.get_or_init(|| std::env::var("BASTION_STORM").is_ok_and(|value| value == "1")) {
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
