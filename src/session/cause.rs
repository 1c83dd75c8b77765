//! Why a session ended: one enum with the sentence for the log, the code for the metric, and the
//! side at fault.

use super::first_bytes::{DetectedProtocol, FirstBytes};
use super::watch::{WaitsFor, Way};
use crate::cluster::ConnectError;
use crate::net::hello::HelloError;
use crate::net::proxy_header::HeaderError;
use crate::net::tls::HandshakeError;
use crate::observe::metrics::Limit;
use crate::protocol::wire::Malformed;
use crate::types::{Severity, Target};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

pub(crate) use crate::types::Side;

/// Why a session ended. The text is for the operator: it names the cause and, where it is likely,
/// the cure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The client closed, with nothing in flight.
    #[error("the client closed the connection")]
    ClientClosed,
    /// The broker closed.
    #[error("the broker closed the connection")]
    BrokerClosed,
    /// A connection without a byte, as load balancers open them to see whether the port is alive.
    #[error("the client closed the connection without sending anything, as health checks do")]
    Empty,
    /// The client's socket failed.
    #[error("the connection to the client failed: {0}")]
    ClientFailed(#[source] io::Error),
    /// The broker's socket failed.
    #[error("the connection to the broker failed: {0}")]
    BrokerFailed(#[source] io::Error),
    /// No complete first frame in time.
    #[error("the client sent no complete request within {0:?} (first_frame_timeout)")]
    FirstFrameTimeout(Duration),
    /// The client closed its side, and its pending responses did not come in time.
    #[error(
        "the client closed its side, and its pending responses did not come within {0:?} \
         (half_close_timeout)"
    )]
    HalfCloseTimeout(Duration),
    /// A frame that was begun has stood still for too long.
    #[error("{} for {timeout:?} (limits.frame_progress_timeout)", stalled_text(*.way, *.waits_for))]
    Stalled {
        /// In which direction.
        way: Way,
        /// For whom it waits.
        waits_for: WaitsFor,
        /// The limit.
        timeout: Duration,
    },
    /// A PROXY protocol header, or any connection where one is required, from somebody who is not
    /// trusted to send one.
    #[error(
        "{peer} may not say whose connection this is: it is not in the listener's \
         proxy_protocol.trusted. If it is the load balancer, add its network there; if it is a \
         client, it has found a way around the load balancer"
    )]
    ProxyUntrusted {
        /// Who sent it.
        peer: IpAddr,
    },
    /// No PROXY protocol header where one is required.
    #[error(
        "the connection does not begin with a PROXY protocol header, which this listener \
         requires: switch it on at the load balancer, or set the listener's proxy_protocol.mode \
         to optional ({first})"
    )]
    ProxyHeaderMissing {
        /// What came first.
        first: FirstBytes,
    },
    /// A PROXY protocol header that can't be read.
    #[error("the PROXY protocol header can't be read: {0}")]
    ProxyHeaderMalformed(HeaderError),
    /// Something that no Kafka request begins with.
    #[error("the client does not speak Kafka: what came is {} ({first})", .speech.on_plaintext())]
    NotKafka {
        /// What was probably sent.
        speech: DetectedProtocol,
        /// What came first.
        first: FirstBytes,
    },
    /// No TLS on a port that takes nothing else.
    #[error("this port takes TLS only, and what came is {}{sender} ({first})", .speech.on_tls())]
    NotTls {
        /// What was probably sent.
        speech: DetectedProtocol,
        /// Who sent it, if that could be read.
        sender: String,
        /// What came first.
        first: FirstBytes,
    },
    /// The beginning of a TLS handshake that can't be read.
    #[error("the client's TLS hello can't be read: {0}")]
    HelloMalformed(HelloError),
    /// A TLS hello without a server name, where the name says which broker is meant.
    #[error(
        "the TLS hello has no server name (SNI), and names are all that tells brokers apart on \
         this port: clients lose it when bootstrap.servers holds an IP address or a host without \
         a dot, or with hostname checks off (kafka-python: ssl_check_hostname=False). Names here: \
         {configured}"
    )]
    ServerNameMissing {
        /// What names there are.
        configured: String,
    },
    /// A TLS hello with a server name that nobody has.
    #[error(
        "the TLS hello asks for the server name {came}, which this port does not have. Names \
         here: {configured}; the nearest is {nearest}"
    )]
    ServerNameUnknown {
        /// The name in the hello, safe to print.
        came: String,
        /// What names there are.
        configured: String,
        /// The one that was probably meant.
        nearest: String,
    },
    /// The TLS handshake with the client failed.
    #[error("the TLS handshake with the client failed: {text}")]
    Handshake {
        /// Whether somebody may have to act.
        severity: Severity,
        /// The reason and the cure.
        text: String,
    },
    /// The TLS handshake took too long.
    #[error(
        "the client did not finish its TLS handshake within {0:?} (limits.tls_handshake_timeout)"
    )]
    HandshakeTimeout(Duration),
    /// A request above its limit.
    #[error(
        "the client announced a request of {bytes} bytes, above {limit_name} = {limit}: raise it \
         if that is intended"
    )]
    RequestTooLarge {
        /// The announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// The configuration key of the limit.
        limit_name: &'static str,
    },
    /// A request whose header can't be read.
    #[error("the client sent a malformed request header: {0}")]
    RequestMalformed(Malformed),
    /// A request header that does not end.
    #[error("the client sent a request header of more than {0} bytes")]
    RequestHeaderTooLarge(usize),
    /// An API or version that was not offered.
    #[error("the client used {api} v{version}, which ApiVersions does not offer: {why}")]
    NotOffered {
        /// The API's name or its key.
        api: String,
        /// The version.
        version: i16,
        /// Why it is not offered.
        why: &'static str,
    },
    /// Narrows has reached itself.
    #[error(
        "this is a connection of Narrows to itself: the bootstrap servers, what the brokers \
         advertise or a balancer in between lead back here; let the cluster's bootstrap_servers be \
         a listener of the brokers that advertises their own addresses (advertised.listeners)"
    )]
    RoutingLoop,
    /// A response without a request.
    #[error("the broker sent a response that no request asked for")]
    UnexpectedResponse,
    /// A response to another request.
    #[error("the broker answered correlation id {answered}, but {asked} was next")]
    CorrelationMismatch {
        /// The id in the response.
        answered: i32,
        /// The id of the oldest request in flight.
        asked: i32,
    },
    /// A response whose length can't be.
    #[error("the broker announced a response of {bytes} bytes, but frame_bytes_max is {limit}")]
    ResponseLength {
        /// The announced length.
        bytes: i32,
        /// The limit.
        limit: usize,
    },
    /// A response that carries addresses and can't be read.
    #[error(
        "the broker sent a {api} v{version} response that can't be read ({malformed}): it is not \
         passed on, as it may carry broker addresses"
    )]
    ResponseMalformed {
        /// The API's name.
        api: &'static str,
        /// The version.
        version: i16,
        /// What is wrong with it.
        malformed: Malformed,
    },
    /// A response whose addresses don't fit into the buffer that they are held in.
    #[error(
        "the part of a {api} response that has to be rewritten is larger than {limit} bytes \
         (limits.held_response_bytes_max)"
    )]
    ResponseTooLarge {
        /// The API's name.
        api: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The client has asked for a SASL mechanism that the broker does not have.
    #[error(
        "the broker does not offer the SASL mechanism that the client asked for: set the client's \
         sasl.mechanism to one that it does ({offered}), or enable that mechanism on the broker"
    )]
    SaslMechanismUnsupported {
        /// The mechanisms that the broker has, safe to print.
        offered: String,
    },
    /// The client wants to log in where no login is taken.
    #[error(
        "the client tries to log in (SASL), and the broker's listener takes no login: set the \
         client's security.protocol to PLAINTEXT or SSL, or let the cluster's bootstrap_servers \
         be the brokers' SASL listener"
    )]
    SaslNotExpected,
    /// The broker has refused the client's credentials.
    #[error(
        "the broker refused the client's login (Kafka error {error}): check the user name and the \
         password, or the token, that the client has, and that the broker knows the user"
    )]
    SaslFailed {
        /// Kafka's error code: 58 is SASL_AUTHENTICATION_FAILED.
        error: i16,
    },
    /// The broker has closed in the middle of a login.
    #[error(
        "the broker closed the connection in the middle of the client's login, as it does when it \
         refuses one without a word: look into the broker's log"
    )]
    SaslCutOff,
    /// The broker has closed at the first request, as brokers do that demand a login.
    #[error(
        "the broker closed the connection at the client's first request, as brokers do that \
         demand a login (SASL), and the client sent none: set security.protocol to SASL_PLAINTEXT \
         or SASL_SSL in the client, and its sasl.* settings"
    )]
    LoginMissing,
    /// No connection to the broker.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The broker is not in the cluster any more, or not at this address.
    #[error(
        "{0} has left the cluster or moved to another address; the client finds it by refreshing \
         its metadata"
    )]
    BrokerGone(Target),
    /// A connection went to a bootstrap server in the place of a broker that was not known, and it
    /// was another one.
    #[error(
        "the connection for {0} went to a provisional broker, a bootstrap server, which is another \
         one; the client's next attempt will reach the right one"
    )]
    ProvisionalBrokerWrong(Target),
    /// With scheme `single`, a client has logged in at one broker and means another.
    #[error(
        "the connection is for {0}, and the client has logged in at another broker in a way that \
         can't be said again there (only PLAIN and OAUTHBEARER can): its next attempt is carried \
         straight to {0}"
    )]
    LoginElsewhere(Target),
    /// There are as many connections or handshakes as there may be, or they come too fast.
    #[error("turned away: {}. {}", met_text(*.limit, *.max), cure(*.limit))]
    LimitReached {
        /// What there is too much of.
        limit: Limit,
        /// How many there may be.
        max: usize,
    },
    /// The connection has stood as long as it may.
    #[error("the connection has reached its age (limits.connection_age_max)")]
    AgeReached,
    /// Narrows is going down, and nothing was in flight.
    #[error("Narrows is draining")]
    Drained,
    /// Narrows is going down, and time is up.
    #[error("Narrows stopped before the pending responses came (drain.timeout)")]
    Aborted,
}

