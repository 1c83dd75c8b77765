//! Frames of every kind and size in one stream: what happens to one must not depend on what stands
//! before or behind it, nor on whether it was spliced. Large frames make Narrows look ahead; edits
//! behind them must still find their bytes.

use crate::broker::Broker;
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::frames::{API_VERSIONS, OFFSET_COMMIT, opaque, produce, request};
use crate::samples::{FETCH, METADATA, Node, PRODUCE, Shape, node, pattern, response, tail};
use crate::tls_peers::{Pki, tls_client};
use crate::within;
use narrows::session::Splice;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client asks for, and how large the larger of request and response is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Nothing is looked into: the request is large.
    Commit,
    /// Nothing is looked into: the response is large.
    Committed,
    /// Its version is replaced on the way to the broker.
    ApiVersions,
    /// The addresses stand in front.
    Metadata,
    /// The addresses stand behind the records.
    Fetch { has_moved: bool },
    /// Small responses with addresses.
    Produced { has_moved: bool },
    /// There is no response.
    ProduceUnanswered,
}

fn exchange() -> impl Strategy<Value = (Kind, usize)> {
    let kind = prop_oneof![
        Just(Kind::Commit),
        Just(Kind::Committed),
        Just(Kind::ApiVersions),
        Just(Kind::Metadata),
        any::<bool>().prop_map(|has_moved| Kind::Fetch { has_moved }),
        any::<bool>().prop_map(|has_moved| Kind::Produced { has_moved }),
        Just(Kind::ProduceUnanswered),
    ];
    let bytes = prop_oneof![
        0..200usize,
        900..1200usize,
        14_000..36_000usize,
        60_000..300_000usize
    ];
    (kind, bytes)
}

/// One exchange as each side sends it, and what the broker gets.
struct Exchange {
    kind: Kind,
    shape: Shape,
    request: Vec<u8>,
    expected: Vec<u8>,
    response: Vec<u8>,
}

