//! The brokers' TLS listeners: the same on every broker, each with one thread, as little passes
//! through them.

use std::fmt::Write as _;

use crate::brokers::{PASSWORD, USER, ports};
use crate::names;
use crate::namespaces::{Namespaces, broker_ip};
use crate::pki::{Shown, clients_authority, keystore};

struct TlsListener {
    name: &'static str,
    port: u16,
    protocol: &'static str,
    shown: Shown,
    client_auth: &'static str,
}

const fn listener(
    name: &'static str,
    port: u16,
    shown: Shown,
    client_auth: &'static str,
) -> TlsListener {
    TlsListener {
        name,
        port,
        protocol: "SSL",
        shown,
        client_auth,
    }
}

const LISTENERS: [TlsListener; 6] = [
    listener("TLS", ports::TLS, Shown::Sound, "requested"),
    TlsListener {
        protocol: "SASL_SSL",
        ..listener("SASL_TLS", ports::SASL_TLS, Shown::Sound, "none")
    },
    listener("MTLS", ports::MTLS, Shown::Sound, "required"),
    listener("PASSTHROUGH", ports::PASSTHROUGH, Shown::Sound, "required"),
    listener("WRONG_NAME", ports::WRONG_NAME, Shown::WrongName, "none"),
    listener("EXPIRED", ports::EXPIRED, Shown::Expired, "none"),
];

/// For `listeners`.
pub(crate) fn binds(node_id: u8) -> String {
    join(|listener| {
        format!(
            "{}://{}:{}",
            listener.name,
            broker_ip(node_id),
            listener.port
        )
    })
}

/// For `advertised.listeners`: a broker itself must know the names under which clients reach it
/// past Narrows' hands.
pub(crate) fn advertised(node_id: u8) -> String {
    join(|listener| {
        let host = match listener.port {
            ports::PASSTHROUGH => names::broker(names::PASSTHROUGH, node_id),
            _ => broker_ip(node_id).to_string(),
        };
        format!("{}://{host}:{}", listener.name, listener.port)
    })
}

/// For `listener.security.protocol.map`.
pub(crate) fn protocols() -> String {
    join(|listener| format!("{}:{}", listener.name, listener.protocol))
}

/// Their own properties, line by line.
pub(crate) fn properties(namespaces: &Namespaces, node_id: u8) -> String {
    let mut text = String::new();
    for listener in &LISTENERS {
        let mut property = |key: &str, value: &str| {
            // A String takes whatever is written to it.
            let _ = writeln!(
                text,
                "listener.name.{}.{key}={value}",
                listener.name.to_lowercase()
            );
        };
        property("num.network.threads", "1");
        property("ssl.keystore.type", "PEM");
        property(
            "ssl.keystore.location",
            &keystore(namespaces, node_id, listener.shown)
                .display()
                .to_string(),
        );
        property("ssl.truststore.type", "PEM");
        property(
            "ssl.truststore.location",
            &clients_authority(namespaces).display().to_string(),
        );
        property("ssl.client.auth", listener.client_auth);
        if listener.protocol == "SASL_SSL" {
            let module = "org.apache.kafka.common.security";
            property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256");
            property(
                "plain.sasl.jaas.config",
                &format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
            );
            property(
                "scram-sha-256.sasl.jaas.config",
                &format!("{module}.scram.ScramLoginModule required;"),
            );
        }
    }
    text
}

fn join(entry: impl Fn(&TlsListener) -> String) -> String {
    LISTENERS.iter().map(entry).collect::<Vec<_>>().join(",")
}
