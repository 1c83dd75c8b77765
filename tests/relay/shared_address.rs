//! Brokers that advertise one shared address, and where brokers are dialled if the operator says
//! it.

use crate::broker::{Broker, ClusterState};
use crate::client::Proxy;
use crate::cluster::teach;
use crate::frames::{OFFSET_COMMIT, SASL_HANDSHAKE, header, request};
use crate::samples::{METADATA, Shape, node, response};
use crate::until;
use narrows::cluster::BrokerAddressRule;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Nodes 0 and 1, which both advertise the address of node 0.
async fn two_at_one_address() -> (Broker, Broker, Arc<Mutex<ClusterState>>) {
    let zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    let cluster = zero.cluster.clone();
    cluster.lock().unwrap().nodes = [(0, zero.address), (1, zero.address)].into();
    (zero, one, cluster)
}

fn table(brokers: &[(i32, SocketAddr)]) -> Option<BrokerAddressRule> {
    let lines: Vec<_> = brokers
        .iter()
        .map(|(node, at)| format!("{node}={at}"))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    Some(BrokerAddressRule::parse(&lines).unwrap())
}

const SHARING: &str = "narrows_brokers_sharing_address{cluster=\"orders\"}";

fn marks(proxy: &Proxy) -> Vec<bool> {
    let status = proxy.narrows.status();
    let brokers = status["listeners"][0]["brokers"].as_array().unwrap();
    let marks = brokers.iter().map(|row| row["shares_address"].as_bool());
    marks.map(Option::unwrap).collect()
}

#[tokio::test]
async fn brokers_at_one_address_are_an_error_a_problem_a_number_and_a_mark_until_it_is_over() {
    let (mut zero, one, cluster) = two_at_one_address().await;
    let proxy = Proxy::start(&[&zero]).await;
    proxy.announce("advertise one address");
    assert_eq!(proxy.metric(SHARING), 2);
    assert_eq!(marks(&proxy), [true, true]);
    let problem = proxy.problem("brokers_share_address");
    let text = problem["last"].as_str().unwrap();
    let address = zero.address;
    let begin = format!("2 brokers (0, 1) advertise one address, {address}, so that");
    assert!(text.starts_with(&begin), "{text}");
    for word in ["advertised.listeners", "clusters.orders.broker_address"] {
        assert!(text.contains(word), "{text}");
    }
    let nodes = [(0, zero.address), (1, one.address)];
    cluster.lock().unwrap().nodes = nodes.into();
    teach(&proxy, &mut zero, &nodes).await;
    until("it to be over", || proxy.metric(SHARING) == 0).await;
    assert_eq!(marks(&proxy), [false, false]);
    assert!(proxy.problem("brokers_share_address").is_null());
}

#[tokio::test]
async fn brokers_are_dialled_where_the_operator_says() {
    let (mut zero, mut one, _) = two_at_one_address().await;
    let addresses = table(&[(0, zero.address), (1, one.address)]);
    let proxy = Proxy::start_with(&[&zero], |settings| {
        settings.clusters[0].broker_address = addresses.clone();
    })
    .await;
    for _ in 0..2 {
        let mut client = proxy.connect_to(1).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"for one")).await;
        assert_eq!(header(&one.next().await.first).correlation_id, 1);
        let mut client = proxy.connect_to(0).await;
        client.send(&request(OFFSET_COMMIT, 6, 2, b"zero")).await;
        assert_eq!(header(&zero.next().await.first).correlation_id, 2);
    }
    assert_eq!(proxy.metric(SHARING), 0, "they are told apart");
    let status = proxy.narrows.status();
    let row = &status["listeners"][0]["brokers"][1];
    assert_eq!(row["broker"], one.address.to_string());
    assert_eq!(row["broker_advertises"], zero.address.to_string());
}