impl Exchange {
    fn new(id: i32, (kind, bytes): (Kind, usize), nodes: &[Node]) -> Self {
        let shape = |nodes: &[Node], filling| Shape {
            filling,
            ..Shape::of(nodes)
        };
        let moved = |has_moved| if has_moved { nodes } else { &[] };
        let plain = shape(&[], 0);
        let (shape, request, response) = match kind {
            Kind::Commit => (
                plain,
                request(OFFSET_COMMIT, 6, id, &pattern(bytes)),
                opaque(id, b"done"),
            ),
            Kind::Committed => (
                plain,
                request(OFFSET_COMMIT, 6, id, b""),
                opaque(id, &pattern(bytes)),
            ),
            Kind::ApiVersions => {
                let answer = opaque(id, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
                (plain, request(API_VERSIONS, 99, id, b""), answer)
            }
            Kind::Metadata => {
                let shape = shape(nodes, bytes);
                (
                    shape.clone(),
                    request(METADATA, 12, id, b""),
                    response(METADATA, 12, id, &shape),
                )
            }
            Kind::Fetch { has_moved } => {
                let shape = shape(moved(has_moved), bytes);
                (
                    shape.clone(),
                    request(FETCH, 17, id, b""),
                    response(FETCH, 17, id, &shape),
                )
            }
            Kind::Produced { has_moved } => {
                let shape = shape(moved(has_moved), 0);
                // No transactional id, acks=all.
                let body = [&[0, 0xff, 0xff][..], &pattern(bytes)].concat();
                (
                    shape.clone(),
                    request(PRODUCE, 12, id, &body),
                    response(PRODUCE, 12, id, &shape),
                )
            }
            Kind::ProduceUnanswered => (plain, produce(id, 0, &pattern(bytes)), Vec::new()),
        };
        let mut expected = request.clone();
        if matches!(kind, Kind::ApiVersions) {
            expected[6..8].copy_from_slice(&i16::MAX.to_be_bytes());
        }
        Self {
            kind,
            shape,
            request,
            expected,
            response,
        }
    }

    /// What the client has got is the response with Narrows' addresses or, where they did not fit,
    /// without any.
    fn assert_got(&self, got: &[u8], id: i32, advertised: &[Node]) {
        let at = |nodes: &[Node]| Shape {
            nodes: nodes.to_vec(),
            ..self.shape.clone()
        };
        let (key, version) = match self.kind {
            Kind::Metadata => {
                let expected = response(METADATA, 12, id, &at(advertised));
                return assert!(got == expected, "exchange {id}: {:?}", self.kind);
            }
            Kind::Fetch { .. } => (FETCH, 17),
            Kind::Produced { .. } => (PRODUCE, 12),
            _ => return assert!(got == self.response, "exchange {id}: {:?}", self.kind),
        };
        let (nodes, rest) = tail(key, version, got);
        let (_, expected) = tail(key, version, &response(key, version, id, &at(&[])));
        // The advertised host is shorter than the broker's, so that it always fits.
        let expected_nodes = if self.shape.nodes.is_empty() {
            &[][..]
        } else {
            advertised
        };
        assert_eq!(nodes, expected_nodes, "exchange {id}: {:?}", self.kind);
        assert!(rest == expected, "exchange {id}: {:?}", self.kind);
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], chunk: usize) {
    for piece in bytes.chunks(chunk) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn pass(script: &[(Kind, usize)], chunk: usize, splice: Splice, broker: &mut Broker) {
    let proxy = Proxy::start_with(&[broker], |settings| settings.session.splice = splice).await;
    announce_abort(&proxy);
    let client = proxy.connect().await;
    converse(script, chunk, client, &proxy, broker).await;
    proxy.narrows.stop().await;
}

/// Narrows is stopped with its session open, which may still owe the answer to the last request.
fn announce_abort(proxy: &Proxy) {
    proxy.announce("cause=\"aborted\"");
}

async fn converse(
    script: &[(Kind, usize)],
    chunk: usize,
    mut client: Client<impl AsyncRead + AsyncWrite + Unpin>,
    proxy: &Proxy,
    broker: &mut Broker,
) {
    let nodes = [node(0, "kafka-0.broker.internal", 9092)];
    let advertised = [node(0, ADVERTISED_HOST, proxy.port(0))];
    let ids = 0i32..;
    let exchanges: Vec<_> = ids
        .zip(script)
        .map(|(id, exchange)| Exchange::new(id, *exchange, &nodes))
        .collect();
    let concat = |part: fn(&Exchange) -> &[u8]| {
        exchanges
            .iter()
            .flat_map(part)
            .copied()
            .collect::<Vec<u8>>()
    };
    let sent = concat(|e| &e.request);
    let expected = concat(|e| &e.expected);
    let (mut arrival, got) = within("all requests", async {
        let receiving = async {
            let mut arrival = broker.next().await;
            let mut rest = vec![0; expected.len() - arrival.first.len()];
            arrival.stream.read_exact(&mut rest).await.unwrap();
            let got = [&arrival.first[..], &rest].concat();
            (arrival, got)
        };
        tokio::join!(send(&mut client.stream, &sent, chunk), receiving).1
    })
    .await;
    assert!(got == expected, "the requests differ");
    let answers = concat(|e| &e.response);
    let answering = send(&mut arrival.stream, &answers, chunk);
    within("all responses", async {
        tokio::join!(answering, read_all(&mut client, &exchanges, &advertised))
    })
    .await;
}

async fn read_all(
    client: &mut Client<impl AsyncRead + AsyncWrite + Unpin>,
    exchanges: &[Exchange],
    advertised: &[Node],
) {
    for (id, exchange) in (0..)
        .zip(exchanges)
        .filter(|(_, exchange)| !exchange.response.is_empty())
    {
        let got = client.frame().await.unwrap();
        exchange.assert_got(&got, id, advertised);
    }
}

#[tokio::test]
async fn frames_of_all_kinds_in_a_row_pass_as_if_each_came_alone() {
    let mut runner = TestRunner::deterministic();
    let scripts = prop::collection::vec(exchange(), 1..40);
    for round in 0..24 {
        let script = scripts.new_tree(&mut runner).unwrap().current();
        let chunk = [usize::MAX, 1 << 20, 65_537, 1_447][round % 4];
        for splice in [Splice::Auto, Splice::Off] {
            let mut broker = Broker::alone(0).await;
            pass(&script, chunk, splice, &mut broker).await;
        }
    }
}

#[tokio::test]
async fn frames_of_all_kinds_in_a_row_pass_through_tls_on_either_side_or_both() {
    let pki = Pki::new();
    let mut runner = TestRunner::deterministic();
    let scripts = prop::collection::vec(exchange(), 1..40);
    for round in 0..12 {
        let script = scripts.new_tree(&mut runner).unwrap().current();
        let chunk = [usize::MAX, 1 << 20, 16_385, 1_447][round % 4];
        let (mut broker, front) = pki.broker_behind_tls(0).await;
        let has_tls_client = round % 3 != 0;
        let has_tls_broker = round % 3 != 1;
        let bootstrap = if has_tls_broker {
            front.address
        } else {
            broker.address
        };
        broker.cluster.lock().unwrap().nodes.insert(0, bootstrap);
        let proxy = Proxy::start_at(&[bootstrap], |settings| {
            settings.listeners[0].tls = has_tls_client.then(|| pki.terminate());
            settings.clusters[0].tls = has_tls_broker.then(|| pki.trusting());
        })
        .await;
        announce_abort(&proxy);
        if has_tls_client {
            let version = [&TLS12, &TLS13][round / 4 % 2];
            let client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
            converse(&script, chunk, client, &proxy, &mut broker).await;
        } else {
            let client = proxy.connect().await;
            converse(&script, chunk, client, &proxy, &mut broker).await;
        }
        proxy.narrows.stop().await;
    }
}
