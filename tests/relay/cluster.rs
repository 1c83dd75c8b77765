//! Which broker a connection reaches, whatever becomes of the cluster.

use crate::broker::{Broker, ClusterState};
use crate::client::Proxy;
use crate::frames::{
    OFFSET_COMMIT, SASL_AUTHENTICATE, SASL_HANDSHAKE, answer_narrows, header, opaque, request,
};
use crate::samples::{METADATA, Shape, node, response};
use crate::{until, within};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// Two brokers, nodes 0 and 1.
async fn two() -> (Broker, Broker, Arc<Mutex<ClusterState>>) {
    let zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    let cluster = zero.cluster.clone();
    (zero, one, cluster)
}

/// A Metadata response that passes through a session teaches Narrows where the brokers are now.
pub(crate) async fn teach(proxy: &Proxy, teacher: &mut Broker, nodes: &[(i32, SocketAddr)]) {
    let mut client = proxy.connect().await;
    client
        .send(&request(METADATA, 4, 1, &[0, 0, 0, 0, 0]))
        .await;
    let mut arrival = teacher.next().await;
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(id, at)| node(*id, &at.ip().to_string(), at.port()))
        .collect();
    let shape = Shape {
        has_nulls: true,
        ..Shape::of(&nodes)
    };
    arrival.send(&response(METADATA, 4, 1, &shape)).await;
    client.frame().await.unwrap();
}

#[tokio::test]
async fn a_connection_reaches_the_broker_that_its_port_stands_for() {
    let (mut zero, mut one, _) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    for _ in 0..3 {
        let mut client = proxy.connect_to(1).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"for one")).await;
        assert_eq!(header(&one.next().await.first).correlation_id, 1);
        let mut client = proxy.connect_to(0).await;
        client
            .send(&request(OFFSET_COMMIT, 6, 2, b"for zero"))
            .await;
        assert_eq!(header(&zero.next().await.first).correlation_id, 2);
    }
    assert!(!zero.has_arrivals() && !one.has_arrivals());
}

#[tokio::test]
async fn a_node_that_the_cluster_does_not_have_is_refused_with_its_cause() {
    let (zero, _one, _) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(3).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("unknown_broker", 1).await;
    assert!(!zero.has_arrivals());
}

#[tokio::test]
async fn with_all_bootstrap_servers_down_narrows_starts_and_serves_as_soon_as_one_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[address], |_| {});
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.until_refreshed().await;
    for (target, cause) in [(None, "no_bootstrap_server"), (Some(0), "unknown_broker")] {
        let mut client = match target {
            None => proxy.connect().await,
            Some(id) => proxy.connect_to(id).await,
        };
        client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
        assert_eq!(client.frame().await, None);
        proxy.until_closed(cause, 1).await;
    }
    let cluster = ClusterState {
        cluster_id: "c".into(),
        nodes: BTreeMap::from([(0, address)]),
        ..ClusterState::default()
    };
    let broker = Broker::listening(
        TcpListener::bind(address).await.unwrap(),
        &Arc::new(Mutex::new(cluster)),
    );
    broker.answer_all(|frame| opaque(header(frame).correlation_id, b"answer"));
    let recovered = async {
        loop {
            let mut client = proxy.connect_to(0).await;
            client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
            if client.frame().await.is_some() {
                return;
            }
        }
    };
    within("Narrows to find the broker", recovered).await;
}

#[tokio::test]
async fn a_broker_that_moves_to_another_address_takes_its_connections_along() {
    let (mut zero, mut one, cluster) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(1).await;
    let old = client.ask(&mut one).await;
    let mut moved = Broker::member(1, &cluster).await;
    let nodes = [(0, zero.address), (1, moved.address)];
    teach(&proxy, &mut zero, &nodes).await;
    assert_eq!(client.frame().await, None, "closed at once");
    assert_eq!(old.rest().await, b"");
    drop(client);
    proxy.until_closed("broker_gone", 1).await;
    let mut client = proxy.connect_to(1).await;
    client.send(&request(OFFSET_COMMIT, 6, 2, b"body")).await;
    assert_eq!(header(&moved.next().await.first).correlation_id, 2);
}

#[tokio::test]
async fn a_broker_that_is_removed_ends_its_connections_and_leaves_the_others_alone() {
    let (mut zero, mut one, cluster) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(1).await;
    let removed = client.ask(&mut one).await;
    let mut bystander = proxy.connect_to(0).await;
    let mut stays = bystander.ask(&mut zero).await;
    cluster.lock().unwrap().nodes.remove(&1);
    let nodes = [(0, zero.address)];
    teach(&proxy, &mut zero, &nodes).await;
    assert_eq!(client.frame().await, None);
    assert_eq!(removed.rest().await, b"");
    drop(client);
    proxy.until_closed("broker_gone", 1).await;
    stays.send(&opaque(1, b"answer")).await;
    assert_eq!(bystander.frame().await, Some(opaque(1, b"answer")));
}

