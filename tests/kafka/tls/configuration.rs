//! Narrows' configuration for TLS: JSON, which is YAML too.

use anyhow::Result;
use serde_json::{Value, json};

use crate::brokers::ports;
use crate::fixture::Fixture;
use crate::names;
use crate::namespaces::{NARROWS_FOR_CLIENTS, broker_ip};
use crate::pki::Identity;

/// The port that clients of [`names::ELSEWHERE`] are told.
pub(crate) const ELSEWHERE_PORT: u16 = 443;

/// All ways that there are, at one port.
pub(crate) fn everything(fixture: &Fixture, port: u16) -> Result<Value> {
    let serve = |domain: &str, cluster: &str| -> Result<Value> {
        Ok(terminating(
            domain,
            cluster,
            port,
            &fixture.pki.serve(domain)?,
        ))
    };
    let mut elsewhere = serve(names::ELSEWHERE, "plain")?;
    elsewhere["address"]["advertised_port"] = ELSEWHERE_PORT.into();
    Ok(json!({
        "clusters": clusters(fixture),
        "listeners": {
            names::TO_PLAIN: serve(names::TO_PLAIN, "plain")?,
            names::TO_MTLS: mutual(fixture, serve(names::TO_MTLS, "mtls")?),
            names::TO_SASL: serve(names::TO_SASL, "sasl")?,
            names::PASSTHROUGH: passing(port),
            names::ELSEWHERE: elsewhere,
            names::TO_WRONG_NAME: serve(names::TO_WRONG_NAME, "wrong-name")?,
            names::TO_EXPIRED: serve(names::TO_EXPIRED, "stale")?,
        },
    }))
}

/// One listener alone, named after its domain, on the clusters that it needs.
pub(crate) fn only(fixture: &Fixture, domain: &str, listener: Value) -> Value {
    let mut clusters = clusters(fixture);
    if let Some(clusters) = clusters.as_object_mut() {
        clusters.retain(|name, _| listener["cluster"] == *name);
    }
    json!({"clusters": clusters, "listeners": {domain: listener}})
}

/// A listener where TLS ends.
pub(crate) fn terminating(domain: &str, cluster: &str, port: u16, identity: &Identity) -> Value {
    json!({
        "cluster": cluster,
        "bind": format!("{NARROWS_FOR_CLIENTS}:{port}"),
        "address": sni(domain),
        "tls": {"certificate": identity.certificate, "key": identity.key},
    })
}

/// The same listener, for clients with a certificate only.
pub(crate) fn mutual(fixture: &Fixture, mut listener: Value) -> Value {
    listener["tls"]["client_auth"] = json!({"mode": "required", "ca": fixture.pki.clients.file});
    listener
}

fn passing(port: u16) -> Value {
    json!({
        "cluster": "plain",
        "bind": format!("{NARROWS_FOR_CLIENTS}:{port}"),
        "address": sni(names::PASSTHROUGH),
        "tls": {"mode": "passthrough", "broker_port": ports::PASSTHROUGH},
    })
}

fn sni(domain: &str) -> Value {
    json!({
        "scheme": "sni",
        "bootstrap_host": names::bootstrap(domain),
        "broker_host": names::pattern(domain),
    })
}

/// Two of the three brokers are named: the third must be learnt.
fn clusters(fixture: &Fixture) -> Value {
    let servers = |port: u16| json!([1, 2].map(|id| format!("{}:{port}", broker_ip(id))));
    let ca = &fixture.pki.brokers.file;
    let own = &fixture.pki.narrows_as_client;
    json!({
        "plain": {"bootstrap_servers": servers(ports::PLAIN)},
        "sasl": {"bootstrap_servers": servers(ports::SASL)},
        "mtls": {
            "bootstrap_servers": servers(ports::MTLS),
            "tls": {"ca": ca, "certificate": own.certificate, "key": own.key},
        },
        "wrong-name": {"bootstrap_servers": servers(ports::WRONG_NAME), "tls": {"ca": ca}},
        "stale": {"bootstrap_servers": servers(ports::EXPIRED), "tls": {"ca": ca}},
    })
}
