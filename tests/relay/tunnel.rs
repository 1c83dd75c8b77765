//! TLS that passes through: the hello says which broker it is for, and every byte goes there
//! unread.

use crate::broker::{Broker, ClusterState};
use crate::client::{ADVERTISED_HOST, Proxy};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::hello::hello;
use crate::names::{PATTERN, by_names};
use crate::samples::pattern;
use crate::tls_peers::{Front, Pki, exchange, named_client, server_config};
use crate::{move_clock, until, within};
use narrows::app::Settings;
use narrows::session::ListenerTls;
use rustls::version::{TLS12, TLS13};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const BROKER_0: &str = "broker-0.kafka.example.com";

/// Narrows speaks TLS to the brokers for its own questions, and none with clients.
pub(crate) async fn start(pki: &Pki, front: &Front) -> Proxy {
    start_with(pki, front, |_| {}).await
}

async fn start_with(pki: &Pki, front: &Front, change: impl Fn(&mut Settings)) -> Proxy {
    Proxy::start_at(&[front.address], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(ListenerTls::Passthrough { broker_port: None });
        settings.clusters[0].tls = Some(pki.trusting());
        change(settings);
    })
    .await
}

#[tokio::test]
async fn the_client_speaks_tls_with_the_broker_and_every_byte_comes_through() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    let handshakes = front.handshakes().len();
    for version in [&TLS12, &TLS13] {
        for bytes in [1, 10_000, 200_000, 10 * 1024 * 1024] {
            let mut client =
                named_client(proxy.bootstrap(), BROKER_0, &pki.client_of(version)).await;
            let arrival = exchange(&mut client, &mut broker, bytes).await;
            client.finish().await;
            assert_eq!(arrival.rest().await, b"");
            assert_eq!(
                client.ending().await.unwrap(),
                b"",
                "the broker has said that it closes"
            );
        }
    }
    proxy.until_closed("client_closed", 8).await;
    let names: Vec<_> = front.handshakes()[handshakes..]
        .iter()
        .flatten()
        .filter_map(|seen| seen.server_name.clone())
        .collect();
    assert_eq!(names, [BROKER_0; 8], "the hello is the client's own");
    let runs = |mode, reason| {
        proxy.metric(&format!(
            "narrows_bulk_transfers_total{{listener=\"external\",mode=\"{mode}\",reason=\"{reason}\"}}"
        ))
    };
    assert!(
        runs("spliced", "none") >= 4,
        "large transfers stay in the kernel"
    );
    assert_eq!(runs("copied", "tls"), 0);
    let carried = |direction| {
        proxy.metric(&format!(
            "narrows_bytes_total{{direction=\"{direction}\",listener=\"external\"}}"
        ))
    };
    assert!(carried("to_broker") > 20 * 1024 * 1024 && carried("to_client") > 20 * 1024 * 1024);
}

#[tokio::test]
async fn much_may_pass_in_both_directions_at_once() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    let mut client = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
    let mut arrival = client.ask(&mut broker).await;
    let large = request(OFFSET_COMMIT, 6, 2, &pattern(5_000_000));
    let answer = opaque(1, &pattern(5_000_000));
    let (mut from_narrows, mut to_narrows) = tokio::io::split(client.stream);
    let (mut from_client, mut to_client) = arrival.stream.split();
    let (got, came, sent, answered) = within("all of it", async {
        use crate::broker::read_frame;
        use tokio::io::AsyncWriteExt;
        tokio::join!(
            read_frame(&mut from_narrows),
            read_frame(&mut from_client),
            async {
                to_narrows.write_all(&large).await?;
                to_narrows.flush().await
            },
            to_client.write_all(&answer)
        )
    })
    .await;
    assert!(sent.is_ok() && answered.is_ok());
    assert!(got == Some(answer) && came == Some(large));
}

#[tokio::test]
async fn a_client_that_closes_its_side_of_a_tunnel_still_gets_what_is_pending() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    for count in 1..3 {
        let mut client = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
        let mut arrival = client.ask(&mut broker).await;
        client.finish().await;
        assert_eq!(arrival.frame().await, None, "the broker sees it");
        let answer = opaque(1, &pattern(700_000));
        let sending = async {
            arrival.send(&answer).await;
            drop(arrival);
        };
        let (got, ()) = tokio::join!(client.ending(), sending);
        assert!(got.unwrap() == answer);
        proxy.until_closed("client_closed", count).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_without_a_word_is_closed_to_the_broker_too() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    let mut client = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
    let mut arrival = exchange(&mut client, &mut broker, 10).await;
    // TLS has no part in it: all that says so is the end of the TCP stream.
    client.finish_tcp().await;
    assert_eq!(arrival.frame().await, None);
    drop((arrival, client));
    until("the session to end", || proxy.active() == 0).await;
    assert_eq!(
        proxy.closed("half_close_timeout"),
        0,
        "{:?}",
        proxy.causes()
    );
}

