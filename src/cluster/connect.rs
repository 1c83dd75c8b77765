//! Reaches the broker that a client connection is meant for, and makes sure that it is that one.
//!
//! Addresses get used again within seconds when pods move, so a new connection asks the broker
//! whose it is before the client's first byte goes out. The answer holds for some
//! [seconds](super::verified), so that a storm of connections asks once. Where the brokers demand a
//! login Narrows may not ask; there a broker that is not known yet is replaced by a bootstrap
//! server (the connection is *provisional*), and the session asks once the client has
//! authenticated.
//!
//! Brokers from Kafka 4.4 on say themselves whether they are the node that is meant. Older ones
//! don't: what is checked then is that the cluster is the right one and that nobody else has the
//! address in its list, which can't tell apart brokers that advertise one shared name (see
//! [`sharing`](super::sharing)), nor brokers that are dialled by the operator's
//! [rule](super::broker_address): there his word counts.

use super::Cluster;
use super::refresh::Outcome;
use super::verified::Standing;
use super::view::{KnownBroker, Learned, Source};
use crate::broker::dial::DialFailure;
use crate::broker::{self, DialError, OwnName, ProbeError, Security};
use crate::net::stream::Stream;
use crate::protocol::rewrite::ListedBroker;
use crate::types::{BrokerAddress, NodeId, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Addresses of one name that may lead to another broker than the one that is meant, before it is
/// given up: more than any cluster has that shares a name.
const WRONG_MAX: usize = 32;

/// A connection to a broker, ready for the client's first frame.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The stream, with its options set.
    pub(crate) stream: Stream,
    /// What was dialled.
    pub(crate) address: BrokerAddress,
    /// Whom it reached, and what its end will say about the address.
    pub(crate) standing: Standing,
    /// Cancelled when the broker leaves the cluster or moves.
    pub(crate) gone: CancellationToken,
    /// This is a bootstrap server in the place of a broker that is not known yet.
    pub(crate) is_provisional: bool,
}

/// Why a broker can't be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody answers there.
    #[error("{0}")]
    Dial(#[from] Arc<DialError>),
    /// Somebody answers, but not as that broker should.
    #[error("{address}: {source}")]
    Probe {
        /// What was dialled.
        address: BrokerAddress,
        /// What went wrong.
        source: ProbeError,
    },
    /// No bootstrap server can be reached.
    #[error("no bootstrap server of cluster {cluster} can be reached: {failures}")]
    NoBootstrap {
        /// The cluster's name.
        cluster: String,
        /// What each said.
        failures: String,
    },
    /// The node id is in `node_ids`, but the cluster has no such broker.
    #[error("cluster {cluster} has no broker {node} now; its brokers are {known}")]
    UnknownBroker {
        /// The cluster's name.
        cluster: String,
        /// The node id asked for.
        node: NodeId,
        /// The node ids that there are.
        known: String,
    },
    /// The map has an address that leads back to Narrows.
    #[error(
        "cluster {cluster} says that broker {node} is at {address}, which is this listener's own \
         name for it, so the connection would come back: let the cluster's bootstrap_servers be a \
         listener of the brokers that advertises their own addresses, and name the port of the \
         one for clients as tls.broker_port"
    )]
    RoutingLoop {
        /// The cluster's name.
        cluster: String,
        /// The node id asked for.
        node: NodeId,
        /// The address in the map.
        address: BrokerAddress,
    },
    /// Another broker has its address.
    #[error(
        "{address} is not broker {node} of cluster {cluster} any more: its address was given to \
         another"
    )]
    WrongBroker {
        /// The cluster's name.
        cluster: String,
        /// The node id asked for.
        node: NodeId,
        /// What was dialled.
        address: BrokerAddress,
    },
    /// Another broker answers at an address that several have in common.
    #[error(
        "{address} led to another broker than {node}: several brokers of cluster {cluster} \
         advertise this one address; give each its own in advertised.listeners, or say where each \
         is dialled with clusters.{cluster}.broker_address"
    )]
    SharedAddress {
        /// The cluster's name.
        cluster: String,
        /// The node id asked for.
        node: NodeId,
        /// What was dialled.
        address: BrokerAddress,
    },
    /// The name under which the broker is known means nothing here.
    #[error(
        "{}, which {} for broker {node}, can't be resolved here ({reason}): let the broker \
         advertise a name that resolves where Narrows runs, or say where it is dialled with \
         clusters.{cluster}.broker_address",
        .address.host,
        if *.is_ruled { "broker_address gives" } else { "the cluster's metadata gives (the \
            broker's advertised.listeners)" }
    )]
    Unresolved {
        /// The cluster's name.
        cluster: String,
        /// The node id asked for.
        node: NodeId,
        /// What was dialled.
        address: BrokerAddress,
        /// The operator's rule gave the address, and not the broker.
        is_ruled: bool,
        /// What the resolver said.
        reason: String,
    },
}

