//! `narrows config --strimzi`: the listeners that Strimzi has to have for TLS that passes through
//! Narrows.
//!
//! Inside of TLS no address can be rewritten, so the brokers themselves have to advertise Narrows'
//! names and to have them in their certificates. Strimzi does both for a listener of type
//! `cluster-ip` with overrides.

use crate::address::{Scheme, SniScheme};
use crate::app::Settings;
use crate::listener::ListenerSettings;
use crate::session::ListenerTls;
use std::fmt::Write;

/// Strimzi's usual port for a TLS listener that isn't its internal one.
const PORT: u16 = 9094;

/// Strimzi's names have at most so many letters and digits (`^[a-z0-9]{1,11}$`).
const NAME_CHARS_MAX: usize = 11;

/// The listeners as YAML, for `spec.kafka.listeners`; `None` when no TLS passes through.
pub(super) fn listeners(settings: &Settings) -> Option<String> {
    let through =
        settings
            .listeners
            .iter()
            .filter_map(|listener| match (&listener.tls, &listener.scheme) {
                (Some(ListenerTls::Passthrough { broker_port }), Scheme::Sni(names)) => {
                    Some(yaml(listener, names, *broker_port))
                }
                _ => None,
            });
    let all: Vec<_> = through.collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

fn yaml(listener: &ListenerSettings, names: &SniScheme, broker_port: Option<u16>) -> String {
    let port = broker_port.unwrap_or(PORT);
    let own = &listener.name;
    let cluster = &listener.cluster;
    let mut text = format!(
        "# Narrows' listener {own}: add this to spec.kafka.listeners of the Kafka resource behind \
         cluster {cluster},\n\
         # with the authentication that clients need.\n"
    );
    if broker_port.is_none() {
        text += &format!("# Then set listeners.{own}.tls.broker_port: {port}\n");
    }
    if port < 9092 || matches!(port, 9404 | 9999) {
        text += "# Strimzi takes ports from 9092 on, without 9404 and 9999: choose another \
                 tls.broker_port.\n";
    }
    // Writing to a text can't fail.
    let _ = write!(
        text,
        "- name: {}\n  port: {port}\n  type: cluster-ip\n  tls: true\n  configuration:\n    \
         bootstrap:\n      \
         alternativeNames:\n        - \"{}\"\n",
        name(&own.0),
        names.bootstrap_host(),
    );
    text + &brokers(names)
}

fn brokers(names: &SniScheme) -> String {
    let port = names.advertised_port();
    let Some(node_ids) = names.node_ids() else {
        let template = names
            .pattern()
            .replace(crate::address::sni::PLACEHOLDER, "{nodeId}");
        return format!(
            "    # Strimzi 1.0.0 and newer; with an older one, list node_ids and print this \
             again.\n    \
             advertisedHostTemplate: \"{template}\"\n    advertisedPortTemplate: \"{port}\"\n"
        );
    };
    let broker = |node| {
        let host = names.broker_host(node);
        format!(
            "      - broker: {node}\n        advertisedHost: \"{host}\"\n        advertisedPort: \
             {port}\n"
        )
    };
    "    brokers:\n".to_owned() + &node_ids.iter().map(broker).collect::<String>()
}

fn name(own: &str) -> String {
    let name = own.to_ascii_lowercase();
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .take(NAME_CHARS_MAX)
        .collect()
}
