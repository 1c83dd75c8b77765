//! Looks at all listeners and the admin port together: no two may want the same port, unless the
//! names of scheme sni tell them apart, and none may be a bootstrap server of its own cluster.

use super::keys::{self, Key};
use super::problem::Fault;
use super::reader::Reader;
use crate::address::Scheme;
use crate::admin::AdminSettings;
use crate::cluster::ClusterSettings;
use crate::listener::ListenerSettings;
use crate::types::{BrokerAddress, Target};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How many ports of a clash are told one by one.
const PORTS_TOLD_MAX: usize = 4;

/// Notes every clash, one problem for each two owners.
pub(super) fn check(
    reader: &mut Reader,
    listeners: &[ListenerSettings],
    admin: Option<AdminSettings>,
    clusters: &[ClusterSettings],
) {
    let owners = owners(listeners, admin);
    for (index, second) in listeners.iter().enumerate() {
        for first in &listeners[..index] {
            shared(reader, first, second);
        }
    }
    for ((first, second), ports) in clashes(&owners) {
        let first = &owners[first];
        let second = &owners[second];
        reader.wrong(second.key, &second.name, clash(first, &ports));
    }
    // Of whichever cluster a listener is: no socket of Narrows' own is ever dialled.
    for cluster in clusters {
        let dialled = owners.iter().find_map(|owner| {
            let mut servers = cluster.bootstrap_servers.iter();
            servers
                .find(|server| owner.is_dialled_by(server))
                .map(|server| (owner, server))
        });
        if let Some((owner, server)) = dialled {
            let reason = format!(
                "{server} is {} itself: Narrows would dial itself",
                owner.title
            );
            let cure = "name the brokers' own addresses, or bind another port";
            reader.wrong(
                &keys::BOOTSTRAP_SERVERS,
                &cluster.name.0,
                Fault::new(reason, cure),
            );
        }
    }
}

/// Looks at two listeners that may be on one port, since names tell them apart.
fn shared(reader: &mut Reader, first: &ListenerSettings, second: &ListenerSettings) {
    let (Scheme::Sni(first_names), Scheme::Sni(second_names)) = (&first.scheme, &second.scheme)
    else {
        return;
    };
    if first_names.bind() != second_names.bind() {
        return;
    }
    let name = &second.name.0;
    if let Some(host) = first_names.clash(second_names) {
        let reason = format!(
            "listener {} is on the same port and uses {host} as well",
            first.name
        );
        let fault = Fault::new(
            reason,
            "choose other names (bootstrap_host, broker_host), or another bind",
        );
        reader.wrong(&keys::BROKER_HOST, name, fault);
    }
    if first.proxy_protocol != second.proxy_protocol {
        let reason = format!(
            "listener {} is on the same port with another proxy_protocol, which is read before any \
             name",
            first.name
        );
        let fault = Fault::new(
            reason,
            "write the same mode and the same networks for both, or another bind",
        );
        reader.wrong(&keys::PROXY_PROTOCOL_MODE, name, fault);
    }
}

/// A listener or the admin port, and the ports that it binds.
struct Owner {
    key: &'static Key,
    name: String,
    title: String,
    ports: Vec<(SocketAddr, String)>,
    /// Names tell apart whose a connection is.
    is_named: bool,
}

/// A port that two bind, and what for.
struct Clash {
    port: u16,
    first: String,
    second: String,
}

fn owners(listeners: &[ListenerSettings], admin: Option<AdminSettings>) -> Vec<Owner> {
    let listener = |listener: &ListenerSettings| {
        let role = |target: Option<Target>| {
            target.map_or("brokers by name".to_owned(), |target| target.to_string())
        };
        listener
            .scheme
            .binds()
            .into_iter()
            .map(|bind| (bind.address, role(bind.target)))
            .collect()
    };
    let listeners = listeners.iter().map(|settings| Owner {
        key: &keys::BIND,
        name: settings.name.to_string(),
        title: format!("listener {}", settings.name),
        ports: listener(settings),
        is_named: matches!(settings.scheme, Scheme::Sni(_)),
    });
    let admin = admin.map(|admin| Owner {
        key: &keys::ADMIN_BIND,
        name: String::new(),
        title: "the admin port".to_owned(),
        ports: vec![(admin.bind, "admin".to_owned())],
        is_named: false,
    });
    listeners.chain(admin).collect()
}

fn clashes(owners: &[Owner]) -> BTreeMap<(usize, usize), Vec<Clash>> {
    let mut by_port: BTreeMap<u16, Vec<(usize, IpAddr, &str)>> = BTreeMap::new();
    for (owner, wanted) in owners.iter().enumerate() {
        for (address, role) in &wanted.ports {
            by_port
                .entry(address.port())
                .or_default()
                .push((owner, address.ip(), role));
        }
    }
    let mut clashes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (port, wanted) in by_port {
        for (index, (second, second_ip, second_role)) in wanted.iter().enumerate() {
            for (first, first_ip, first_role) in &wanted[..index] {
                let is_shared =
                    first_ip == second_ip && owners[*first].is_named && owners[*second].is_named;
                if !is_shared && overlap(*first_ip, *second_ip) {
                    let clash = Clash {
                        port,
                        first: (*first_role).to_owned(),
                        second: (*second_role).to_owned(),
                    };
                    clashes.entry((*first, *second)).or_default().push(clash);
                }
            }
        }
    }
    clashes
}

/// Whether one host can't listen at both on the same port. `[::]` takes IPv4 too, as Linux has it
/// by default.
fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let covers =
        |wild: IpAddr, other: IpAddr| wild.is_unspecified() && (wild.is_ipv6() || other.is_ipv4());
    a.to_canonical() == b.to_canonical() || covers(a, b) || covers(b, a)
}

fn clash(first: &Owner, ports: &[Clash]) -> Fault {
    let told: Vec<_> = ports
        .iter()
        .take(PORTS_TOLD_MAX)
        .map(|clash| {
            format!(
                "{} ({} here, {} there)",
                clash.port, clash.second, clash.first
            )
        })
        .collect();
    let more = match ports.len().saturating_sub(PORTS_TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let reason = match ports {
        [only] => format!(
            "port {} is used by {} as well: {} here, {} there",
            only.port, first.title, only.second, only.first
        ),
        _ => format!(
            "{} ports are used by {} as well: {}{more}",
            ports.len(),
            first.title,
            told.join(", ")
        ),
    };
    Fault::new(
        reason,
        "move one of them (bind, first_port, node_ids), or bind each to an IP address of its own",
    )
}

impl Owner {
    /// Whether `server` is surely one of these addresses. Another name may lead here as well, but
    /// names are not resolved now.
    fn is_dialled_by(&self, server: &BrokerAddress) -> bool {
        let ip = match &*server.host {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            host => host.parse::<IpAddr>().ok(),
        };
        let Some(ip) = ip else { return false };
        self.ports.iter().any(|(address, _)| {
            let is_same_host =
                address.ip() == ip || (ip.is_loopback() && overlap(address.ip(), ip));
            address.port() == server.port && is_same_host
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_overlaps_with_every_address_of_its_family() {
        let overlap = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        for (a, b, both) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0", "10.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("::", "::1", true),
            ("::", "10.0.0.1", true),
            ("::", "0.0.0.0", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(overlap(a, b), both, "{a} and {b}");
            assert_eq!(overlap(b, a), both, "{b} and {a}");
        }
    }
}