impl Connection {
    /// Whom it reached.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.standing.peer()
    }
}

impl ConnectError {
    pub(super) fn probe(address: &BrokerAddress, source: ProbeError) -> Self {
        let address = address.clone();
        Self::Probe { address, source }
    }

    /// Whether somebody took the connection, and closed instead of answering.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Probe { source, .. } if source.is_closed())
    }

    /// Every code that there is.
    pub(crate) const CODES: [&'static str; 6] = [
        "routing_loop",
        "dial_failed",
        "probe_failed",
        "no_bootstrap_server",
        "unknown_broker",
        "wrong_broker",
    ];

    /// A code for the metric: a closed set.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Dial(error) if error.is_routing_loop() => "routing_loop",
            Self::Dial(_) | Self::Unresolved { .. } => "dial_failed",
            Self::Probe { .. } => "probe_failed",
            Self::NoBootstrap { .. } => "no_bootstrap_server",
            Self::UnknownBroker { .. } => "unknown_broker",
            Self::WrongBroker { .. } | Self::SharedAddress { .. } => "wrong_broker",
            Self::RoutingLoop { .. } => "routing_loop",
        }
    }
}

impl Cluster {
    /// Reaches the broker that `target` means. Takes as long as its deadlines allow: a refresh, and
    /// every address of the broker, twice if the first was the wrong one. `client_id` is what the
    /// client says to be: another Narrows, perhaps. Cancel-safe: what has been dialled is closed.
    pub(crate) async fn connect(
        &self,
        target: Target,
        client_id: Option<&[u8]>,
    ) -> Result<Connection, ConnectError> {
        let name = OwnName::on_behalf_of(client_id);
        match target {
            Target::Bootstrap => self.connect_any(&name).await,
            Target::Broker(node) => self.connect_broker(node, &name).await,
        }
    }

    /// Reaches the broker that `target` means for a client that speaks TLS with it end to end: its
    /// address in the map, at `port` if that is another. Who is there, the client sees by its
    /// certificate. Brokers may advertise the listener's own names, by which nobody must be
    /// dialled: `is_own` tells them.
    pub(crate) async fn connect_unseen(
        &self,
        target: Target,
        port: Option<u16>,
        is_own: impl Fn(&BrokerAddress) -> bool,
    ) -> Result<Connection, ConnectError> {
        let at = |address: BrokerAddress| BrokerAddress {
            port: port.unwrap_or(address.port),
            ..address
        };
        let (candidates, gone) = match target {
            Target::Bootstrap => {
                let mut candidates = self.bootstrap_candidates();
                candidates.retain(|address| !is_own(address));
                (candidates, CancellationToken::new())
            }
            Target::Broker(node) => {
                let broker = self.known(node).await.ok_or_else(|| self.unknown(node))?;
                if is_own(&broker.address) {
                    let cluster = self.name().to_string();
                    return Err(ConnectError::RoutingLoop {
                        cluster,
                        node,
                        address: broker.address,
                    });
                }
                let claimed = broker.claimed().filter(|address| !is_own(address));
                let candidates = [Some(&broker.address), claimed];
                (
                    candidates.into_iter().flatten().cloned().collect(),
                    broker.gone,
                )
            }
        };
        let mut failures = Vec::new();
        for address in candidates.into_iter().map(at) {
            let security = Security::default();
            match self.dial_for_client(&address, &security, &[]).await {
                Ok(reached) => return Ok(self.connection(reached, address, gone)),
                Err(error) => failures.push(error),
            }
        }
        self.want_refresh();
        match (target, failures.pop()) {
            (Target::Broker(node), Some(error)) => Err(self.dial_failed(node, error)),
            (_, last) => {
                let failures = failures
                    .into_iter()
                    .chain(last)
                    .map(|error| error.to_string());
                Err(self.no_bootstrap(failures.collect()))
            }
        }
    }

    /// Waits until the map says where the broker is that `target` means. Cancel-safe.
    pub(crate) async fn located(&self, target: Target) {
        match target {
            Target::Broker(node) => self.view.located(node).await,
            Target::Bootstrap => {}
        }
    }

