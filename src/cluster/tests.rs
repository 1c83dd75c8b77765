//! A cluster between names that a test makes up and scripted brokers on loopback.

use super::*;
use crate::cluster::view::Source;
use crate::observe::metrics::Metrics;
use crate::protocol::rewrite::{BrokerList, ListedBroker};
use crate::protocol::samples::{METADATA, Shape, close, node, response};
use crate::types::{NodeId, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;
const REBOOTSTRAP_REQUIRED: i16 = 129;

/// What a scripted broker says.
#[derive(Debug, Default)]
pub(super) struct Says {
    /// Its own node id, if it is of Kafka 4.4 or newer.
    pub(super) identity: Option<i32>,
    /// The brokers in its list.
    pub(super) list: Vec<(i32, String, u16)>,
}

/// A broker that answers what Narrows asks.
pub(super) struct Scripted {
    pub(super) at: SocketAddr,
    pub(super) says: Arc<Mutex<Says>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Scripted {
    pub(super) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let at = listener.local_addr().unwrap();
        let says = Arc::<Mutex<Says>>::default();
        let answers = Arc::clone(&says);
        let accepting = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(answer_all(stream, Arc::clone(&answers)));
            }
        });
        Self {
            at,
            says,
            accepting,
        }
    }

    pub(super) fn say(&self, identity: Option<i32>, list: &[(i32, &str, u16)]) {
        let list = list
            .iter()
            .map(|(id, host, port)| (*id, (*host).to_owned(), *port));
        *self.says.lock().unwrap() = Says {
            identity,
            list: list.collect(),
        };
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer_all(mut stream: TcpStream, says: Arc<Mutex<Says>>) {
    loop {
        let Ok(length) = stream.read_i32().await else {
            return;
        };
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut frame).await.unwrap();
        let answer = answer(&frame, &says.lock().unwrap());
        stream.write_all(&answer).await.unwrap();
    }
}

fn answer(frame: &[u8], says: &Says) -> Vec<u8> {
    let correlation_id = i32::from_be_bytes(frame[4..8].try_into().unwrap());
    if frame[..2] == API_VERSIONS.to_be_bytes() {
        // The node id that is meant stands before the tags.
        let meant = frame[frame.len() - 5..][..4].try_into().unwrap();
        let code = match says.identity {
            None => UNSUPPORTED_VERSION,
            Some(id) if id == i32::from_be_bytes(meant) => 0,
            Some(_) => REBOOTSTRAP_REQUIRED,
        };
        let head = [&[0; 4][..], &correlation_id.to_be_bytes()].concat();
        return close([&head[..], &code.to_be_bytes(), &[0; 4]].concat());
    }
    let nodes: Vec<_> = says
        .list
        .iter()
        .map(|(id, host, port)| node(*id, host, *port))
        .collect();
    response(METADATA, 4, correlation_id, &Shape::of(&nodes))
}

/// A cluster in front of these bootstrap servers, for which names stand for addresses.
pub(super) fn cluster(servers: &[&str], names: &[(&str, &[SocketAddr])]) -> Cluster {
    let second = Duration::from_secs(1);
    let names: BTreeMap<_, _> = names
        .iter()
        .map(|(name, at)| ((*name).to_owned(), at.to_vec()))
        .collect();
    let lookup = move |host: &str| {
        let found = names.get(host).cloned();
        found.ok_or_else(|| std::io::Error::other("no such name"))
    };
    let settings = ClusterSettings {
        name: ClusterName("orders".into()),
        bootstrap_servers: servers.iter().map(|at| at.parse().unwrap()).collect(),
        cluster_id: None,
        broker_address: None,
        metadata_refresh_interval: 3_600 * second,
        dial: DialSettings {
            dns_timeout: 5 * second,
            connect_timeout: 5 * second,
            probe_timeout: 5 * second,
        },
        tls: None,
    };
    let metrics = Metrics::new(std::iter::empty()).cluster(&settings.name);
    let resolver = Resolver::by(Arc::new(lookup));
    let dialler = Dialler::new(resolver, Arc::default());
    Cluster::with(settings, BufferPool::default(), dialler, metrics)
}

