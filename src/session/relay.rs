//! Moves bytes between the client and the broker: two [lanes](super::lane), in one task.
//!
//! The lanes meet in the [`SessionState`] alone. Responses go first in every turn, since they open
//! the way for requests.

use super::cause::Cause;
use super::in_flight::{self, Expected};
use super::lane::{Filled, Lane, Pools, Scan};
use super::requests::Requests;
use super::responses::{HELD_BYTES_MAX, Responses};
use super::state::{BrokerIdentity, SessionState};
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::net::stream::Stream;
use crate::observe::metrics::{CopyReason, ListenerMetrics};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;

/// What a connection may move before others get their turn.
pub(super) const POLL_BUDGET_BYTES: usize = 1024 * 1024;

/// Both sides of a session.
#[derive(Debug)]
pub(super) struct Relay {
    client: Stream,
    broker: Stream,
    metrics: ListenerMetrics,
    pub(super) state: SessionState,
    requests: Lane<Requests>,
    responses: Lane<Responses>,
    /// Why the session ends, once everything in flight has been answered.
    ending: Option<Cause>,
    /// Why it ends once what has been cleared for the client is written.
    broken: Option<Cause>,
    /// The client's half-close does not wait for ever.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Why the relay has stopped for its owner.
#[derive(Debug)]
pub(super) enum Turn {
    /// The session is over.
    Ended(Cause),
    /// The broker of a lent connection has answered who is who: see [`Relay::settle`].
    Answered,
}

impl Relay {
    /// Begins with the bytes that have arrived from the client, looked at by `requests`.
    pub(super) fn new(
        (client, broker): (Stream, Stream),
        (first, requests): (Buffer, Requests),
        state: SessionState,
        mut pools: Pools,
        metrics: ListenerMetrics,
    ) -> Self {
        if client.plain().is_none() || broker.plain().is_none() {
            pools.pipes = pools.pipes.and(Err(CopyReason::Tls));
        }
        let requests = Lane::new(requests, pools.clone(), Some(first));
        let responses = Lane::new(Responses::default(), pools, None);
        let ending = None;
        let broken = None;
        let deadline = None;
        Self {
            client,
            broker,
            metrics,
            state,
            requests,
            responses,
            ending,
            broken,
            deadline,
        }
    }

    /// Moves bytes until the session ends or needs a decision. Cancel-safe: everything is in
    /// `self`.
    pub(super) async fn run(&mut self) -> Turn {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Begins no further request, and ends the session once those in flight have been answered.
    pub(super) fn end(&mut self, cause: Cause) {
        self.state.is_ending = true;
        self.ending.get_or_insert(cause);
    }

    /// The owner has decided on [`Turn::Answered`]: requests may go on, unless it has ended the
    /// session.
    pub(super) fn settle(&mut self) {
        self.state.broker_identity = BrokerIdentity::Confirmed;
    }

    /// Ends both connections, each as its side needs it.
    pub(super) async fn part(self) {
        tokio::join!(linger(self.client, b""), close_broker(self.broker));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut poll_budget = POLL_BUDGET_BYTES;
        if let Poll::Ready(Err(cause)) = self.poll_responses(cx, &mut poll_budget) {
            return Poll::Ready(Turn::Ended(cause));
        }
        if self.state.broker_identity == BrokerIdentity::Answered {
            return Poll::Ready(Turn::Answered);
        }
        if let Poll::Ready(Err(cause)) = self.poll_requests(cx, &mut poll_budget) {
            return Poll::Ready(Turn::Ended(cause));
        }
        self.poll_end(cx)
            .map_or(Poll::Pending, |cause| Poll::Ready(Turn::Ended(cause)))
    }

    /// Whether an ending session has nothing left to do.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        self.ending.as_ref()?;
        let is_through = !self.requests.is_mid_frame()
            && self.requests.is_flushed()
            && self.state.in_flight.is_empty()
            && !self.responses.is_mid_frame()
            && self.responses.is_flushed()
            && self.broker.is_drained()
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
            let sent = ready!(self.requests.poll_flush(cx, &mut self.broker))
                .map_err(Cause::BrokerFailed)?;
            if sent > 0 {
                self.metrics.bytes_to_broker.inc_by(sent as u64);
                ready!(spend(cx, poll_budget, sent));
                continue;
            }
            let is_mid_frame = self.requests.is_mid_frame();
            if self.state.must_ask() && !is_mid_frame {
                self.ask();
                continue;
            }
            if !is_mid_frame && !self.state.takes_requests() {
                return Poll::Ready(Ok(()));
            }
            // What had to wait for the other direction may be in the buffer already.
            if self.requests.has_bytes() {
                let looked = self.requests.scan(&mut self.state);
                self.requests_looked_at(looked);
                if self.requests.scanner.cleared() > 0 || self.state.is_ending {
                    continue;
                }
            }
            let client = &mut self.client;
            let state = &mut self.state;
            let filled = ready!(self.requests.poll_fill(cx, client, BUFFER_BYTES, state));
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
        let (request, response) = in_flight::broker_list_request();
        let (requests, buffer) = self.requests.parts();
        requests.put_own(buffer, &request);
        self.state.in_flight.push(Expected::Response(response));
        self.state.broker_identity = BrokerIdentity::Asking;
    }

    /// Broker to client.
    fn poll_responses(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        loop {
            let sent = ready!(self.responses.poll_flush(cx, &mut self.client))
                .map_err(Cause::ClientFailed)?;
            if sent > 0 {
                self.metrics.bytes_to_client.inc_by(sent as u64);
                ready!(spend(cx, poll_budget, sent));
                continue;
            }
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(broken));
            }
            let broker = &mut self.broker;
            let state = &mut self.state;
            let filled = ready!(self.responses.poll_fill(cx, broker, HELD_BYTES_MAX, state));
            match filled.map_err(Cause::BrokerFailed)? {
                // A response that may not pass ends the session behind those that did.
                Filled::Bytes(looked) => self.broken = looked.err(),
                Filled::End => return Poll::Ready(Err(Cause::BrokerClosed)),
                Filled::Full => return Poll::Ready(Err(self.responses.scanner.too_large())),
            }
            if self.state.broker_identity == BrokerIdentity::Answered {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Counts what was moved; when the turn is over, asks for the next one and lets others go first.
pub(super) fn spend(cx: &mut Context<'_>, poll_budget: &mut usize, moved: usize) -> Poll<()> {
    *poll_budget = poll_budget.saturating_sub(moved);
    if *poll_budget > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Tells a broker in TLS that this was all, and reads what it may still send: to close over it, a
/// session ticket for one, would take back what the broker has not read yet. Without TLS nothing
/// comes that was not asked for.
async fn close_broker(broker: Stream) {
    if broker.plain().is_none() {
        linger(broker, b"").await;
    }
}

/// How long a client may take to close after Narrows has; it may still be reading its last
/// responses.
const LINGER: Duration = Duration::from_secs(1);

/// Ends a connection with `final_bytes`, if there are any, so that what has been sent is not lost: a
/// socket that is closed with unread bytes is reset, and the client's side may forget what it has
/// not read yet.
pub async fn linger(mut client: Stream, final_bytes: &[u8]) {
    let discard = async {
        client.write_all(final_bytes).await?;
        client.shutdown().await?;
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await
    };
    // Whether the client closed in time changes nothing any more.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
