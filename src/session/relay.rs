//! Moves bytes between the client and the broker: two [lanes](super::lane), in one task.
//!
//! The lanes meet in the [`SessionState`] alone. Responses go first in every turn, since they open
//! the way for requests.

use super::cause::Cause;
use super::close;
use super::in_flight::{self, Expected};
use super::lane::{Filled, Lane, Pools, Scan};
use super::link::BrokerLink;
use super::requests::Requests;
use super::responses::Answered;
use super::state::SessionState;
use super::watch::{Flow, Limits, Overdue, Watch, Way};
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::net::stream::Stream;
use crate::observe::metrics::Direction::{self, ToBroker, ToClient};
use crate::observe::metrics::ListenerMetrics;
use crate::protocol::own_requests::OwnRequest;
use bytes::{Buf, Bytes};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// What a connection may move before others get their turn.
pub(super) const POLL_BUDGET_BYTES: usize = 1024 * 1024;

/// Both sides of a session.
#[derive(Debug)]
pub(super) struct Relay {
    client: Stream,
    requests: Lane<Requests>,
    /// The broker's side.
    link: BrokerLink,
    pub(super) state: SessionState,
    metrics: ListenerMetrics,
    /// Why the session ends, once everything in flight has been answered.
    ending: Option<Cause>,
    /// Why it ends once what has been cleared for the client is written.
    broken: Option<Cause>,
    /// The client's half-close does not wait for ever.
    deadline: Option<Pin<Box<Sleep>>>,
    watch: Watch,
    up: Side,
    down: Side,
}

/// What the [`Watch`] is told of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// How many bytes have passed on.
    moved: u64,
    /// Whether its sender was asked for more in this turn, so that its end is seen.
    is_heard: bool,
    /// Since when its receiver takes no bytes.
    held_back: Option<std::time::Instant>,
}

/// What the relay's owner has to know or decide.
#[derive(Debug)]
pub(super) enum Event {
    /// The session is over.
    Ended(Cause),
    /// The broker has answered Narrows' own request, with this frame. The client's requests wait
    /// until [`Relay::resume`].
    Answered(OwnRequest, Bytes),
}

impl Relay {
    /// Begins with the bytes that have arrived from the client, looked at by `requests`.
    pub(super) fn new(
        client: Stream,
        link: BrokerLink,
        (first, requests): (Buffer, Requests),
        state: SessionState,
        pools: Pools,
        metrics: ListenerMetrics,
    ) -> Self {
        let limits = Limits {
            frame_progress: state.settings.frame_progress_timeout,
            half_close: state.settings.half_close_timeout,
        };
        Self {
            client,
            requests: Lane::new(requests, pools, Some(first)),
            link,
            watch: Watch::new(limits),
            up: Side::default(),
            down: Side::default(),
            state,
            metrics,
            ending: None,
            broken: None,
            deadline: None,
        }
    }

    /// The broker's side.
    pub(super) fn link(&self) -> &BrokerLink {
        &self.link
    }

