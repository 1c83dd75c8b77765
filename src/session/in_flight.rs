//! What a broker has yet to answer, in its order.
//!
//! A broker answers one request after the other, so the oldest entry says what its next response
//! is. A Produce with `acks=0` gets no response and has no entry.
//!
//! Each entry carries when its request was read and written, so that what Narrows adds to a round
//! trip and what the broker takes can be told apart. That costs a look at the clock when a request
//! has been read, when it is written, and the same for its response.

use super::cause::Cause;
use crate::broker::OwnName;
use crate::observe::metrics::ListenerMetrics;
use crate::protocol::own_requests::{self, OwnRequest};
use crate::protocol::rewrite::BrokerList;
use crate::protocol::split::{CoordinatorKind, TopicRef};
use crate::protocol::table::Api;
use std::collections::VecDeque;
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
    queue: VecDeque<Entry>,
    /// How many of the last entries nothing has been written of.
    unsent: usize,
    /// Answers to the client that have been begun, and of which nothing has been written.
    begun: Option<Begun>,
    /// Where there are several, those behind the first.
    begun_behind: Vec<Begun>,
}

#[derive(Debug)]
struct Entry {
    expected: Expected,
    /// When the request was read, and once it is written, when that was.
    at: Instant,
    /// What was between the two.
    added: Duration,
}

/// An answer whose beginning has been read.
#[derive(Debug)]
struct Begun {
    api_key: i16,
    at: Instant,
    /// What Narrows has added so far.
    added: Duration,
    /// What the broker has taken.
    broker: Duration,
}

/// An api key that is none, for APIs without a row.
const NO_KEY: i16 = -1;

/// An idle connection keeps no more room than this.
const KEPT_ENTRIES: usize = 64;

impl InFlight {
    /// A request has been read that will be answered.
    pub(super) fn push(&mut self, expected: Expected) {
        self.push_at(expected, Instant::now());
    }

    fn push_at(&mut self, expected: Expected, at: Instant) {
        self.unsent += 1;
        self.queue.push_back(Entry {
            expected,
            at,
            added: Duration::ZERO,
        });
    }

    /// What has been pushed so far had to wait for the dial, which counts for nobody.
    pub(super) fn dialled(&mut self) {
        let now = Instant::now();
        self.queue.iter_mut().for_each(|entry| entry.at = now);
    }

    /// Bytes have gone to the broker: whatever has been pushed is under way.
    pub(super) fn sent(&mut self) {
        if self.unsent > 0 {
            self.sent_at(Instant::now());
        }
    }

    fn sent_at(&mut self, now: Instant) {
        for entry in self.queue.iter_mut().rev().take(self.unsent) {
            entry.added = now - entry.at;
            entry.at = now;
        }
        self.unsent = 0;
    }

    /// What the broker sends next.
    pub(super) fn oldest(&self) -> Option<Expected> {
        self.queue.front().map(|entry| entry.expected)
    }

    /// The oldest request is being answered.
    pub(super) fn pop(&mut self) -> Option<Expected> {
        self.pop_at(Instant::now())
    }

    fn pop_at(&mut self, now: Instant) -> Option<Expected> {
        let entry = self.queue.pop_front();
        self.unsent = self.unsent.min(self.queue.len());
        if self.queue.is_empty() && self.queue.capacity() > KEPT_ENTRIES {
            self.queue = VecDeque::new();
        }
        let Entry {
            expected,
            at,
            added,
        } = entry?;
        if let Expected::Response(response) = expected
            && response.to == Recipient::Client
        {
            let begun = Begun {
                api_key: response.api.map_or(NO_KEY, |api| api.key),
                at: now,
                added,
                broker: now - at,
            };
            match &self.begun {
                Some(_) => self.begun_behind.push(begun),
                None => self.begun = Some(begun),
            }
        }
        Some(expected)
    }

    fn begun_count(&self) -> usize {
        usize::from(self.begun.is_some()) + self.begun_behind.len()
    }

    /// Bytes have gone to the client: whatever has been begun is under way, but for the last where
    /// that `is_held`. It counts in `metrics`.
    pub(super) fn answered(&mut self, is_held: bool, metrics: &ListenerMetrics) {
        if self.begun_count() > usize::from(is_held) {
            self.answered_at(is_held, Instant::now(), metrics);
        }
    }

    fn answered_at(&mut self, is_held: bool, now: Instant, metrics: &ListenerMetrics) {
        let through = self.begun_count().saturating_sub(usize::from(is_held));
        if through == 0 {
            return;
        }
        let behind = self.begun_behind.drain(..through - 1);
        for begun in self.begun.take().into_iter().chain(behind) {
            metrics.round_trip(begun.api_key, begun.added + (now - begun.at), begun.broker);
        }
        if !self.begun_behind.is_empty() {
            self.begun = Some(self.begun_behind.remove(0));
        } else if self.begun_behind.capacity() > KEPT_ENTRIES {
            self.begun_behind = Vec::new();
        }
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
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

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_narrows_adds_is_told_apart_from_what_the_broker_takes() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        let start = Instant::now();
        in_flight.push_at(asked(table::METADATA, Recipient::Client), start);
        in_flight.sent_at(start + millis(1));
        in_flight.pop_at(start + millis(501));
        in_flight.answered_at(false, start + millis(503), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.003));
        let broker = "narrows_broker_duration_seconds_sum{api=\"Metadata\",listener=\"l\"}";
        assert_eq!(value(&metrics, broker), Some(0.5));
    }

    #[test]
    fn a_request_that_is_read_while_another_is_under_way_begins_anew() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        let start = Instant::now();
        in_flight.push_at(asked(table::METADATA, Recipient::Client), start);
        in_flight.sent_at(start);
        in_flight.push_at(asked(table::METADATA, Recipient::Client), start + millis(4));
        in_flight.sent_at(start + millis(6));
        in_flight.sent_at(start + millis(9));
        in_flight.pop_at(start + millis(10));
        in_flight.pop_at(start + millis(10));
        in_flight.answered_at(false, start + millis(10), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.002));
        assert_eq!(added(&metrics, "Metadata", "count"), Some(2.0));
    }

    #[test]
    fn an_answer_that_is_held_counts_once_it_goes_out() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        let start = Instant::now();
        for api in [table::API_VERSIONS, table::METADATA] {
            in_flight.push_at(asked(api, Recipient::Client), start);
        }
        in_flight.sent_at(start);
        in_flight.pop_at(start);
        in_flight.pop_at(start);
        in_flight.answered_at(true, start + millis(1), &listener);
        assert_eq!(added(&metrics, "ApiVersions", "sum"), Some(0.001));
        assert_eq!(added(&metrics, "Metadata", "sum"), None, "not yet");
        in_flight.answered_at(false, start + millis(5), &listener);
        assert_eq!(added(&metrics, "Metadata", "sum"), Some(0.005));
    }

    #[test]
    fn neither_the_dial_nor_a_question_of_narrows_counts() {
        let (metrics, listener) = metrics();
        let mut in_flight = InFlight::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        in_flight.push_at(asked(table::METADATA, Recipient::Client), long_ago);
        in_flight.dialled();
        in_flight.push(asked(
            table::API_VERSIONS,
            Recipient::Own(OwnRequest::Metadata),
        ));
        in_flight.sent();
        while in_flight.pop().is_some() {}
        in_flight.answered(false, &listener);
        assert!(added(&metrics, "Metadata", "sum").unwrap() < 60.0);
        assert_eq!(added(&metrics, "ApiVersions", "count"), None);
    }
}
