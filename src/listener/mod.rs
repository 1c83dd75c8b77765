//! What comes before Kafka: a listener's sockets, and each connection on them until its client is
//! known and speaks Kafka.
//!
//! A socket stands in front of a [binding](Binding), which says whom its connections can be meant
//! for. Each gets a task and a record ([`connection`]) and is opened ([`opening`]): whose it is
//! ([`proxy_protocol`]), whom it is meant for ([`binding`]), and the TLS handshake where TLS ends
//! here. Then it is [`session`](crate::session)'s.

mod binding;
mod carry;
mod connection;
mod limits;
mod opening;
mod proxy_protocol;
mod rate;

pub(crate) use binding::{Binding, BindingState, Identification};
pub use limits::LimitsSettings;
pub(crate) use limits::{Capacity, Limits, descriptors_for, limits_text};
pub use proxy_protocol::{ProxyMode, ProxyProtocol};

use crate::address::Scheme;
use crate::lifecycle::{Stop, Tasks};
use crate::net::passed::PassedSockets;
use crate::observe::metrics::AcceptError;
use crate::observe::throttle::Throttle;
use crate::session::ListenerTls;
use crate::types::{ClusterName, ListenerName};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tracing::warn;

/// After a failed accept: long enough not to spin, short enough that a client does not give up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ACCEPT_WARN_INTERVAL: Duration = Duration::from_secs(10);

/// One listener: an address scheme in front of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name in the configuration.
    pub name: ListenerName,
    /// The cluster that it leads to.
    pub cluster: ClusterName,
    /// Where it listens and what it advertises.
    pub scheme: Scheme,
    /// What becomes of TLS; without it the listener is plaintext.
    pub tls: Option<ListenerTls>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// How many connections it may have; without it, as many as Narrows.
    pub connections_max: Option<usize>,
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "listener {listener} can't bind {address} for {meant_for}: {reason}{}",
    bind_cure(.reason, "move bind or first_port")
)]
pub struct BindError {
    /// The listener's name.
    pub(crate) listener: ListenerName,
    /// The address.
    pub(crate) address: SocketAddr,
    /// Whom connections to it would be meant for.
    pub(crate) meant_for: String,
    /// What the system said.
    pub(crate) reason: io::Error,
}

/// What to do about a socket that can't be bound, in brackets; `instead` is what else can be
/// configured. Empty where nothing is known.
pub(crate) fn bind_cure(error: &io::Error, instead: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(" (another process has this port: stop it, or {instead})")
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE: use a higher port)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            " (this host has no such address: use 0.0.0.0 to listen on all)".to_owned()
        }
        _ if is_exhausted(error) => {
            " (raise the limit of open files, ulimit -n or LimitNOFILE, or \
                                      list fewer node_ids)"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Binds every socket of a listener that `is_new` and was not passed, or says of each that can't be
/// bound why.
pub(crate) fn bind(
    settings: &ListenerSettings,
    is_new: impl Fn(&SocketAddr) -> bool,
    passed: &mut PassedSockets,
) -> Result<Vec<(SocketAddr, TcpListener)>, Vec<BindError>> {
    let mut sockets = Vec::new();
    let mut errors = Vec::new();
    for bind in settings
        .scheme
        .binds()
        .into_iter()
        .filter(|bind| is_new(&bind.address))
    {
        let address = bind.address;
        match passed.listen(address) {
            Ok(socket) => sockets.push((address, socket)),
            Err(reason) => {
                let meant_for = bind
                    .target
                    .map_or_else(|| "all names".to_owned(), |target| target.to_string());
                errors.push(BindError {
                    listener: settings.name.clone(),
                    address,
                    meant_for,
                    reason,
                });
            }
        }
    }
    if errors.is_empty() {
        Ok(sockets)
    } else {
        Err(errors)
    }
}

/// Accepts connections until `accepting` has to stop. Each gets a task among the `sessions`, which
/// stops with `stop`.
pub(crate) async fn accept(
    socket: Arc<TcpListener>,
    binding: Arc<Binding>,
    sessions: Tasks,
    (accepting, stop): (Stop, Stop),
) {
    let mut warnings = Throttle::every(ACCEPT_WARN_INTERVAL);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = accepting.draining() => return,
        };
        let state = binding.state();
        match accepted {
            Ok((client, peer)) => {
                carry::carry(client, peer, state, (&sessions, stop.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {
                state.metrics().accept_error(AcceptError::ClientGone)
            }
            Err(error) => {
                let reason = if is_exhausted(&error) {
                    AcceptError::NoFileDescriptors
                } else {
                    AcceptError::Other
                };
                state.metrics().accept_error(reason);
                if let Some(suppressed) = warnings.admit(Instant::now()) {
                    let bind = state.address;
                    warn!(listener = %state.name(), %bind, suppressed, "can't accept a connection, \
                        trying again: {error}{}", cure(&error));
                }
                // Until something else closes a descriptor there is nothing to be had, and the
                // socket stays readable: without a pause this would spin.
                tokio::select! {
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    () = accepting.draining() => return,
                }
            }
        }
    }
}

/// The client has gone again before it was accepted: nothing is wrong with the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, InvalidInput, NetworkDown,
        NetworkUnreachable, NotConnected,
    };
    // Linux hands errors of the new connection's network to whoever accepts it: accept(2).
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | NotConnected
            | InvalidInput
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
    )
}

/// EMFILE and ENFILE: the process or the machine has no file descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}

fn cure(error: &io::Error) -> &'static str {
    if is_exhausted(error) {
        " (raise the limit of open files, ulimit -n: a client connection needs two)"
    } else {
        ""
    }
}
