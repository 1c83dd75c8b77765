//! A reload swaps everything at once, and touches no connection that can stay.

use crate::broker::{Arrival, Broker, ClusterState};
use crate::client::{ADVERTISED_HOST, Client, Proxy, next_ports};
use crate::frames::{OFFSET_COMMIT, answer_narrows, header, opaque, request};
use crate::names::{PATTERN, by_names, names};
use crate::samples::{METADATA, Shape, node, response};
use crate::tls_peers::{Pki, TlsClient, identity, named_client, tls_client};
use crate::until;
use narrows::address::{NodeIdRanges, PortScheme, Scheme};
use narrows::admin::AdminSettings;
use narrows::app::{ReloadError, Settings};
use narrows::listener::{ProxyMode, ProxyProtocol};
use narrows::net::tls::{ClientAuth, ServerTls};
use narrows::observe::LogFormat;
use narrows::session::ListenerTls;
use narrows::types::{ClusterName, ListenerName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Becomes what the settings are after this change.
fn reload(proxy: &Proxy, change: impl FnOnce(&mut Settings)) -> Result<bool, ReloadError> {
    let mut settings = proxy.narrows.settings();
    change(&mut settings);
    proxy.narrows.reload(settings)
}

/// A request and its response, on a connection that has had others.
async fn goes_on<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    arrival: &mut Arrival,
    id: i32,
) {
    client.send(&request(OFFSET_COMMIT, 6, id, b"body")).await;
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, id);
    arrival.send(&opaque(id, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(id, b"answer")));
}

/// A connection that has had a request answered.
async fn established<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    broker: &mut Broker,
) -> Arrival {
    let mut arrival = client.ask(broker).await;
    arrival.send(&opaque(1, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
    arrival
}

/// A block of ports for one more listener.
fn ports(settings: &mut Settings, name: &str, last_node: i32) -> SocketAddr {
    for _ in 0..1000 {
        let bootstrap = SocketAddr::from((Ipv4Addr::LOCALHOST, next_ports()));
        let free = (0..=last_node + 1).all(|at| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, bootstrap.port() + at as u16)).is_ok()
        });
        if !free {
            continue;
        }
        let mut listener = settings.listeners[0].clone();
        listener.name = ListenerName(name.into());
        listener.scheme = by_ports(bootstrap, last_node);
        settings.listeners.push(listener);
        return bootstrap;
    }
    panic!("no free ports")
}

fn by_ports(bootstrap: SocketAddr, last_node: i32) -> Scheme {
    let node_ids = NodeIdRanges::new(vec![(0, last_node)]).unwrap();
    Scheme::Port(
        PortScheme::new(
            bootstrap,
            bootstrap.port() + 1,
            node_ids,
            ADVERTISED_HOST.into(),
            0,
        )
        .unwrap(),
    )
}

fn certificate(pki: &Pki) -> ListenerTls {
    let issued = pki.authority.for_names(&[ADVERTISED_HOST]);
    ListenerTls::Terminate(ServerTls::new(vec![identity(&issued)], ClientAuth::None).unwrap())
}

fn shown(client: &TlsClient) -> Vec<u8> {
    client.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_same_settings_change_nothing() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.listeners[0].tls = Some(pki.terminate())
    })
    .await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    let mut arrival = established(&mut client, &mut broker).await;
    // The same certificate, read anew.
    assert!(
        !reload(&proxy, |settings| settings.listeners[0].tls =
            Some(pki.terminate()))
        .unwrap()
    );
    goes_on(&mut client, &mut arrival, 2).await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_who_comes_and_standing_connections_go_on() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.listeners[0].tls = Some(certificate(&pki))
    })
    .await;
    let config = pki.client();
    let mut standing = tls_client(proxy.bootstrap(), &config).await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let serial = || proxy.narrows.status()["certificates"][0]["serial"].clone();
    let serial_before = serial();
    assert!(
        reload(&proxy, |settings| settings.listeners[0].tls =
            Some(certificate(&pki)))
        .unwrap()
    );
    let mut fresh = tls_client(proxy.bootstrap(), &config).await;
    established(&mut fresh, &mut broker).await;
    assert_ne!(shown(&fresh), shown(&standing));
    assert_ne!(serial(), serial_before);
    let resumed = "narrows_tls_handshakes_total{listener=\"external\",outcome=\"resumed\",version=\"TLSv1.3\"}";
    assert_eq!(proxy.metric(resumed), 0, "nobody resumes past the change");
    goes_on(&mut standing, &mut arrival, 2).await;
}