    /// Whether `peer` is one of the addresses of `node`, as far as is known now.
    pub(crate) async fn is_broker(&self, node: NodeId, peer: SocketAddr) -> bool {
        let Some(broker) = self.view.locate(node) else {
            return false;
        };
        let timeout = self.settings().dial.dns_timeout;
        let resolved = self.dialler.resolver().resolve(&broker.address, timeout);
        resolved
            .await
            .is_ok_and(|addresses| addresses.contains(&peer))
    }

    /// Dials on Narrows' own account, and counts a failure.
    pub(super) async fn dial(
        &self,
        address: &BrokerAddress,
    ) -> Result<(Stream, SocketAddr), Arc<DialError>> {
        self.dial_with(address, &self.security(), &[]).await
    }

    /// Dials for a client, but none of the addresses in `but`.
    async fn dial_for_client(
        &self,
        address: &BrokerAddress,
        security: &Security,
        but: &[SocketAddr],
    ) -> Result<(Stream, SocketAddr), Arc<DialError>> {
        let _place = self.dialler.place(address).await?;
        self.dial_with(address, security, but).await
    }

    async fn dial_with(
        &self,
        address: &BrokerAddress,
        security: &Security,
        but: &[SocketAddr],
    ) -> Result<(Stream, SocketAddr), Arc<DialError>> {
        let settings = self.settings();
        let began = Instant::now();
        let dialled = self
            .dialler
            .dial(address, &settings.dial, security, but)
            .await;
        match &dialled {
            Ok(_) => {
                let took = began.elapsed();
                self.metrics.dial_seconds.observe(took.as_secs_f64());
                self.dials.succeeded(address, took);
            }
            // Every address was left out, since it led to another broker: nothing was dialled.
            Err(error) if error.is_exhausted() => {}
            Err(error) => {
                let brokers = self.view.brokers();
                let node = brokers.iter().find(|(_, known)| known == address);
                self.metrics
                    .dial_failed(node.map(|(node, _)| *node), error.code());
                self.dials
                    .failed(address, error.to_string(), Instant::now());
                error.peers().for_each(|peer| self.verified.forget(peer));
            }
        }
        dialled
    }

    async fn connect_any(&self, name: &OwnName) -> Result<Connection, ConnectError> {
        let mut failures = Vec::new();
        let mut is_loop = true;
        for address in self.bootstrap_candidates() {
            match self.connect_address(&address, None, name).await {
                Ok(reached) => {
                    // Never cancelled: the client has not asked for this broker, so that its
                    // leaving the map is no reason to end the connection.
                    let gone = CancellationToken::new();
                    return Ok(self.connection(reached, address, gone));
                }
                Err(error) => {
                    // Where every bootstrap server leads back here, that is what to say; one that
                    // is only unreachable makes it the usual list of failures.
                    is_loop &= error.code() == "routing_loop";
                    if is_loop && failures.len() + 1 == self.settings().bootstrap_servers.len() {
                        return Err(error);
                    }
                    failures.push(error.to_string());
                }
            }
        }
        self.want_refresh();
        Err(self.no_bootstrap(failures))
    }

    fn no_bootstrap(&self, failures: Vec<String>) -> ConnectError {
        ConnectError::NoBootstrap {
            cluster: self.name().to_string(),
            failures: failures.join("; "),
        }
    }

    /// The broker, if the cluster has it; one that is not known yet is asked for. Where nobody
    /// could be asked, a rule still says where it is.
    async fn known(&self, node: NodeId) -> Option<KnownBroker> {
        if let Some(broker) = self.view.locate(node) {
            return Some(broker);
        }
        let dial = self.settings().dial;
        self.refreshed(dial.dns_timeout + dial.connect_timeout + dial.probe_timeout)
            .await;
        let is_complete = self.last_refresh() == Outcome::Fresh;
        self.view
            .locate(node)
            .or_else(|| self.view.presumed(node).filter(|_| !is_complete))
    }

    async fn connect_broker(
        &self,
        node: NodeId,
        name: &OwnName,
    ) -> Result<Connection, ConnectError> {
        let Some(broker) = self.known(node).await else {
            return if self.requires_authentication() {
                self.connect_provisional(name).await
            } else {
                Err(self.unknown(node))
            };
        };
        let address = broker.address;
        let connected = self.connect_address(&address, Some(node), name).await;
        match connected.map_err(|error| self.explained(node, error)) {
            Ok(reached) => Ok(self.connection(reached, address, broker.gone)),
            Err(ConnectError::WrongBroker { .. }) => self.connect_moved(node, address, name).await,
            Err(error) => {
                self.want_refresh();
                let claimed = self.connect_claimed(node, &address, name).await;
                claimed.ok_or(error)
            }
        }
    }

