//! What a broker has yet to answer, in its order.
//!
//! A broker answers one request after the other, so the oldest entry says what its next response
//! is. A Produce with `acks=0` gets no response and has no entry.

use super::cause::Cause;
use crate::broker::OwnName;
use crate::protocol::own_requests::{self, OwnRequest};
use crate::protocol::rewrite::BrokerList;
use crate::protocol::table::Api;
use std::collections::VecDeque;

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
}

/// The correlation id of Narrows' own requests. Clients count from 0 and hardly come here; if one
/// does, nothing breaks, since responses are told apart by their order.
const OWN_CORRELATION_ID: i32 = i32::MAX;

/// Narrows' own question who the brokers are, with its length in front, and what is to be expected
/// for it.
pub(super) fn broker_list_request() -> (Vec<u8>, Response) {
    let name = OwnName::plain();
    let request = OwnRequest::Metadata;
    let response = Response {
        api: Some(request.api()),
        version: request.version(),
        correlation_id: OWN_CORRELATION_ID,
        to: Recipient::Own(request),
    };
    (
        own_requests::metadata_request(name.as_bytes(), OWN_CORRELATION_ID),
        response,
    )
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
    queue: VecDeque<Expected>,
}

/// An idle connection keeps no more room than this.
const KEPT_ENTRIES: usize = 64;

impl InFlight {
    /// A request has been sent that will be answered.
    pub(super) fn push(&mut self, expected: Expected) {
        self.queue.push_back(expected);
    }

    /// What the broker sends next.
    pub(super) fn oldest(&self) -> Option<Expected> {
        self.queue.front().copied()
    }

    /// The oldest request is being answered.
    pub(super) fn pop(&mut self) -> Option<Expected> {
        let oldest = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > KEPT_ENTRIES {
            self.queue = VecDeque::new();
        }
        oldest
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