    /// Moves bytes until the session ends or needs a decision. Cancel-safe: everything is in
    /// `self`.
    pub(super) async fn run(&mut self) -> Event {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Begins no further request, and ends the session once those in flight have been answered.
    pub(super) fn end(&mut self, cause: Cause) {
        self.state.is_ending = true;
        self.ending.get_or_insert(cause);
    }

    /// The owner knows who the broker is: requests may go on, unless it has ended the session.
    pub(super) fn resume(&mut self) {
        self.link.identity.settled();
    }

    /// Ends both connections, each as its side needs it.
    pub(super) async fn close(self) {
        // Pipes and buffers go back to their pools before the client gets its time to close.
        let Self { client, link, .. } = self;
        let broker = link.into_stream();
        close::close(client, Some(broker), b"").await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut poll_budget = POLL_BUDGET_BYTES;
        self.up.is_heard = false;
        self.down.is_heard = false;
        if let Poll::Ready(Err(cause)) = self.poll_responses(cx, &mut poll_budget) {
            return Poll::Ready(Event::Ended(cause));
        }
        if let Some(Answered { request, frame }) = self.link.answered.take() {
            return Poll::Ready(Event::Answered(request, frame));
        }
        if let Poll::Ready(Err(cause)) = self.poll_requests(cx, &mut poll_budget) {
            return Poll::Ready(Event::Ended(cause));
        }
        let ended = self.poll_end(cx).or_else(|| self.poll_watch(cx));
        ended.map_or(Poll::Pending, |cause| Poll::Ready(Event::Ended(cause)))
    }

    /// Whether the session has waited long enough for one of its sides.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        let is_waiting = !self.requests.is_flushed() || !self.link.stream.is_drained();
        // Bytes of a request that may not be begun yet wait for the broker's answers, which have
        // no deadline here: the client has one.
        let is_begun = self.requests.is_mid_frame()
            || self.up.is_heard && (self.requests.has_bytes() || self.client.is_mid_record());
        let mut up = self.up.flow(is_waiting, is_begun);
        // That the client has closed may be known already; then it has a deadline of its own.
        up.is_heard |= self.deadline.is_some();
        let responses = &self.link.responses;
        let is_waiting = !responses.is_flushed() || !self.client.is_drained();
        let is_begun = responses.is_mid_frame() || responses.has_bytes();
        let down = self.down.flow(is_waiting, is_begun);
        let timeout = self.state.settings.frame_progress_timeout;
        match self
            .watch
            .poll(cx, (&self.client, up), (&self.link.stream, down))
        {
            Poll::Pending => None,
            Poll::Ready(Overdue::Gone(Way::Up)) => Some(Cause::ClientClosed),
            Poll::Ready(Overdue::Gone(Way::Down)) => Some(Cause::BrokerClosed),
            Poll::Ready(Overdue::Stalled(way, waits_for)) => {
                Some(Cause::stalled(way, waits_for, timeout))
            }
        }
    }

