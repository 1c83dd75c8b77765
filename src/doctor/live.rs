//! `narrows check --live`: whether what Narrows is configured for is there, from where it runs.
//!
//! Each cluster's bootstrap servers and brokers are asked as Narrows asks them, with the same code
//! and the same deadlines; then the [`host`] is looked at. Where brokers demand a login, Narrows
//! has none of its own, and so their list can't be asked for.

use super::diagnosis::unresolved;
use super::reach::{Reach, Reached};
use super::steps::{certificate, is_controller, software, topology};
use super::{Code, Report, Stage, Trouble, brokers, host, login};
use crate::address::Advertised;
use crate::app::Settings;
use crate::cluster::ClusterSettings;
use crate::listener::ListenerSettings;
use crate::net::resolve;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::Topology;
use crate::types::BrokerAddress;

/// A report for each cluster, and one for this machine.
pub async fn live(settings: &Settings, progress: &(dyn Fn(&str) + Sync)) -> Vec<Report> {
    let mut reports = Vec::new();
    for cluster in &settings.clusters {
        let mut report = Report {
            subject: format!("cluster {}", cluster.name),
            ..Report::default()
        };
        let listeners = settings.listeners.iter();
        let listeners = listeners.filter(|listener| listener.cluster == cluster.name);
        let listeners: Vec<_> = listeners.collect();
        examine(cluster, &listeners, progress, &mut report).await;
        reports.push(report);
    }
    progress("looking at this machine");
    reports.push(host::examine(settings));
    reports
}

async fn examine(
    cluster: &ClusterSettings,
    listeners: &[&ListenerSettings],
    progress: &(dyn Fn(&str) + Sync),
    report: &mut Report,
) {
    let reach = Reach::of_cluster(cluster);
    let mut first = None;
    let mut failed = Vec::new();
    for server in &cluster.bootstrap_servers {
        progress(&format!("asking {server}"));
        match bootstrap(&reach, server, report).await {
            Ok(reached) => first = first.or(Some((server, reached))),
            Err(trouble) => failed.push(trouble),
        }
    }
    // One that answers is enough to run; the others are missed when it fails.
    for trouble in failed {
        let stage = Stage::of(&trouble);
        match first {
            Some(_) => report.warn(stage, &trouble),
            None => report.problem(stage, &trouble),
        }
    }
    let Some((server, reached)) = first else {
        return;
    };
    let (stage, trouble) = match describe(cluster, &reach, server, reached, report).await {
        Ok(None) => return,
        Ok(Some((peer, topology))) => {
            unmapped(listeners, &topology, report);
            progress(&format!("looking at {} brokers", topology.brokers.len()));
            let dialled = dialled(cluster, &topology);
            brokers::examine(None, &reach, peer, &dialled, report).await;
            report.topology = Some(topology);
            return;
        }
        Err(stop) => stop,
    };
    report.problem(stage, &trouble);
}

/// Resolves and greets one bootstrap server.
async fn bootstrap(
    reach: &Reach,
    server: &BrokerAddress,
    report: &mut Report,
) -> Result<Reached, Trouble> {
    let timeout = reach.dns_timeout();
    let resolved = resolve::resolve(server, timeout).await;
    resolved.map_err(|error| unresolved(server, &error))?;
    if let Some(domain) = search_domain(reach, server).await {
        let fact = format!(
            "{} has an address only as {}.{domain}",
            server.host, server.host
        );
        report.warn(Stage::Resolve, &Trouble::new(Code::DNS_SEARCH_DOMAIN, fact));
    }
    let (reached, offered) = reach.greet(server).await?;
    if is_controller(&offered) {
        let fact = format!("{server} is a KRaft controller, not a broker");
        return Err(Trouble::new(Code::SPEAKS_CONTROLLER, fact));
    }
    report.fine(Stage::Connect, format!("{server} ({})", reached.peer));
    certificate(&reached.stream, report);
    report.fine(Stage::Versions, software(&offered));
    Ok(reached)
}

/// Where the resolver of this machine looks for search domains.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// As many as resolvers take.
const DOMAINS_MAX: usize = 6;