impl Cause {
    pub(super) fn stalled(way: Way, waits_for: WaitsFor, timeout: Duration) -> Self {
        Self::Stalled {
            way,
            waits_for,
            timeout,
        }
    }

    /// The cause's code, as in the metric `narrows_connections_closed_total`: a closed set.
    pub(crate) fn code(&self) -> &'static str {
        self.faces().0
    }

    /// Whose doing it was.
    pub(crate) fn side(&self) -> Side {
        self.faces().1
    }

    /// Whether somebody may have to act.
    pub(crate) fn severity(&self) -> Severity {
        self.faces().2
    }

    /// What the client is told before the connection closes, if it speaks a language in which that
    /// can be said. A Kafka client can't be told anything: it would take whatever comes for the
    /// length of a response.
    pub(crate) fn final_bytes(&self) -> &'static [u8] {
        match self {
            Self::NotKafka { speech, .. } | Self::NotTls { speech, .. } => speech.answer(),
            Self::ServerNameMissing { .. } | Self::ServerNameUnknown { .. } => UNRECOGNIZED_NAME,
            _ => b"",
        }
    }

    /// Code, side and severity: the table that the metric and the log level come
    /// from.
    fn faces(&self) -> (&'static str, Side, Severity) {
        use Severity::{Routine, Warning};
        use Side::{Broker, Client, Narrows};
        match self {
            Self::ClientClosed => ("client_closed", Client, Routine),
            Self::BrokerClosed => ("broker_closed", Broker, Routine),
            Self::Empty => ("closed_without_data", Client, Routine),
            Self::ClientFailed(_) => ("client_failed", Client, Routine),
            Self::BrokerFailed(_) => ("broker_failed", Broker, Routine),
            Self::FirstFrameTimeout(_) => ("first_frame_timeout", Client, Routine),
            Self::HalfCloseTimeout(_) => ("half_close_timeout", Client, Routine),
            Self::Stalled { way, waits_for, .. } => match (way, waits_for) {
                (Way::Up, WaitsFor::Sender) | (Way::Down, WaitsFor::Receiver) => {
                    ("client_stalled", Client, Routine)
                }
                (Way::Down, WaitsFor::Sender) | (Way::Up, WaitsFor::Receiver) => {
                    ("broker_stalled", Broker, Warning)
                }
            },
            Self::ProxyUntrusted { .. } => ("proxy_untrusted", Client, Warning),
            Self::ProxyHeaderMissing { .. } => ("proxy_header_missing", Client, Warning),
            Self::ProxyHeaderMalformed(_) => ("proxy_header_malformed", Client, Warning),
            Self::NotKafka {
                speech: DetectedProtocol::Kafka,
                ..
            } => ("not_kafka", Client, Warning),
            Self::NotKafka { speech, .. } => (speech.code(), Client, Warning),
            Self::NotTls {
                speech:
                    DetectedProtocol::Unknown
                    | DetectedProtocol::Text
                    | DetectedProtocol::Binary(_)
                    | DetectedProtocol::TlsAlert
                    | DetectedProtocol::TlsHello,
                ..
            } => ("not_tls", Client, Warning),
            Self::NotTls { speech, .. } => (speech.code(), Client, Warning),
            Self::HelloMalformed(_) => ("tls_hello_malformed", Client, Warning),
            Self::ServerNameMissing { .. } => ("sni_missing", Client, Warning),
            Self::ServerNameUnknown { .. } => ("sni_unknown", Client, Warning),
            Self::Handshake { severity, .. } => ("tls_handshake_failed", Client, *severity),
            Self::SaslMechanismUnsupported { .. } => {
                ("sasl_mechanism_unsupported", Client, Warning)
            }
            Self::SaslNotExpected => ("sasl_not_expected", Client, Warning),
            Self::SaslFailed { .. } => ("sasl_failed", Client, Warning),
            Self::SaslCutOff => ("sasl_cut_off", Broker, Warning),
            Self::LoginMissing => ("login_missing", Client, Warning),
            Self::HandshakeTimeout(_) => ("tls_handshake_timeout", Client, Routine),
            Self::RequestTooLarge { .. } => ("request_too_large", Client, Warning),
            Self::RequestMalformed(_) => ("request_malformed", Client, Warning),
            Self::RequestHeaderTooLarge(_) => ("request_header_too_large", Client, Warning),
            Self::NotOffered { .. } => ("not_offered", Client, Warning),
            Self::RoutingLoop => ("routing_loop", Narrows, Warning),
            Self::UnexpectedResponse => ("unexpected_response", Broker, Warning),
            Self::CorrelationMismatch { .. } => ("correlation_mismatch", Broker, Warning),
            Self::ResponseLength { .. } => ("response_length", Broker, Warning),
            Self::ResponseMalformed { .. } => ("response_malformed", Broker, Warning),
            Self::ResponseTooLarge { .. } => ("response_too_large", Broker, Warning),
            Self::Connect(error) => (error.code(), Broker, Warning),
            Self::BrokerGone(_) => ("broker_gone", Broker, Routine),
            Self::ProvisionalBrokerWrong(_) => ("provisional_broker_wrong", Narrows, Routine),
            Self::LoginElsewhere(_) => ("login_elsewhere", Narrows, Routine),
            Self::LimitReached { limit, .. } => (limit.label(), turned_away_for(*limit), Warning),
            Self::AgeReached => ("age_reached", Narrows, Routine),
            Self::Drained => ("drained", Narrows, Routine),
            Self::Aborted => ("aborted", Narrows, Warning),
        }
    }
}

