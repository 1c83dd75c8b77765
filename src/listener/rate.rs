//! How fast one source may open connections: so many a second, and as many at once as ten seconds
//! give, since a client dials all brokers of its cluster together.
//!
//! Of each source one moment is kept: when it will have used up nothing (the generic cell rate
//! algorithm, as in ATM's traffic contracts). A moment that has passed says nothing any more and is
//! forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What may come at once, in seconds of the rate.
pub(super) const BURST_SECONDS: u32 = 10;
/// More sources are not remembered: those beyond are let in, and meet the other limits.
const SOURCES_MAX: usize = 10_000;
/// How often a full memory is searched for what can be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// When each source will have used up nothing of what it may.
#[derive(Debug)]
pub(super) struct Rates<S> {
    even_at: HashMap<S, Instant>,
    swept_at: Option<Instant>,
}

impl<S> Default for Rates<S> {
    fn default() -> Self {
        Self {
            even_at: HashMap::new(),
            swept_at: None,
        }
    }
}

impl<S: Eq + Hash> Rates<S> {
    /// Whether `source` may have one more at `per_second`; it is counted then.
    pub(super) fn admit(&mut self, source: S, per_second: usize, now: Instant) -> bool {
        if self.even_at.len() >= SOURCES_MAX && !self.even_at.contains_key(&source) {
            self.sweep(now);
            if self.even_at.len() >= SOURCES_MAX {
                return true;
            }
        }
        let each = Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
        let burst = Duration::from_secs(BURST_SECONDS.into());
        let even_at = self.even_at.entry(source).or_insert(now);
        let next = (*even_at).max(now) + each;
        if next > now + burst {
            return false;
        }
        *even_at = next;
        true
    }

    /// How many the busiest source has used up of the last ten seconds', as a mean of a second.
    pub(super) fn busiest(&self, per_second: usize, now: Instant) -> usize {
        let used = |even_at: &Instant| even_at.saturating_duration_since(now).as_millis();
        let used = self.even_at.values().map(used).max().unwrap_or(0);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        used.saturating_mul(per_second) / (1000 * BURST_SECONDS as usize)
    }

    fn sweep(&mut self, now: Instant) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= SWEEP_INTERVAL;
        if self.swept_at.is_none_or(is_due) {
            self.swept_at = Some(now);
            self.even_at.retain(|_, even_at| *even_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(rates: &mut Rates<u32>, source: u32, attempts: usize, now: Instant) -> usize {
        let admit = |_: &usize| rates.admit(source, 2, now);
        (0..attempts).filter(admit).count()
    }

    #[test]
    fn ten_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let mut rates = Rates::default();
        let start = Instant::now();
        assert_eq!(admitted(&mut rates, 1, 50, start), 20);
        assert_eq!(rates.busiest(2, start), 2);
        assert_eq!(admitted(&mut rates, 2, 50, start), 20, "another source");
        let later = start + Duration::from_secs(3);
        assert_eq!(admitted(&mut rates, 1, 50, later), 6);
        let much_later = start + Duration::from_secs(100);
        assert_eq!(rates.busiest(2, much_later), 0);
        assert_eq!(admitted(&mut rates, 1, 50, much_later), 20, "never more");
    }

    #[test]
    fn no_more_sources_are_remembered_than_may_and_who_is_even_makes_room() {
        let mut rates = Rates::default();
        let start = Instant::now();
        let sources = u32::try_from(SOURCES_MAX).unwrap();
        for source in 0..sources + 1000 {
            assert!(rates.admit(source, 2, start));
        }
        assert_eq!(rates.even_at.len(), SOURCES_MAX);
        assert_eq!(admitted(&mut rates, sources, 50, start), 50, "not counted");
        let later = start + Duration::from_secs(1);
        assert_eq!(admitted(&mut rates, sources, 50, later), 20);
        assert_eq!(rates.even_at.len(), 1, "all others are even by then");
    }
}
