//! A session of Kafka: from the client's first request to the end of both connections.

use super::arrival::read_until;
use super::awaited::{ClientKey, Expectation};
use super::cause::Cause;
use super::close;
use super::context::SessionObserver;
use super::ending::{self, Ending, Step};
use super::first_bytes;
use super::in_flight::{self, InFlight};
use super::lane::{Pools, Scan};
use super::link::BrokerLink;
use super::link_id::LinkId;
use super::provisional::BrokerIdentity;
use super::relay::{Event, Relay};
use super::requests::{self, RequestContext, Requests};
use super::routed::Errand;
use super::routing::Routing;
use super::state::SessionState;
use super::watch::{self, WaitsFor, Way};
use super::{Entry, Newcomer, Session};
use crate::cluster::Connection;
use crate::lifecycle::quiet;
use crate::net::buffer::{BUFFER_BYTES, Buffer, PARKED_BYTES_MAX};
use crate::net::stream::Stream;
use crate::protocol::own_requests::OwnRequest;
use crate::types::{NodeId, Target};
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

impl Session<'_> {
    /// Kafka, from the first request on.
    pub(super) async fn serve(&mut self, client: Stream, first: Option<Buffer>) -> Cause {
        // What is needed only at the beginning or the end has a place of its own, which an idle
        // session does not keep.
        let mut relay = match Box::pin(self.begin(client, first)).await {
            Ok(relay) => relay,
            Err(cause) => return cause,
        };
        let cause = self.relay(&mut relay).await;
        relay.note_end(&cause);
        let oldest = relay.link().in_flight.oldest().copied();
        let is_under_way = relay.state.sasl.is_incomplete();
        let cause = relay.state.login.explain(cause, oldest, is_under_way);
        self.record.client = relay.state.identity.to_string();
        self.record.principal = relay.state.identity.principal();
        self.record.traffic = Some(Box::new(relay.traffic()));
        Box::pin(relay.close(&cause)).await;
        cause
    }

    /// Waits for the first request and reaches the broker that it is for. Without one, the
    /// connection is closed, and the cause says why.
    async fn begin(
        &mut self,
        mut client: Stream,
        first: Option<Buffer>,
    ) -> Result<Box<Relay>, Cause> {
        let entry = self.entry;
        let context = Arc::clone(&entry.context);
        let cluster = Arc::clone(&entry.setup.cluster);
        let observer = Arc::new(SessionObserver::new(context, cluster, entry.target));
        let mut state = SessionState::new(entry.setup.session, observer);
        if entry.setup.scheme.is_single() {
            let cluster = Arc::clone(&entry.setup.cluster);
            state.routing = Some(Box::new(Routing::new(cluster)));
        }
        let mut requests = Requests::default();
        let mut in_flight = InFlight::default();
        let pools = entry.context.pools(&entry.setup.session);
        let mut with = RequestContext::before_dial(&mut state, &mut in_flight);
        let asked = self.first_request(&mut client, first, &pools, &mut requests, &mut with);
        let first = tokio::select! {
            first = asked => first,
            () = entry.stop.draining() => Err(Cause::Drained),
        };
        let (buffer, refused) = match first {
            Ok(first) => first,
            Err(cause) => return Err(self.refuse(client, &state, cause).await),
        };
        self.newcomer.iter_mut().for_each(Newcomer::has_asked);
        let (connection, target) = match self.dial(&client, &state).await {
            Ok(connection) => connection,
            Err(cause) => return Err(self.refuse(client, &state, cause).await),
        };
        self.newcomer = None;
        self.record.broker = Some(connection.peer());
        debug!(
            broker = %connection.peer(), client = %state.identity,
            is_provisional = connection.is_provisional, "connected to the broker"
        );
        let pools = pools.between(&client, &connection.stream);
        let node = self.node_at(target, &connection);
        if let (Some(routing), Target::Broker(node)) = (&mut state.routing, target) {
            routing.expectation = Some(Expectation {
                awaited: Arc::clone(entry.context.awaited()),
                client: ClientKey::new(self.source, state.identity.client_id()),
                node,
            });
        }
        let mut link = BrokerLink::new(LinkId::FIRST, connection, target, in_flight, pools.clone());
        link.node = node;
        let metrics = entry.context.metrics().clone();
        let first = (buffer, requests);
        let mut relay = Box::new(Relay::new(client, link, first, state, pools, metrics));
        relay.first_broker_reached();
        if let Some(cause) = refused {
            relay.end(cause);
        }
        if let Target::Broker(_) = entry.target {
            entry.context.broker_reached();
        }
        Ok(relay)
    }

    /// Ends a session for which there is no broker.
    async fn refuse(&mut self, client: Stream, state: &SessionState, cause: Cause) -> Cause {
        self.record.client = state.identity.to_string();
        close::refuse(client, cause, &self.entry.stop).await
    }

    /// Reaches the broker that is meant, which the first request may say. Nothing of the client's
    /// has gone anywhere yet, so that to give up loses nothing: a dial can take as long as all its
    /// deadlines, one after the other.
    async fn dial(
        &self,
        client: &Stream,
        state: &SessionState,
    ) -> Result<(Connection, Target), Cause> {
        let Entry {
            setup,
            stop,
            target,
            ..
        } = self.entry;
        let half_close = setup.session.half_close_timeout;
        let client_id = state.identity.client_id();
        let connect = async {
            let awaited = || {
                let client = ClientKey::new(self.source, client_id);
                self.entry.context.awaited().take(&client)
            };
            let named = state
                .routing
                .as_ref()
                .and_then(|routing| routing.named().or_else(awaited));
            // In the place of a broker that the client has named nobody answers: it would be taken
            // for another cluster's. As a refused connection does, this tells it to look again.
            let is_named = state
                .routing
                .as_ref()
                .is_some_and(|routing| routing.is_named());
            if let Some(named) = named {
                let target = Target::Broker(named);
                match setup.cluster.connect(target, client_id).await {
                    Ok(connection) => return Ok((connection, target)),
                    Err(error) if is_named => return Err(error.into()),
                    Err(_) => setup.cluster.routes().unreachable(named),
                }
            }
            let connection = setup.cluster.connect(*target, client_id).await?;
            Ok((connection, *target))
        };
        tokio::select! {
            biased;
            connection = connect => connection,
            () = stop.draining() => Err(Cause::Drained),
            () = watch::gone(client, half_close) => Err(Cause::ClientClosed),
        }
    }

    /// Which broker has been reached, where that matters and the map says it.
    fn node_at(&self, target: Target, connection: &Connection) -> Option<NodeId> {
        if !self.entry.setup.scheme.is_single() || connection.is_provisional {
            return None;
        }
        match target {
            Target::Broker(node) => Some(node),
            Target::Bootstrap => {
                let brokers = self.entry.setup.cluster.view().brokers();
                let mut at = brokers
                    .into_iter()
                    .filter(|(_, address)| *address == connection.address)
                    .map(|(node, _)| node);
                // Where several have it, nobody knows.
                at.next().filter(|_| at.next().is_none())
            }
        }
    }

    /// Waits for the first complete request, or as much of it as a buffer holds, and looks at it.
    /// With the cause why one behind it may not pass, if so: the first is answered all the same.
    async fn first_request(
        &self,
        client: &mut Stream,
        first: Option<Buffer>,
        pools: &Pools,
        requests: &mut Requests,
        with: &mut RequestContext<'_>,
    ) -> Result<(Buffer, Option<Cause>), Cause> {
        let mut buffer = self.arrival(client, first, pools, with.state).await?;
        match requests.scan(&mut buffer, with) {
            Err(cause) if requests.sendable() == 0 => Err(cause),
            scanned => Ok((buffer, scanned.err())),
        }
    }

    /// Waits for the first complete request, or as much of it as a buffer holds.
    ///
    /// Clients may connect long before they ask: as long as nothing has come, that costs next to
    /// nothing. A request that has been begun holds memory, and may not stand still for so long.
    async fn arrival(
        &self,
        client: &mut Stream,
        first: Option<Buffer>,
        pools: &Pools,
        state: &SessionState,
    ) -> Result<Buffer, Cause> {
        let settings = state.settings;
        let is_begun = AtomicBool::new(false);
        let is_there = |buffer: &mut Buffer| {
            is_begun.store(true, Relaxed);
            let bytes = buffer.filled();
            let is_enough = is_first_request(bytes, state)? || bytes.len() == BUFFER_BYTES;
            Ok(is_enough.then_some(()))
        };
        let mut arrival = pin!(read_until(
            client,
            first,
            &pools.buffers,
            PARKED_BYTES_MAX,
            is_there
        ));
        let deadline = self.accepted_at + settings.first_frame_timeout;
        let mut late = Cause::FirstFrameTimeout(settings.first_frame_timeout);
        let mut timer = pin!(tokio::time::sleep_until(deadline));
        let mut is_seen = false;
        let arrived = poll_fn(|cx| {
            if let Poll::Ready(arrived) = arrival.as_mut().poll(cx) {
                return Poll::Ready(arrived.map(|(buffer, ())| buffer));
            }
            if is_begun.load(Relaxed) && !std::mem::replace(&mut is_seen, true) {
                let progress = settings.frame_progress_timeout;
                let stands_still_at = Instant::now() + progress;
                if stands_still_at < deadline {
                    timer.as_mut().reset(stands_still_at);
                    late = Cause::stalled(Way::Up, WaitsFor::Sender, progress);
                }
            }
            timer
                .as_mut()
                .poll(cx)
                .map(|()| Err(std::mem::replace(&mut late, Cause::ClientClosed)))
        });
        arrived.await
    }

    /// Relays until the session is over, and decides what the relay can't.
    async fn relay(&mut self, relay: &mut Relay) -> Cause {
        let stop = self.entry.stop.clone();
        let mut draining = quiet(stop.draining());
        let mut ending = Ending::new(self.entry.setup.session.connection_age_max);
        let mut errand: Option<Errand> = None;
        loop {
            let gone = relay.link().gone.clone();
            let others = relay.links().others_gone();
            let (identity, peer) = (relay.link().identity, relay.link().standing.peer());
            // What is rare has a place of its own, which an idle session does not keep.
            let judged = identity
                .is_in_doubt()
                .then(|| Box::pin(judged(self.entry, identity, peer)));
            let is_draining = ending.is_draining();
            let done = tokio::select! {
                biased;
                event = relay.run() => match event {
                    Event::Ended(cause) => Err(cause),
                    Event::Answered(request, frame) => answered(relay, request, &frame),
                    Event::NeedsBroker(wanted) => match self.provide(relay, wanted) {
                        Ok(begun) => {
                            errand = begun;
                            Ok(())
                        }
                        Err(cause) => Err(cause),
                    },
                },
                reached = if_any(errand.as_mut()) => {
                    errand = None;
                    self.arrived(relay, reached)
                }
                is_right = if_any(judged) => {
                    if !is_right {
                        relay.end(Cause::ProvisionalBrokerWrong(self.entry.target));
                    }
                    relay.resume();
                    Ok(())
                }
                () = &mut draining, if !ending.is_draining() => {
                    ending.drain(self.drain_turn(relay));
                    Ok(())
                }
                () = ending.due() => {
                    let spread = self.entry.setup.session.drain_spread;
                    match ending.step(relay.is_idle(), spread) {
                        Step::GoOn => {}
                        Step::Leave => relay.leave(),
                        Step::End(cause) => relay.end(cause),
                    }
                    Ok(())
                }
                () = quiet(gone.cancelled()) => Err(Cause::BrokerGone(relay.link().target)),
                link = others => relay.links().leave(link),
                () = stop.aborted(), if is_draining => Err(Cause::Aborted),
            };
            if let Err(cause) = done {
                return cause;
            }
        }
    }

    /// How long after the begin of a drain it is the turn of this session's broker.
    fn drain_turn(&self, relay: &Relay) -> Duration {
        let Entry { setup, target, .. } = self.entry;
        let node = match target {
            Target::Broker(node) => Some(*node),
            Target::Bootstrap => relay.link().node,
        };
        let brokers = setup.cluster.view().brokers();
        let place = node.and_then(|node| brokers.iter().position(|(known, _)| *known == node));
        ending::turn(place, brokers.len(), setup.session.drain_spread)
    }
}

