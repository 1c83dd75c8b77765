//! Keeps the producer close to the consumer.
//!
//! A mock broker forgets the oldest batches of a partition beyond 5 MiB (librdkafka 2.12), so no
//! more than [`WINDOW_BYTES`] of a partition may be on their way. With a real cluster it bounds
//! what the demo leaves in flight.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Per partition, of records that were sent and have not arrived.
const WINDOW_BYTES: u64 = 3 << 20;
/// Beside key and value, at most: a record's own fields, and its share of a batch's header.
const OVERHEAD_BYTES: u64 = 100;

/// What is on its way, by partition.
pub(super) struct Flow {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bytes: Vec<u64>,
    is_over: bool,
}

impl State {
    /// An empty partition takes one record of any size.
    fn is_full(&self, partition: usize, bytes: u64) -> bool {
        let before = self.bytes[partition];
        before > 0 && before + bytes > WINDOW_BYTES
    }
}

impl Flow {
    pub(super) fn new(partitions: usize) -> Self {
        let state = State {
            bytes: vec![0; partitions],
            is_over: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Waits until a record may go to `partition`. `false`: the run is over, send nothing more.
    pub(super) fn enter(&self, partition: usize, record_bytes: usize) -> bool {
        let bytes = charged(record_bytes);
        let is_full = |state: &mut State| !state.is_over && state.is_full(partition, bytes);
        let waited = self.changed.wait_while(self.state(), is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.bytes[partition] += bytes;
        !state.is_over
    }

    /// A record of `partition` has arrived.
    pub(super) fn leave(&self, partition: usize, record_bytes: usize) {
        let mut state = self.state();
        let Some(left) = state.bytes.get_mut(partition) else {
            return;
        };
        *left = left.saturating_sub(charged(record_bytes));
        // Not for every record: the producer would wake up for each.
        if *left <= WINDOW_BYTES / 2 {
            self.changed.notify_all();
        }
    }

    /// Nothing more will arrive: nobody waits any longer.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().is_over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn charged(record_bytes: usize) -> u64 {
    record_bytes as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_partition_waits_for_an_arrival_and_the_others_do_not() {
        let flow = Flow::new(2);
        let most = usize::try_from(WINDOW_BYTES).unwrap();
        assert!(flow.enter(0, most));
        assert!(flow.state().is_full(0, charged(16)));
        assert!(!flow.state().is_full(1, charged(most)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| flow.enter(0, 16));
            flow.leave(0, most);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn the_end_wakes_whoever_waits_and_says_no() {
        let flow = Flow::new(1);
        assert!(flow.enter(0, 9_000_000));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| flow.enter(0, 16));
            flow.end();
            assert!(!waiting.join().unwrap());
        });
    }
}
