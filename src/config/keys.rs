//! The one table of configuration keys: name, kind, default, flag and meaning. The readers and
//! their bounds, the defaults, the check for unknown keys, the environment's names, the JSON schema
//! ([`super::schema`]), `config/README.md` and the reference file's test all come from here.
//!
//! A row reads: constant = path, kind, default, flag, meaning.

use super::kind::Kind::{
    self, Bind, BrokerAddresses, Choice, HostPorts, Networks, NodeIds, Path, Paths, Text,
};
use super::kind::{COUNT, DAY, FRAME_BYTES, HOUR, MILLISECOND, SECOND, ZERO, duration, integer};

/// What the names of the environment's variables begin with.
pub(super) const PREFIX: &str = "NARROWS_";

/// One key. `*` in the path stands for a name that the operator chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The levels, joined by dots: `clusters.*.bootstrap_servers`.
    pub path: &'static str,
    /// What its value looks like, and its bounds.
    pub kind: Kind,
    /// What holds when nobody says anything.
    pub fallback: Fallback,
    /// The flag that sets it: `--bind`.
    pub(crate) flag: Option<&'static str>,
    /// One line for people.
    pub(crate) meaning: &'static str,
}

/// What holds when nobody sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read as if it stood in the file.
    Value(&'static str),
    /// It follows from other values, as told here.
    Derived(&'static str),
    /// Nothing, which means what is told here.
    Nothing(&'static str),
    /// Nothing can stand in for it.
    Required,
    /// Nothing can stand in for it with the scheme told here; with another it has no meaning.
    RequiredWith(&'static str),
}

use Fallback::{Derived, Nothing, Required, RequiredWith, Value};

macro_rules! keys {
    ($($name:ident = $path:literal, $kind:expr, $fallback:expr, $flag:expr, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: Key =
            Key { path: $path, kind: $kind, fallback: $fallback, flag: $flag, meaning: $meaning };)*
        /// Every key, in the order of the reference file.
        pub const KEYS: &[Key] = &[$($name),*];
    };
}

keys! {
    BOOTSTRAP_SERVERS = "clusters.*.bootstrap_servers", HostPorts,
        Required, Some("--bootstrap-servers"),
        "The brokers that Narrows asks first, from whom it learns of all others: a list of \
         `host:port`, or one text with commas. Names are resolved at every dial.";
    CLUSTER_ID = "clusters.*.cluster_id", Text,
        Nothing("any cluster"), None,
        "Kafka's own id of the cluster; brokers of any other cluster are refused.";
    BROKER_ADDRESS = "clusters.*.broker_address", BrokerAddresses,
        Nothing("what the brokers advertise"), None,
        "Where brokers are dialled, for brokers that advertise one shared name or one that does \
         not resolve here: a template with `{node_id}`, `{node_id-1}` or `{node_id+100}`, such as \
         `kafka-{node_id}.kafka-svc:9092`, or an address for each node id, `{0: kafka-a:9092, 1: \
         kafka-b:9092}` (as one text `0=kafka-a:9092,1=kafka-b:9092`).";
    METADATA_REFRESH_INTERVAL = "clusters.*.metadata_refresh_interval", duration(SECOND, DAY),
        Value("60s"), None,
        "How often Narrows asks for the list of brokers; varied by up to a fifth.";
    DNS_TIMEOUT = "clusters.*.dns_timeout", duration(MILLISECOND, HOUR),
        Value("12s"), None,
        "The deadline for one name resolution on the way to a broker. Longer than it takes the \
         system's resolver to ask again when a packet is lost: glibc waits 5 s, twice.";
    CONNECT_TIMEOUT = "clusters.*.connect_timeout", duration(MILLISECOND, HOUR),
        Value("5s"), None,
        "The deadline for one TCP connect to a broker; each resolved address has its own, and the \
         next one is tried after 250 ms without an answer.";
    PROBE_TIMEOUT = "clusters.*.probe_timeout", duration(MILLISECOND, HOUR),
        Value("10s"), None,
        "The deadline for the requests that Narrows itself sends on a new broker connection.";

    CLUSTER_TLS_MODE = "clusters.*.tls.mode", Choice(&["on", "off"]),
        Derived("on where another tls key is set, else off"), None,
        "Whether TLS is spoken with the brokers: `on`, `off`.";
    CLUSTER_TLS_CA = "clusters.*.tls.ca", Path,
        Nothing("the platform's authorities"), None,
        "PEM file with the authorities that sign the brokers' certificates; one or several.";
    CLUSTER_TLS_CERTIFICATE = "clusters.*.tls.certificate", Path,
        Nothing("Narrows shows none"), None,
        "PEM file with the certificate that Narrows presents to the brokers, and its chain.";
    CLUSTER_TLS_KEY = "clusters.*.tls.key", Path,
        Nothing("Narrows shows no certificate"), None,
        "PEM file with the key of that certificate; not encrypted.";
    CLUSTER_TLS_SERVER_NAME = "clusters.*.tls.server_name", Text,
        Nothing("the host that is dialled"), None,
        "The name that the brokers' certificates must have.";
    CLUSTER_TLS_VERIFY = "clusters.*.tls.verify", Choice(&["full", "chain", "off"]),
        Value("full"), None,
        "How much of the brokers' certificates is verified: `full`; `chain`, for certificates \
         without subject alternative names: any name will do; or `off`: anyone who can intercept \
         the connection can impersonate a broker.";

    CLUSTER = "listeners.*.cluster", Text,
        Derived("the only cluster"), None,
        "The cluster that the listener leads to; may be left out when there is exactly one.";
    BIND = "listeners.*.bind", Bind,
        Required, Some("--bind"),
        "IP address and port of the bootstrap listener; the broker ports are on the same IP \
         address.";
    SCHEME = "listeners.*.address.scheme", Choice(&["port", "sni", "single"]),
        Value("port"), None,
        "How a client says which broker it wants: with `port` by the broker's own port, with `sni` \
         by its TLS server name on one port, with `single` by what it asks, on one port without \
         TLS or names.";
    ADVERTISED_HOST = "listeners.*.address.advertised_host", Text,
        RequiredWith("port or single"), Some("--advertised-host"),
        "Schemes `port` and `single`: the host that clients dial in place of every broker. With \
         `single` it may have a `{node_id}`, for clients that take equal addresses for one broker: \
         `b{node_id}.kafka.example.com`.";
    FIRST_PORT = "listeners.*.address.first_port", integer(1, 65_535),
        Derived("the port of bind + 1"), Some("--first-port"),
        "Scheme `port`: the port of the first node id; the others follow in the order of \
         `node_ids`.";
    NODE_IDS = "listeners.*.address.node_ids", NodeIds,
        Derived("0-19 with scheme port, all with scheme sni"), Some("--node-ids"),
        "The node ids that have an address: single ids and inclusive ranges, as a list or one \
         text with commas.";
    ADVERTISED_PORT_OFFSET = "listeners.*.address.advertised_port_offset", integer(-65_535, 65_535),
        Value("0"), None,
        "Scheme `port`: what to add to a broker's port to get the port that clients dial, for a \
         load balancer whose ports differ.";
    BOOTSTRAP_HOST = "listeners.*.address.bootstrap_host", Text,
        RequiredWith("sni"), None,
        "Scheme `sni`: the name that clients have in their bootstrap.servers.";
    BROKER_HOST = "listeners.*.address.broker_host", Text,
        RequiredWith("sni"), None,
        "Scheme `sni`: the name of each broker, with one `{node_id}`: \
         `broker-{node_id}.kafka.example.com`.";
    ADVERTISED_PORT = "listeners.*.address.advertised_port", integer(1, 65_535),
        Derived("the port of bind"), None,
        "Schemes `sni` and `single`: the port that clients dial.";

    TLS_MODE = "listeners.*.tls.mode", Choice(&["terminate", "passthrough", "off"]),
        Derived("terminate where a certificate is set, else off"), None,
        "`terminate`: TLS ends at Narrows. `passthrough`: Narrows forwards it unread to the \
         broker; scheme `sni` only. `off`: no TLS.";
    TLS_CERTIFICATE = "listeners.*.tls.certificate", Paths,
        Nothing("no TLS"), None,
        "PEM files with the certificate that clients get, and its chain; of several the one that \
         covers the name that a client asks for.";
    TLS_KEY = "listeners.*.tls.key", Paths,
        Nothing("no TLS"), None,
        "PEM files with the key of each certificate, in the same order; not encrypted.";
    CLIENT_AUTH_MODE = "listeners.*.tls.client_auth.mode",
        Choice(&["none", "requested", "required"]),
        Value("none"), None,
        "Whether clients must present a certificate: `none`, `requested`, `required`.";
    CLIENT_AUTH_CA = "listeners.*.tls.client_auth.ca", Path,
        Nothing("nobody"), None,
        "PEM file with the authorities that sign client certificates; one or several.";
    TLS_BROKER_PORT = "listeners.*.tls.broker_port", integer(1, 65_535),
        Nothing("the port in the broker map"), None,
        "Mode `passthrough`: the port on which the brokers speak TLS.";

    PROXY_PROTOCOL_MODE = "listeners.*.proxy_protocol.mode",
        Choice(&["off", "optional", "required"]),
        Value("off"), None,
        "Whether connections begin with a PROXY protocol header (v1 or v2), which names the \
         client's address: `off`, `optional`, `required`.";
    PROXY_PROTOCOL_TRUSTED = "listeners.*.proxy_protocol.trusted", Networks,
        Nothing("nobody"), None,
        "The networks of the load balancers whose headers are believed: addresses and prefixes \
         (10.0.0.0/8), as a list or one text with commas.";

    LISTENER_CONNECTIONS_MAX = "listeners.*.connections_max", COUNT,
        Nothing("limits.connections_max"), None,
        "How many client connections the listener may have.";

    ADMIN_BIND = "admin.bind", Bind,
        Nothing("no admin port"), Some("--admin-bind"),
        "IP address and port for health, metrics and status.";

    CONNECTIONS_MAX = "limits.connections_max", COUNT,
        Nothing("what the limit of open files allows"), None,
        "How many client connections there may be in all. Each takes two files; 320 are held back \
         for the admin port and Narrows' own needs.";
    CONNECTIONS_PER_SOURCE_MAX = "limits.connections_per_source_max", COUNT,
        Nothing("three quarters of connections_max"), None,
        "How many of them one source may have: an IPv4 address or an IPv6 network of 64 bits, as \
         the PROXY protocol says it.";
    CONNECTIONS_RATE = "limits.connections_rate", COUNT,
        Nothing("any number"), None,
        "How many connections a second all sources together may open, and ten times as many at \
         once. Not limited unless you say so, as brokers don't (max.connection.creation.rate): \
         after a restart all clients come at once, and what that costs is bounded by the other \
         limits, which turn nobody away for being fast.";
    CONNECTIONS_PER_SOURCE_RATE = "limits.connections_per_source_rate", COUNT,
        Nothing("any number"), None,
        "How many connections a second one source may open, and ten times as many at once, since a \
         client dials all brokers together. Not limited unless you say so: everybody behind a NAT \
         is one source, and all come at once when a replica goes.";
    NEWCOMERS_MAX = "limits.newcomers_max", COUNT,
        Nothing("half of connections_max"), None,
        "How many of them may not have sent their first request yet; half of these may be from \
         one source.";
    TLS_HANDSHAKES_WAITING_MAX = "limits.tls_handshakes_waiting_max", COUNT,
        Nothing("1000 for each core"), None,
        "How many TLS handshakes with clients may wait to be computed.";
    FRAME_BYTES_MAX = "limits.frame_bytes_max", FRAME_BYTES,
        Value("100MiB"), None,
        "The largest frame in either direction.";
    SASL_FRAME_BYTES_MAX = "limits.sasl_frame_bytes_max", FRAME_BYTES,
        Value("512KiB"), None,
        "The largest request before a SASL login has succeeded.";
    HELD_RESPONSE_BYTES_MAX = "limits.held_response_bytes_max", FRAME_BYTES,
        Value("4MiB"), None,
        "The most that is held of one response to replace the addresses in it: room for the \
         coordinators of 65,536 groups in one FindCoordinator (an address for each 64 bytes).";
    IN_FLIGHT_REQUESTS_MAX = "limits.in_flight_requests_max", integer(1, 1_000_000),
        Value("10000"), None,
        "How many requests of one connection may await their responses before Narrows stops \
         reading.";
    TLS_HANDSHAKE_TIMEOUT = "limits.tls_handshake_timeout", duration(MILLISECOND, HOUR),
        Value("10s"), None,
        "How long the TLS handshake of a new connection may take, from its accept on.";
    FIRST_FRAME_TIMEOUT = "limits.first_frame_timeout", duration(MILLISECOND, HOUR),
        Value("10m"), None,
        "How long a new connection may take for its first complete frame: as long as brokers let \
         a connection be idle (connections.max.idle.ms), as some clients connect long before they \
         ask.";
    FRAME_PROGRESS_TIMEOUT = "limits.frame_progress_timeout", duration(MILLISECOND, HOUR),
        Value("1m"), None,
        "How long a request or a response that has been begun may stand still, because one side \
         sends no more of it or the other takes no more: twice the time after which clients give \
         a request up (request.timeout.ms). A consumer that stops reading in the middle of a \
         response for longer needs more.";
    CONNECTION_AGE_MAX = "limits.connection_age_max", duration(ZERO, DAY),
        Value("0s"), None,
        "How long a connection may stand, a tenth more or less; `0s`: as long as both sides want. \
         It ends where nothing is in flight, and its client comes again: so clients spread over \
         replicas that came later. Not for TLS that passes through.";
    HALF_CLOSE_TIMEOUT = "limits.half_close_timeout", duration(ZERO, HOUR),
        Value("10s"), None,
        "How long Narrows waits for pending responses after a client has closed its sending side.";

    UNVETTED = "protocol.unvetted", Choice(&["hide", "pass"]),
        Value("hide"), None,
        "API keys and versions newer than Narrows' table: `hide` removes them from ApiVersions, \
         `pass` lets them through unread.";
    DESCRIBE_CONFIGS = "protocol.describe_configs", Choice(&["mask", "pass"]),
        Value("mask"), None,
        "Addresses of brokers and controllers among the values that DescribeConfigs shows \
         (`listeners`, `controller.quorum.voters`, ...): `mask` replaces their bytes by asterisks, \
         `pass` shows them.";

    SPLICE = "relay.splice", Choice(&["auto", "off"]),
        Value("auto"), None,
        "Large requests and record sets pass through the kernel alone where both sides are plain \
         TCP: `auto`, or `off` to copy everything.";

    RELOAD_INTERVAL = "reload.interval", duration(ZERO, HOUR),
        Value("1s"), None,
        "How often the configuration's files, including certificates, are checked for changes; \
         `0s`: only on SIGHUP.";

    DRAIN_DELAY = "drain.delay", duration(ZERO, HOUR),
        Value("0s"), None,
        "How long Narrows is \"not ready\" and still accepts connections, so that a load balancer \
         notices.";
    DRAIN_TIMEOUT = "drain.timeout", duration(ZERO, HOUR),
        Value("30s"), None,
        "How long requests in flight may take after that. Within half of it connections end broker \
         by broker, since some clients give up when all are gone at once: each where everything \
         that its client has sent is answered, for which it has a quarter of this time, 5 seconds \
         at the most, before no further request is begun.";

    LOG_LEVEL = "log.level", Text,
        Value("info"), Some("--log-level"),
        "`off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as \
         `info,narrows::session=debug`. `debug` has a line for each connection and what it goes \
         through, `trace` one for each request and response, without its contents. A reload \
         changes it.";
    LOG_FORMAT = "log.format", Choice(&["auto", "text", "json"]),
        Value("auto"), Some("--log-format"),
        "`text`, `json`, or `auto`: text on a terminal, JSON otherwise.";
}

impl Key {
    /// The levels of the path, with `name` in the place of `*`.
    pub fn at(&self, name: &str) -> Vec<String> {
        self.levels()
            .map(|level| if level == "*" { name } else { level }.to_owned())
            .collect()
    }

    /// The levels of the path.
    pub fn levels(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('.')
    }

    /// The environment variable that sets it, with `name` in the place of `*`.
    pub fn variable(&self, name: &str) -> String {
        format!(
            "{PREFIX}{}",
            self.at(name).join("__").to_uppercase().replace('-', "_")
        )
    }

    /// The default as people read it.
    pub(crate) fn default_text(&self) -> String {
        match self.fallback {
            Value(text) => format!("`{text}`"),
            Derived(how) => how.to_owned(),
            Nothing(meaning) => format!("none: {meaning}"),
            Required => "required".to_owned(),
            RequiredWith(scheme) => format!("required with scheme {scheme}"),
        }
    }
}

/// Which levels may follow `levels`, where `*` stands for any name; empty for a key itself and for
/// what isn't known.
pub(crate) fn children(levels: &[&str]) -> Vec<&'static str> {
    let mut children = Vec::new();
    for key in KEYS {
        let path: Vec<_> = key.levels().collect();
        if path.len() > levels.len()
            && path.starts_with(levels)
            && !children.contains(&path[levels.len()])
        {
            children.push(path[levels.len()]);
        }
    }
    children
}

/// What [`is_name`] takes, its length aside, for the JSON schema; without look-ahead, which Go's
/// expressions lack.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*_?$";

/// The longest name: a DNS label's.
pub(super) const NAME_CHARS_MAX: usize = 63;

/// Whether a cluster or a listener can be called so: the environment and metric labels must be able
/// to say it.
pub(super) fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(legal)
        && !name.contains("__")
}

/// `config/README.md`: every key, by section.
pub fn markdown() -> String {
    let mut page = include_str!("keys.md").to_owned();
    let mut section = "";
    for key in KEYS {
        let (first, _) = key.path.split_once('.').unwrap_or((key.path, ""));
        if first != section {
            section = first;
            page += &format!("\n## {section}\n\n");
            page += "| key | value | default | flag | meaning |\n|---|---|---|---|---|\n";
        }
        let path = key.path.replace('*', "NAME");
        let flag = key.flag.map(|flag| format!("`{flag}`")).unwrap_or_default();
        page += &format!(
            "| `{path}` | {} | {} | {flag} | {} |\n",
            key.kind.text(),
            key.default_text(),
            key.meaning
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_inside_another_one() {
        for key in KEYS {
            let levels: Vec<_> = key.levels().collect();
            assert_eq!(children(&levels), Vec::<&str>::new(), "{}", key.path);
            let same_path = KEYS.iter().filter(|other| other.path == key.path);
            assert_eq!(same_path.count(), 1, "{}", key.path);
        }
    }

    #[test]
    fn a_key_of_a_named_section_is_set_by_a_variable_with_that_name() {
        assert_eq!(
            BOOTSTRAP_SERVERS.variable("orders-eu"),
            "NARROWS_CLUSTERS__ORDERS_EU__BOOTSTRAP_SERVERS"
        );
        assert_eq!(LOG_LEVEL.variable("-"), "NARROWS_LOG__LEVEL");
    }
}
