//! A cluster between names that a test makes up and scripted brokers on loopback.

use super::*;
use crate::observe::metrics::Metrics;
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
