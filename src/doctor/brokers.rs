//! Every advertised broker as a client would meet it: does its name resolve, can it be reached, is
//! it the one that was meant?

use super::reach::Reach;
use super::steps::{enter, topology};
use super::{Code, Report, Stage, Trouble, identify};
use crate::auth::Credentials;
use crate::net::resolve;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::{self, AdvertisedBroker, Topology};
use crate::protocol::own_requests;
use crate::types::{BrokerAddress, NodeId};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How many are looked at at once.
const AT_ONCE: usize = 16;
/// How many are looked at: a cluster has a few hundred at the most.
const BROKERS_MAX: usize = 1_000;
/// What Narrows puts in the place of a broker for which it has no address.
const NARROWS_PLACEHOLDER: &str = ".narrows.invalid";

/// What was found at one broker.
pub(super) struct Visit {
    /// How far it went, as the end of a sentence; empty when nothing answered.
    seen: String,
    troubles: Vec<(Severity, Trouble)>,
    /// Whether it says that it is the broker that is meant; `None` when it can't tell.
    confirmed: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Warning,
    Problem,
}

/// Looks at all of them; the bootstrap server was reached at `bootstrap`.
pub(super) async fn examine(
    credentials: Option<&Credentials>,
    reach: &Reach,
    bootstrap: SocketAddr,
    topology: &Topology,
    report: &mut Report,
) {
    let brokers = topology.brokers.iter().take(BROKERS_MAX);
    let visits = brokers.map(|broker| visit(credentials, reach, bootstrap, topology, broker));
    let visits: Vec<_> = futures_util::stream::iter(visits)
        .buffered(AT_ONCE)
        .collect()
        .await;
    for shared in shared(topology) {
        let mut nodes = topology.brokers.iter().zip(&visits);
        let is_told_apart = nodes.all(|(broker, visit)| {
            !shared.nodes.contains(&broker.node) || visit.confirmed == Some(true)
        });
        let text = shared.text();
        if is_told_apart {
            report.fine(
                Stage::Broker,
                format!("{text}, and each confirms its node id there"),
            );
        } else if identify::is_narrows(reach, &shared.address).await {
            let text = format!("{text}, where Narrows tells them apart by what is asked");
            report.fine(Stage::Broker, text);
        } else {
            let trouble = Trouble::new(Code::BROKERS_SHARE_ADDRESS, text);
            report.problem(Stage::Broker, &trouble);
        }
    }
    for (broker, visit) in topology.brokers.iter().zip(visits) {
        let is_fine = visit.troubles.is_empty();
        for (severity, trouble) in &visit.troubles {
            match severity {
                Severity::Warning => report.warn(Stage::Broker, trouble),
                Severity::Problem => report.problem(Stage::Broker, trouble),
            }
        }
        if is_fine {
            report.fine(Stage::Broker, format!("{} {}", told(broker), visit.seen));
        }
    }
}

/// Several nodes at one host and port: whoever dials it can't choose between them, unless what
/// listens there is told which one is meant, or finds it out, as Narrows with scheme `single`.
struct Shared {
    address: BrokerAddress,
    nodes: Vec<NodeId>,
}

impl Shared {
    fn text(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        let nodes = nodes.join(", ");
        let nodes = Shown::name(&nodes);
        format!("brokers {nodes} all advertise {}", self.address)
    }
}

fn shared(topology: &Topology) -> Vec<Shared> {
    let mut at: BTreeMap<BrokerAddress, Vec<NodeId>> = BTreeMap::new();
    for broker in &topology.brokers {
        // What can't be dialled is told of each.
        let Ok(mut address) = address(broker) else {
            continue;
        };
        address.host = address.host.to_ascii_lowercase().into();
        at.entry(address).or_default().push(broker.node);
    }
    let all = at
        .into_iter()
        .map(|(address, nodes)| Shared { address, nodes });
    all.filter(|shared| shared.nodes.len() > 1).collect()
}

fn told(broker: &AdvertisedBroker) -> String {
    let (node, port) = (broker.node, broker.port);
    format!("broker {node} at {}:{port}", Shown::name(&broker.host))
}

