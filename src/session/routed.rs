//! What a session does where requests say whom they are for (scheme `single`): it opens a link to
//! each broker that is needed, asks where requests belong, and splits those that are for several.
//!
//! While a broker is being reached the answers of the others go on; only the client's next request
//! waits.

use super::Session;
use super::awaited::ClientKey;
use super::cause::Cause;
use super::in_flight::{self, InFlight, Recipient};
use super::link::BrokerLink;
use super::merge::{Answer, Merge, Part};
use super::polls::Polls;
use super::relay::Relay;
use super::routing::{Split, Wanted};
use crate::broker;
use crate::cluster::Connection;
use crate::observe::time;
use crate::protocol::split::Failure;
use crate::protocol::wire::Malformed;
use crate::types::{NodeId, Target};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tracing::debug;

/// Brokers that are being reached.
pub(super) type Errand = Pin<Box<dyn Future<Output = Reached> + Send>>;

/// What came of an errand.
pub(super) enum Reached {
    /// What was wanted can be done, as far as these have been reached.
    Brokers {
        wanted: Wanted,
        connections: Vec<(NodeId, Result<Connection, String>)>,
    },
    /// It is this connection's turn to come again, for this broker.
    SentAway(NodeId),
}

impl Session<'_> {
    /// Does what the client's next request waits for, or begins to.
    pub(super) fn provide(
        &mut self,
        relay: &mut Relay,
        wanted: Wanted,
    ) -> Result<Option<Errand>, Cause> {
        let needed = match &wanted {
            Wanted::Broker(node) | Wanted::Named(node) => vec![*node],
            Wanted::Split(split) => split.nodes.iter().flatten().copied().collect(),
            Wanted::Answer {
                answer,
                request_bytes,
            } => {
                relay.answer(answer.clone(), *request_bytes);
                return Ok(None);
            }
            Wanted::Leaders(topics) => {
                relay.send_own(in_flight::leaders_request(topics));
                return Ok(None);
            }
            Wanted::Coordinator(kind, key) => {
                relay.send_own(in_flight::coordinator_request(*kind, key));
                return Ok(None);
            }
            Wanted::Offers => {
                let cluster = Arc::clone(&self.entry.setup.cluster);
                return Ok(Some(Box::pin(async move {
                    cluster.await_offers().await;
                    Reached::Brokers {
                        wanted,
                        connections: Vec::new(),
                    }
                })));
            }
        };
        let missing: Vec<_> = needed
            .into_iter()
            .filter(|node| relay.links().to_node(*node).is_none())
            .collect();
        let Some(first) = missing.first().copied() else {
            self.reached(relay, wanted)?;
            return Ok(None);
        };
        if relay.lost_links(&missing) {
            return Ok(None);
        }
        let credentials = if relay.state.sasl.has_succeeded() {
            match relay.credentials() {
                Some(credentials) => Some(credentials),
                None => return Ok(Some(self.send_away(relay, first))),
            }
        } else {
            None
        };
        let cluster = Arc::clone(&self.entry.setup.cluster);
        let timeout = cluster.settings().dial.probe_timeout;
        let client_id = relay.state.identity.client_id().map(<[u8]>::to_vec);
        Ok(Some(Box::pin(async move {
            let mut connections = Vec::new();
            for node in missing {
                let target = Target::Broker(node);
                let connected = cluster.connect(target, client_id.as_deref()).await;
                let mut connected = connected.map_err(|error| error.to_string());
                if let (Ok(connection), Some(credentials)) = (&mut connected, &credentials) {
                    let requests = credentials.requests();
                    let stream = &mut connection.stream;
                    if let Err(error) = broker::log_in(stream, requests, timeout).await {
                        connected = Err(format!("{}: {error}", connection.address));
                    }
                }
                connections.push((node, connected));
            }
            Reached::Brokers {
                wanted,
                connections,
            }
        })))
    }

    /// Brokers have been reached, or could not be.
    pub(super) fn arrived(&mut self, relay: &mut Relay, reached: Reached) -> Result<(), Cause> {
        let (wanted, connections) = match reached {
            Reached::Brokers {
                wanted,
                connections,
            } => (wanted, connections),
            Reached::SentAway(node) => {
                relay.end(Cause::LoginElsewhere(Target::Broker(node)));
                return Ok(());
            }
        };
        let mut is_to_be_placed_again = false;
        for (node, connected) in connections {
            // Who can't be reached is left out: another one may be its successor, and else the
            // broker at hand answers what is for that one as Kafka does to whoever has come to the
            // wrong broker.
            let connection = match connected {
                Ok(connection) => connection,
                Err(error) => {
                    debug!(%node, "the client's next request is for a broker that can't be \
                        reached: {error}");
                    is_to_be_placed_again |= relay.unreachable(node);
                    continue;
                }
            };
            let pools = relay.pools();
            let links = relay.links();
            let Some(id) = links.next_id() else { continue };
            let mut link = BrokerLink::new(
                id,
                connection,
                Target::Broker(node),
                InFlight::default(),
                pools,
            );
            link.node = Some(node);
            links.add(link);
        }
        if let Wanted::Named(node) = wanted
            && relay.links().to_node(node).is_none()
        {
            return Err(Cause::BrokerGone(Target::Broker(node)));
        }
        if is_to_be_placed_again {
            relay.go_on();
            return Ok(());
        }
        self.reached(relay, wanted)
    }

    /// The client is logged in here, means another broker, and its login can't be said there: it
    /// comes again, and is carried there from the beginning. Where several of a client's
    /// connections have to, one after the other.
    fn send_away(&self, relay: &Relay, node: NodeId) -> Errand {
        let awaited = Arc::clone(self.entry.context.awaited());
        let client = ClientKey::new(self.source, relay.state.identity.client_id());
        Box::pin(async move {
            awaited.note(&client, node).await;
            Reached::SentAway(node)
        })
    }

    fn reached(&mut self, relay: &mut Relay, wanted: Wanted) -> Result<(), Cause> {
        match wanted {
            Wanted::Broker(node) | Wanted::Named(node) => {
                let is_found = relay.links().choose(node);
                if is_found && relay.is_broker_unknown() {
                    relay.links().let_others_go();
                }
                if is_found {
                    self.record.broker = Some(relay.link().standing.peer());
                }
                relay.go_on();
            }
            Wanted::Split(split) => relay.split(split)?,
            Wanted::Leaders(_)
            | Wanted::Coordinator(..)
            | Wanted::Offers
            | Wanted::Answer { .. } => relay.go_on(),
        }
        Ok(())
    }
}

