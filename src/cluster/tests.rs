//! A cluster between names that a test makes up and scripted brokers on loopback.

mod told;

use super::*;
use crate::cluster::view::Source;
use crate::observe::metrics::Metrics;
use crate::protocol::rewrite::{BrokerList, ListedBroker};
use crate::protocol::samples::{METADATA, Shape, close, node, response};
use crate::types::{NodeId, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const API_VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;
const REBOOTSTRAP_REQUIRED: i16 = 129;
/// The cluster id of all samples, and another one.
const CLUSTER: &[u8] = b"the-cluster";
const CLUSTER_ANEW: &[u8] = b"new-cluster";

/// What a scripted broker says.
#[derive(Debug, Default)]
pub(super) struct Says {
    /// Its own node id, if it is of Kafka 4.4 or newer.
    pub(super) identity: Option<i32>,
    /// The brokers in its list.
    pub(super) list: Vec<(i32, String, u16)>,
    /// Its cluster was made anew, with another id.
    pub(super) is_made_anew: bool,
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
            is_made_anew: false,
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
    let mut list = response(METADATA, 4, correlation_id, &Shape::of(&nodes));
    if says.is_made_anew {
        let at = list.windows(CLUSTER.len()).position(|id| id == CLUSTER);
        list[at.unwrap()..][..CLUSTER.len()].copy_from_slice(CLUSTER_ANEW);
    }
    list
}

/// A cluster in front of these bootstrap servers, for which names stand for addresses.
pub(super) fn cluster(servers: &[&str], names: &[(&str, &[SocketAddr])]) -> Cluster {
    pinned_cluster(servers, names, None)
}

/// The same, whose id the operator has pinned.
fn pinned_cluster(
    servers: &[&str],
    names: &[(&str, &[SocketAddr])],
    cluster_id: Option<&str>,
) -> Cluster {
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
        cluster_id: cluster_id.map(str::to_owned),
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
                assert_eq!(connection.peer(), broker.at, "broker {id}");
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
        controller: None,
        brokers: brokers.collect(),
        is_complete: false,
    };
    cluster.learn(&list, Source::Passing);
}

async fn port_of(cluster: &Cluster, node: i32) -> u16 {
    let target = Target::Broker(NodeId(node));
    let connection = cluster.connect(target, None).await.unwrap();
    connection.peer().port()
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

/// Lets time pass without waiting for it.
async fn move_clock(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
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

/// A broker of a cluster that has been made anew since Narrows learned its id, and how each refresh
/// ends, so long after the one before.
async fn refreshed_anew(pauses: &[Duration]) -> (Cluster, Vec<bool>) {
    let broker = Scripted::at("127.0.0.1:0").await;
    let cluster = cluster(&[&broker.at.to_string()], &[]);
    broker.say(None, &[(1, LOCAL, broker.at.port())]);
    assert_eq!(cluster.refresh_once().await, refresh::Outcome::Fresh);
    broker.say(None, &[(7, LOCAL, broker.at.port())]);
    broker.says.lock().unwrap().is_made_anew = true;
    let mut believed = Vec::new();
    for pause in pauses {
        move_clock(*pause).await;
        believed.push(cluster.refresh_once().await == refresh::Outcome::Fresh);
    }
    (cluster, believed)
}

#[tokio::test]
async fn refreshes_believe_in_another_cluster_after_half_a_minute_and_five_times_its_word() {
    let second = Duration::from_secs(1);
    for (pauses, expected) in [
        // Often, but not for long: what a broker needs that is away for a moment.
        (vec![second / 10; 20], vec![false; 20]),
        // For long, but not often.
        (vec![20 * second; 4], vec![false; 4]),
        // Both.
        (
            vec![second, second, second, second, second, 30 * second],
            vec![false, false, false, false, false, true],
        ),
    ] {
        let (cluster, believed) = local(refreshed_anew(&pauses)).await;
        assert_eq!(believed, expected);
        let is_new = expected.contains(&true);
        let (id, node) = if is_new {
            (CLUSTER_ANEW, 7)
        } else {
            (CLUSTER, 1)
        };
        assert_eq!(cluster.view().cluster_id().unwrap().as_bytes(), id);
        let nodes: Vec<_> = cluster
            .view()
            .brokers()
            .into_iter()
            .map(|(node, _)| node)
            .collect();
        assert_eq!(nodes, [NodeId(node)]);
    }
}

#[tokio::test]
async fn one_word_of_the_cluster_itself_ends_what_a_stranger_has_insisted_on() {
    local(async {
        let broker = Scripted::at("127.0.0.1:0").await;
        let cluster = cluster(&[&broker.at.to_string()], &[]);
        broker.say(None, &[(1, LOCAL, broker.at.port())]);
        for round in 0..3 {
            assert_eq!(
                cluster.refresh_once().await,
                refresh::Outcome::Fresh,
                "{round}"
            );
            broker.says.lock().unwrap().is_made_anew = true;
            for _ in 0..3 {
                assert_ne!(cluster.refresh_once().await, refresh::Outcome::Fresh);
                move_clock(Duration::from_secs(20)).await;
            }
            broker.says.lock().unwrap().is_made_anew = false;
        }
    })
    .await;
}

#[tokio::test]
async fn who_answers_at_an_address_is_asked_anew_after_any_doubt_and_always_where_an_id_is_pinned()
{
    local(async {
        let (_zero, one, cluster) = two().await;
        let connect = || cluster.connect(Target::Broker(NodeId(1)), None);
        let other = |says: &Scripted| says.say(Some(7), &[]);
        let first = connect().await.unwrap();
        other(&one);
        let second = connect().await;
        assert!(second.is_ok(), "it has said so a moment ago");
        // A connection there has ended, be it the last one or not.
        drop(second);
        assert!(connect().await.is_err());
        drop(first);
        // Nobody has answered there for a moment.
        one.say(Some(1), &[]);
        assert!(connect().await.is_ok());
        let at = one.at;
        drop(one);
        tokio::task::yield_now().await;
        assert!(connect().await.is_err());
        let taken = Scripted::at(&at.to_string()).await;
        other(&taken);
        // For so long the refusal is everybody's.
        move_clock(Duration::from_secs(1)).await;
        assert!(connect().await.is_err());
        // An id is pinned.
        taken.say(Some(1), &[]);
        let pinned = ClusterSettings {
            cluster_id: Some(String::from_utf8(CLUSTER.into()).unwrap()),
            ..ClusterSettings::clone(&cluster.settings())
        };
        cluster.change(pinned);
        assert!(connect().await.is_ok());
        other(&taken);
        assert!(connect().await.is_err());
    })
    .await;
}