/// Runs a test with its brokers.
pub(super) async fn local<T>(test: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn behind_a_shared_name_the_broker_is_found_that_says_it_is_the_one() {
    local(async {
        let zero = Scripted::at("127.0.0.7:0").await;
        let port = zero.at.port();
        let one = Scripted::at(&format!("127.0.0.8:{port}")).await;
        let two = Scripted::at(&format!("127.0.0.9:{port}")).await;
        let list = [0, 1, 2].map(|id| (id, "kafka-svc", port));
        for (broker, id) in [(&zero, 0), (&one, 1), (&two, 2)] {
            broker.say(Some(id), &list);
        }
        let server = format!("kafka-svc:{port}");
        let cluster = cluster(&[&server], &[("kafka-svc", &[zero.at, one.at, two.at])]);
        assert_eq!(cluster.refresh_once().await, refresh::Outcome::Fresh);
        for _ in 0..2 {
            for (id, broker) in [(2, &two), (0, &zero), (1, &one)] {
                let target = Target::Broker(NodeId(id));
                let connection = cluster.connect(target, None).await.unwrap();
                assert_eq!(connection.peer, broker.at, "broker {id}");
            }
        }
        // Nobody is broker 1 any more.
        one.say(Some(7), &list);
        let error = cluster.connect(Target::Broker(NodeId(1)), None).await;
        let text = error.unwrap_err().to_string();
        for part in [
            "led to another broker than 1",
            "clusters.orders.broker_address",
        ] {
            assert!(text.contains(part), "{text}");
        }
    })
    .await;
}

/// Broker 0 as bootstrap server, broker 1, and a cluster that knows both.
async fn two() -> (Scripted, Scripted, Cluster) {
    let zero = Scripted::at("127.0.0.1:0").await;
    let one = Scripted::at("127.0.0.1:0").await;
    let cluster = cluster(&[&zero.at.to_string()], &[]);
    for broker in [&zero, &one] {
        broker.say(
            None,
            &[(0, LOCAL, zero.at.port()), (1, LOCAL, one.at.port())],
        );
    }
    assert_eq!(cluster.refresh_once().await, refresh::Outcome::Fresh);
    (zero, one, cluster)
}

const LOCAL: &str = "127.0.0.1";

/// A list that passes.
fn learn(cluster: &Cluster, brokers: &[(i32, u16)]) {
    let brokers = brokers.iter().map(|(id, port)| ListedBroker {
        node: NodeId(*id),
        host: LOCAL.to_owned(),
        port: *port,
    });
    let list = BrokerList {
        cluster_id: None,
        brokers: brokers.collect(),
        is_complete: false,
    };
    cluster.learn(&list, Source::Passing);
}

async fn port_of(cluster: &Cluster, node: i32) -> u16 {
    let target = Target::Broker(NodeId(node));
    let connection = cluster.connect(target, None).await.unwrap();
    connection.peer.port()
}

#[tokio::test]
async fn a_list_that_lags_behind_cuts_no_connection() {
    local(async {
        let (_zero, one, cluster) = two().await;
        let gone = cluster.view().locate(NodeId(1)).unwrap().gone;
        let settling = cluster.settle_claims_for_ever();
        let stale = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = stale.local_addr().unwrap().port();
        // Somebody is there, and closes: no broker.
        let looked_into = async {
            learn(&cluster, &[(1, at)]);
            drop(stale.accept().await.unwrap());
            for _ in 0..100 {
                learn(&cluster, &[(1, at)]);
                learn(&cluster, &[(1, one.at.port())]);
            }
            assert_eq!(port_of(&cluster, 1).await, one.at.port());
        };
        tokio::select! {
            () = settling => {}
            () = looked_into => {}
        }
        assert!(!gone.is_cancelled());
    })
    .await;
}

#[tokio::test]
async fn two_listeners_of_one_broker_cut_no_connection_and_are_told_of() {
    local(async {
        let (zero, one, cluster) = two().await;
        let gone = cluster.view().locate(NodeId(1)).unwrap().gone;
        let other = Scripted::at("127.0.0.1:0").await;
        other.say(
            None,
            &[(0, LOCAL, zero.at.port()), (1, LOCAL, other.at.port())],
        );
        learn(&cluster, &[(1, other.at.port())]);
        let [claim] = &cluster.view().due_claims(9, Instant::now())[..] else {
            panic!("no claim")
        };
        cluster.settle_claim(claim).await;
        learn(&cluster, &[(1, one.at.port())]);
        learn(&cluster, &[(1, other.at.port())]);
        let later = Instant::now() + Duration::from_secs(60);
        let [claim] = &cluster.view().due_claims(9, later)[..] else {
            panic!("no claim")
        };
        assert!(claim.is_flapping);
        assert_eq!(
            (claim.known.port, claim.claimed.port),
            (one.at.port(), other.at.port())
        );
        assert!(!gone.is_cancelled());
        assert_eq!(port_of(&cluster, 1).await, one.at.port());
    })
    .await;
}

#[tokio::test]
async fn a_broker_whose_address_is_dead_is_found_at_once_where_lists_claim_that_it_is() {
    local(async {
        let (zero, one, cluster) = two().await;
        let gone = cluster.view().locate(NodeId(1)).unwrap().gone;
        let new = Scripted::at("127.0.0.1:0").await;
        let list = [(0, LOCAL, zero.at.port()), (1, LOCAL, new.at.port())];
        new.say(None, &list);
        zero.say(None, &list);
        drop(one);
        tokio::task::yield_now().await;
        learn(&cluster, &[(1, new.at.port())]);
        assert_eq!(port_of(&cluster, 1).await, new.at.port());
        assert!(gone.is_cancelled(), "connections to the old address end");
    })
    .await;
}