    /// Whether an ending session has nothing left to do.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        self.ending.as_ref()?;
        let is_through = !self.requests.is_mid_frame()
            && self.requests.is_flushed()
            && self.state.owed.is_empty()
            && self.link.is_through()
            && self.client.is_drained();
        let is_late = self
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        match (is_through, is_late) {
            (true, _) => self.ending.take(),
            (false, true) => Some(Cause::HalfCloseTimeout(
                self.state.settings.half_close_timeout,
            )),
            (false, false) => None,
        }
    }

    /// Client to broker. `Ok` when there is nothing more to do until the other direction has done
    /// something.
    fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        loop {
            let flushed = self.requests.poll_flush(cx, &mut self.link.stream);
            self.up
                .note_flush(flushed.is_pending(), ToBroker, &self.metrics);
            let sent = ready!(flushed).map_err(Cause::BrokerFailed)?;
            if sent > 0 {
                self.link.in_flight.sent();
                self.up.moved += sent as u64;
                self.metrics.bytes_to_broker.inc_by(sent as u64);
                ready!(charge(cx, poll_budget, sent));
                continue;
            }
            let mut with = self.link.outgoing(&mut self.state);
            // Between two frames only: in the middle of one, the next bytes belong to it, whatever
            // has changed since.
            if !self.requests.is_mid_frame() {
                if with.must_ask() {
                    self.ask();
                    continue;
                }
                if !with.takes_requests() {
                    return Poll::Ready(Ok(()));
                }
            }
            // What had to wait for the other direction may be in the buffer already.
            if self.requests.has_bytes() {
                let looked = self.requests.scan(&mut with);
                self.requests_looked_at(looked);
                if self.requests.scanner.sendable() > 0 || self.state.is_ending {
                    continue;
                }
            }
            let mut with = self.link.outgoing(&mut self.state);
            self.up.is_heard = true;
            let client = &mut self.client;
            let filled = ready!(self.requests.poll_fill(cx, client, BUFFER_BYTES, &mut with));
            match filled.map_err(Cause::ClientFailed)? {
                Filled::Bytes(looked) => self.requests_looked_at(looked),
                Filled::End => self.client_closed()?,
                // The scanner gives up on a beginning that is longer than half a buffer.
                Filled::Full => {
                    return Poll::Ready(Err(Cause::RequestHeaderTooLarge(BUFFER_BYTES)));
                }
            }
        }
    }

    /// A request that may not pass ends the session behind those that did.
    fn requests_looked_at(&mut self, looked: Result<(), Cause>) {
        if let Err(cause) = looked {
            self.end(cause);
        }
    }

    /// The client has closed its sending side. Whatever it has asked is answered; half a request
    /// goes nowhere.
    fn client_closed(&mut self) -> Result<(), Cause> {
        if self.requests.is_mid_frame() {
            return Err(Cause::ClientClosed);
        }
        self.end(Cause::ClientClosed);
        let timeout = self.state.settings.half_close_timeout;
        self.deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        Ok(())
    }

    /// Narrows' own question, between two requests of the client.
    fn ask(&mut self) {
        let (frame, response) = in_flight::broker_list_request();
        let (requests, buffer) = self.requests.parts();
        requests.put_own(buffer, &frame);
        self.link.in_flight.push(Expected::Response(response));
        self.link.identity.asked();
    }

    /// Broker to client.
    fn poll_responses(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        loop {
            let flushed = self.link.responses.poll_flush(cx, &mut self.client);
            self.down
                .note_flush(flushed.is_pending(), ToClient, &self.metrics);
            let sent = ready!(flushed).map_err(Cause::ClientFailed)?;
            if sent > 0 {
                let is_held = self.link.responses.scanner.is_held();
                self.link.in_flight.answered(is_held, &self.metrics);
                self.down.moved += sent as u64;
                self.metrics.bytes_to_client.inc_by(sent as u64);
                ready!(charge(cx, poll_budget, sent));
                continue;
            }
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(broken));
            }
            if !self.link.responses.is_mid_frame() && ready!(self.poll_own(cx))? {
                // The broker's next response may have come while it was not its turn.
                let (responses, _, mut with) = self.link.reading(&mut self.state);
                self.broken = responses.scan(&mut with).err();
                continue;
            }
            self.down.is_heard = true;
            let held_bytes_max = self.state.settings.held_response_bytes_max;
            let (responses, broker, mut with) = self.link.reading(&mut self.state);
            let filled = ready!(responses.poll_fill(cx, broker, held_bytes_max, &mut with));
            match filled.map_err(Cause::BrokerFailed)? {
                // A response that may not pass ends the session behind those that did.
                Filled::Bytes(looked) => self.broken = looked.err(),
                Filled::End => return Poll::Ready(Err(Cause::BrokerClosed)),
                Filled::Full => {
                    return Poll::Ready(Err(responses.scanner.too_large(held_bytes_max)));
                }
            }
            if self.link.answered.is_some() {
                self.link.identity.answered();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends the answers of Narrows' own whose turn it is; whether there was one. Only between two
    /// responses of the broker.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cause>> {
        let mut has_answered = false;
        while let Some(own) = self.state.owed.own() {
            let sent =
                ready!(self.client.poll_send(cx, own, false)).map_err(Cause::ClientFailed)?;
            own.advance(sent);
            if own.is_empty() {
                self.state.owed.own_is_through();
            }
            has_answered = true;
            self.down.moved += sent as u64;
            self.metrics.bytes_to_client.inc_by(sent as u64);
        }
        Poll::Ready(Ok(has_answered))
    }
}

impl Side {
    /// Counts for how long the receiver has taken no bytes, once it takes some.
    fn note_flush(&mut self, is_pending: bool, direction: Direction, metrics: &ListenerMetrics) {
        if is_pending {
            self.held_back.get_or_insert_with(std::time::Instant::now);
        } else if let Some(since) = self.held_back.take() {
            metrics.held_back(direction, since.elapsed());
        }
    }

    fn flow(self, is_waiting: bool, is_begun: bool) -> Flow {
        Flow::new(self.moved, self.is_heard, is_waiting, is_begun)
    }
}

#[cfg(test)]
mod tests;

/// Counts what was moved; when the turn is over, asks for the next one and lets others go first.
pub(super) fn charge(cx: &mut Context<'_>, poll_budget: &mut usize, moved: usize) -> Poll<()> {
    *poll_budget = poll_budget.saturating_sub(moved);
    if *poll_budget > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
