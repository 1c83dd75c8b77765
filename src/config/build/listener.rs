//! Assembles one listener: where it listens, how its brokers are told apart, and what comes in
//! front of Kafka's bytes.

use super::tls;
use crate::address::port::PortSchemeError;
use crate::address::single::SingleSchemeError;
use crate::address::sni::{PLACEHOLDER, SniSchemeError};
use crate::address::{NodeIdRanges, PortScheme, Scheme, SingleScheme, SniScheme};
use crate::config::keys::{self, Key};
use crate::config::parse::{self, SchemeKind};
use crate::config::problem::Fault;
use crate::config::reader::Reader;
use crate::listener::ListenerSettings;
use crate::listener::{ProxyMode, ProxyProtocol};
use crate::types::likeness::guess;
use crate::types::{ClusterName, ListenerName};
use std::net::SocketAddr;

/// The listener called `name`; `None` when a problem with it has been noted.
pub(super) fn settings(
    reader: &mut Reader,
    name: &str,
    clusters: &[String],
) -> Option<ListenerSettings> {
    let cluster = cluster_of(reader, name, clusters);
    let bind = reader.one(&keys::BIND, name, parse::bind);
    // With a scheme that isn't known, nothing can be said about the keys that belong to one.
    let kind = reader.one(&keys::SCHEME, name, parse::scheme);
    let scheme = kind.and_then(|kind| match kind {
        SchemeKind::Port => port_scheme(reader, name, bind),
        SchemeKind::Sni => sni_scheme(reader, name, bind),
        SchemeKind::Single => single_scheme(reader, name, bind),
    });
    let tls = tls::of_listener(reader, name, kind);
    let proxy_protocol = proxy_protocol(reader, name);
    let connections_max = reader.optional(
        &keys::LISTENER_CONNECTIONS_MAX,
        name,
        parse::integer::<usize>(keys::LISTENER_CONNECTIONS_MAX.kind.integers()),
    );
    Some(ListenerSettings {
        name: ListenerName(name.into()),
        cluster: cluster?,
        scheme: scheme?,
        proxy_protocol: proxy_protocol?,
        tls: tls?,
        connections_max: connections_max?,
    })
}

fn port_scheme(reader: &mut Reader, name: &str, bind: Option<SocketAddr>) -> Option<Scheme> {
    let host = reader.one(&keys::ADVERTISED_HOST, name, parse::advertised_host);
    let next_port = bind.map(|bind| bind.port().saturating_add(1));
    let first_port = reader.derived(
        &keys::FIRST_PORT,
        name,
        parse::integer::<u16>(keys::FIRST_PORT.kind.integers()),
        next_port,
    );
    let node_ids = node_ids(reader, name, Some(NodeIdRanges::default()));
    let offset = reader.integer(&keys::ADVERTISED_PORT_OFFSET, name);
    let own = foreign(
        reader,
        name,
        &[
            keys::BOOTSTRAP_HOST,
            keys::BROKER_HOST,
            keys::ADVERTISED_PORT,
        ],
        "sni",
    );
    match PortScheme::new(bind?, first_port?, node_ids??, host?, offset?) {
        Ok(scheme) => own.map(|()| Scheme::Port(scheme)),
        Err(error) => {
            let key = match &error {
                PortSchemeError::PortsEnd { .. } | PortSchemeError::BootstrapClash { .. } => {
                    &keys::FIRST_PORT
                }
                PortSchemeError::Offset { .. } => &keys::ADVERTISED_PORT_OFFSET,
            };
            let cure = "choose one that leaves every port between 1 and 65535";
            reader.wrong(key, name, Fault::from_error(&error, cure));
            None
        }
    }
}

fn sni_scheme(reader: &mut Reader, name: &str, bind: Option<SocketAddr>) -> Option<Scheme> {
    let ports = [keys::ADVERTISED_HOST, keys::FIRST_PORT];
    let own = foreign(reader, name, &ports, "port");
    let node_ids = node_ids(reader, name, None);
    let no_offset = foreign(reader, name, &[keys::ADVERTISED_PORT_OFFSET], "port");
    let bootstrap_host = reader.one(&keys::BOOTSTRAP_HOST, name, parse::text);
    let broker_host = reader.one(&keys::BROKER_HOST, name, parse::text);
    let advertised_port = advertised_port(reader, name, bind);
    let scheme = |bootstrap: &str, broker: &str| {
        SniScheme::new(
            bind?,
            bootstrap,
            broker,
            advertised_port?,
            node_ids.clone()?,
        )
        .into()
    };
    // Each name by itself, so that what is wrong with either is told; then both together.
    let bootstrap = bootstrap_host
        .as_deref()
        .and_then(|host| scheme(host, "{node_id}.narrows.invalid"));
    let broker = broker_host
        .as_deref()
        .and_then(|host| scheme("narrows.invalid", host));
    let mut is_right = true;
    for error in [bootstrap, broker]
        .into_iter()
        .flatten()
        .filter_map(Result::err)
    {
        reader.wrong(
            blamed(&error),
            name,
            Fault::from_error(&error, "write a DNS name"),
        );
        is_right = false;
    }
    match scheme(&bootstrap_host?, &broker_host?)? {
        Ok(scheme) => own.and(no_offset).map(|()| Scheme::Sni(scheme)),
        Err(error) => {
            if is_right {
                reader.wrong(
                    blamed(&error),
                    name,
                    Fault::from_error(&error, "choose another name"),
                );
            }
            None
        }
    }
}

