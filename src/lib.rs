//! Narrows: one address in front of a whole Apache Kafka cluster.
//!
//! A Kafka client asks any broker for the list of all brokers, and from then on dials each of them
//! itself. Narrows stands in between: it is the only address that the client can reach, it tells
//! the client its own addresses in the brokers' place, and it carries each connection to the broker
//! that it is meant for. Partition leadership, replication and ordering stay what the brokers say.
//!
//! # Where a byte goes
//!
//! 1. [`listener`] accepts a connection at a [binding](listener::Binding), and takes all that comes
//!    before Kafka. The port says which broker the connection is meant for ([`address`]): the
//!    bootstrap port means any, every other port one [node id](types::NodeId). Or all brokers share
//!    one port, and the server name in the TLS hello ([`net::hello`]) says which broker of which
//!    listener is meant. It learns whose connection it is, where a load balancer says so in front
//!    of it ([`net::proxy_header`]), judges the first bytes, and does the handshake ([`net::tls`])
//!    where TLS ends here.
//! 2. [`session`] is handed a client that speaks Kafka. (Where TLS does not end here, bytes pass
//!    unread to the broker that the hello has named, and the story ends.) It waits for the first
//!    complete request and looks at its header ([`protocol::header`]): may this API in this version
//!    pass ([`protocol::admission`], by the one [`protocol::table`])? It notes what it must
//!    remember for the response, in order.
//! 3. Only now [`cluster`] is asked for the broker. Its [view](cluster::view) knows where the node
//!    id is; [`broker`] resolves the name, dials, speaks TLS where the cluster does, and asks
//!    whether it is really that broker.
//! 4. The session relays: what is read from the client goes to the broker as it arrives. A
//!    request's body is never held or looked into; a large one, like the records of a response,
//!    does not even enter the process where no TLS is in between, but goes from socket to socket
//!    through a [pipe](net::pipe).
//! 5. The broker answers one request after the other, so the oldest request in flight says what a
//!    response is. Most flow through untouched. One that names brokers is walked by its schema
//!    ([`protocol::walk`]) as it arrives, and its addresses are replaced ([`protocol::rewrite`]);
//!    records are stepped over. What it says about the cluster teaches the view.
//!
//!    With scheme `single` an address says nothing about the broker. There steps 2 and 4 look at
//!    what the client asks ([`protocol::split`]), the session opens a connection to each broker
//!    that is needed, and the answers go out in the client's order.
//! 6. Either side closes, the broker leaves the cluster, or Narrows drains ([`lifecycle`]): the
//!    session ends with one cause, which is a line in the log and a count in the metrics
//!    ([`observe`]), shown on the [`admin`] port.
//!
//! [`config`] reads what the operator wrote into each module's settings, certificates included;
//! [`app`] builds the parts from them, and rebuilds what has changed while the rest runs on;
//! [`cli`] is what a user types.
//!
//! # The layers
//!
//! Imports only point down this list; `tests/house` checks it.
//!
//! | layer | modules | what only they know |
//! |---|---|---|
//! | 6 | `main`, [`cli`] | the command line |
//! | 5 | [`app`], [`config`], [`doctor`] | how the parts fit together; the names of configuration keys; what keeps a client from Kafka |
//! | 4 | [`listener`], [`session`], [`admin`] | what comes before Kafka; that there are two sides; HTTP |
//! | 3 | [`cluster`], [`broker`] | where brokers are, how to reach them |
//! | 2 | [`address`], [`auth`] | which address stands for which broker; how to log in |
//! | 1 | [`protocol`], [`net`], [`observe`], [`lifecycle`] | Kafka's bytes; sockets and TLS; metrics and logs; tasks |
//! | 0 | [`types`], [`sys`] | the words; libc |
//!
//! `protocol`, `address` and `auth` have no socket, clock, randomness or `.await`; nothing is
//! spawned outside `lifecycle`; no channel is unbounded; no record batch is looked into.

// What `.clippy.toml` names, with the reason beside each; the package's lints leave tests free.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod address;
pub mod admin;
pub mod app;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod lifecycle;
pub mod listener;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod session;
pub mod sys;
pub mod types;