#[tokio::test]
async fn a_broker_that_the_table_misses_is_told_by_its_id() {
    let (zero, one, _) = two_at_one_address().await;
    let addresses = table(&[(0, zero.address), (7, one.address)]);
    let proxy = Proxy::start_with(&[&zero], |settings| {
        settings.clusters[0].broker_address = addresses.clone();
    })
    .await;
    proxy.announce("advertise one address");
    let problem = proxy.problem("brokers_share_address");
    let text = problem["last"].as_str().unwrap();
    let part = "clusters.orders.broker_address has no other one for 1,";
    assert!(text.contains(part), "{text}");
    assert_eq!(marks(&proxy), [false, true]);
}

#[tokio::test]
async fn a_broker_that_no_list_has_had_is_dialled_by_the_rule_where_nobody_may_be_asked() {
    let (zero, mut one, cluster) = two_at_one_address().await;
    cluster.lock().unwrap().demands_sasl = true;
    let addresses = table(&[(0, zero.address), (1, one.address)]);
    let proxy = Proxy::start_with(&[&zero], |settings| {
        settings.clusters[0].broker_address = addresses.clone();
    })
    .await;
    let mut client = proxy.connect_to(1).await;
    let handshake = request(SASL_HANDSHAKE, 1, 1, b"\0\x05PLAIN");
    client.send(&handshake).await;
    assert_eq!(one.next().await.first, handshake, "no provisional broker");
    assert!(!zero.has_arrivals());
}

#[tokio::test]
async fn a_broker_outside_node_ids_is_told_as_soon_as_the_map_has_it_and_over_a_reload() {
    const UNMAPPED: &str = "narrows_unmapped_nodes{listener=\"external\"}";
    let zero = Broker::alone(0).await;
    let _seven = Broker::member(7, &zero.cluster).await;
    let proxy = Proxy::start(&[&zero]).await;
    proxy.announce("broker 7 is outside node_ids");
    until("the map to be looked at", || proxy.metric(UNMAPPED) == 1).await;
    let problem = || proxy.problem("broker_outside_node_ids");
    let text = problem()["last"].as_str().unwrap().to_owned();
    assert!(
        text.contains("add it to listeners.external.address.node_ids"),
        "{text}"
    );
    // Another reload than one of its ids changes nothing.
    let reload = |change: fn(&mut narrows::app::Settings)| {
        let mut settings = proxy.narrows.settings();
        change(&mut settings);
        proxy.narrows.reload(settings).unwrap();
    };
    reload(|settings| settings.listeners[0].connections_max = Some(99));
    assert_eq!(proxy.metric(UNMAPPED), 1);
    assert!(!problem().is_null());
}

#[tokio::test]
async fn many_clients_of_a_broker_that_is_down_make_few_dials() {
    let zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    let proxy = Proxy::start(&[&zero]).await;
    drop(one);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = proxy.connect_to(1).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.frame().await, None);
    }
    proxy.until_closed("dial_failed", 40).await;
    let text = proxy.narrows.metrics().render();
    let dials = text
        .lines()
        .filter(|line| line.starts_with("narrows_broker_dial_failures_total{"));
    let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    let dials: u64 = dials.filter_map(count).sum();
    assert!((1..20).contains(&dials), "{dials} dials for 40 clients");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_to_be_what_the_broker_advertises() {
    let mut zero = Broker::alone(0).await;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect().await;
    let metadata = request(METADATA, 4, 1, &[0, 0, 0, 0, 0]);
    client.send(&metadata).await;
    let at = zero.address;
    let shape = Shape {
        has_nulls: true,
        ..Shape::of(&[
            node(0, &at.ip().to_string(), at.port()),
            node(1, "no-such-host.invalid", 9092),
        ])
    };
    let mut arrival = zero.next().await;
    arrival.send(&response(METADATA, 4, 1, &shape)).await;
    client.frame().await.unwrap();
    let mut client = proxy.connect_to(1).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("dial_failed", 1).await;
    let problem = proxy.problem("dial_failed");
    let text = problem["last"].as_str().unwrap();
    for part in [
        "no-such-host.invalid, which the cluster's metadata gives (the broker's \
         advertised.listeners) for broker 1, can't be resolved here",
        "clusters.orders.broker_address",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
