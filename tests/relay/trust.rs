//! What Narrows believes of whoever answers at a broker's address, itself included.

use crate::broker::{Broker, read_frame};
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::cluster::teach;
use crate::frames::{OFFSET_COMMIT, SASL_HANDSHAKE, header, opaque, request};
use crate::hello::hello;
use crate::names::{PATTERN, by_names};
use crate::samples::METADATA;
use crate::{until, within};
use narrows::session::ListenerTls;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The sentence about the cluster's last refresh.
fn refresh(proxy: &Proxy) -> String {
    let status = proxy.narrows.status();
    let cluster = &status["clusters"][0];
    let text = cluster["refresh_text"].as_str();
    text.or(cluster["refresh"].as_str()).unwrap().to_owned()
}

/// A port forward whose broker is away: takes every connection and closes it.
async fn front_without_a_broker() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { read_frame(&mut stream).await });
        }
    });
    (address, accepting)
}

#[tokio::test]
async fn a_front_that_accepts_and_closes_is_not_taken_for_a_broker_that_demands_a_login() {
    let (address, accepting) = front_without_a_broker().await;
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[address], |_| {});
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.until_refreshed().await;
    assert!(
        refresh(&proxy).contains("closed before an answer came"),
        "{}",
        refresh(&proxy)
    );
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None, "it is lent to nobody");
    proxy.until_closed("no_bootstrap_server", 1).await;
    // The broker comes back, and is asked at the short interval of a failure.
    accepting.abort();
    let _ = accepting.await;
    let true_one = Broker::alone(0).await;
    true_one.cluster.lock().unwrap().nodes = [(0, address)].into();
    let listener = TcpListener::bind(address).await.unwrap();
    let _broker = Broker::listening(listener, &true_one.cluster);
    until("the map to be fresh", || refresh(&proxy) == "fresh").await;
}

#[tokio::test]
async fn a_wrong_pin_is_told_by_its_key_and_nothing_of_that_cluster_is_believed() {
    let broker = Broker::alone(0).await;
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[broker.address], |settings| {
        settings.clusters[0].cluster_id = Some("another-cluster".into());
    });
    proxy.announce("but clusters.orders.cluster_id is another-cluster");
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.until_refreshed().await;
    let at = broker.address;
    let text = format!(
        "{at} belongs to cluster the-cluster, not to another-cluster (clusters.orders.cluster_id)"
    );
    assert_eq!(refresh(&proxy), text);
    let known = proxy.metric("narrows_brokers_known{cluster=\"orders\"}");
    assert_eq!(known, 0);
}

#[tokio::test]
async fn brokers_that_demand_a_login_are_asked_for_metadata_once_and_then_only_for_the_demand() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(frame) = read_frame(&mut stream).await else {
                continue;
            };
            let header = header(&frame);
            seen.lock().unwrap().push(header.key);
            if header.key == SASL_HANDSHAKE {
                let mechanisms = b"\0\x21\0\0\0\x01\0\x0dSCRAM-SHA-512";
                let answer = opaque(header.correlation_id, mechanisms);
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[address], |settings| {
        settings.clusters[0].metadata_refresh_interval = Duration::from_millis(10);
    });
    until("some refreshes", || asked.lock().unwrap().len() >= 4).await;
    assert_eq!(
        asked.lock().unwrap()[..4],
        [METADATA, SASL_HANDSHAKE, SASL_HANDSHAKE, SASL_HANDSHAKE]
    );
    assert!(refresh(&proxy).contains("demand authentication"));
}

#[tokio::test]
async fn a_provisional_session_without_a_login_ends_as_soon_as_the_map_is_known() {
    let mut zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    zero.cluster.lock().unwrap().demands_sasl = true;
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(1).await;
    let mut provisional = client.ask(&mut zero).await;
    // Another client's Metadata says who is who.
    let nodes = [(0, zero.address), (1, one.address)];
    teach(&proxy, &mut zero, &nodes).await;
    provisional.send(&opaque(1, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
    assert_eq!(client.frame().await, None, "it ends between two requests");
    drop(client);
    proxy.until_closed("provisional_broker_wrong", 1).await;
}

/// What a client gets that asks a Narrows which leads to itself, and how many connections that
/// makes.
async fn asked_in_a_loop(proxy: &Proxy) -> u64 {
    let mut client = Client::connect(proxy.bootstrap()).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None);
    proxy.metric("narrows_connections_accepted_total{listener=\"external\"}")
}

#[tokio::test]
async fn narrows_does_not_dial_a_port_that_it_listens_on_itself() {
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[], |settings| {
        let own = settings.listeners[0].scheme.binds()[0].address;
        settings.clusters[0].bootstrap_servers = vec![own.to_string().parse().unwrap()];
    });
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.until_refreshed().await;
    assert!(refresh(&proxy).contains("where Narrows itself listens"));
    assert_eq!(asked_in_a_loop(&proxy).await, 1);
    proxy.until_closed("routing_loop", 1).await;
}

/// A balancer that leads everybody to `address`.
fn lead(balancer: TcpListener, address: SocketAddr) {
    tokio::spawn(async move {
        while let Ok((mut from, _)) = balancer.accept().await {
            tokio::spawn(async move {
                let mut to = TcpStream::connect(address).await.unwrap();
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
}

#[tokio::test]
async fn narrows_recognises_itself_behind_a_balancer_that_leads_back() {
    let balancer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = balancer.local_addr().unwrap();
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[address], |_| {});
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.announce("cause=\"no_bootstrap_server\"");
    lead(balancer, proxy.bootstrap());
    within("the client's end", asked_in_a_loop(&proxy)).await;
    proxy.until_closed("routing_loop", 1).await;
    // Each refresh and each probe comes back once, and no further.
    let closed = proxy.closed("routing_loop");
    assert!(closed < 20, "{closed}");
}

#[tokio::test]
async fn tls_that_passes_through_and_comes_back_is_recognised_by_its_hello() {
    let balancer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = balancer.local_addr().unwrap();
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[address], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(ListenerTls::Passthrough { broker_port: None });
    });
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.announce("cause=\"plaintext_on_tls\"");
    lead(balancer, proxy.bootstrap());
    for closed in [1, 2] {
        let mut client = Client::connect(proxy.bootstrap()).await;
        client.send(&hello(&[ADVERTISED_HOST.as_bytes()])).await;
        assert_eq!(client.rest().await, b"");
        proxy.until_closed("routing_loop", closed).await;
    }
    assert_eq!(
        proxy.closed("routing_loop"),
        2,
        "each comes back once, and no further"
    );
}
