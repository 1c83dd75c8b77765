//! Scheme `single` behind a login that can't be repeated: how often a client logs in until each of
//! its connections has its broker.

use crate::broker::Broker;
use crate::client::{Client, Proxy};
use crate::frames::{API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE, header, opaque, request};
use crate::single::{api_versions, single};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// ApiVersions v5: no error, ApiVersions 0 to 5, no throttle.
pub(crate) const OFFERS: &[u8] = &[0, 0, 2, 0, 18, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0];
/// SaslAuthenticate v0: no error, no message, an empty token.
const GRANTED: &[u8] = &[0, 0, 255, 255, 0, 0, 0, 0];

/// So many brokers that demand SCRAM, behind one address, and how many logins they have seen.
async fn cluster(brokers: i32) -> (Proxy, Arc<AtomicUsize>) {
    let first = Broker::alone(0).await;
    let mut all = Vec::new();
    for node in 1..brokers {
        all.push(Broker::member(node, &first.cluster).await);
    }
    let proxy = single(&first).await;
    all.push(first);
    let logins = Arc::new(AtomicUsize::new(0));
    for broker in all {
        let logins = Arc::clone(&logins);
        broker.answer_all(move |frame| {
            let asked = header(frame);
            let body: &[u8] = match asked.key {
                SASL_HANDSHAKE => {
                    logins.fetch_add(1, Relaxed);
                    &[0; 6]
                }
                SASL_AUTHENTICATE => GRANTED,
                API_VERSIONS => OFFERS,
                key => unreachable!("api key {key}"),
            };
            opaque(asked.correlation_id, body)
        });
    }
    (proxy, logins)
}

/// A connection that comes again until it is carried to its node.
async fn until_there(bootstrap: SocketAddr, node: i32) {
    loop {
        let mut client = Client::connect(bootstrap).await;
        let handshake = request(SASL_HANDSHAKE, 1, 1, b"\0\x0dSCRAM-SHA-256");
        let token = |id| request(SASL_AUTHENTICATE, 0, id, b"\0\0\0\x05token");
        for asked in [handshake, token(2), token(3)] {
            client.send(&asked).await;
            client.frame().await.unwrap();
        }
        client.send(&api_versions(4, "the-cluster", node)).await;
        if client.frame().await.is_some() {
            return;
        }
    }
}

/// How many logins it takes until each of a client's connections, one for each broker, is there.
async fn logins(brokers: i32) -> usize {
    let (proxy, logins) = cluster(brokers).await;
    let bootstrap = proxy.bootstrap();
    let connections: Vec<_> = (0..brokers)
        .map(|node| tokio::spawn(until_there(bootstrap, node)))
        .collect();
    for connection in connections {
        connection.await.unwrap();
    }
    logins.load(Relaxed)
}

#[tokio::test]
async fn connections_that_come_at_once_to_brokers_behind_scram_log_in_twice_at_the_most() {
    for brokers in [3, 30] {
        let logins = logins(brokers).await;
        println!("{brokers} brokers: {logins} logins");
        // Each once at whichever broker it is given, and once more at its own.
        assert!(logins <= 2 * brokers as usize, "{brokers}: {logins}");
    }
}
