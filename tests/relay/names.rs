//! Scheme `sni`: the server name in a TLS hello leads to its broker, and any other name leads
//! nowhere.

use crate::broker::{Broker, ClusterState};
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::hello::{hello, message, record};
use crate::samples::{METADATA, Shape, node, response};
use crate::tls_peers::{Pki, named_client, shake_hands};
use crate::within;
use narrows::address::{NodeIdRanges, Scheme, SniScheme};
use narrows::app::Settings;
use narrows::listener::{ProxyMode, ProxyProtocol};
use narrows::types::{ClusterName, ListenerName};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub(crate) const PATTERN: &str = "broker-{node_id}.kafka.example.com";
/// The port that clients are told.
pub(crate) const ADVERTISED_PORT: u16 = 9443;
/// The alert `unrecognized_name`, fatal, as RFC 6066 has it.
const UNRECOGNIZED_NAME: &[u8] = b"\x15\x03\x03\x00\x02\x02\x70";

/// Names in the place of ports, on the bootstrap port.
pub(crate) fn by_names(
    settings: &mut Settings,
    bootstrap_host: &str,
    pattern: &str,
    node_ids: Option<(i32, i32)>,
) {
    let bind = settings.listeners[0].scheme.binds()[0].address;
    settings.listeners[0].scheme = names(bind, bootstrap_host, pattern, node_ids);
}

pub(crate) fn names(
    bind: SocketAddr,
    bootstrap_host: &str,
    pattern: &str,
    node_ids: Option<(i32, i32)>,
) -> Scheme {
    let node_ids = node_ids.map(|range| NodeIdRanges::new(vec![range]).unwrap());
    Scheme::Sni(SniScheme::new(bind, bootstrap_host, pattern, ADVERTISED_PORT, node_ids).unwrap())
}

async fn start(pki: &Pki, bootstrap: &Broker) -> Proxy {
    Proxy::start_with(&[bootstrap], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(pki.terminate());
    })
    .await
}

/// Nodes 0, 7 and 1,000,000 of one cluster.
async fn three() -> [(i32, Broker); 3] {
    let zero = Broker::alone(0).await;
    let seven = Broker::member(7, &zero.cluster).await;
    let million = Broker::member(1_000_000, &zero.cluster).await;
    [(0, zero), (7, seven), (1_000_000, million)]
}

#[tokio::test]
async fn a_name_leads_to_the_broker_that_has_it_in_whatever_case() {
    let pki = Pki::new();
    let mut brokers = three().await;
    let proxy = start(&pki, &brokers[0].1).await;
    for (id, broker) in &mut brokers {
        let name = format!("broker-{id}.kafka.example.com");
        for name in [
            name.clone(),
            name.to_uppercase(),
            name.replace("broker", "bRoKeR"),
        ] {
            let mut client = named_client(proxy.bootstrap(), &name, &pki.client()).await;
            client.send(&request(OFFSET_COMMIT, 6, *id, b"body")).await;
            let mut arrival = broker.next().await;
            assert_eq!(header(&arrival.first).correlation_id, *id, "{name}");
            arrival.send(&opaque(*id, b"answer")).await;
            assert_eq!(client.frame().await, Some(opaque(*id, b"answer")));
        }
    }
    assert!(brokers.iter().all(|(_, broker)| !broker.has_arrivals()));
    for name in [ADVERTISED_HOST, "KAFKA.Example.COM"] {
        let mut client = named_client(proxy.bootstrap(), name, &pki.client()).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
        let [(_, zero), (_, seven), (_, million)] = &mut brokers;
        tokio::select! {
            _ = zero.next() => {}
            _ = seven.next() => {}
            _ = million.next() => {}
        }
    }
}

#[tokio::test]
async fn a_name_of_a_broker_that_the_cluster_does_not_have_is_refused_as_such() {
    let pki = Pki::new();
    let [(_, zero), ..] = three().await;
    let proxy = start(&pki, &zero).await;
    let mut client = named_client(
        proxy.bootstrap(),
        "broker-3.kafka.example.com",
        &pki.client(),
    )
    .await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("unknown_broker", 1).await;
    assert!(!zero.has_arrivals());
}

