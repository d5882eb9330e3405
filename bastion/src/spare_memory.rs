//! Gives memory that ended connections leave behind back to the system.
//!
//! glibc keeps what is freed for the next allocation, and by itself gives back only what lies at the end of a heap.
//! After a burst of sessions the server would stay as large as it was at its largest.

use std::time::Duration;

use tokio::sync::Notify;

/// How long after the end of a connection: what ends together is given back together.
const AFTER: Duration = Duration::from_secs(2);
/// How long until the next time. Giving back walks through all that is free, and what is needed again must be fetched
/// again: a server where sessions end all the time keeps what it has.
const PAUSE: Duration = Duration::from_secs(15);

/// Gives memory back some time after each `ended`, for ever.
pub async fn give_back(ended: &Notify) {
    give_back_after(ended, AFTER, PAUSE).await;
}

async fn give_back_after(ended: &Notify, after: Duration, pause: Duration) {
    loop {
        ended.notified().await;
        tokio::time::sleep(after).await;
        if let Err(fault) = tokio::task::spawn_blocking(trim).await {
            tracing::warn!("giving memory back: {fault}");
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no library that is kept offers this call")]
fn trim() {
    // SAFETY: malloc_trim(3) may be called at any time from any thread (MT-Safe), and touches only memory that is free.
    let some = unsafe { libc::malloc_trim(0) };
    tracing::debug!(given_back = some == 1, "memory of ended connections");
}

/// Other allocators are left to themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::tests::world::{SHORT, within};

    use super::*;

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Without it: the last block lies at the end of the heap, so none of those before it is given back.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_lies_free_between_what_is_used_is_given_back() {
        let ended = Arc::new(Notify::new());
        let giver = ended.clone();
        tokio::spawn(async move { give_back_after(&giver, Duration::ZERO, Duration::ZERO).await });
        let mut blocks: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 32 << 10]).collect();
        let last = blocks.pop();
        let full = resident_kib();
        drop(blocks);

        ended.notify_one();
        let half = 64 << 10;
        within(SHORT, "memory to be given back", || (resident_kib() + half < full).then_some(()));
        drop(last);
    }
}
