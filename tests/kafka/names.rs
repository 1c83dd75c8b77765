//! The names that TLS clients know. They stand in `/etc/hosts` of the clients' namespace alone, all
//! at Narrows' address: who hands one to Narrows expects the answer from Narrows, and Narrows
//! itself can't resolve them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::namespaces::{NARROWS_FOR_CLIENTS, NODE_IDS, broker_ip};

/// TLS ends at Narrows, which goes on in plaintext.
pub(crate) const TO_PLAIN: &str = "a";
/// TLS with client certificates ends at Narrows, which goes on with a certificate of its own.
pub(crate) const TO_MTLS: &str = "b";
/// As [`TO_PLAIN`], to the brokers' SASL listener.
pub(crate) const TO_SASL: &str = "sasl";
/// TLS goes through Narrows, which has no key for it; the brokers themselves advertise these names.
pub(crate) const PASSTHROUGH: &str = "pass";
/// As [`TO_PLAIN`], with another port in the answers than the one that Narrows listens on.
pub(crate) const ELSEWHERE: &str = "elsewhere";
/// Brokers that show a certificate for another host.
pub(crate) const TO_WRONG_NAME: &str = "wrong-name";
/// Brokers that show a certificate that has expired; not named so, as the tests look for that word
/// in the log.
pub(crate) const TO_EXPIRED: &str = "stale";
/// Nobody's, until a test adds it to a configuration.
pub(crate) const ADDED: &str = "added";

/// Plaintext, on one port that says nothing about the broker.
pub(crate) const SINGLE: &str = "single";

const DOMAINS: [&str; 9] = [
    TO_PLAIN,
    TO_MTLS,
    TO_SASL,
    PASSTHROUGH,
    ELSEWHERE,
    TO_WRONG_NAME,
    TO_EXPIRED,
    ADDED,
    SINGLE,
];

/// The name in bootstrap.servers.
pub(crate) fn bootstrap(domain: &str) -> String {
    format!("bootstrap.{domain}.kafka.test")
}

/// The name of a broker.
pub(crate) fn broker(domain: &str, node_id: u8) -> String {
    pattern(domain).replace("{node_id}", &node_id.to_string())
}

/// The names of all brokers, as Narrows' configuration has them.
pub(crate) fn pattern(domain: &str) -> String {
    format!("broker-{{node_id}}.{domain}.kafka.test")
}

/// All of these, as a certificate has them.
pub(crate) fn any(domain: &str) -> String {
    format!("*.{domain}.kafka.test")
}

/// What metadata may show: node id to host and port.
pub(crate) fn brokers(domain: &str, port: u16) -> BTreeMap<i64, (String, u16)> {
    NODE_IDS
        .map(|id| (i64::from(id), (broker(domain, id), port)))
        .into()
}

/// The clients' view: all names at Narrows.
pub(crate) fn of_narrows() -> Vec<(String, Ipv4Addr)> {
    let all = |domain| {
        NODE_IDS
            .map(|id| broker(domain, id))
            .into_iter()
            .chain([bootstrap(domain)])
    };
    DOMAINS
        .into_iter()
        .flat_map(all)
        .map(|name| (name, NARROWS_FOR_CLIENTS))
        .collect()
}

/// The view in direct mode: the names that brokers advertise themselves, each at its broker.
pub(crate) fn of_brokers() -> Vec<(String, Ipv4Addr)> {
    let brokers = NODE_IDS.map(|id| (broker(PASSTHROUGH, id), broker_ip(id)));
    brokers
        .into_iter()
        .chain([(bootstrap(PASSTHROUGH), broker_ip(1))])
        .collect()
}
