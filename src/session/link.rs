//! A session's connection to a broker: the stream, what has been asked on it, and who is there.

use super::in_flight::InFlight;
use super::lane::{Lane, Pools};
use super::owed::LinkId;
use super::provisional::BrokerIdentity;
use super::requests::RequestContext;
use super::responses::{Answered, ResponseContext, Responses};
use super::state::SessionState;
use crate::cluster::Connection;
use crate::net::stream::Stream;
use crate::types::Target;
use std::net::SocketAddr;
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
    /// Whom it was opened for.
    pub(super) target: Target,
    /// Who is there.
    pub(super) peer: SocketAddr,
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
            target,
            peer: connection.peer,
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
            state,
        }
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
            && self.stream.is_drained()
    }
}