    /// The broker is not at the `known` address: if lists claim that it is at another one, and it
    /// is, that is where it is from now on.
    async fn connect_claimed(
        &self,
        node: NodeId,
        known: &BrokerAddress,
        name: &OwnName,
    ) -> Option<Connection> {
        let address = self.view.locate(node)?.claimed()?.clone();
        let connected = self.connect_address(&address, Some(node), name).await;
        let reached = connected.ok()?;
        if self.view.moved(node, &address) {
            self.broker_moved(node, known, &address);
        }
        let gone = self.view.locate(node)?.gone;
        Some(self.connection(reached, address, gone))
    }

    /// The broker was not where the map said: learn where it is now, and try once more.
    async fn connect_moved(
        &self,
        node: NodeId,
        old: BrokerAddress,
        name: &OwnName,
    ) -> Result<Connection, ConnectError> {
        let wrong = ConnectError::WrongBroker {
            cluster: self.name().to_string(),
            node,
            address: old.clone(),
        };
        if let Some(connection) = self.connect_claimed(node, &old, name).await {
            return Ok(connection);
        }
        self.refreshed(self.settings().dial.probe_timeout).await;
        let broker = self.view.locate(node).ok_or_else(|| self.unknown(node))?;
        if broker.address == old {
            let claimed = self.connect_claimed(node, &old, name).await;
            return claimed.ok_or(wrong);
        }
        let connected = self
            .connect_address(&broker.address, Some(node), name)
            .await;
        let reached = connected.map_err(|error| self.explained(node, error))?;
        Ok(self.connection(reached, broker.address, broker.gone))
    }

    /// The same with what is known of the address, where that is what is wrong.
    fn explained(&self, node: NodeId, error: ConnectError) -> ConnectError {
        let shares_address = || {
            let broker = self.view.locate(node);
            broker.is_some_and(|broker| broker.shares_address)
        };
        match error {
            ConnectError::Dial(error) => self.dial_failed(node, error),
            ConnectError::WrongBroker {
                cluster,
                node,
                address,
            } if shares_address() => ConnectError::SharedAddress {
                cluster,
                node,
                address,
            },
            error => error,
        }
    }

    /// A broker's address can't be dialled. Who has said that it is there?
    fn dial_failed(&self, node: NodeId, error: Arc<DialError>) -> ConnectError {
        let DialFailure::Resolve(reason) = &error.failure else {
            return error.into();
        };
        let rule = &self.settings().broker_address;
        ConnectError::Unresolved {
            cluster: self.name().to_string(),
            node,
            is_ruled: rule
                .as_ref()
                .is_some_and(|rule| rule.address(node).is_some()),
            address: error.address.clone(),
            reason: reason.to_string(),
        }
    }

    fn connection(
        &self,
        (stream, peer): (Stream, SocketAddr),
        address: BrokerAddress,
        gone: CancellationToken,
    ) -> Connection {
        Connection {
            stream,
            address,
            standing: Standing::new(&self.verified, peer),
            gone,
            is_provisional: false,
        }
    }

    async fn connect_provisional(&self, name: &OwnName) -> Result<Connection, ConnectError> {
        self.connect_any(name).await.map(|connection| Connection {
            is_provisional: true,
            ..connection
        })
    }

    fn unknown(&self, node: NodeId) -> ConnectError {
        let known: Vec<_> = self
            .view
            .brokers()
            .iter()
            .map(|(node, _)| node.to_string())
            .collect();
        let known = if known.is_empty() {
            "not known yet".to_owned()
        } else {
            known.join(", ")
        };
        ConnectError::UnknownBroker {
            cluster: self.name().to_string(),
            node,
            known,
        }
    }

    /// Dials an address, and has whoever answers say who it is, unless that is known or may not be
    /// asked. Of a name with several addresses, those are left out that lead to somebody else.
    async fn connect_address(
        &self,
        address: &BrokerAddress,
        node: Option<NodeId>,
        name: &OwnName,
    ) -> Result<(Stream, SocketAddr), ConnectError> {
        let mut wrong = Vec::new();
        let mut last = None;
        while wrong.len() < WRONG_MAX {
            let dialled = self
                .dial_for_client(address, &self.security(), &wrong)
                .await;
            let (stream, peer) = match (dialled, last.take()) {
                (Ok(reached), _) => reached,
                (Err(_), Some(error)) => return Err(error),
                (Err(error), None) => return Err(error.into()),
            };
            match self.verified((stream, peer), address, node, name).await {
                Err(error @ ConnectError::WrongBroker { .. }) => {
                    wrong.push(peer);
                    last = Some(error);
                }
                verified => return verified,
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::probe(address, ProbeError::WrongBroker)))
    }

