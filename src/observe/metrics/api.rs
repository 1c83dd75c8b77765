//! Counters and durations by API: found by the api key in constant time, made when the API is first
//! used.

use super::durations::{DurationVec, Durations};
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

    /// The name of an API; any key may come.
    pub(super) fn name(&self, api_key: i16) -> &'static str {
        self.0[self.place(api_key)]
    }

    fn place(&self, api_key: i16) -> usize {
        let last = self.0.len() - 1;
        usize::try_from(api_key).map_or(last, |key| key.min(last))
    }
}

/// A metric that has one member for each listener and API.
pub(super) trait ByApi {
    type Member;
    /// The member under these labels; the same one each time.
    fn member(&self, listener: &str, api: &'static str) -> Self::Member;
}

impl ByApi for IntCounterVec {
    type Member = IntCounter;

    fn member(&self, listener: &str, api: &'static str) -> IntCounter {
        self.with_label_values(&[listener, api])
    }
}

impl ByApi for DurationVec {
    type Member = Arc<Durations>;

    fn member(&self, listener: &str, api: &'static str) -> Arc<Durations> {
        Self::member(self, listener, api)
    }
}

/// The members of one listener.
#[derive(Debug)]
pub(super) struct Apis<F: ByApi> {
    family: F,
    listener: Box<str>,
    names: ApiNames,
    /// One place for each name. Empty until used, so that `/metrics` shows no API that nobody uses.
    members: Box<[OnceLock<F::Member>]>,
}

impl<F: ByApi + Clone> Apis<F> {
    pub(super) fn new(family: &F, listener: &str, names: &ApiNames) -> Self {
        Self {
            family: family.clone(),
            listener: listener.into(),
            names: names.clone(),
            members: names.0.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The member of an API; any key may come.
    pub(super) fn of(&self, api_key: i16) -> &F::Member {
        let place = self.names.place(api_key);
        // Places that share the name `other` share its member: the family gives the same one for
        // the same labels.
        self.members[place].get_or_init(|| self.family.member(&self.listener, self.names.0[place]))
    }
}