#[tokio::test]
async fn a_broker_that_joins_is_reached_without_a_restart() {
    let (zero, _one, cluster) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    let mut joined = Broker::member(2, &cluster).await;
    let mut client = proxy.connect_to(2).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(header(&joined.next().await.first).correlation_id, 1);
}

#[tokio::test]
async fn whoever_has_a_brokers_address_but_is_another_one_gets_no_byte_of_a_client() {
    let (zero, one, _) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    proxy.announce("a broker answered for another cluster id");
    // At node 1's address answers somebody who says that node 1 is elsewhere, or who is of another
    // cluster.
    let elsewhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let at_zero = zero.address;
    for (count, (cluster_id, nodes)) in (1..).zip([
        (
            "the-cluster",
            BTreeMap::from([(0, at_zero), (1, elsewhere)]),
        ),
        (
            "another-cluster",
            BTreeMap::from([(0, at_zero), (1, one.address)]),
        ),
        (
            "the-cluster",
            BTreeMap::from([(0, at_zero), (4, one.address)]),
        ),
    ]) {
        println!("{cluster_id} {nodes:?}");
        let cluster = ClusterState {
            cluster_id: cluster_id.into(),
            nodes,
            ..ClusterState::default()
        };
        let taken = take_over(&one, cluster).await;
        let mut client = proxy.connect_to(1).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"secret")).await;
        assert_eq!(client.frame().await, None);
        proxy.until_closed("wrong_broker", count).await;
        assert!(!taken.has_arrivals() && !one.has_arrivals() && !zero.has_arrivals());
        // What it said is forgotten when the true cluster is asked again.
        taken.cluster.lock().unwrap().clone_from_true(&zero);
        let at_one = one.address.to_string();
        until("node 1 to be where it was", || {
            brokers(&proxy).contains(&at_one)
        })
        .await;
    }
}

#[tokio::test]
async fn an_address_that_changes_hands_under_a_connection_gets_no_byte_of_who_comes_at_once() {
    let (zero, mut one, _) = two().await;
    let proxy = Proxy::start(&[&zero]).await;
    proxy.announce("a broker answered for another cluster id");
    let mut client = proxy.connect_to(1).await;
    let arrival = client.ask(&mut one).await;
    // Trusted so lately that nobody would be asked, but for the end of this connection.
    drop(arrival);
    assert_eq!(client.frame().await, None);
    let nodes = BTreeMap::from([(0, zero.address), (1, one.address)]);
    let other = ClusterState {
        cluster_id: "another-cluster".into(),
        nodes,
        ..ClusterState::default()
    };
    let taken = take_over(&one, other).await;
    let mut client = proxy.connect_to(1).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"secret")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("wrong_broker", 1).await;
    assert!(!taken.has_arrivals());
}

impl ClusterState {
    fn clone_from_true(&mut self, other: &Broker) {
        let other = other.cluster.lock().unwrap();
        self.cluster_id.clone_from(&other.cluster_id);
        self.nodes.clone_from(&other.nodes);
    }
}

fn brokers(proxy: &Proxy) -> Vec<String> {
    let status = proxy.narrows.status();
    let brokers = status["listeners"][0]["brokers"].as_array().unwrap();
    brokers
        .iter()
        .map(|broker| broker["broker"].as_str().unwrap().to_owned())
        .collect()
}

