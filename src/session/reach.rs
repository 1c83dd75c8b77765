//! Whether clients that were told the brokers' addresses ever come by one. If none does, the
//! address is probably wrong for them, and nothing else would say so.

use crate::observe::throttle::Throttle;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A client dials a broker at once; a tool that only lists topics never does.
const TOLD_MIN: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two lines about it.
const LINE_INTERVAL: Duration = Duration::from_secs(300);

/// What is known of it on one listener.
#[derive(Debug)]
pub(super) struct Reach {
    /// A connection for a broker has come: the addresses are right for somebody.
    is_reached: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    count: u32,
    first: Option<Instant>,
    lines: Throttle,
}

impl Default for Reach {
    fn default() -> Self {
        let told = Told {
            count: 0,
            first: None,
            lines: Throttle::every(LINE_INTERVAL),
        };
        Self {
            is_reached: AtomicBool::new(false),
            told: Mutex::new(told),
        }
    }
}

/// Clients were told addresses, and none has come by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreached {
    /// How many sessions were told.
    pub(super) sessions: u32,
    /// Whether it is time for a line in the log.
    pub(super) is_line_due: bool,
}

impl Reach {
    /// One more session was told the addresses.
    pub(super) fn told(&self, now: Instant) -> Option<Unreached> {
        if self.is_reached.load(Relaxed) {
            return None;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.count = told.count.saturating_add(1);
        let first = *told.first.get_or_insert(now);
        let is_early = now.saturating_duration_since(first) < PATIENCE;
        if told.count < TOLD_MIN || is_early {
            return None;
        }
        Some(Unreached {
            sessions: told.count,
            is_line_due: told.lines.admit(now).is_some(),
        })
    }

    /// A connection for a broker has come.
    pub(super) fn reached(&self) {
        self.is_reached.store(true, Relaxed);
    }

    /// The addresses may be others now.
    pub(super) fn reset(&self) {
        self.is_reached.store(false, Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.count, told.first) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_several_sessions_over_some_time_led_to_no_connection() {
        let reach = Reach::default();
        let start = Instant::now();
        let later = start + PATIENCE;
        assert_eq!(reach.told(start), None);
        assert_eq!(reach.told(start), None);
        assert_eq!(reach.told(start), None, "too early");
        let unreached = |sessions, is_line_due| {
            Some(Unreached {
                sessions,
                is_line_due,
            })
        };
        assert_eq!(reach.told(later), unreached(4, true));
        assert_eq!(reach.told(later), unreached(5, false));
        reach.reached();
        assert_eq!(reach.told(later + LINE_INTERVAL), None);
        reach.reset();
        assert_eq!(reach.told(later), None, "from the beginning again");
    }
}