/// The search domain without which the name has no address; `None` if it needs none.
async fn search_domain(reach: &Reach, server: &BrokerAddress) -> Option<String> {
    if server.host.parse::<std::net::IpAddr>().is_ok() || server.host.ends_with('.') {
        return None;
    }
    let is_there = async |host: String| {
        let address = BrokerAddress {
            host: host.into(),
            port: server.port,
        };
        resolve::resolve(&address, reach.dns_timeout())
            .await
            .is_ok()
    };
    if is_there(format!("{}.", server.host)).await {
        return None;
    }
    let text = std::fs::read_to_string(RESOLV_CONF).ok()?;
    for domain in search_domains(&text).take(DOMAINS_MAX) {
        if is_there(format!("{}.{domain}.", server.host)).await {
            return Some(domain.to_owned());
        }
    }
    None
}

/// Of several lines, resolvers take the last.
fn search_domains(text: &str) -> impl Iterator<Item = &str> {
    let said = |line: &&str| line.starts_with("search") || line.starts_with("domain");
    let line = text.lines().rfind(said).unwrap_or("");
    line.split_ascii_whitespace().skip(1)
}

type Described = Option<(std::net::SocketAddr, Topology)>;

/// The cluster's id and brokers; `None` where only clients may ask.
async fn describe(
    cluster: &ClusterSettings,
    reach: &Reach,
    server: &BrokerAddress,
    mut reached: Reached,
    report: &mut Report,
) -> Result<Described, (Stage, Trouble)> {
    let topology = match topology(reach, server, &mut reached.stream, None).await {
        Ok(topology) => topology,
        Err(trouble) => {
            let demanded = login::demanded(reach, server, &trouble).await;
            let offered = demanded.ok_or((Stage::Metadata, trouble))?;
            let text = format!(
                "a login is demanded ({offered}), which Narrows leaves to clients: brokers can't \
                 be looked at from here; `narrows doctor --sasl` through a listener can"
            );
            report.fine(Stage::Sasl, text);
            return Ok(None);
        }
    };
    report.fine(Stage::Sasl, "no login is demanded");
    let id = topology.cluster_id.as_deref().unwrap_or("none");
    let shown = Shown::name(id).to_string();
    if let Some(pinned) = cluster.cluster_id.as_deref().filter(|pinned| *pinned != id) {
        let fact = format!("{server} belongs to cluster {shown}, and {pinned} is pinned");
        return Err((
            Stage::Metadata,
            Trouble::new(Code::CLUSTER_ID_MISMATCH, fact),
        ));
    }
    let count = topology.brokers.len();
    if count == 0 {
        let fact = format!("{server} says that its cluster has no brokers");
        return Err((Stage::Metadata, Trouble::new(Code::NO_BROKERS, fact)));
    }
    report.fine(Stage::Metadata, format!("cluster {shown}, {count} brokers"));
    Ok(Some((reached.peer, topology)))
}

/// The brokers at the addresses where Narrows dials them: what the operator says
/// (`clusters.NAME.broker_address`) counts before what they advertise.
fn dialled(cluster: &ClusterSettings, topology: &Topology) -> Topology {
    let mut dialled = topology.clone();
    for broker in &mut dialled.brokers {
        let rule = cluster.broker_address.as_ref();
        if let Some(address) = rule.and_then(|rule| rule.address(broker.node)) {
            broker.host = address.host.to_string();
            broker.port = address.port.into();
        }
    }
    dialled
}

/// Brokers for which a listener has no address.
fn unmapped(listeners: &[&ListenerSettings], topology: &Topology, report: &mut Report) {
    for listener in listeners {
        let nodes = topology.brokers.iter().map(|broker| broker.node);
        let is_unmapped = |node| matches!(listener.scheme.advertise(node), Advertised::Unmapped(_));
        let missing: Vec<_> = nodes
            .filter(|node| is_unmapped(*node))
            .map(|node| node.to_string())
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let missing = Shown::name(&missing);
            let fact = format!(
                "listener {} has no address for broker {missing}",
                listener.name
            );
            let trouble = Trouble::new(Code::BROKER_NOT_IN_NODE_IDS, fact);
            report.problem(Stage::Broker, &trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_are_those_of_the_last_line_that_names_any() {
        let text = "nameserver 10.0.0.10\nsearch old\n\
                    search ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let domains: Vec<_> = search_domains(text).collect();
        assert_eq!(domains, ["ns.svc.cluster.local", "svc.cluster.local"]);
        assert_eq!(search_domains("nameserver ::1\n").count(), 0);
    }
}