#[tokio::test]
async fn tls_that_is_switched_on_or_off_holds_for_who_comes_next() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut broker).await;
    assert!(
        reload(&proxy, |settings| settings.listeners[0].tls =
            Some(pki.terminate()))
        .unwrap()
    );
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    let mut second = established(&mut client, &mut broker).await;
    goes_on(&mut standing, &mut arrival, 2).await;
    assert!(reload(&proxy, |settings| settings.listeners[0].tls = None).unwrap());
    established(&mut proxy.connect().await, &mut broker).await;
    goes_on(&mut client, &mut second, 2).await;
}

#[tokio::test]
async fn a_listener_that_is_added_is_there_and_the_others_stay() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let mut added = None;
    assert!(reload(&proxy, |settings| added = Some(ports(settings, "added", 2))).unwrap());
    let mut client = Client::connect(added.unwrap()).await;
    established(&mut client, &mut broker).await;
    goes_on(&mut standing, &mut arrival, 2).await;
    assert_eq!(
        proxy.narrows.status()["listeners"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_listener_that_is_removed_answers_what_is_in_flight_and_the_others_stay() {
    let mut broker = Broker::alone(0).await;
    let mut removed = None;
    let proxy = Proxy::start(&[&broker]).await;
    reload(&proxy, |settings| {
        removed = Some(ports(settings, "removed", 2))
    })
    .unwrap();
    let removed = removed.unwrap();
    let mut bystander = proxy.connect().await;
    let mut bystanders = established(&mut bystander, &mut broker).await;
    let mut idle = Client::connect(removed).await;
    let _idle = established(&mut idle, &mut broker).await;
    let mut waiting = Client::connect(removed).await;
    let mut arrival = established(&mut waiting, &mut broker).await;
    waiting
        .send(&request(OFFSET_COMMIT, 6, 2, b"in flight"))
        .await;
    arrival.frame().await.unwrap();
    let mut fresh = Client::connect(removed).await;
    let active = "narrows_connections_active{listener=\"removed\"}";
    until("all to be accepted", || proxy.metric(active) == 3).await;

    assert!(reload(&proxy, |settings| settings.listeners.truncate(1)).unwrap());
    assert_eq!(
        (idle.frame().await, fresh.frame().await),
        (None, None),
        "nothing in flight: closed at once"
    );
    for at in 0..4 {
        let port = SocketAddr::new(removed.ip(), removed.port() + at);
        until("its sockets to close", || {
            std::net::TcpStream::connect(port).is_err()
        })
        .await;
    }
    arrival.send(&opaque(2, b"in flight")).await;
    assert_eq!(waiting.frame().await, Some(opaque(2, b"in flight")));
    assert_eq!(waiting.frame().await, None);
    drop((idle, fresh, waiting));
    let drained =
        "narrows_connections_closed_total{cause=\"drained\",listener=\"removed\",side=\"narrows\"}";
    until("its sessions to end", || proxy.metric(drained) == 3).await;
    goes_on(&mut bystander, &mut bystanders, 2).await;
    assert_eq!(proxy.closed("drained"), 0);
    // Its ports can be had again.
    let mut settings = proxy.narrows.settings();
    let mut listener = settings.listeners[0].clone();
    (listener.name, listener.scheme) = (ListenerName("again".into()), by_ports(removed, 2));
    settings.listeners.push(listener);
    assert!(proxy.narrows.reload(settings).unwrap());
    established(&mut Client::connect(removed).await, &mut broker).await;
}

#[tokio::test]
async fn a_removed_listener_waits_for_responses_no_longer_than_a_drain_does() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.drain.timeout = Duration::from_millis(100)
    })
    .await;
    proxy.announce("cause=\"aborted\"");
    let mut removed = None;
    reload(&proxy, |settings| {
        removed = Some(ports(settings, "removed", 2))
    })
    .unwrap();
    let mut client = Client::connect(removed.unwrap()).await;
    let arrival = client.ask(&mut broker).await;
    assert!(reload(&proxy, |settings| settings.listeners.truncate(1)).unwrap());
    assert_eq!(client.frame().await, None);
    assert_eq!(arrival.rest().await, b"");
    drop(client);
    let aborted =
        "narrows_connections_closed_total{cause=\"aborted\",listener=\"removed\",side=\"narrows\"}";
    until("the session to end", || proxy.metric(aborted) == 1).await;
}

