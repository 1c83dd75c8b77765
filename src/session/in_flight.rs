//! What a broker has yet to answer, in its order.
//!
//! A broker answers one request after the other, so the oldest entry says what its next response
//! is. A Produce with `acks=0` gets no response and has no entry.
//!
//! Each entry carries when its request was read and written, so that what Narrows adds to a round
//! trip and what the broker takes can be told apart. That costs a look at the clock when requests
//! have been read, when they are written, and the same for their responses: one for all that come
//! together.

use super::cause::Cause;
use crate::broker::OwnName;
use crate::observe::metrics::ListenerMetrics;
use crate::protocol::own_requests::{self, OwnRequest};
use crate::protocol::rewrite::BrokerList;
use crate::protocol::split::{CoordinatorKind, TopicRef};
use crate::protocol::table::Api;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What the broker sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// A Kafka response.
    Response(Response),
    /// A SASL token for the client: a frame without a header, which names no request.
    RawToken,
}

/// A Kafka response that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// The request's row in the API table. Without one it is an API that nobody has vetted, and
    /// passes unread because the operator lets it (`protocol.unvetted: pass`).
    pub(super) api: Option<&'static Api>,
    /// The version in which the request went out.
    pub(super) version: i16,
    /// What the response must begin with.
    pub(super) correlation_id: i32,
    /// Who asked.
    pub(super) to: Recipient,
}

impl Response {
    /// Whether the client asked for something behind its authentication.
    pub(super) fn is_ordinary(&self) -> bool {
        self.to == Recipient::Client && !self.api.is_some_and(Api::is_of_login)
    }

    /// Its API's name, for texts.
    pub(super) fn api_name(&self) -> &'static str {
        self.api.map_or("unknown", |api| api.name)
    }
}

/// Who a response is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// The client.
    Client,
    /// Narrows: no byte of it goes to the client.
    Own(OwnRequest),
    /// The client, as a part of an answer that several brokers give together.
    Part,
    /// Nobody any more: the answer that it was a part of has been given without it.
    Nobody,
}

/// The correlation id of Narrows' own requests. Clients count from 0 and hardly come here; if one
/// does, nothing breaks, since responses are told apart by their order.
const OWN_CORRELATION_ID: i32 = i32::MAX;

/// Narrows' own question who the brokers are, with its length in front, and what is to be expected
/// for it.
pub(super) fn broker_list_request() -> (Vec<u8>, Expected) {
    let name = OwnName::plain();
    let frame = own_requests::metadata_request(name.as_bytes(), OWN_CORRELATION_ID);
    (frame, expected(OwnRequest::Metadata))
}

/// The question who leads the partitions of these topics.
pub(super) fn leaders_request(topics: &[TopicRef]) -> (Vec<u8>, Expected) {
    let name = OwnName::plain();
    let frame = own_requests::leaders_request(name.as_bytes(), OWN_CORRELATION_ID, topics);
    (frame, expected(OwnRequest::Leaders))
}

/// The question who coordinates this.
pub(super) fn coordinator_request(kind: CoordinatorKind, key: &str) -> (Vec<u8>, Expected) {
    let name = OwnName::plain();
    let frame = own_requests::coordinator_request(name.as_bytes(), OWN_CORRELATION_ID, kind, key);
    (frame, expected(OwnRequest::Coordinator))
}

fn expected(request: OwnRequest) -> Expected {
    Expected::Response(Response {
        api: Some(request.api()),
        version: request.version(),
        correlation_id: OWN_CORRELATION_ID,
        to: Recipient::Own(request),
    })
}

/// What the broker has said to that; `frame` begins with the length.
pub(super) fn read_broker_list(frame: &[u8]) -> Result<BrokerList, Cause> {
    own_requests::read_metadata(frame).map_err(|malformed| Cause::ResponseMalformed {
        api: OwnRequest::Metadata.api().name,
        version: OwnRequest::Metadata.version(),
        malformed,
    })
}

/// What is in flight, oldest first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// In front of it, what is being answered, and has not been counted yet.
    queue: VecDeque<Entry>,
    /// How many of the first entries are being answered.
    begun: u32,
    /// How many of the last entries nothing has been written of.
    unsent: u32,
    /// A request has gone out that has no answer: a broker can only close over it.
    has_unanswered: bool,
}

#[derive(Debug)]
struct Entry {
    expected: Expected,
    /// When the request was read; once it is written, when that was; once its response has been
    /// read, when that was.
    at: Nanos,
    /// What Narrows has added so far.
    added: u32,
    /// What the broker has taken.
    broker: u64,
}

impl Entry {
    /// The API whose round trip this is, if it is one of the client's.
    fn counted_as(&self) -> Option<i16> {
        match self.expected {
            Expected::Response(response) if response.to == Recipient::Client => {
                Some(response.api.map_or(NO_KEY, |api| api.key))
            }
            Expected::Response(_) | Expected::RawToken => None,
        }
    }

