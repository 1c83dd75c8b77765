//! The table of every metric: names, types, labels and help are public API, since dashboards and
//! alerts depend on them. `config/metrics.md` is made from it (`narrows config --metrics`), and
//! `tests/public_names.txt` holds it against changes that nobody meant.

/// One metric, with all its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, for operators: the help text, too.
    pub(crate) help: &'static str,
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// How often something took how long, in buckets up to these numbers of seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Its word in the text format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// From a small frame that is copied to a response that waits for its rewriting.
pub(super) const ADDED_SECONDS: [f64; 12] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3,
];
/// From a broker in the same rack to a Fetch that waits for records, and a rebalance.
pub(super) const BROKER_SECONDS: [f64; 13] = [
    5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// From a resumed handshake beside the client to a full one across the world.
const HANDSHAKE_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The row of a metric.
pub(super) fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

pub(in crate::observe) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

pub(in crate::observe) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Histogram(buckets),
        labels,
        help,
    }
}

/// Every metric but those of the process itself.
pub static FAMILIES: &[Family] = &[
    counter(
        "narrows_connections_accepted_total",
        &["listener"],
        "Client connections accepted.",
    ),
    gauge(
        "narrows_connections_active",
        &["listener"],
        "Client connections that are open now.",
    ),
    counter(
        "narrows_connections_closed_total",
        &["listener", "cause", "side"],
        "Client connections that ended, by cause, and the side whose doing it was: client, broker \
         or narrows.",
    ),
    counter(
        "narrows_connections_refused_total",
        &["listener", "limit"],
        "Client connections that were turned away, by the limit that was met.",
    ),
    counter(
        "narrows_accept_errors_total",
        &["listener", "reason"],
        "Client connections that could not be accepted, by reason.",
    ),
    gauge(
        "narrows_limit_in_use",
        &["limit"],
        "How many there are of what a limit bounds.",
    ),
    gauge(
        "narrows_limit_max",
        &["limit"],
        "How many there may be of what a limit bounds.",
    ),
    counter(
        "narrows_tls_handshakes_total",
        &["listener", "version", "outcome"],
        "TLS handshakes with clients, by version and outcome: full, resumed, or why they failed.",
    ),
    histogram(
        "narrows_tls_handshake_duration_seconds",
        &HANDSHAKE_SECONDS,
        &["listener"],
        "How long completed TLS handshakes with clients took.",
    ),
    counter(
        "narrows_sasl_logins_total",
        &["listener", "mechanism", "outcome"],
        "Logins of clients that brokers answered, by SASL mechanism and outcome: success, failure, \
         or unsupported, where the broker does not have the mechanism; `other` is a mechanism that \
         Narrows does not know.",
    ),
    counter(
        "narrows_client_connections_total",
        &["listener", "software", "version"],
        "Client connections that said which client library they use, and its version \
         (ApiVersions 3 and newer). After 100 of them, further ones are `other`, and so is a name \
         that no library may have.",
    ),
    counter(
        "narrows_requests_total",
        &["listener", "api"],
        "Requests from clients, by the name of their API; `other` is an API that Narrows does not \
         know.",
    ),
    histogram(
        "narrows_added_duration_seconds",
        &ADDED_SECONDS,
        &["listener", "api"],
        "What Narrows itself adds to a round trip: from the moment at which it has read a \
         request's header to the end of the next write to the broker, plus from the moment at \
         which it has read the beginning of the response to the end of the next write to the \
         client. The broker's time is not in it, however long it lets a Fetch or a JoinGroup wait, \
         nor is the dial before the first request of a connection. A response that is rewritten is \
         held until its addresses have arrived, and that time is in it; so is the wait for a side \
         that takes no bytes. Requests without a response (acks=0) and those of SASL without a \
         header are not measured.",
    ),
    histogram(
        "narrows_broker_duration_seconds",
        &BROKER_SECONDS,
        &["listener", "api"],
        "How long brokers and the network to them took: from the end of the first write of a \
         request to the moment at which the beginning of its response has been read. A large \
         request's own way to the broker is in it, and what brokers wait for on purpose: look at \
         Fetch, ShareFetch, JoinGroup and SyncGroup apart from the rest.",
    ),
    counter(
        "narrows_kafka_errors_total",
        &["listener", "api", "error"],
        "Responses with an error code where Narrows sees it without reading on: the one of the \
         whole response (Fetch, FindCoordinator 0 to 3, of groups and transactions, SASL, \
         ApiVersions), and NOT_LEADER_OR_FOLLOWER of Produce 10, Fetch 16 and newer, which then \
         name the leader. Codes of single partitions and topics are not seen.",
    ),
    counter(
        "narrows_responses_rewritten_total",
        &["listener", "api"],
        "Responses in which broker addresses were replaced.",
    ),
    counter(
        "narrows_bytes_total",
        &["listener", "direction"],
        "Bytes carried, by direction: to_broker, to_client.",
    ),
    counter(
        "narrows_backpressure_seconds_total",
        &["listener", "direction"],
        "How long connections had bytes for a side that took none, by direction: to_broker waits \
         for the broker, to_client for the client. Counted when it takes some again; connections \
         add up.",
    ),
    counter(
        "narrows_bulk_transfers_total",
        &["listener", "mode", "reason"],
        "Runs of 16 KiB and more that Narrows need not look at: spliced by the kernel, or copied, \
         and why: off, tls, no_pipe, small_pipe.",
    ),
    gauge(
        "narrows_pipes",
        &["bytes"],
        "Pipes that Narrows has for splicing, by how many bytes each holds.",
    ),
    gauge(
        "narrows_unmapped_nodes",
        &["listener"],
        "Brokers that clients cannot reach through this listener: their node id is not in \
         node_ids.",
    ),
    counter(
        "narrows_broker_dial_failures_total",
        &["cluster", "node_id", "reason"],
        "Connections to brokers that could not be made, by node id and reason. The node id is \
         `bootstrap` where any broker would do, and `other` behind the first 1,000.",
    ),
    histogram(
        "narrows_broker_dial_duration_seconds",
        &HANDSHAKE_SECONDS,
        &["cluster"],
        "How long it took to reach a broker: the lookup of its name, TCP, and TLS where the \
         cluster speaks it.",
    ),
    counter(
        "narrows_metadata_refreshes_total",
        &["cluster", "outcome"],
        "Attempts to learn the cluster's brokers, by outcome.",
    ),
    gauge(
        "narrows_brokers_known",
        &["cluster"],
        "Brokers of the cluster whose address is known.",
    ),
    gauge(
        "narrows_brokers_sharing_address",
        &["cluster"],
        "Brokers that advertise an address in common and have no other one in broker_address, so \
         that a connection for one may reach another.",
    ),
    gauge(
        "narrows_certificate_not_after_timestamp_seconds",
        &["role", "owner"],
        "When the certificate of a listener or a cluster (role, owner) expires, in Unix time; of \
         several, the first to expire.",
    ),
    counter(
        "narrows_reloads_total",
        &["outcome"],
        "Reloads of the configuration and its files, by outcome: applied, unchanged, refused.",
    ),
    gauge(
        "narrows_last_reload_success",
        &[],
        "1 when the last reload, or the start, was accepted; 0 when it was refused.",
    ),
    gauge(
        "narrows_last_reload_timestamp_seconds",
        &[],
        "When the last reload, or the start, was accepted or refused, in Unix time.",
    ),
    gauge(
        "narrows_build_info",
        &["version", "commit"],
        "The version of Narrows and the commit that it is built from, as labels; always 1.",
    ),
    counter(
        "narrows_log_lines_lost_total",
        &[],
        "Log lines that standard error did not take.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_and_stand_once() {
        let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        for family in FAMILIES {
            let is_counter = family.kind == Kind::Counter;
            assert_eq!(family.name.ends_with("_total"), is_counter, "{family:?}");
            assert!(family.name.starts_with("narrows_"), "{family:?}");
            assert!(family.help.ends_with('.'), "{family:?}");
            if let Kind::Histogram(buckets) = family.kind {
                assert!(family.name.ends_with("_seconds"), "{family:?}");
                assert!(buckets.is_sorted(), "{family:?}");
            }
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