/// Waits for something that there may be; without it, for ever. As cancel-safe as that is.
async fn if_any<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// The broker has answered Narrows' own request.
fn answered(relay: &mut Relay, request: OwnRequest, frame: &[u8]) -> Result<(), Cause> {
    match request {
        OwnRequest::Metadata => {
            let brokers = in_flight::read_broker_list(frame)?;
            relay.state.observer.brokers_seen(brokers);
        }
        OwnRequest::Leaders | OwnRequest::Coordinator => {
            if let Some(routing) = &mut relay.state.routing {
                routing.answered(request.version(), frame);
            }
            relay.go_on();
        }
        // Asked on connections of Narrows' own only.
        OwnRequest::Identity | OwnRequest::Offers | OwnRequest::Handshake => {}
    }
    Ok(())
}

/// Waits until the map can say whether the broker at `peer` is the one that was meant: whether it
/// is. What it has answered is in the map by then, or nothing will be. Cancel-safe.
async fn judged(entry: &Entry, identity: BrokerIdentity, peer: SocketAddr) -> bool {
    let cluster = &entry.setup.cluster;
    if identity == BrokerIdentity::Provisional {
        cluster.located(entry.target).await;
    }
    match entry.target {
        Target::Broker(node) => cluster.is_broker(node, peer).await,
        Target::Bootstrap => true,
    }
}

/// Whether the first request is there as a whole.
fn is_first_request(bytes: &[u8], state: &SessionState) -> Result<bool, Cause> {
    if !first_bytes::may_be_kafka(bytes) {
        return Err(requests::not_kafka(bytes));
    }
    let length = requests::frame_length(bytes, state)?;
    Ok(length.is_some_and(|frame_bytes| bytes.len() >= requests::LENGTH_BYTES + frame_bytes))
}
