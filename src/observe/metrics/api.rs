//! Counters by API: found by the api key in constant time, made when the API is first used.

use prometheus::{IntCounter, IntCounterVec};
use std::sync::{Arc, OnceLock};

/// The label of an api key that has no name.
const OTHER: &str = "other";

/// The label of each api key from 0 on; keys in a gap, and the last place, which stands for all
/// keys without a place of their own, are [`OTHER`].
#[derive(Clone, Debug)]
pub(super) struct ApiNames(Arc<[&'static str]>);

impl ApiNames {
    /// Negative keys are no APIs; they are left out.
    pub(super) fn new(apis: impl Iterator<Item = (i16, &'static str)>) -> Self {
        let mut names = vec![OTHER];
        for (key, name) in apis {
            let Ok(place) = usize::try_from(key) else {
                continue;
            };
            // One more than needed: the last place stays `other`.
            names.resize(names.len().max(place + 2), OTHER);
            names[place] = name;
        }
        Self(names.into())
    }
}

/// One counter an API, of one listener.
#[derive(Debug)]
pub(super) struct ApiCounters {
    family: IntCounterVec,
    listener: Box<str>,
    names: ApiNames,
    /// One place for each name. Empty until used, so that `/metrics` shows no API that nobody uses.
    counters: Box<[OnceLock<IntCounter>]>,
}

impl ApiCounters {
    pub(super) fn new(family: &IntCounterVec, listener: &str, names: &ApiNames) -> Self {
        let counters = names.0.iter().map(|_| OnceLock::new()).collect();
        Self {
            family: family.clone(),
            listener: listener.into(),
            names: names.clone(),
            counters,
        }
    }

    pub(super) fn inc(&self, api_key: i16) {
        let last = self.counters.len() - 1;
        let place = usize::try_from(api_key).map_or(last, |key| key.min(last));
        // Places that share the name `other` share its counter: the family gives the same one for
        // the same labels.
        let make = || {
            self.family
                .with_label_values(&[&*self.listener, self.names.0[place]])
        };
        self.counters[place].get_or_init(make).inc();
    }
}