#[tokio::test]
async fn a_node_id_that_gets_an_address_is_told_to_standing_sessions_too() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        let bootstrap = settings.listeners[0].scheme.binds()[0].address;
        settings.listeners[0].scheme = by_ports(bootstrap, 1);
    })
    .await;
    proxy.announce("broker 2 is outside node_ids");
    let mut client = proxy.connect().await;
    let mut arrival = established(&mut client, &mut broker).await;
    let at = |port: [u16; 3], host: [&str; 3]| {
        let nodes: Vec<_> = (0..3)
            .map(|id| node(id as i32, host[id], port[id]))
            .collect();
        Shape::of(&nodes)
    };
    let internal = at([9092; 3], ["a.internal", "b.internal", "c.internal"]);
    let port = |id| proxy.port(id);
    let nowhere = "node-2-is-not-in-node-ids.narrows.invalid";
    for (last, told) in [
        (
            1,
            at(
                [port(0), port(1), 1],
                [ADVERTISED_HOST, ADVERTISED_HOST, nowhere],
            ),
        ),
        (2, at([port(0), port(1), port(2)], [ADVERTISED_HOST; 3])),
    ] {
        reload(&proxy, |settings| {
            settings.listeners[0].scheme = by_ports(proxy.bootstrap(), last)
        })
        .unwrap();
        client.send(&request(METADATA, 12, last, b"")).await;
        arrival.frame().await.unwrap();
        arrival.send(&response(METADATA, 12, last, &internal)).await;
        assert_eq!(
            client.frame().await,
            Some(response(METADATA, 12, last, &told)),
            "up to node {last}"
        );
    }
    assert!(std::net::TcpStream::connect(SocketAddr::new(proxy.bootstrap().ip(), port(2))).is_ok());
    assert_eq!(
        proxy.narrows.status()["listeners"][0]["unmapped_nodes"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_node_id_that_loses_its_port_ends_the_sessions_there_and_no_others() {
    let mut broker = Broker::alone(0).await;
    let mut one = Broker::member(1, &broker.cluster).await;
    let proxy = Proxy::start(&[&broker]).await;
    proxy.announce("broker 1 is outside node_ids");
    let mut stays = proxy.connect_to(0).await;
    let mut arrival = established(&mut stays, &mut broker).await;
    let mut goes = proxy.connect_to(1).await;
    let _goes = established(&mut goes, &mut one).await;
    assert!(
        reload(&proxy, |settings| settings.listeners[0].scheme =
            by_ports(proxy.bootstrap(), 0))
        .unwrap()
    );
    assert_eq!(goes.frame().await, None);
    drop(goes);
    proxy.until_closed("drained", 1).await;
    goes_on(&mut stays, &mut arrival, 2).await;
}

#[tokio::test]
async fn sessions_under_a_name_that_is_changed_end_and_those_under_others_stay() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(pki.terminate());
        let mut other = settings.listeners[0].clone();
        let bind = other.scheme.binds()[0].address;
        other.name = ListenerName("other".into());
        other.scheme = names(
            bind,
            "bootstrap.other.example.com",
            "node-{node_id}.other.example.com",
            None,
        );
        settings.listeners.push(other);
    })
    .await;
    let config = pki.client();
    let mut goes = named_client(proxy.bootstrap(), "broker-0.kafka.example.com", &config).await;
    let mut arrival = established(&mut goes, &mut broker).await;
    goes.send(&request(OFFSET_COMMIT, 6, 2, b"in flight")).await;
    arrival.frame().await.unwrap();
    let mut stays = named_client(proxy.bootstrap(), "node-0.other.example.com", &config).await;
    let mut others = established(&mut stays, &mut broker).await;
    // One that has not said a name yet finds the new ones.
    let unnamed = proxy.connect().await;

    assert!(
        reload(&proxy, |settings| {
            let bind = settings.listeners[0].scheme.binds()[0].address;
            settings.listeners[0].scheme =
                names(bind, ADVERTISED_HOST, "b{node_id}.kafka.example.com", None);
        })
        .unwrap()
    );
    arrival.send(&opaque(2, b"in flight")).await;
    assert_eq!(goes.frame().await, Some(opaque(2, b"in flight")));
    assert_eq!(goes.ending().await.unwrap(), b"");
    drop(goes);
    proxy.until_closed("drained", 1).await;
    goes_on(&mut stays, &mut others, 2).await;
    let mut client = named_client(proxy.bootstrap(), "b0.kafka.example.com", &config).await;
    established(&mut client, &mut broker).await;
    let mut old = proxy.connect().await;
    old.send(&crate::hello::hello(&[b"broker-0.kafka.example.com"]))
        .await;
    assert_eq!(
        old.rest().await.last(),
        Some(&112),
        "the old name is nobody's"
    );
    drop(unnamed);
}

