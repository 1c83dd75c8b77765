//! What `narrows check` warns of in where listeners are: hosts that lead clients elsewhere, ports
//! that the system may have given away, and names that may lead back to Narrows.

use crate::address::Scheme;
use crate::app::Settings;
use crate::cluster::ClusterSettings;
use crate::listener::ListenerSettings;
use crate::types::BrokerAddress;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// The ports that Linux gives to outgoing connections unless told otherwise
/// (net.ipv4.ip_local_port_range). Who binds one of them starts, or not, by chance.
const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// A sentence for each.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let of_listener = |listener: &ListenerSettings| {
        let found = [
            local_host(listener),
            ephemeral(listener),
            leads_back(settings, listener),
        ];
        let name = listener.name.to_string();
        found
            .into_iter()
            .flatten()
            .map(move |text| format!("listener {name}: {text}"))
    };
    let of_listeners = settings.listeners.iter().flat_map(of_listener);
    unspecified(settings)
        .into_iter()
        .chain(of_listeners)
        .collect()
}

/// `localhost` is another machine for everybody but this one.
fn local_host(listener: &ListenerSettings) -> Option<String> {
    let host = advertised_host(listener)?;
    let bind = binds(listener).first().copied()?;
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (is_local && !bind.ip().is_loopback()).then(|| {
        format!(
            "bind {bind} takes clients of other machines, whom advertised_host {host} leads to \
             their own: advertise a name or an address that leads here, or bind 127.0.0.1:{}",
            bind.port()
        )
    })
}

fn ephemeral(listener: &ListenerSettings) -> Option<String> {
    let ports: Vec<u16> = binds(listener).iter().map(SocketAddr::port).collect();
    let mut within = ports.iter().filter(|port| EPHEMERAL_PORTS.contains(port));
    let first = within.next()?;
    let ports = match within.next_back() {
        Some(last) => format!("ports {first} to {last} are"),
        None => format!("port {first} is"),
    };
    Some(format!(
        "{ports} in the range that Linux takes for outgoing connections ({}-{}), one of which may \
         stand in the way of a start: bind ports below, or reserve these \
         (net.ipv4.ip_local_reserved_ports)",
        EPHEMERAL_PORTS.start(),
        EPHEMERAL_PORTS.end()
    ))
}

/// A bootstrap server, of whichever cluster, with the name and the port of the listener. Inside the
/// brokers' network the same name may lead to them, so that this is no mistake for certain.
fn leads_back(settings: &Settings, listener: &ListenerSettings) -> Option<String> {
    let bootstrap = listener.scheme.bootstrap();
    let is_own = |server: &BrokerAddress| {
        let is_bound = binds(listener)
            .iter()
            .any(|bind| bind.port() == server.port);
        // A balancer may map the port that clients dial.
        let is_port = is_bound || bootstrap.port == server.port;
        let is_name = match &listener.scheme {
            Scheme::Sni(scheme) => scheme.identify(server.host.as_bytes()).is_some(),
            Scheme::Single(_) | Scheme::Port(_) => {
                bootstrap.host.eq_ignore_ascii_case(&server.host)
            }
        };
        is_port && is_name
    };
    let (cluster, server) = settings.clusters.iter().find_map(|cluster| {
        let server = cluster.bootstrap_servers.iter().find(|at| is_own(at))?;
        Some((&cluster.name, server))
    })?;
    Some(format!(
        "bootstrap server {server} of cluster {cluster} has the name and the port that clients \
         dial here; where that name leads to Narrows, it dials itself: name the brokers' own \
         addresses"
    ))
}

/// Servers at the address that stands for all of a machine: to whoever dials it, its own machine.
fn unspecified(settings: &Settings) -> Vec<String> {
    let is_unspecified = |server: &&BrokerAddress| {
        let ip = server.host.parse::<IpAddr>();
        ip.is_ok_and(|ip| ip.is_unspecified())
    };
    let of_cluster = |cluster: &ClusterSettings| {
        let server = cluster.bootstrap_servers.iter().find(is_unspecified)?;
        Some(format!(
            "cluster {}: {server} is where brokers listen, and dialled it is this machine: name \
             the brokers' hosts, or localhost",
            cluster.name
        ))
    };
    settings.clusters.iter().filter_map(of_cluster).collect()
}

/// Scheme port: the host that clients are told.
fn advertised_host(listener: &ListenerSettings) -> Option<String> {
    let Scheme::Port(scheme) = &listener.scheme else {
        return None;
    };
    let node = scheme.node_ids().iter().next()?;
    let advertised = listener.scheme.advertise(node);
    Some(advertised.address().host.to_string())
}

fn binds(listener: &ListenerSettings) -> Vec<SocketAddr> {
    let binds = listener.scheme.binds();
    binds.into_iter().map(|bind| bind.address).collect()
}