    /// Has whoever was reached say who it is, unless that is known or may not be asked.
    async fn verified(
        &self,
        (mut stream, peer): (Stream, SocketAddr),
        address: &BrokerAddress,
        node: Option<NodeId>,
        name: &OwnName,
    ) -> Result<(Stream, SocketAddr), ConnectError> {
        if self.requires_authentication() {
            if node.is_some() {
                self.leads_elsewhere(address, name).await?;
            }
            return Ok((stream, peer));
        }
        // Whoever pins an id says that the addresses may be another cluster's; and what leads to
        // one broker now may lead to another one the next time.
        let is_pinned = self.settings().cluster_id.is_some();
        let broker = node.and_then(|node| self.view.locate(node));
        let is_shared = broker.is_some_and(|broker| broker.shares_address);
        if !is_pinned && !is_shared && self.verified.holds(peer, node) {
            return Ok((stream, peer));
        }
        match self.verify(&mut stream, address, node, name).await {
            Ok(()) => self.verified.note(peer, node),
            // A listener that demands a login closes when it is asked: if that is what it is, it
            // gets a connection on which nobody asked.
            Err(error) if error.is_closed() => {
                self.verified.forget(peer);
                let demanded = self.mechanism_demanded_at(address, name).await;
                demanded.ok_or(error)?;
                self.want_refresh();
                return self.dial(address).await.map_err(ConnectError::from);
            }
            Err(error) => {
                self.verified.forget(peer);
                return Err(error);
            }
        }
        Ok((stream, peer))
    }

    /// A broker that demands a login may not be asked who it is, but whether it demands one: by
    /// that question Narrows recognises itself where an address leads back, as those do that
    /// brokers advertise for clients. Nobody else would see it, since what follows is the client's
    /// own.
    async fn leads_elsewhere(
        &self,
        address: &BrokerAddress,
        name: &OwnName,
    ) -> Result<(), ConnectError> {
        if self.elsewhere.holds(address) {
            return Ok(());
        }
        self.answers_handshake(address, name).await?;
        self.elsewhere.note(address);
        Ok(())
    }

    /// Whether a broker that a list has is the one that is dialled at `address`.
    pub(super) fn is_dialled_at(&self, broker: &ListedBroker, address: &BrokerAddress) -> bool {
        let rule = &self.settings().broker_address;
        let ruled = rule.as_ref().and_then(|rule| rule.address(broker.node));
        match ruled {
            Some(dialled) => dialled == *address,
            None => *broker.host == *address.host && broker.port == address.port,
        }
    }

    async fn verify(
        &self,
        stream: &mut Stream,
        address: &BrokerAddress,
        node: Option<NodeId>,
        name: &OwnName,
    ) -> Result<(), ConnectError> {
        let cluster_id = self.view.cluster_id();
        let expected = cluster_id.as_deref().zip(node);
        let wrong = |node| ConnectError::WrongBroker {
            cluster: self.name().to_string(),
            node,
            address: address.clone(),
        };
        let timeout = self.settings().dial.probe_timeout;
        let asked = broker::ask(stream, name, expected, timeout).await;
        let sighting = asked.map_err(|source| match (source, node) {
            (ProbeError::WrongBroker, Some(node)) => wrong(node),
            (source, _) => ConnectError::probe(address, source),
        })?;
        let is_ours = !matches!(
            self.learn(&sighting, Source::Passing),
            Learned::WrongCluster { .. }
        );
        match node {
            Some(node) => {
                let is_at = |broker: &ListedBroker| self.is_dialled_at(broker, address);
                let broker = sighting.brokers.iter().find(|broker| broker.node == node);
                // A broker that is starting is in no list yet; one whose address another has is not
                // here.
                let is_here = broker.map_or_else(|| !sighting.brokers.iter().any(is_at), is_at);
                if is_ours && is_here {
                    Ok(())
                } else {
                    Err(wrong(node))
                }
            }
            None if is_ours => Ok(()),
            None => Err(ConnectError::probe(address, ProbeError::WrongBroker)),
        }
    }
}