#[tokio::test]
async fn a_name_that_is_added_on_a_port_that_is_open_needs_no_other_socket() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        by_names(settings, ADVERTISED_HOST, PATTERN, None);
        settings.listeners[0].tls = Some(pki.terminate());
    })
    .await;
    let config = pki.client();
    let mut standing = tls_client(proxy.bootstrap(), &config).await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let add = |settings: &mut Settings| {
        let mut other = settings.listeners[0].clone();
        other.name = ListenerName("other".into());
        other.scheme = names(
            proxy.bootstrap(),
            "bootstrap.other.example.com",
            "node-{node_id}.other.example.com",
            None,
        );
        settings.listeners.push(other);
    };
    assert!(reload(&proxy, add).unwrap());
    let mut other = named_client(proxy.bootstrap(), "node-0.other.example.com", &config).await;
    let _other = established(&mut other, &mut broker).await;
    goes_on(&mut standing, &mut arrival, 2).await;
    assert!(reload(&proxy, |settings| settings.listeners.truncate(1)).unwrap());
    assert_eq!(other.ending().await.unwrap(), b"");
    goes_on(&mut standing, &mut arrival, 3).await;
}

#[tokio::test]
async fn clusters_are_added_changed_and_removed_with_their_listeners() {
    let mut broker = Broker::alone(0).await;
    let mut second = Broker::alone(0).await;
    second.cluster.lock().unwrap().cluster_id = "second".into();
    let proxy = Proxy::start(&[&broker]).await;
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let mut added = None;
    assert!(
        reload(&proxy, |settings| {
            let mut cluster = settings.clusters[0].clone();
            cluster.name = ClusterName("second".into());
            cluster.bootstrap_servers = vec![second.address.to_string().parse().unwrap()];
            added = Some(ports(settings, "second", 2));
            settings.listeners[1].cluster = cluster.name.clone();
            settings.clusters.push(cluster);
        })
        .unwrap()
    );
    let added = added.unwrap();
    let mut client = Client::connect(added).await;
    let mut seconds = established(&mut client, &mut second).await;
    goes_on(&mut standing, &mut arrival, 2).await;

    // Its bootstrap server moves: who stands goes on, who comes is led there.
    let mut moved = Broker::alone(0).await;
    moved.cluster.lock().unwrap().cluster_id = "second".into();
    let moved_to = |settings: &mut Settings| {
        settings.clusters[1].bootstrap_servers = vec![moved.address.to_string().parse().unwrap()];
    };
    assert!(reload(&proxy, moved_to).unwrap());
    goes_on(&mut client, &mut seconds, 2).await;
    established(&mut Client::connect(added).await, &mut moved).await;
    assert!(!second.has_arrivals());

    assert!(
        reload(&proxy, |settings| {
            settings.clusters.truncate(1);
            settings.listeners.truncate(1);
        })
        .unwrap()
    );
    assert_eq!(client.frame().await, None);
    goes_on(&mut standing, &mut arrival, 3).await;
    let status = proxy.narrows.status();
    assert_eq!(status["clusters"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cluster_in_the_place_of_another_is_not_mixed_up_with_it() {
    let mut old = Broker::alone(0).await;
    let proxy = Proxy::start(&[&old]).await;
    proxy.announce("no broker of the cluster can be asked for metadata");
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut old).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let replaced = |settings: &mut Settings| {
        settings.clusters[0].bootstrap_servers = vec![address.to_string().parse().unwrap()];
    };
    assert!(reload(&proxy, replaced).unwrap());
    // The old one still answers, and whoever is there may stay. What passes is of the old one,
    // before the new one is up.
    goes_on(&mut standing, &mut arrival, 2).await;
    standing
        .send(&request(METADATA, 4, 3, &[0, 0, 0, 0, 0]))
        .await;
    let asked = arrival.frame().await.unwrap();
    arrival
        .send(&answer_narrows(
            &asked,
            &BTreeMap::from([(0, old.address)]),
            "the-cluster",
        ))
        .await;
    standing.frame().await.unwrap();
    let cluster = ClusterState {
        cluster_id: "new".into(),
        nodes: BTreeMap::from([(0, address)]),
        ..ClusterState::default()
    };
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut new = Broker::listening(listener, &Arc::new(Mutex::new(cluster)));
    let id = || proxy.narrows.status()["clusters"][0]["cluster_id"].clone();
    until("the new cluster to be known", || id() == "new").await;
    established(&mut proxy.connect().await, &mut new).await;
    established(&mut proxy.connect_to(0).await, &mut new).await;
    assert!(!old.has_arrivals(), "nobody is led to the old one any more");
}

#[tokio::test]
async fn whose_connection_it_is_may_be_asked_from_now_on() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let required = ProxyProtocol {
        mode: ProxyMode::Required,
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
    };
    assert!(
        reload(&proxy, |settings| settings.listeners[0].proxy_protocol =
            required)
        .unwrap()
    );
    let mut without = proxy.connect().await;
    without
        .try_send(&request(OFFSET_COMMIT, 6, 1, b"body"))
        .await;
    assert_eq!(without.rest().await, b"");
    drop(without);
    proxy.until_closed("proxy_header_missing", 1).await;
    let mut with = proxy.connect().await;
    with.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n")
        .await;
    established(&mut with, &mut broker).await;
    goes_on(&mut standing, &mut arrival, 2).await;
    assert!(
        reload(&proxy, |settings| settings.listeners[0].proxy_protocol =
            ProxyProtocol::default())
        .unwrap()
    );
    established(&mut proxy.connect().await, &mut broker).await;
}

#[tokio::test]
async fn what_can_not_change_while_narrows_runs_is_refused_by_name_and_changes_nothing() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let before = proxy.narrows.settings();
    let admin = |settings: &mut Settings| {
        settings.admin = Some(AdminSettings {
            bind: "127.0.0.1:1".parse().unwrap(),
        })
    };
    let format = |settings: &mut Settings| settings.log.format = LogFormat::Json;
    for (what, change) in [
        (&["admin.bind"][..], &admin as &dyn Fn(&mut Settings)),
        (&["log.format"], &format),
        (&["admin.bind", "log.format"], &|settings: &mut Settings| {
            admin(settings);
            format(settings);
            settings.listeners.clear();
        }),
    ] {
        let refused = reload(&proxy, change).unwrap_err();
        assert!(
            matches!(&refused, ReloadError::Fixed(keys) if keys == what),
            "{refused}"
        );
        assert!(
            refused.to_string().starts_with(&what.join(", ")),
            "{refused}"
        );
        assert!(proxy.narrows.settings() == before);
    }
    established(&mut proxy.connect().await, &mut broker).await;
}

#[tokio::test]
async fn a_port_that_can_not_be_bound_is_refused_and_changes_nothing() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut standing = proxy.connect().await;
    let mut arrival = established(&mut standing, &mut broker).await;
    let before = proxy.narrows.settings();
    let mut added = None;
    let mut taken = None;
    let refused = reload(&proxy, |settings| {
        let bootstrap = ports(settings, "added", 2);
        taken = Some(TcpListener::bind((bootstrap.ip(), bootstrap.port() + 2)).unwrap());
        added = Some(bootstrap);
        settings.session.frame_bytes_max = 100;
        settings.clusters[0].bootstrap_servers = vec!["127.0.0.1:1".parse().unwrap()];
    })
    .unwrap_err();
    let added = added.unwrap();
    let taken = taken.unwrap().local_addr().unwrap();
    assert!(
        refused
            .to_string()
            .contains(&format!("listener added can't bind {taken} for broker 1")),
        "{refused}"
    );
    assert!(proxy.narrows.settings() == before);
    assert!(
        std::net::TcpStream::connect(added).is_err(),
        "none of its sockets stays"
    );
    goes_on(&mut standing, &mut arrival, 2).await;
    established(&mut proxy.connect().await, &mut broker).await;
}
