//! After a wave of connections, the memory that they held goes back to the system.

use super::status::Overview;
use crate::lifecycle::Stop;
use crate::sys::malloc_trim;
use std::time::Duration;

/// How often the number of sessions is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Fewer closed connections than this leave less behind than it costs to give it back: some 4 KiB
/// each.
const SESSIONS_MIN: usize = 250;

/// Gives memory back whenever many sessions have ended, until stopped. A process that allocates
/// much and frees much at the same time keeps what it has.
pub(super) async fn give_back_after_waves(overview: &Overview, stop: &Stop) {
    let mut most = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = stop.aborted() => return,
        }
        let now = overview.sessions();
        most = most.max(now);
        if now + SESSIONS_MIN <= most && now <= most / 2 {
            most = now;
            // Not on a thread that moves bytes. Should it fail, the memory stays: the next wave
            // tries again.
            #[expect(clippy::disallowed_methods, reason = "it takes milliseconds")]
            let _ = tokio::task::spawn_blocking(malloc_trim::give_back).await;
        }
    }
}