/// The address of a broker, if it can be dialled.
pub(super) fn address(broker: &AdvertisedBroker) -> Result<BrokerAddress, Trouble> {
    let host = &broker.host;
    let text = match host.contains(':') {
        true => format!("[{host}]:{}", broker.port),
        false => format!("{host}:{}", broker.port),
    };
    let parsed = text.parse::<BrokerAddress>();
    parsed.map_err(|error| {
        let fact = format!("{} can't be dialled ({error})", told(broker));
        Trouble::new(Code::BROKER_ADDRESS_INVALID, fact)
    })
}

async fn visit(
    credentials: Option<&Credentials>,
    reach: &Reach,
    bootstrap: SocketAddr,
    cluster: &Topology,
    broker: &AdvertisedBroker,
) -> Visit {
    let stopped = |trouble| Visit {
        seen: String::new(),
        troubles: vec![(Severity::Problem, trouble)],
        confirmed: None,
    };
    let host = broker.host.to_ascii_lowercase();
    if host.trim_end_matches('.').ends_with(NARROWS_PLACEHOLDER) {
        let fact = format!("Narrows has no address for broker {}", broker.node);
        return stopped(Trouble::new(Code::BROKER_NOT_IN_NODE_IDS, fact));
    }
    let address = match address(broker) {
        Ok(address) => address,
        Err(trouble) => return stopped(trouble),
    };
    let resolved = match resolve::resolve(&address, reach.dns_timeout()).await {
        Ok(resolved) => resolved,
        Err(error) => {
            let fact = format!("{}: that name has no address here ({error})", told(broker));
            return stopped(Trouble::new(Code::BROKER_DNS_NOT_FOUND, fact));
        }
    };
    let elsewhere = leads_elsewhere(bootstrap.ip(), broker, &resolved);
    match meet(credentials, reach, &address, cluster, broker).await {
        // It can be reached from here all the same: by a VPN, say.
        Ok(confirmed) => Visit {
            seen: match confirmed {
                Some(_) => "answers, and confirms its node id".to_owned(),
                None => "answers; brokers before 4.4 don't confirm their node id".to_owned(),
            },
            confirmed,
            troubles: elsewhere
                .map(|trouble| (Severity::Warning, trouble))
                .into_iter()
                .collect(),
        },
        // Why it can't be reached says the address better than what failed there.
        Err(trouble) => stopped(elsewhere.unwrap_or(trouble)),
    }
}