fn single_scheme(reader: &mut Reader, name: &str, bind: Option<SocketAddr>) -> Option<Scheme> {
    let names = [keys::BOOTSTRAP_HOST, keys::BROKER_HOST];
    let no_names = foreign(reader, name, &names, "sni");
    let ports = [
        keys::FIRST_PORT,
        keys::NODE_IDS,
        keys::ADVERTISED_PORT_OFFSET,
    ];
    let no_ports = foreign(reader, name, &ports, "port");
    // What is right for a name is right for a pattern with a node id in it.
    let host = |text: &str| match text.contains(PLACEHOLDER) {
        true => parse::advertised_host(&text.replace(PLACEHOLDER, "0")).map(|_| text.into()),
        false => parse::advertised_host(text),
    };
    let host = reader.one(&keys::ADVERTISED_HOST, name, host);
    let advertised_port = advertised_port(reader, name, bind);
    match SingleScheme::new(bind?, &host?, advertised_port?) {
        Ok(scheme) => no_names.and(no_ports).map(|()| Scheme::Single(scheme)),
        Err(error) => {
            let key = match error {
                SingleSchemeError::Placeholder(_) => &keys::ADVERTISED_HOST,
                SingleSchemeError::AdvertisedPort => &keys::ADVERTISED_PORT,
            };
            let cure = "write it as in b{node_id}.kafka.example.com, or as one name";
            reader.wrong(key, name, Fault::from_error(&error, cure));
            None
        }
    }
}

/// The port that clients dial, where one stands for all brokers.
fn advertised_port(reader: &mut Reader, name: &str, bind: Option<SocketAddr>) -> Option<u16> {
    let port = parse::integer::<u16>(keys::ADVERTISED_PORT.kind.integers());
    let bound = bind.map(|bind| bind.port());
    reader.derived(&keys::ADVERTISED_PORT, name, port, bound)
}

fn blamed(error: &SniSchemeError) -> &'static Key {
    match error {
        SniSchemeError::BootstrapHost(_) | SniSchemeError::BootstrapClash { .. } => {
            &keys::BOOTSTRAP_HOST
        }
        SniSchemeError::BrokerHost(_) | SniSchemeError::Placeholder(_) => &keys::BROKER_HOST,
        SniSchemeError::AdvertisedPort => &keys::ADVERTISED_PORT,
    }
}

/// `Some(default)` when nobody sets them.
fn node_ids(
    reader: &mut Reader,
    name: &str,
    default: Option<NodeIdRanges>,
) -> Option<Option<NodeIdRanges>> {
    if let (false, Some(default)) = (reader.is_set(&keys::NODE_IDS, name), &default) {
        let items = vec![default.to_string()];
        reader.note_derived(&keys::NODE_IDS, name, items, "0-19 with scheme port");
        return Some(Some(default.clone()));
    }
    reader.optional_many(&keys::NODE_IDS, name, parse::node_ids)
}

/// Refuses the keys of another scheme.
fn foreign(reader: &mut Reader, name: &str, theirs: &[Key], scheme: &str) -> Option<()> {
    let why = format!("it belongs to scheme {scheme}, which is not the scheme here");
    let cure = format!("remove it, or write `scheme: {scheme}`");
    let all: Vec<_> = theirs
        .iter()
        .map(|key| reader.foreign(key, name, &why, &cure))
        .collect();
    all.into_iter().collect()
}

fn proxy_protocol(reader: &mut Reader, name: &str) -> Option<ProxyProtocol> {
    let mode = reader.one(&keys::PROXY_PROTOCOL_MODE, name, parse::proxy_mode);
    let trusted = reader.optional_many(&keys::PROXY_PROTOCOL_TRUSTED, name, parse::networks);
    let mode = mode?;
    let trusted = trusted?;
    if mode != ProxyMode::Off && trusted.is_none() {
        let reason = "it is missing: without it anyone could send a header and claim any address";
        let cure = "list the networks of the load balancers: [10.0.0.0/8]";
        reader.wrong(
            &keys::PROXY_PROTOCOL_TRUSTED,
            name,
            Fault::new(reason, cure),
        );
        return None;
    }
    Some(ProxyProtocol {
        mode,
        trusted: trusted.unwrap_or_default(),
    })
}

fn cluster_of(reader: &mut Reader, name: &str, clusters: &[String]) -> Option<ClusterName> {
    let only = match clusters {
        [only] => Some(only.clone()),
        _ => None,
    };
    let had_problem = clusters.is_empty();
    let exists = |text: &str| match clusters.iter().any(|cluster| cluster == text) {
        // Without any cluster that is the problem, and it has been told.
        is_known if is_known || had_problem => Ok(text.to_owned()),
        _ => {
            let near = guess(text, clusters.iter().map(String::as_str));
            let cure = format!("{near}the clusters are {}", clusters.join(", "));
            Err(Fault::new(format!("there is no cluster {text}"), cure))
        }
    };
    if only.is_none() && !had_problem && !reader.is_set(&keys::CLUSTER, name) {
        let reason = format!(
            "it is missing, and there are {} clusters to choose from",
            clusters.len()
        );
        reader.wrong(
            &keys::CLUSTER,
            name,
            Fault::new(reason, format!("write one of {}", clusters.join(", "))),
        );
        return None;
    }
    reader
        .derived(&keys::CLUSTER, name, exists, only)
        .map(|cluster| ClusterName(cluster.as_str().into()))
}