    fn took_the_same(&self, other: &Self) -> bool {
        let took = |entry: &Self| (entry.at, entry.added, entry.broker);
        took(self) == took(other) && self.counted_as() == other.counted_as()
    }
}

/// A point in time, in nanoseconds since the first one that was asked for: half of what an
/// [`Instant`] takes, and an idle connection keeps some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nanos(NonZeroU64);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Nanos {
    pub(super) fn now() -> Self {
        let nanos = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    pub(super) fn since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// The same where it is short; nobody cares how long more than four seconds are.
    fn shortly_since(self, earlier: Self) -> u32 {
        u32::try_from(self.since(earlier)).unwrap_or(u32::MAX)
    }
}

/// When that was read which is looked at now: one look at the clock for all frames of it.
#[derive(Debug, Default)]
pub(super) struct ReadAt(Option<Nanos>);

impl ReadAt {
    pub(super) fn get(&mut self) -> Nanos {
        *self.0.get_or_insert_with(Nanos::now)
    }
}

/// An api key that is none, for APIs without a row.
const NO_KEY: i16 = -1;

/// An idle connection keeps no more room than this.
const KEPT_ENTRIES: usize = 64;

impl InFlight {
    /// A request is made that will be answered.
    pub(super) fn push(&mut self, expected: Expected) {
        self.push_at(expected, Nanos::now());
    }

    /// A request has been read that will be answered.
    pub(super) fn push_at(&mut self, expected: Expected, at: Nanos) {
        self.unsent += 1;
        if self.queue.capacity() == 0 {
            // Most clients have one request in flight, and most connections are idle.
            self.queue.reserve_exact(1);
        }
        self.queue.push_back(Entry {
            expected,
            at,
            added: 0,
            broker: 0,
        });
    }

    /// What has been pushed so far had to wait for the dial, which counts for nobody.
    pub(super) fn dialled(&mut self) {
        self.dialled_at(Nanos::now());
    }

    fn dialled_at(&mut self, now: Nanos) {
        self.queue.iter_mut().for_each(|entry| entry.at = now);
    }

    /// Bytes have gone to the broker: whatever has been pushed is under way.
    pub(super) fn sent(&mut self) {
        if self.unsent > 0 {
            self.sent_at(Nanos::now());
        }
    }

    fn sent_at(&mut self, now: Nanos) {
        let unsent = std::mem::take(&mut self.unsent) as usize;
        for entry in self.queue.iter_mut().rev().take(unsent) {
            entry.added = now.shortly_since(entry.at);
            entry.at = now;
        }
    }

    /// What the broker sends next.
    pub(super) fn oldest(&self) -> Option<&Expected> {
        let oldest = self.queue.get(self.begun as usize);
        oldest.map(|entry| &entry.expected)
    }

    /// The oldest request is being answered.
    pub(super) fn pop_at(&mut self, now: Nanos) -> Option<Expected> {
        let entry = self.queue.get_mut(self.begun as usize)?;
        entry.broker = now.since(entry.at);
        entry.at = now;
        let expected = entry.expected;
        self.begun += 1;
        let left = u32::try_from(self.queue.len()).map_or(u32::MAX, |all| all - self.begun);
        self.unsent = self.unsent.min(left);
        Some(expected)
    }

    /// Bytes have gone to the client: whatever has been begun is under way, but for the last where
    /// that `is_held`. It counts in `metrics`.
    pub(super) fn answered(&mut self, is_held: bool, metrics: &ListenerMetrics) {
        if self.begun > u32::from(is_held) {
            self.answered_at(is_held, Nanos::now(), metrics);
        }
    }

    fn answered_at(&mut self, is_held: bool, now: Nanos, metrics: &ListenerMetrics) {
        let through = self.begun.saturating_sub(is_held.into());
        self.begun -= through;
        let (answered, _) = self.queue.make_contiguous().split_at(through as usize);
        // Those that came and went together are counted at once.
        for alike in answered.chunk_by(Entry::took_the_same) {
            if let [entry, ..] = alike
                && let Some(api_key) = entry.counted_as()
            {
                let added = u64::from(entry.added) + now.since(entry.at);
                let [added, broker] = [added, entry.broker].map(Duration::from_nanos);
                metrics.round_trips(api_key, added, broker, alike.len() as u64);
            }
        }
        self.queue.drain(..through as usize);
        if self.queue.is_empty() && self.queue.capacity() > KEPT_ENTRIES {
            self.queue = VecDeque::new();
        }
    }

    /// A request has been read that will not be answered.
    pub(super) fn is_unanswered(&mut self) {
        self.has_unanswered = true;
    }

    /// Whether one has been read.
    pub(super) fn has_unanswered(&self) -> bool {
        self.has_unanswered
    }

    /// The next part of an answer is not waited for any more.
    pub(super) fn abandon_part(&mut self) {
        for entry in self.queue.iter_mut().skip(self.begun as usize) {
            if let Expected::Response(response) = &mut entry.expected
                && response.to == Recipient::Part
            {
                response.to = Recipient::Nobody;
                return;
            }
        }
    }

