//! Dials a broker: the addresses of its name in a [race](super::race), each with a deadline of its
//! own, and speaks TLS where the cluster does.

use super::race::{Race, in_order};
use crate::net::buffer::BufferPool;
use crate::net::own_sockets::OwnSockets;
use crate::net::stream::Stream;
use crate::net::tls::{ClientTls, HandshakeError, TlsStream};
use crate::net::{resolve, socket};
use crate::types::BrokerAddress;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Deadlines of each stage on the way to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialSettings {
    /// For one name resolution.
    pub dns_timeout: Duration,
    /// For one TCP connect, and for the TLS handshake behind it; every resolved address gets its
    /// own.
    pub connect_timeout: Duration,
    /// For Narrows' own requests on a new connection.
    pub probe_timeout: Duration,
}

/// Why a broker could not be dialled.
#[derive(Debug)]
pub(crate) struct DialError {
    /// The address as configured or learned.
    pub(crate) address: BrokerAddress,
    /// The name resolution's error, or each address with its own.
    pub(crate) failure: DialFailure,
}

/// The stage at which dialling failed.
#[derive(Debug)]
pub(crate) enum DialFailure {
    /// The name has no address.
    Resolve(io::Error),
    /// It leads back to a socket of Narrows itself.
    RoutingLoop(SocketAddr),
    /// None of the addresses answered.
    Connect(Vec<(SocketAddr, Refusal)>),
}

/// Why there is no connection to one address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No TCP connection.
    #[error("{0}")]
    Tcp(#[from] io::Error),
    /// The TLS handshake failed: nothing is sent to whoever is there.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] HandshakeError),
    /// The TLS handshake did not come to an end.
    #[error("the TLS handshake did not end within {0:?} (connect_timeout)")]
    TlsTimeout(Duration),
}

/// How the connections to a cluster's brokers are secured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    /// TLS, unless they are plaintext.
    pub(crate) tls: Option<ClientTls>,
    /// Where its buffers come from.
    pub(crate) buffers: BufferPool,
}

impl DialError {
    /// Whether Narrows would have dialled itself.
    pub(crate) fn is_routing_loop(&self) -> bool {
        matches!(self.failure, DialFailure::RoutingLoop(_))
    }

    /// Whether there was no address left to try.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(&self.failure, DialFailure::Connect(attempts) if attempts.is_empty())
    }

    /// Every address that was tried.
    pub(crate) fn peers(&self) -> impl Iterator<Item = SocketAddr> {
        let attempts = match &self.failure {
            DialFailure::Connect(attempts) => &attempts[..],
            DialFailure::Resolve(_) | DialFailure::RoutingLoop(_) => &[],
        };
        attempts.iter().map(|(peer, _)| *peer)
    }

    /// Every code that there is.
    pub(crate) const CODES: [&'static str; 7] = [
        "dns",
        "routing_loop",
        "refused",
        "timeout",
        "unreachable",
        "other",
        "tls",
    ];

    /// A code for the metric: a closed set.
    pub(crate) fn code(&self) -> &'static str {
        match &self.failure {
            DialFailure::Resolve(_) => "dns",
            DialFailure::RoutingLoop(_) => "routing_loop",
            DialFailure::Connect(attempts) => match attempts.last().map(|(_, refusal)| refusal) {
                Some(Refusal::Tcp(error)) => match error.kind() {
                    io::ErrorKind::ConnectionRefused => "refused",
                    io::ErrorKind::TimedOut => "timeout",
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                        "unreachable"
                    }
                    _ => "other",
                },
                Some(Refusal::Tls(_) | Refusal::TlsTimeout(_)) => "tls",
                None => "other",
            },
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            DialFailure::Resolve(error) => {
                write!(
                    f,
                    "{} can't be resolved ({error}): check the name, and the DNS search domains \
                     here",
                    self.address
                )
            }
            DialFailure::RoutingLoop(peer) => {
                write!(
                    f,
                    "{} is {peer}, where Narrows itself listens: let the cluster's \
                     bootstrap_servers be a listener of the brokers that advertises their own \
                     addresses (advertised.listeners)",
                    self.address
                )
            }
            DialFailure::Connect(attempts) => {
                write!(f, "{} can't be reached:", self.address)?;
                attempts
                    .iter()
                    .try_for_each(|(address, error)| write!(f, " {address}: {error};"))?;
                let is_tls = |(_, refusal): &(_, Refusal)| !matches!(refusal, Refusal::Tcp(_));
                if attempts.iter().any(is_tls) {
                    return Ok(());
                }
                f.write_str(" is the broker up, and does the network let Narrows through?")
            }
        }
    }
}