#[tokio::test]
async fn metadata_tells_clients_the_names_and_the_port_that_is_advertised() {
    let pki = Pki::new();
    let mut brokers = three().await;
    let proxy = start(&pki, &brokers[0].1).await;
    let mut client = named_client(
        proxy.bootstrap(),
        "broker-0.kafka.example.com",
        &pki.client(),
    )
    .await;
    client.send(&request(METADATA, 12, 1, b"")).await;
    let mut arrival = brokers[0].1.next().await;
    let ids = [0, 7, 1_000_000, i32::MAX];
    let at = |host: fn(i32) -> String, port| ids.map(|id| node(id, &host(id), port));
    let internal = at(|id| format!("kafka-{id}.broker.internal"), 9092);
    let advertised = at(
        |id| format!("broker-{id}.kafka.example.com"),
        ADVERTISED_PORT,
    );
    arrival
        .send(&response(METADATA, 12, 1, &Shape::of(&internal)))
        .await;
    assert_eq!(
        client.frame().await,
        Some(response(METADATA, 12, 1, &Shape::of(&advertised)))
    );
}

#[tokio::test]
async fn a_header_of_a_load_balancer_may_stand_before_the_hello() {
    let pki = Pki::new();
    let [_, (_, mut seven), _] = three().await;
    let proxy_protocol = ProxyProtocol {
        mode: ProxyMode::Required,
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let proxy = Proxy::start_with(&[&seven], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(pki.terminate());
        settings.listeners[0].proxy_protocol = proxy_protocol.clone();
    })
    .await;
    for header in [
        &b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\xc7\x38\x23\x84",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    ] {
        let mut client = Client::connect(proxy.bootstrap()).await;
        client.send(header).await;
        let name = "broker-7.kafka.example.com";
        let mut client = shake_hands(client.stream, name, &pki.client())
            .await
            .unwrap();
        client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
        assert_eq!(
            seven.next().await.first,
            request(OFFSET_COMMIT, 6, 1, b"body")
        );
    }
    // One that lies about the peer is told by it.
    let mut client = proxy.connect().await;
    client
        .send(
            &[
                &b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n"[..],
                &hello(&[b"nobody.example.com"]),
            ]
            .concat(),
        )
        .await;
    assert_eq!(client.rest().await, UNRECOGNIZED_NAME);
    drop(client);
    proxy.until_closed("sni_unknown", 1).await;
    assert_eq!(proxy.problem("sni_unknown")["source"], "192.0.2.7");
}

/// Two clusters with the same node ids, their listeners behind one port.
struct Two {
    proxy: Proxy,
    pki: Pki,
    kafka: Vec<Broker>,
    other: Vec<Broker>,
}

impl Two {
    /// How many connections each broker has had.
    fn accepted(&self) -> Vec<usize> {
        let brokers = self.kafka.iter().chain(&self.other);
        brokers.map(Broker::accepted).collect()
    }
}

async fn two() -> Two {
    let pki = Pki::new();
    let mut clusters = Vec::new();
    for name in ["the-cluster", "other-cluster"] {
        let cluster = ClusterState {
            cluster_id: name.into(),
            ..ClusterState::default()
        };
        let cluster = Arc::new(Mutex::new(cluster));
        clusters.push(vec![
            Broker::member(0, &cluster).await,
            Broker::member(1, &cluster).await,
        ]);
    }
    let other = clusters.pop().unwrap();
    let kafka = clusters.pop().unwrap();
    let at = other[0].address;
    let proxy = Proxy::start_with(&[&kafka[0]], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(pki.terminate());
        let mut cluster = settings.clusters[0].clone();
        (cluster.name, cluster.bootstrap_servers) = (
            ClusterName("other".into()),
            vec![at.to_string().parse().unwrap()],
        );
        let mut listener = settings.listeners[0].clone();
        (listener.name, listener.cluster) = (ListenerName("second".into()), cluster.name.clone());
        let bind = listener.scheme.binds()[0].address;
        listener.scheme = names(
            bind,
            "bootstrap.other.example.com",
            "node-{node_id}.other.example.com",
            Some((0, 4)),
        );
        settings.clusters.push(cluster);
        settings.listeners.push(listener);
    })
    .await;
    crate::until("the other refresh", || {
        proxy.narrows.status()["clusters"][1]["refresh"] == "fresh"
    })
    .await;
    Two {
        proxy,
        pki,
        kafka,
        other,
    }
}

