//! The relay alone, between a scripted client and a scripted broker.

use super::super::lane::{Pools, Scan};
use super::super::link_id::LinkId;
use super::super::requests::{RequestContext, Requests};
use super::super::tests::{request, state};
use super::*;
use crate::cluster::{Connection, Standing};
use crate::net::buffer::BufferPool;
use crate::observe::metrics::{CopyReason, Metrics};
use crate::protocol::samples::close;
use crate::types::{BrokerAddress, ListenerName, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A relay, and the other ends of its two connections.
struct Script {
    relay: Relay,
    client: TcpStream,
    broker: TcpStream,
}

/// The two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A session whose client has sent `first`.
async fn script(first: &[u8]) -> Script {
    let (client, near_client) = pair().await;
    let (near_broker, broker) = pair().await;
    let mut session = state();
    let metrics = Metrics::new(std::iter::empty());
    let metrics = metrics.listener(&ListenerName("external".into()));
    let pools = Pools {
        buffers: BufferPool::default(),
        pipes: Err(CopyReason::Off),
        runs: std::sync::Arc::clone(&metrics.bulk_transfers),
    };
    let mut buffer = pools.buffers.borrow();
    buffer.room(first.len())[..first.len()].copy_from_slice(first);
    buffer.add(first.len());
    let mut requests = Requests::default();
    let mut with = RequestContext::before_dial(&mut session.state, &mut session.in_flight);
    requests.scan(&mut buffer, &mut with).unwrap();
    let connection = Connection {
        standing: Standing::new(&Arc::default(), near_broker.peer_addr().unwrap()),
        stream: Stream::Plain(near_broker),
        address: BrokerAddress {
            host: "kafka-0".into(),
            port: 9092,
        },
        gone: CancellationToken::new(),
        is_provisional: false,
    };
    let link = BrokerLink::new(
        LinkId::FIRST,
        connection,
        Target::Bootstrap,
        session.in_flight,
        pools.clone(),
    );
    let client_stream = Stream::Plain(near_client);
    let first = (buffer, requests);
    Script {
        relay: Relay::new(client_stream, link, first, session.state, pools, metrics),
        client,
        broker,
    }
}

impl Script {
    /// Lets the relay run until `step` is through.
    async fn until<T>(relay: &mut Relay, step: impl Future<Output = T>) -> T {
        let step = async {
            tokio::select! {
                biased;
                outcome = step => outcome,
                event = relay.run() => panic!("the relay stopped: {event:?}"),
            }
        };
        tokio::time::timeout(Duration::from_secs(10), step)
            .await
            .unwrap()
    }
}

/// A response without anything to rewrite, to OffsetCommit.
fn answer(id: i32, text: &[u8]) -> Vec<u8> {
    close([&[0; 4][..], &id.to_be_bytes(), text].concat())
}

#[tokio::test]
async fn an_answer_of_narrows_goes_out_in_its_turn_between_those_of_the_broker() {
    const COMMIT: i16 = 8;
    let first = request(COMMIT, 6, 1, b"one");
    let Script {
        mut relay,
        mut client,
        mut broker,
    } = script(&first).await;
    // The client has asked for one more thing, which Narrows answers, and for a third.
    let own = answer(2, b"from Narrows");
    relay.state.owed.push_own(Bytes::copy_from_slice(&own));
    let third = request(COMMIT, 6, 3, b"three");
    client.write_all(&third).await.unwrap();
    let mut asked = vec![0; first.len() + third.len()];
    let read = Script::until(&mut relay, broker.read_exact(&mut asked)).await;
    read.unwrap();
    assert_eq!(asked, [first, third].concat());
    // Nothing has gone to the client: its first request comes first.
    assert!(client.try_read(&mut [0]).is_err());
    let (one, three) = (answer(1, b"one"), answer(3, b"three"));
    broker
        .write_all(&[&one[..], &three].concat())
        .await
        .unwrap();
    let expected = [one, own, three].concat();
    let mut got = vec![0; expected.len()];
    let read = Script::until(&mut relay, client.read_exact(&mut got)).await;
    read.unwrap();
    assert!(got == expected);
}