/// An address that is another one for everybody else.
fn leads_elsewhere(
    bootstrap: IpAddr,
    broker: &AdvertisedBroker,
    resolved: &[SocketAddr],
) -> Option<Trouble> {
    let addresses = || resolved.iter().map(SocketAddr::ip);
    let listed: Vec<_> = addresses().map(|address| address.to_string()).collect();
    let listed = listed.join(", ");
    let broker = told(broker);
    if addresses().all(|address| address.is_loopback()) && !bootstrap.is_loopback() {
        let fact = format!("{broker} leads every client to its own machine ({listed})");
        return Some(Trouble::new(Code::BROKER_LOOPBACK_ADDRESS, fact));
    }
    if addresses().all(is_private) && is_public(bootstrap) {
        let fact = format!("{broker} is at a private address ({listed}), the bootstrap is public");
        return Some(Trouble::new(Code::BROKER_PRIVATE_ADDRESS, fact));
    }
    None
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is shared by providers and used inside of clouds (RFC 6598).
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn is_public(address: IpAddr) -> bool {
    !is_private(address) && !address.is_loopback() && !address.is_unspecified()
}

/// Connects, and asks who is there: whether it confirms to be the one that is meant.
///
/// That question comes first, as clients of Kafka 4.4 ask it: before a login, brokers answer
/// ApiVersions once and no second time, and a proxy may go by it.
async fn meet(
    credentials: Option<&Credentials>,
    reach: &Reach,
    address: &BrokerAddress,
    cluster: &Topology,
    broker: &AdvertisedBroker,
) -> Result<Option<bool>, Trouble> {
    let of_broker = |trouble: Trouble| of_broker(broker, trouble);
    let mut reached = reach.open(address).await.map_err(of_broker)?;
    let name = reach.name.as_bytes();
    let request = match &cluster.cluster_id {
        Some(id) => own_requests::identity_request(name, id, broker.node),
        None => doctor_requests::versions_request(name),
    };
    let confirmed = match reach.ask(&mut reached.stream, &request).await {
        Ok(answer) => own_requests::read_identity(&answer),
        Err(error) => {
            let trouble = reach.unanswered(address, error.into()).await;
            return Err(of_broker(trouble));
        }
    };
    let confirmed = confirmed.filter(|_| cluster.cluster_id.is_some());
    if confirmed == Some(false) {
        let fact = format!("{} is not that broker, it says", told(broker));
        return Err(Trouble::new(Code::BROKER_WRONG_NODE, fact));
    }
    if let Some(credentials) = credentials {
        let entered = enter(reach, address, &mut reached, credentials).await;
        entered.map_err(of_broker)?;
    }
    let seen = topology(reach, address, &mut reached.stream, None).await;
    let seen = seen.map_err(of_broker)?;
    if seen.cluster_id != cluster.cluster_id {
        let id = seen.cluster_id.as_deref().unwrap_or("none");
        let id = Shown::name(id).to_string();
        let fact = format!("{} belongs to another cluster ({id})", told(broker));
        return Err(Trouble::new(Code::BROKER_WRONG_CLUSTER, fact));
    }
    Ok(confirmed)
}

/// The same trouble, told of a broker that clients are sent to.
fn of_broker(broker: &AdvertisedBroker, trouble: Trouble) -> Trouble {
    let code = match trouble.code {
        Code::DNS_NOT_FOUND | Code::DNS_TIMEOUT => Code::BROKER_DNS_NOT_FOUND,
        Code::CONNECT_REFUSED
        | Code::CONNECT_TIMEOUT
        | Code::CONNECT_UNREACHABLE
        | Code::CONNECT_FAILED => Code::BROKER_UNREACHABLE,
        Code::CLOSED | Code::SILENT => Code::BROKER_CLOSED,
        code => code,
    };
    Trouble::new(code, format!("broker {}: {}", broker.node, trouble.fact))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(node: i32, host: &str, port: i32) -> AdvertisedBroker {
        AdvertisedBroker {
            node: NodeId(node),
            host: host.to_owned(),
            port,
            rack: None,
        }
    }

    #[test]
    fn brokers_that_share_an_address_are_named_together() {
        let brokers = [(1, "kafka", 9092), (2, "KAFKA", 9092), (3, "kafka", 9093)];
        let brokers = brokers.map(|(node, host, port)| broker(node, host, port));
        let topology = Topology {
            brokers: brokers.into(),
            ..Topology::default()
        };
        let shared: Vec<_> = shared(&topology).iter().map(Shared::text).collect();
        assert_eq!(shared, ["brokers 1, 2 all advertise kafka:9092"]);
    }

    #[test]
    fn an_address_that_leads_others_elsewhere_is_seen_by_where_the_bootstrap_is() {
        let code = |bootstrap: &str, address: &str| {
            let resolved = [SocketAddr::new(address.parse().unwrap(), 9092)];
            let bootstrap = bootstrap.parse().unwrap();
            let trouble = leads_elsewhere(bootstrap, &broker(1, "kafka", 9092), &resolved);
            trouble.map(|trouble| trouble.code)
        };
        assert_eq!(
            code("203.0.113.1", "10.0.0.1"),
            Some(Code::BROKER_PRIVATE_ADDRESS)
        );
        assert_eq!(
            code("203.0.113.1", "100.64.0.1"),
            Some(Code::BROKER_PRIVATE_ADDRESS)
        );
        assert_eq!(
            code("2001:db8::1", "fd00::1"),
            Some(Code::BROKER_PRIVATE_ADDRESS)
        );
        assert_eq!(
            code("10.0.0.9", "127.0.0.1"),
            Some(Code::BROKER_LOOPBACK_ADDRESS)
        );
        assert_eq!(code("10.0.0.9", "10.0.0.1"), None);
        assert_eq!(code("203.0.113.1", "203.0.113.2"), None);
        assert_eq!(code("127.0.0.1", "127.0.0.1"), None);
    }

    #[test]
    fn a_host_that_is_no_host_is_not_dialled() {
        for (host, port) in [("", 9092), ("a b", 9092), ("kafka", 0), ("kafka", 70_000)] {
            let error = address(&broker(1, host, port)).unwrap_err();
            assert_eq!(error.code, Code::BROKER_ADDRESS_INVALID, "{host}:{port}");
        }
        assert_eq!(
            address(&broker(1, "::1", 1)).unwrap().to_string(),
            "[::1]:1"
        );
    }
}
