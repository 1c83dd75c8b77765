//! Keeps a log line that an outsider can provoke from filling the log: the first goes through, then
//! one an interval, and each says how many were held back before it.

use std::time::{Duration, Instant};

/// A limiter for one kind of log line. It reads no clock; whoever logs says what time it is.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Lets the first line through, and after each line none for `interval`.
    pub(crate) fn every(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            suppressed: 0,
        }
    }

    /// `Some(n)`: log this one; `n` were held back since the last. `None`: hold it back.
    ///
    /// A `now` before the last line counts as no time passed.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let early = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < self.interval);
        if early {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn the_first_line_goes_through_and_the_next_only_after_the_interval() {
        let start = Instant::now();
        let mut throttle = Throttle::every(INTERVAL);
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start), None);
        assert_eq!(
            throttle.admit(start + INTERVAL - Duration::from_nanos(1)),
            None
        );
        assert_eq!(
            throttle.admit(start + INTERVAL),
            Some(2),
            "it tells how many were held back"
        );
        assert_eq!(
            throttle.admit(start + 2 * INTERVAL),
            Some(0),
            "and counts anew"
        );
    }

    #[test]
    fn a_line_held_back_does_not_put_off_the_next_one() {
        let start = Instant::now();
        let mut throttle = Throttle::every(INTERVAL);
        let admitted = (0..=40u32).filter(|second| {
            let now = start + Duration::from_secs(u64::from(*second));
            throttle.admit(now).is_some()
        });
        assert_eq!(admitted.collect::<Vec<_>>(), [0, 10, 20, 30, 40]);
    }

    #[test]
    fn a_time_before_the_last_line_is_held_back_without_a_panic() {
        let start = Instant::now();
        let mut throttle = Throttle::every(INTERVAL);
        assert_eq!(throttle.admit(start + INTERVAL), Some(0));
        assert_eq!(throttle.admit(start), None);
    }
}
