//! The words everything else is said in: node ids, and the three kinds of address that must never
//! be mixed up. [`host`] says what a host may look like, [`likeness`] what a misspelt word meant.
//!
//! A *bind* address is where Narrows listens, an *advertised* address is what clients are told, a
//! *broker* address is what Narrows dials. They differ by type, so that handing a client a broker's
//! own address does not compile.

pub(crate) mod host;
pub(crate) mod likeness;

use host::HostError;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

/// A broker's id in its cluster (`node.id`, formerly `broker.id`). Sparse and large ids are normal;
/// negative ones mark "no node" on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a cluster in Narrows' configuration (not Kafka's cluster id).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(pub Arc<str>);

/// The name of a listener in Narrows' configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName(pub Arc<str>);

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a broker (or a bootstrap server) is dialled: a name or an IP address, and a port. Resolved
/// at every dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerAddress {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub(crate) host: Arc<str>,
    /// The TCP port, 1–65535.
    pub(crate) port: u16,
}

/// What clients are told to dial in a broker's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdvertisedAddress {
    /// A DNS name or an IP address, without brackets.
    pub host: Arc<str>,
    /// The TCP port as clients see it, which a load balancer may map to another one.
    pub port: u16,
}

/// Whose doing it was that something ended or went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client's.
    Client,
    /// The broker's.
    Broker,
    /// Narrows', or its operator's.
    Narrows,
}

impl Side {
    /// The word in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Broker => "broker",
            Self::Narrows => "narrows",
        }
    }
}

/// How much something weighs for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// It happens all the time, and nobody has to act.
    Routine,
    /// Somebody may have to act.
    Warning,
    /// Somebody has to act: it fails for everybody.
    Problem,
}

/// Which broker a client connection is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Any broker: the client has not seen the broker list yet.
    Bootstrap,
    /// This broker and no other.
    Broker(NodeId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrap => f.write_str("bootstrap"),
            Self::Broker(node) => write!(f, "broker {node}"),
        }
    }
}

/// Why a text is not a `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `:port` at the end.
    #[error("the port is missing: write host:port, or [address]:port for IPv6")]
    NoPort,
    /// The part behind the last colon is not a port.
    #[error("the port must be a number from 1 to 65535")]
    BadPort,
    /// Nothing stands before the port.
    #[error("the host is missing before the port")]
    NoHost,
    /// Colons in the host, without brackets around it.
    #[error("an IPv6 address needs brackets: [address]:port")]
    Unbracketed,
    /// Something else than an IPv6 address stands in brackets.
    #[error("only an IPv6 address stands in brackets: write host:port")]
    Bracketed,
    /// The host is neither an address nor a name.
    #[error(transparent)]
    Host(HostError),
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_address_alone = text.starts_with('[') && text.ends_with(']');
        let (host, port) = text
            .rsplit_once(':')
            .filter(|_| !is_address_alone)
            .ok_or(AddressError::NoPort)?;
        // A number may have a sign elsewhere.
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|port| is_port && *port > 0)
            .ok_or(AddressError::BadPort)?;
        let host = check_host(host)?;
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

fn check_host(host: &str) -> Result<&str, AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner
            .parse::<Ipv6Addr>()
            .map(|_| inner)
            .map_err(|_| AddressError::Bracketed);
    }
    if host.contains(':') && host.parse::<Ipv6Addr>().is_ok() {
        return Err(AddressError::Unbracketed);
    }
    host::dialled(host)
        .map(|()| host)
        .map_err(AddressError::Host)
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_host_port(f, &self.host, self.port)
    }
}

impl fmt::Display for AdvertisedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_host_port(f, &self.host, self.port)
    }
}

fn fmt_host_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_address_prints_as_it_was_read() {
        for text in [
            "kafka-0:9092",
            "10.0.0.1:1",
            "[::1]:65535",
            "broker-1.kafka_svc.ns:9092",
        ] {
            assert_eq!(
                text.parse::<BrokerAddress>().map(|a| a.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn a_malformed_broker_address_names_what_is_wrong() {
        let cases = [
            ("kafka-0", AddressError::NoPort),
            ("kafka-0:", AddressError::BadPort),
            ("kafka-0:0", AddressError::BadPort),
            ("kafka-0:65536", AddressError::BadPort),
            (":9092", AddressError::NoHost),
            ("::1:9092", AddressError::Unbracketed),
            (
                "kafka 0:9092",
                AddressError::Host(HostError::Character(' ')),
            ),
            ("kafka..svc:9092", AddressError::Host(HostError::EmptyLabel)),
            ("[kafka]:9092", AddressError::Bracketed),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<BrokerAddress>(), Err(error), "{text}");
        }
    }
}