/// The same socket, as if somebody else had got the address.
async fn take_over(broker: &Broker, cluster: ClusterState) -> Broker {
    broker.stop_accepting().await;
    let listener = within("the address to be free", async {
        loop {
            if let Ok(listener) = TcpListener::bind(broker.address).await {
                return listener;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    Broker::listening(listener.await, &Arc::new(Mutex::new(cluster)))
}

const ACCEPTED: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
const AUTHENTICATED: &[u8] = &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn on_a_sasl_cluster_a_connection_for_an_unknown_broker_is_lent_a_bootstrap_server_until_it_knows_better()
 {
    let (mut zero, mut one, cluster) = two().await;
    cluster.lock().unwrap().demands_sasl = true;
    let proxy = Proxy::start(&[&zero]).await;
    for (target, is_right) in [(1, false), (0, true)] {
        let mut client = proxy.connect_to(target).await;
        client
            .send(&request(SASL_HANDSHAKE, 1, 1, b"\0\x05PLAIN"))
            .await;
        let mut arrival = zero.next().await;
        arrival.send(&opaque(1, ACCEPTED)).await;
        assert_eq!(client.frame().await, Some(opaque(1, ACCEPTED)));
        client
            .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x01\0"))
            .await;
        assert_eq!(
            header(&arrival.frame().await.unwrap()).key,
            SASL_AUTHENTICATE
        );
        if is_right {
            // By now the broker is known, so that this is no lent connection: nothing is asked.
            arrival.send(&opaque(2, AUTHENTICATED)).await;
            assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
            client.send(&request(OFFSET_COMMIT, 6, 3, b"body")).await;
            assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 3);
            continue;
        }
        // The client's next request waits for Narrows' own.
        arrival.send(&opaque(2, AUTHENTICATED)).await;
        assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
        client
            .send(&request(OFFSET_COMMIT, 6, 3, b"not for zero"))
            .await;
        let own = arrival.frame().await.unwrap();
        assert_eq!(
            (header(&own).is_narrows, header(&own).key),
            (true, METADATA)
        );
        let answer = {
            let cluster = cluster.lock().unwrap();
            answer_narrows(&own, &cluster.nodes, &cluster.cluster_id)
        };
        arrival.send(&answer).await;
        assert_eq!(
            client.frame().await,
            None,
            "Narrows' answer is not the client's, and the broker is the wrong one"
        );
        assert_eq!(
            arrival.rest().await,
            b"",
            "the client's request was not for it"
        );
        drop(client);
        proxy.until_closed("provisional_broker_wrong", 1).await;
    }
    let mut client = proxy.connect_to(1).await;
    client
        .send(&request(SASL_HANDSHAKE, 1, 1, b"\0\x05PLAIN"))
        .await;
    assert_eq!(
        header(&one.next().await.first).key,
        SASL_HANDSHAKE,
        "the next attempt reaches the right one"
    );
}

#[tokio::test]
async fn an_expired_oauthbearer_token_is_no_login_on_a_provisional_connection() {
    let (mut zero, _one, says) = two().await;
    says.lock().unwrap().demands_sasl = true;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(1).await;
    client
        .send(&request(SASL_HANDSHAKE, 1, 1, b"\0\x0bOAUTHBEARER"))
        .await;
    let mut arrival = zero.next().await;
    arrival.send(&opaque(1, ACCEPTED)).await;
    client.frame().await.unwrap();
    // No error yet, but a token that says what is wrong; the client acknowledges it.
    let refused = b"\0\0\0\0\x03{}\0\0\0\0\0\0\0\0\0";
    let acknowledged = request(SASL_AUTHENTICATE, 2, 3, b"\x02\x01\0");
    client
        .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x02t\0"))
        .await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, refused)).await;
    assert_eq!(client.frame().await, Some(opaque(2, refused)));
    client.send(&acknowledged).await;
    assert_eq!(
        arrival.frame().await,
        Some(acknowledged),
        "Narrows asks nothing before the client has logged in"
    );
}

#[tokio::test]
async fn a_lent_connection_to_the_right_broker_goes_on_as_if_nothing_had_been_asked() {
    let (mut zero, _one, cluster) = two().await;
    cluster.lock().unwrap().demands_sasl = true;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(0).await;
    client
        .send(&request(SASL_HANDSHAKE, 1, 1, b"\0\x05PLAIN"))
        .await;
    let mut arrival = zero.next().await;
    arrival.send(&opaque(1, ACCEPTED)).await;
    client.frame().await.unwrap();
    // The client does not wait for its authentication's answer.
    client
        .send(
            &[
                request(SASL_AUTHENTICATE, 2, 2, b"\x01\0"),
                request(OFFSET_COMMIT, 6, 3, b"early"),
            ]
            .concat(),
        )
        .await;
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 2);
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 3);
    arrival.send(&opaque(2, AUTHENTICATED)).await;
    let own = arrival.frame().await.unwrap();
    assert!(header(&own).is_narrows);
    client.send(&request(OFFSET_COMMIT, 6, 4, b"late")).await;
    let answer = {
        let cluster = cluster.lock().unwrap();
        answer_narrows(&own, &cluster.nodes, &cluster.cluster_id)
    };
    arrival.send(&[opaque(3, b"early"), answer].concat()).await;
    assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
    assert_eq!(client.frame().await, Some(opaque(3, b"early")));
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 4);
    arrival.send(&opaque(4, b"late")).await;
    assert_eq!(client.frame().await, Some(opaque(4, b"late")));
}