/// Whose doing it is that a limit is met.
fn turned_away_for(limit: Limit) -> Side {
    match limit {
        Limit::SourceConnections | Limit::SourceRate | Limit::SourceNewcomers => Side::Client,
        Limit::Connections
        | Limit::ListenerConnections
        | Limit::Rate
        | Limit::Newcomers
        | Limit::Handshakes => Side::Narrows,
    }
}

fn met_text(limit: Limit, max: usize) -> String {
    let key = limit.key();
    match limit {
        Limit::Rate => format!(
            "clients open more than {max} connections a second, which {key} allows, and ten times \
             as many at once"
        ),
        Limit::SourceRate => format!(
            "its source opens more than {max} connections a second, which {key} allows, and ten \
             times as many at once"
        ),
        _ => format!("there are {max} already, as many as {key} allows"),
    }
}

/// What to do about a limit that is met.
fn cure(limit: Limit) -> &'static str {
    match limit {
        Limit::Connections => {
            "Raise it and the limit of open files (ulimit -n; a connection needs two), or add \
             replicas"
        }
        Limit::ListenerConnections => "Raise it, or find out who connects so often",
        Limit::SourceConnections => {
            "Clients behind one NAT or load balancer count as one source: raise it, or let the \
             balancer say whose connections they are (the listener's proxy_protocol.mode)"
        }
        Limit::Rate => {
            "After a restart or a failover all clients come at once, and find a place when they \
             try again; at any other time find out what dials so often \
             (narrows_connections_accepted_total by listener), or raise it"
        }
        Limit::SourceRate => {
            "Find out what dials so often: most Kafka clients keep their connections. Clients \
             behind one NAT or load balancer count as one source: raise it, or let the balancer \
             say whose connections they are (the listener's proxy_protocol.mode)"
        }
        Limit::Newcomers | Limit::SourceNewcomers => {
            "These connections have not sent a request yet: find out who opens them, lower \
             limits.first_frame_timeout, or raise it"
        }
        Limit::Handshakes => {
            "More TLS handshakes wait than can be computed before their clients give up: add \
             cores or replicas"
        }
    }
}

fn stalled_text(way: Way, waits_for: WaitsFor) -> &'static str {
    match (way, waits_for) {
        (Way::Up, WaitsFor::Sender) => "the client began a request and sent no more of it",
        (Way::Up, WaitsFor::Receiver) => "the broker took no more of a request",
        (Way::Down, WaitsFor::Sender) => "the broker began a response and sent no more of it",
        (Way::Down, WaitsFor::Receiver) => "the client took no more of a response",
    }
}

/// The alert `unrecognized_name` (RFC 6066, section 3), in the clear: whoever sent a hello
/// understands it.
const UNRECOGNIZED_NAME: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];

impl From<&HandshakeError> for Cause {
    fn from(error: &HandshakeError) -> Self {
        Self::Handshake {
            severity: error.severity(),
            text: error.to_string(),
        }
    }
}