impl Relay {
    /// A broker can't be reached; whether the client's next request is to be looked at again.
    fn unreachable(&mut self, node: NodeId) -> bool {
        let routing = self.state.routing.as_mut();
        routing.is_some_and(|routing| routing.unreachable(node))
    }

    /// There is no link to these brokers any more, if ever there was. Whether the client's next
    /// request is to be looked at again, since it may be behind what was lost with one.
    fn lost_links(&mut self, nodes: &[NodeId]) -> bool {
        let answers = self.state.owed.answers();
        let routing = self.state.routing.as_mut();
        let is_again = routing.is_some_and(|routing| routing.lost_links(nodes, answers));
        if is_again {
            self.look_again();
        }
        is_again
    }

    /// Answers the client's next request in the brokers' place.
    fn answer(&mut self, answer: Bytes, request_bytes: usize) {
        self.take_out(request_bytes);
        self.state.owed.push_own(answer);
        self.is_split();
    }

    /// Sends the pieces of the client's next request to their brokers.
    fn split(&mut self, split: Split) -> Result<(), Cause> {
        let Split {
            request,
            is_answered,
            nodes,
            assignment,
        } = split;
        let malformed = |malformed: Malformed| Cause::RequestMalformed(malformed);
        let mut pieces = request
            .request()
            .split(&assignment, nodes.len())
            .map_err(malformed)?;
        // One piece that is all of it is answered by its broker, as the client reads it.
        let is_merged = nodes.len() > 1 || assignment.iter().any(|piece| *piece >= nodes.len());
        let to = match is_merged {
            true => Recipient::Part,
            false => Recipient::Client,
        };
        let waits = request.request().waits().map_err(malformed)?;
        let polls = waits
            .filter(|_| is_merged)
            .and_then(|waits| Polls::new(waits, &mut pieces, time::now()));
        let mut parts = Vec::new();
        let current = self.link().id;
        for (index, (node, piece)) in nodes.into_iter().zip(pieces).enumerate() {
            let of_piece = |key: &usize| assignment[*key] == index;
            let link = match node {
                Some(node) => self.links().to_node(node).map(|link| link.id),
                None => Some(current),
            };
            let link = link.and_then(|id| self.links().by_id_mut(id));
            let link = link.filter(|link| link.is_usable());
            // Only the end of the connection says that what has no answer has failed.
            if link.is_none() && !(is_answered && is_merged) {
                let target = node.map_or(Target::Bootstrap, Target::Broker);
                return Err(Cause::BrokerGone(target));
            }
            let answer = match &link {
                Some(_) => Answer::Awaited,
                None => Answer::Failed(Failure::NotSent),
            };
            parts.push(Part {
                link: link.as_ref().map(|link| link.id),
                node,
                keys: (0..assignment.len()).filter(of_piece).collect(),
                answer,
                last: None,
            });
            if let Some(link) = link {
                link.outbox.push_back(Bytes::from(piece));
                if is_answered {
                    link.in_flight.push(request.expected(to));
                } else {
                    link.in_flight.is_unanswered();
                }
                if is_answered && !is_merged {
                    let id = link.id;
                    self.state.owed.push_broker(id);
                }
            }
        }
        self.take_out(request.frame.len());
        self.state.observer.requests_forwarded(request.api.key, 1);
        if is_answered && is_merged {
            self.state
                .owed
                .push_merge(Merge::new(request, parts, polls));
        }
        self.is_split();
        Ok(())
    }
}
