//! The requests of a connection that the broker has yet to answer, in their order.
//!
//! A broker answers one request after the other, so the oldest entry says what the next response
//! is. A Produce with `acks=0` gets no response and has no entry.

use std::collections::VecDeque;

/// A request that waits for its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// What the response must begin with; nothing for a raw SASL token.
    pub(super) correlation_id: i32,
    /// The request's api key.
    pub(super) api_key: i16,
    /// The request's version.
    pub(super) version: i16,
    /// Who asked, and in what form the answer comes.
    pub(super) reply: Reply,
}

/// The form in which a response comes, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A Kafka response for the client.
    ToClient,
    /// A raw SASL token for the client.
    RawToken,
    /// A Kafka response to Narrows' own request.
    ToNarrows,
}

/// The requests in flight, oldest first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    queue: VecDeque<Waiting>,
}

/// An idle connection keeps no more room than this.
const KEPT_ENTRIES: usize = 64;

impl InFlight {
    /// A request has been sent that will be answered.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
    }

    /// The request that the next response answers.
    pub(super) fn oldest(&self) -> Option<&Waiting> {
        self.queue.front()
    }

    /// The oldest request has been answered.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > KEPT_ENTRIES {
            self.queue = VecDeque::new();
        }
        oldest
    }

    /// How many requests are in flight.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