impl std::error::Error for DialError {}

/// Resolves and dials, but nothing that leads back to a socket of Narrows. Returns the stream with
/// its options set, and whom it reached. For a single dial; see [`Dialler`](super::Dialler).
pub(crate) async fn dial(
    address: &BrokerAddress,
    settings: &DialSettings,
    security: &Security,
    own: &OwnSockets,
) -> Result<(Stream, SocketAddr), DialError> {
    let resolved = resolve::resolve(address, settings.dns_timeout).await;
    let found = resolved.map_err(|error| failed(address, DialFailure::Resolve(error)))?;
    let mut dead = Vec::new();
    connect_any(
        address,
        found,
        |_| false,
        settings,
        security,
        own,
        &mut dead,
    )
    .await
}

pub(super) fn failed(address: &BrokerAddress, failure: DialFailure) -> DialError {
    DialError {
        address: address.clone(),
        failure,
    }
}

/// Dials the addresses that were `found` for `address`, those that are known to be dead last, and
/// notes in `dead` which did not answer.
pub(super) async fn connect_any(
    address: &BrokerAddress,
    mut found: Vec<SocketAddr>,
    is_dead: impl Fn(SocketAddr) -> bool,
    settings: &DialSettings,
    security: &Security,
    own: &OwnSockets,
    dead: &mut Vec<SocketAddr>,
) -> Result<(Stream, SocketAddr), DialError> {
    let first = found.first().copied();
    found.retain(|peer| !own.leads_back(*peer));
    if let (Some(peer), true) = (first, found.is_empty()) {
        return Err(failed(address, DialFailure::RoutingLoop(peer)));
    }
    let mut race = Race::new(in_order(found, is_dead), settings.connect_timeout);
    let mut attempts = Vec::new();
    while let Some((peer, connected)) = race.next().await {
        let secured = match connected {
            Ok(tcp) => secure(tcp, &address.host, settings.connect_timeout, security).await,
            Err(error) => Err(error.into()),
        };
        match secured {
            Ok(stream) => {
                dead.extend(race.overtaken());
                return Ok((stream, peer));
            }
            Err(refusal) => {
                dead.push(peer);
                attempts.push((peer, refusal));
            }
        }
    }
    Err(failed(address, DialFailure::Connect(attempts)))
}

async fn secure(
    tcp: TcpStream,
    host: &str,
    timeout: Duration,
    security: &Security,
) -> Result<Stream, Refusal> {
    socket::tune(&tcp)?;
    let Some(tls) = &security.tls else {
        return Ok(Stream::Plain(tcp));
    };
    let handshake = TlsStream::connect(tcp, host, tls, &security.buffers);
    let shaken = tokio::time::timeout(timeout, handshake).await;
    let stream = shaken.map_err(|_| Refusal::TlsTimeout(timeout))??;
    Ok(Stream::Tls(Box::new(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const SETTINGS: DialSettings = DialSettings {
        dns_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(5),
    };

    async fn dial_any(address: &BrokerAddress) -> Result<(Stream, SocketAddr), DialError> {
        dial(
            address,
            &SETTINGS,
            &Security::default(),
            &OwnSockets::default(),
        )
        .await
    }

    #[tokio::test]
    async fn an_own_socket_is_not_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let own = OwnSockets::default();
        own.set([peer].into());
        let address: BrokerAddress = peer.to_string().parse().unwrap();
        let error = dial(&address, &SETTINGS, &Security::default(), &own)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.is_routing_loop()),
            ("routing_loop", true)
        );
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_refused_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: BrokerAddress = listener.local_addr().unwrap().to_string().parse().unwrap();
        assert!(dial_any(&address).await.is_ok());
        drop(listener);
        let error = dial_any(&address).await.unwrap_err();
        assert_eq!(error.code(), "refused");
        assert!(
            error
                .to_string()
                .starts_with(&format!("{address} can't be reached: {address}: ")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_failure() {
        let address = BrokerAddress {
            host: "no-such-host.invalid".into(),
            port: 9092,
        };
        let error = dial_any(&address).await.unwrap_err();
        assert_eq!(error.code(), "dns");
        assert!(
            error
                .to_string()
                .starts_with("no-such-host.invalid:9092 can't be resolved"),
            "{error}"
        );
    }
}