#[tokio::test]
async fn a_broker_that_closes_is_closed_to_the_client_too() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start_with(&pki, &front, |settings| {
        settings.session.half_close_timeout = Duration::from_millis(100);
    })
    .await;
    let mut client = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
    let arrival = client.ask(&mut broker).await;
    drop(arrival);
    assert_eq!(client.ending().await.unwrap(), b"");
    // The client keeps its side open; it is not waited for.
    proxy.until_closed("broker_closed", 1).await;
    drop(client);
}

#[tokio::test]
async fn names_lead_to_the_brokers_tls_port_where_that_is_another() {
    let pki = Pki::new();
    // Nodes on two addresses, with the same port for TLS on each, as brokers in a cluster have it.
    let cluster = ClusterState {
        cluster_id: "the-cluster".into(),
        ..ClusterState::default()
    };
    let cluster = Arc::new(Mutex::new(cluster));
    let mut brokers = Vec::new();
    let mut fronts = Vec::new();
    let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tls.local_addr().unwrap().port();
    let tls = [tls, TcpListener::bind(("127.0.0.2", port)).await.unwrap()];
    for ((id, host), tls) in [(0, "127.0.0.1"), (7, "127.0.0.2")].into_iter().zip(tls) {
        let broker = Broker::listening(TcpListener::bind((host, 0)).await.unwrap(), &cluster);
        cluster.lock().unwrap().nodes.insert(id, broker.address);
        fronts.push(Front::listening(
            tls,
            broker.address,
            server_config(&pki.broker, None),
        ));
        brokers.push((id, broker));
    }
    let proxy = Proxy::start_with(&[&brokers[0].1], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(ListenerTls::Passthrough {
            broker_port: Some(port),
        });
    })
    .await;
    for round in 0..2 {
        for (id, broker) in &mut brokers {
            let name = format!("broker-{id}.kafka.example.com");
            let mut client = named_client(proxy.bootstrap(), &name, &pki.client()).await;
            client
                .send(&request(OFFSET_COMMIT, 6, round, b"body"))
                .await;
            assert_eq!(header(&broker.next().await.first).correlation_id, round);
        }
    }
    let mut client = named_client(proxy.bootstrap(), ADVERTISED_HOST, &pki.client()).await;
    client.send(&request(OFFSET_COMMIT, 6, 9, b"body")).await;
    let [(_, zero), (_, seven)] = &mut brokers[..] else {
        panic!("two brokers")
    };
    tokio::select! {
        _ = zero.next() => {}
        _ = seven.next() => {}
    }
    assert!(fronts.iter().all(|front| front.passed_on() >= 2));
}

#[tokio::test]
async fn a_broker_that_there_is_not_is_no_tunnel() {
    let pki = Pki::new();
    let (broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    let before = front.handshakes().len();
    let mut client = proxy.connect().await;
    client.send(&hello(&[b"broker-3.kafka.example.com"])).await;
    assert_eq!(client.rest().await, b"");
    drop(client);
    proxy.until_closed("unknown_broker", 1).await;
    let mut client = proxy.connect().await;
    client.send(&hello(&[b"nobody.kafka.example.com"])).await;
    assert_eq!(client.rest().await, b"\x15\x03\x03\x00\x02\x02\x70");
    drop(client);
    proxy.until_closed("sni_unknown", 1).await;
    assert!(!broker.has_arrivals());
    // Narrows has asked for the broker that it did not know.
    assert!(
        front.handshakes()[before..]
            .iter()
            .flatten()
            .all(|seen| seen.server_name.is_none())
    );
}

#[tokio::test]
async fn a_drain_ends_an_idle_tunnel_and_lets_a_busy_one_come_to_a_pause() {
    /// Shorter than a pause.
    const STEP: Duration = Duration::from_millis(20);
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = start(&pki, &front).await;
    let mut idle = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
    let _idle = exchange(&mut idle, &mut broker, 10).await;
    let mut busy = named_client(proxy.bootstrap(), BROKER_0, &pki.client()).await;
    let mut arrival = busy.ask(&mut broker).await;
    until("both", || proxy.active() == 2).await;
    let began = Instant::now();
    let script = async {
        // Longer than a pause in all, without one in between.
        for id in 1..=20 {
            arrival.send(&opaque(id, &[7; 10_000])).await;
            assert!(busy.frame().await == Some(opaque(id, &[7; 10_000])), "{id}");
            move_clock(STEP).await;
        }
        let _ = busy.ending().await;
        let _ = idle.ending().await;
        drop((busy, idle));
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((proxy.closed("drained"), proxy.active()), (2, 0));
}
