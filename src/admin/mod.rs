//! The admin port: liveness, readiness, metrics and status over HTTP, for kubelets, Prometheus and
//! people.
//!
//! It only reads: no path changes anything, GET and HEAD are the only methods, request bodies are
//! refused. Whoever may reach it sees broker addresses and the configuration, without its secrets,
//! which is why it binds to loopback unless the operator says otherwise.
//!
//! It holds nothing else up. Pages are made from what is in memory, and every connection is bounded
//! in time and number (`server`), so that neither a scraper that reads a byte a second nor a port
//! scan costs a client of Kafka anything.

mod html;
mod pages;
mod server;

use std::net::SocketAddr;

pub use pages::{Pages, Readiness};
pub use server::{CONNECTION_LIFE, CONNECTIONS_MAX, HEADER_TIMEOUT, PARTING_TIMEOUT, serve};

/// Where the admin port listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address; loopback unless the operator says otherwise.
    pub bind: SocketAddr,
}
