//! How long it takes to reach each broker, and why it last could not be reached: for the status
//! page. Of each address the last [`TIMES`] dials are kept, which is enough for a median and costs
//! 128 bytes; a histogram of each broker in the metrics would be 13 series for every one.

use crate::types::BrokerAddress;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many dials of a broker are remembered.
const TIMES: usize = 32;
/// More addresses than this are not remembered.
const ADDRESSES_MAX: usize = 1_000;

/// The dials of one cluster.
#[derive(Debug, Default)]
pub(super) struct Dials {
    of: Mutex<HashMap<BrokerAddress, Dialled>>,
}

/// The last dials of one broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialled {
    micros: Vec<u32>,
    /// Where in `micros` the next one goes, once they are all there.
    next: usize,
    failure: Option<(Instant, String)>,
}

impl Dials {
    /// A dial has succeeded after so long.
    pub(super) fn succeeded(&self, address: &BrokerAddress, took: Duration) {
        self.change(address, |dialled| dialled.note(took));
    }

    /// A dial has failed.
    pub(super) fn failed(&self, address: &BrokerAddress, why: String, now: Instant) {
        self.change(address, |dialled| dialled.failure = Some((now, why)));
    }

    /// What is known of the dials to this address.
    pub(super) fn to(&self, address: &BrokerAddress) -> Dialled {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.get(address).cloned().unwrap_or_default()
    }

    /// Forgets addresses where nobody is dialled any more.
    pub(super) fn keep(&self, is_dialled: impl Fn(&BrokerAddress) -> bool) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|address, _| is_dialled(address));
    }

    fn change(&self, address: &BrokerAddress, change: impl FnOnce(&mut Dialled)) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialled) = of.get_mut(address) {
            change(dialled);
        } else if of.len() < ADDRESSES_MAX {
            change(of.entry(address.clone()).or_default());
        }
    }
}

impl Dialled {
    fn note(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.micros.len() < TIMES {
            self.micros.push(micros);
            return;
        }
        self.micros[self.next] = micros;
        self.next = (self.next + 1) % TIMES;
    }

    /// The median of the last dials; `None` before the first.
    pub(crate) fn median(&self) -> Option<Duration> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let middle = sorted.len().checked_sub(1)? / 2;
        Some(Duration::from_micros(sorted[middle].into()))
    }

    /// When the last one failed, and why, if any has.
    pub(crate) fn failure(&self) -> Option<&(Instant, String)> {
        self.failure.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(port: u16) -> BrokerAddress {
        BrokerAddress {
            host: "kafka".into(),
            port,
        }
    }

    #[test]
    fn the_median_is_of_the_last_dials_and_one_slow_one_does_not_show() {
        let dials = Dials::default();
        assert_eq!(dials.to(&kafka(1)).median(), None);
        for _ in 0..TIMES {
            dials.succeeded(&kafka(1), Duration::from_secs(1));
        }
        for millis in [2, 3, 4_000] {
            dials.succeeded(&kafka(2), Duration::from_millis(millis));
        }
        let median = |port| dials.to(&kafka(port)).median();
        assert_eq!(median(1), Some(Duration::from_secs(1)));
        assert_eq!(median(2), Some(Duration::from_millis(3)));
        for _ in 0..TIMES {
            dials.succeeded(&kafka(1), Duration::from_millis(1));
        }
        assert_eq!(median(1), Some(Duration::from_millis(1)), "old ones go");
    }

    #[test]
    fn the_last_failure_stays_and_no_more_addresses_are_remembered_than_may() {
        let dials = Dials::default();
        let now = Instant::now();
        for port in 0..2_000 {
            dials.failed(&kafka(port), format!("refused {port}"), now);
        }
        let failure = |port| dials.to(&kafka(port)).failure().cloned();
        assert_eq!(failure(7), Some((now, "refused 7".to_owned())));
        assert_eq!(failure(1_999), None);
        dials.succeeded(&kafka(7), Duration::ZERO);
        assert!(failure(7).is_some(), "it has been");
        dials.keep(|address| address.port == 8);
        assert_eq!((failure(7), failure(8).is_some()), (None, true));
    }
}