#[tokio::test]
async fn two_clusters_with_the_same_node_ids_behind_one_port_never_mix() {
    let Two {
        proxy,
        pki,
        mut kafka,
        mut other,
    } = two().await;
    // The sample responses are all of one cluster id.
    proxy.announce("cluster=other expected=\"other-cluster\" seen=\"the-cluster\"");
    for round in 0..3 {
        for id in [0, 1] {
            let at = usize::try_from(id).unwrap();
            for (name, broker) in [
                (format!("broker-{id}.kafka.example.com"), &mut kafka[at]),
                (format!("node-{id}.other.example.com"), &mut other[at]),
            ] {
                let mut client = named_client(proxy.bootstrap(), &name, &pki.client()).await;
                client.send(&request(METADATA, 12, round, b"")).await;
                let mut arrival = broker.next().await;
                assert_eq!(header(&arrival.first).correlation_id, round);
                let shape = |host: &str, port| Shape::of(&[node(id, host, port)]);
                arrival
                    .send(&response(
                        METADATA,
                        12,
                        round,
                        &shape("kafka.internal", 9092),
                    ))
                    .await;
                let told = response(METADATA, 12, round, &shape(&name, ADVERTISED_PORT));
                assert_eq!(client.frame().await, Some(told));
            }
        }
    }
    assert!(
        kafka
            .iter()
            .chain(&other)
            .all(|broker| !broker.has_arrivals())
    );
    let accepted = |listener| {
        proxy.metric(&format!(
            "narrows_connections_accepted_total{{listener=\"{listener}\"}}"
        ))
    };
    assert_eq!(
        [
            accepted("external"),
            accepted("second"),
            accepted("(unidentified)")
        ],
        [6, 6, 0]
    );
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told_so_and_reaches_nobody() {
    let two = two().await;
    let proxy = &two.proxy;
    let before = two.accepted();
    let long = [&[b'a'; 300][..], b".kafka.example.com"].concat();
    let kafka_0 = "broker-0.kafka.example.com";
    for (count, (name, came, nearest)) in (1..).zip([
        (
            &b"broker-0.other.example.com"[..],
            "broker-0.other.example.com",
            "node-0.other.example.com",
        ),
        (
            b"node-0.kafka.example.com",
            "node-0.kafka.example.com",
            kafka_0,
        ),
        (
            b"node-5.other.example.com",
            "node-5.other.example.com",
            "node-0.other.example.com",
        ),
        (b"192.0.2.1", "192.0.2.1", "example.com"),
        (b"127.0.0.1", "127.0.0.1", "example.com"),
        (b"", "", "example.com"),
        (
            b"broker-0.kafka.example.com.",
            "broker-0.kafka.example.com.",
            kafka_0,
        ),
        (
            b"broker_0.kafka.example.com",
            "broker_0.kafka.example.com",
            kafka_0,
        ),
        (
            b"broker-0.kafka.example.com\0",
            "broker-0.kafka.example.com\\0",
            kafka_0,
        ),
        (
            b"broker-0\0.kafka.example.com",
            "broker-0\\0.kafka.example.com",
            kafka_0,
        ),
        (
            b"broker-01.kafka.example.com",
            "broker-01.kafka.example.com",
            "broker-1.kafka.example.com",
        ),
        (
            b"broker-+1.kafka.example.com",
            "broker-+1.kafka.example.com",
            "broker-1.kafka.example.com",
        ),
        (
            b"broker--1.kafka.example.com",
            "broker--1.kafka.example.com",
            "broker-1.kafka.example.com",
        ),
        (
            b"broker-4294967296.kafka.example.com",
            "broker-4294967296",
            "kafka.example.com",
        ),
        (
            b"broker-.kafka.example.com",
            "broker-.kafka.example.com",
            kafka_0,
        ),
        (
            b"broker-0.kafka.example.com broker-1",
            "broker-0.kafka.example.com broker-1",
            kafka_0,
        ),
        (
            b"\xffbroker-0.kafka.example.com",
            "broker-0.kafka.example.com",
            kafka_0,
        ),
        (&long, "aaaaaaaa", "example.com"),
    ]) {
        let mut client = proxy.connect().await;
        client.send(&hello(&[name])).await;
        assert_eq!(client.rest().await, UNRECOGNIZED_NAME, "{came}");
        drop(client);
        let series = "narrows_connections_closed_total\
                      {cause=\"sni_unknown\",listener=\"(unidentified)\",side=\"client\"}";
        crate::until("the session to be counted", || {
            proxy.metric(series) == count
        })
        .await;
        let problem = proxy.problem("sni_unknown");
        let said = problem["last"].as_str().unwrap();
        let (told, hint) = said
            .split_once("the nearest is")
            .unwrap_or_else(|| panic!("{said}"));
        assert!(told.contains(came) && hint.contains(nearest), "{said}");
        assert!(
            told.contains(PATTERN) && told.contains("node-{node_id}.other.example.com"),
            "{said}"
        );
        assert!(!said.contains('\0') && said.len() < 1000, "{said}");
        assert_eq!(problem["count"], count);
    }
    assert_eq!(two.accepted(), before);
}

#[tokio::test]
async fn a_hello_without_a_name_is_told_so_and_reaches_nobody() {
    let two = two().await;
    let proxy = &two.proxy;
    let before = two.accepted();
    let mut client = proxy.connect().await;
    client.send(&hello(&[])).await;
    assert_eq!(client.rest().await, UNRECOGNIZED_NAME);
    drop(client);
    crate::until("the problem", || proxy.problem("sni_missing")["count"] == 1).await;
    let problem = proxy.problem("sni_missing");
    let said = problem["last"].as_str().unwrap();
    assert!(
        said.contains("ssl_check_hostname") && said.contains(ADVERTISED_HOST),
        "{said}"
    );
    assert_eq!(two.accepted(), before);
}

#[tokio::test]
async fn a_hello_that_lies_about_its_parts_is_not_answered_and_reaches_nobody() {
    let two = two().await;
    let proxy = &two.proxy;
    let before = two.accepted();
    let name = b"broker-0.kafka.example.com";
    let twice = hello(&[name, b"broker-1.kafka.example.com"]);
    let behind = record(&[&message(&[name])[..], b"!"].concat());
    let mut longer = hello(&[name]);
    // The length of the name, one more than there is.
    let at = longer
        .windows(name.len())
        .position(|window| window == name)
        .unwrap()
        - 1;
    longer[at] += 1;
    let mut is_other_message = hello(&[name]);
    is_other_message[5] = 2;
    for (count, (what, sent)) in (1..).zip([
        ("two names", &twice[..]),
        ("a name that reaches out of its extension", &longer),
        ("another message", &is_other_message),
        ("an empty record", b"\x16\x03\x01\x00\x00"),
        ("a record that is too long", b"\x16\x03\x01\x40\x01"),
        (
            "another record in between",
            b"\x16\x03\x01\x00\x01\x01\x17\x03\x03\x00\x01\x00",
        ),
    ]) {
        let mut client = proxy.connect().await;
        client.send(sent).await;
        assert_eq!(client.rest().await, b"", "{what}");
        drop(client);
        let is_noted = || proxy.problem("tls_hello_malformed")["count"] == count;
        crate::until(what, is_noted).await;
    }
    // What follows a whole hello in its record is for the TLS library to judge.
    let mut client = proxy.connect().await;
    client.send(&behind).await;
    within("an end", client.rest()).await;
    assert_eq!(two.accepted(), before);
}