    /// Whether what comes next does not go to the client as it is.
    pub(super) fn is_aside(&self) -> bool {
        match self.oldest() {
            Some(Expected::Response(response)) => response.to != Recipient::Client,
            Some(Expected::RawToken) | None => false,
        }
    }

    /// Whether the client misses something if the broker closes now: an answer that is its own, or
    /// the sign that what has no answer has failed.
    pub(super) fn owes_client(&self) -> bool {
        let mut queue = self.queue.iter().skip(self.begun as usize);
        self.has_unanswered
            || queue.any(|entry| match entry.expected {
                Expected::Response(response) => response.to == Recipient::Client,
                Expected::RawToken => true,
            })
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.len() == self.begun as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::protocol::table;
    use crate::types::ListenerName;

    fn asked(api: &'static Api, to: Recipient) -> Expected {
        Expected::Response(Response {
            api: Some(api),
            version: 3,
            correlation_id: 7,
            to,
        })
    }

    fn metrics() -> (Metrics, ListenerMetrics) {
        let metrics = Metrics::new([(3, "Metadata"), (18, "ApiVersions")].into_iter());
        let listener = metrics.listener(&ListenerName("l".into()));
        (metrics, listener)
    }

    /// The value of a series.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map(|value| value.trim().parse().unwrap())
    }

    fn added(metrics: &Metrics, api: &str, of: &str) -> Option<f64> {
        let labels = format!("{{api=\"{api}\",listener=\"l\"}}");
        value(
            metrics,
            &format!("narrows_added_duration_seconds_{of}{labels}"),
        )
    }

    fn after(millis: u64) -> Nanos {
        Nanos(NonZeroU64::MIN.saturating_add(1_000_000 * millis))
    }

    #[test]
    fn what_narrows_adds_is_told_apart_from_what_the_broker_takes() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        in_flight.push_at(asked(table::METADATA, Recipient::Client), after(0));
        in_flight.sent_at(after(1));
        in_flight.pop_at(after(501));
        in_flight.answered_at(false, after(503), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.003));
        let broker = "narrows_broker_duration_seconds_sum{api=\"Metadata\",listener=\"l\"}";
        assert_eq!(value(&metrics, broker), Some(0.5));
    }

    #[test]
    fn a_request_that_is_read_while_another_is_under_way_begins_anew() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        in_flight.push_at(asked(table::METADATA, Recipient::Client), after(0));
        in_flight.sent_at(after(0));
        in_flight.push_at(asked(table::METADATA, Recipient::Client), after(4));
        in_flight.sent_at(after(6));
        in_flight.sent_at(after(9));
        in_flight.pop_at(after(10));
        in_flight.pop_at(after(10));
        in_flight.answered_at(false, after(10), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.002));
        assert_eq!(added(&metrics, "Metadata", "count"), Some(2.0));
    }

    #[test]
    fn an_answer_that_is_held_counts_once_it_goes_out() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        for api in [table::API_VERSIONS, table::METADATA] {
            in_flight.push_at(asked(api, Recipient::Client), after(0));
        }
        in_flight.sent_at(after(0));
        in_flight.pop_at(after(0));
        in_flight.pop_at(after(0));
        in_flight.answered_at(true, after(1), &listener);
        assert_eq!(added(&metrics, "ApiVersions", "sum"), Some(0.001));
        assert_eq!(added(&metrics, "Metadata", "sum"), None, "not yet");
        in_flight.answered_at(false, after(5), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.005));
    }

    #[test]
    fn neither_the_dial_nor_a_question_of_narrows_counts() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        let own = Recipient::Own(OwnRequest::Metadata);
        in_flight.push_at(asked(table::METADATA, Recipient::Client), after(0));
        in_flight.dialled_at(after(60_000));
        in_flight.push_at(asked(table::API_VERSIONS, own), after(60_000));
        in_flight.sent_at(after(60_001));
        in_flight.pop_at(after(60_005));
        in_flight.pop_at(after(60_005));
        in_flight.answered_at(false, after(60_005), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.001));
        assert_eq!(added(&metrics, "ApiVersions", "count"), None);
    }

    #[test]
    fn round_trips_that_are_counted_at_once_count_as_many() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        for api in [table::METADATA, table::METADATA, table::API_VERSIONS] {
            in_flight.push_at(asked(api, Recipient::Client), after(0));
        }
        in_flight.push_at(Expected::RawToken, after(0));
        in_flight.push_at(asked(table::METADATA, Recipient::Client), after(0));
        in_flight.sent_at(after(1));
        for _ in 0..5 {
            in_flight.pop_at(after(2));
        }
        in_flight.answered_at(false, after(5), &listener);
        for (api, count) in [("Metadata", 3.0), ("ApiVersions", 1.0)] {
            assert_eq!(added(&metrics, api, "count"), Some(count), "{api}");
            assert_eq!(added(&metrics, api, "sum"), Some(0.004 * count), "{api}");
        }
        assert!(in_flight.is_empty());
    }
}
