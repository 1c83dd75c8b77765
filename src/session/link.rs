//! A session's connection to a broker: the stream, what has been asked on it, and who is there.

use super::cause::Cause;
use super::in_flight::{InFlight, Recipient};
use super::lane::{Filled, Lane, Pools};
use super::link_id::LinkId;
use super::provisional::BrokerIdentity;
use super::requests::RequestContext;
use super::responses::{Answered, ResponseContext, Responses};
use super::state::SessionState;
use crate::cluster::{Connection, Standing};
use crate::net::socket;
use crate::net::stream::Stream;
use crate::protocol::own_requests::OwnRequest;
use crate::types::{NodeId, Target};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};
use tokio_util::sync::CancellationToken;

/// A connection to a broker.
#[derive(Debug)]
pub(super) struct BrokerLink {
    pub(super) id: LinkId,
    pub(super) stream: Stream,
    /// What comes from it.
    pub(super) responses: Lane<Responses>,
    /// What it has yet to answer.
    pub(super) in_flight: InFlight,
    /// What it has answered to Narrows, until somebody takes it.
    pub(super) answered: Option<Answered>,
    /// Something has been taken, and what has arrived behind it has not been looked at.
    pub(super) is_unread: bool,
    /// Whom it was opened for.
    pub(super) target: Target,
    /// Which broker is there, where that is known and matters (scheme `single`).
    pub(super) node: Option<NodeId>,
    /// Pieces of requests that go out before anything else does.
    pub(super) outbox: VecDeque<Bytes>,
    /// It has closed.
    pub(super) is_closed: bool,
    /// Nothing can be written to it any more. What it has answered may still come.
    pub(super) is_broken: bool,
    /// It was good until the right broker was known, and goes once it has answered everything.
    pub(super) is_leaving: bool,
    /// Who is there, and what its end will say about the address.
    pub(super) standing: Standing,
    /// Whether that is the broker that was meant.
    pub(super) identity: BrokerIdentity,
    /// Cancelled when the broker leaves the cluster or moves.
    pub(super) gone: CancellationToken,
}

impl BrokerLink {
    /// A link over a new connection, on which what is `in_flight` goes out first.
    pub(super) fn new(
        id: LinkId,
        connection: Connection,
        target: Target,
        mut in_flight: InFlight,
        pools: Pools,
    ) -> Self {
        in_flight.dialled();
        Self {
            id,
            stream: connection.stream,
            responses: Lane::new(Responses::default(), pools, None),
            in_flight,
            answered: None,
            is_unread: false,
            target,
            node: None,
            outbox: VecDeque::new(),
            is_closed: false,
            is_broken: false,
            is_leaving: false,
            standing: connection.standing,
            identity: BrokerIdentity::new(connection.is_provisional),
            gone: connection.gone,
        }
    }

    /// The lane and the stream that it reads, with what its scanner judges by.
    pub(super) fn reading<'a>(
        &'a mut self,
        state: &'a mut SessionState,
    ) -> (&'a mut Lane<Responses>, &'a mut Stream, ResponseContext<'a>) {
        let with = ResponseContext {
            link: self.id,
            node: self.node,
            in_flight: &mut self.in_flight,
            answered: &mut self.answered,
            state,
        };
        (&mut self.responses, &mut self.stream, with)
    }

    /// What a request that goes out here is judged by.
    pub(super) fn outgoing<'a>(&'a mut self, state: &'a mut SessionState) -> RequestContext<'a> {
        RequestContext {
            link: self.id,
            in_flight: &mut self.in_flight,
            identity: self.identity,
            node: self.node,
            state,
        }
    }

    /// Whether it takes requests.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_closed && !self.is_broken
    }

    /// Sends the pieces that wait, and counts the bytes that go. Cancel-safe.
    pub(super) fn poll_outbox(
        &mut self,
        cx: &mut Context<'_>,
        moved: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let Some(piece) = self.outbox.front_mut() {
            let sent = ready!(self.stream.poll_send(cx, piece, false))?;
            piece.advance(sent);
            *moved += sent as u64;
            if piece.is_empty() {
                self.outbox.pop_front();
            }
        }
        self.stream.poll_drain(cx)
    }

    /// Nothing can be written to it any more: its parts are failed once it turns out to be closed.
    /// `Err` where something was to be written that has no answer, since only the end of the
    /// connection says that it has failed.
    pub(super) fn broke(&mut self, error: io::Error) -> Result<(), Cause> {
        if self.in_flight.has_unanswered() {
            return Err(Cause::BrokerFailed(error));
        }
        self.is_broken = true;
        self.outbox.clear();
        Ok(())
    }

    /// Takes what the broker answers to Narrows, or as a part of an answer: into
    /// [`answered`](Self::answered). False if it has closed instead. Cancel-safe.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut SessionState,
    ) -> Poll<Result<bool, Cause>> {
        let settings = &state.settings;
        let held_bytes_max = settings
            .held_response_bytes_max
            .max(settings.frame_bytes_max + 4);
        // It may have come together with what was before it.
        let (responses, _, mut with) = self.reading(state);
        responses.scan(&mut with)?;
        while self.answered.is_none() {
            // What comes behind what nobody waits for may be the client's, and not its turn.
            if !self.responses.is_mid_frame() && !self.in_flight.is_aside() {
                return Poll::Ready(Ok(true));
            }
            let (responses, stream, mut with) = self.reading(state);
            let filled = ready!(responses.poll_fill(cx, stream, held_bytes_max, &mut with));
            match filled {
                Ok(Filled::Bytes(looked)) => looked?,
                Ok(Filled::End) | Err(_) => return Poll::Ready(Ok(false)),
                Ok(Filled::Full) => {
                    return Poll::Ready(Err(responses.scanner.too_large(held_bytes_max)));
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Whether the broker has closed; else it is noticed when it does. That something can be read,
    /// tokio may say of a socket that has been read empty.
    pub(super) fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool {
        match socket::poll_peek(cx, self.stream.tcp(), &mut [0]) {
            Poll::Pending => false,
            Poll::Ready(Ok(0) | Err(_)) => true,
            Poll::Ready(Ok(_)) => self.stream.is_hung_up(),
        }
    }

    /// The answer to Narrows' own question, if there is one.
    pub(super) fn take_own(&mut self) -> Option<(OwnRequest, Bytes)> {
        match self.answered.as_ref()?.to {
            Recipient::Own(request) => {
                self.identity.answered();
                Some((request, self.take_answered()?))
            }
            Recipient::Client | Recipient::Part | Recipient::Nobody => None,
        }
    }

    /// A part of an answer, if there is one.
    pub(super) fn take_part(&mut self) -> Option<Bytes> {
        match self.answered.as_ref()?.to {
            Recipient::Part => self.take_answered(),
            Recipient::Client | Recipient::Own(_) | Recipient::Nobody => None,
        }
    }

    fn take_answered(&mut self) -> Option<Bytes> {
        self.is_unread = true;
        self.answered.take().map(|answered| answered.frame)
    }

    /// The stream alone: what the lane holds is given back.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Whether everything that was asked has been answered, and has gone to the client.
    pub(super) fn is_through(&self) -> bool {
        self.in_flight.is_empty()
            && !self.responses.is_mid_frame()
            && self.responses.is_flushed()
            && self.outbox.is_empty()
            && self.stream.is_drained()
    }
}
