//! What `narrows check` warns of in where listeners are: hosts that lead clients elsewhere, ports
//! that the system may have given away, and names that may lead back to Narrows.

use crate::address::Scheme;
use crate::app::Settings;
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
    settings.listeners.iter().flat_map(of_listener).collect()
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

/// A bootstrap server with the name and the port of the listener itself. Inside the brokers'
/// network the same name may lead to them, so that this is no mistake for certain.
fn leads_back(settings: &Settings, listener: &ListenerSettings) -> Option<String> {
    let cluster = settings
        .clusters
        .iter()
        .find(|cluster| cluster.name == listener.cluster)?;
    let is_own = |server: &BrokerAddress| {
        let is_port = binds(listener)
            .iter()
            .any(|bind| bind.port() == server.port);
        match &listener.scheme {
            Scheme::Sni(scheme) => {
                let is_port = is_port || scheme.advertised_port() == server.port;
                is_port && scheme.identify(server.host.as_bytes()).is_some()
            }
            Scheme::Single(scheme) => {
                let is_port = is_port || scheme.advertised_port() == server.port;
                let is_host = scheme.bootstrap().host.eq_ignore_ascii_case(&server.host);
                is_port && is_host
            }
            Scheme::Port(_) => {
                let is_host = advertised_host(listener)
                    .is_some_and(|host| host.eq_ignore_ascii_case(&server.host));
                is_port && is_host
            }
        }
    };
    let server = cluster
        .bootstrap_servers
        .iter()
        .find(|server| is_own(server))?;
    Some(format!(
        "bootstrap server {server} of cluster {} has the name and the port that clients dial \
         here; where that name leads to Narrows, it dials itself: name the brokers' own addresses",
        cluster.name
    ))
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
