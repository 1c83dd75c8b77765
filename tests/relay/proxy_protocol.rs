//! PROXY protocol headers: whose connection it is, and who may say so.

use crate::broker::Broker;
use crate::child::{OwnProcess, in_own_process};
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, opaque, request};
use narrows::listener::{ProxyMode, ProxyProtocol};
use std::io::Write;
use std::sync::{Arc, Mutex};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n";
/// The same in version 2, with a TLV of three bytes.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x12\xc0\x00\x02\x07\x0a\x00\x00\x01\xc7\x38\x23\x84\xea\0\x03abc";
/// A load balancer's own connection.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

async fn start(broker: &Broker, mode: ProxyMode, trusted: &str) -> Proxy {
    let proxy_protocol = ProxyProtocol {
        mode,
        trusted: vec![trusted.parse().unwrap()],
    };
    Proxy::start_with(&[broker], |settings| {
        settings.listeners[0].proxy_protocol = proxy_protocol.clone()
    })
    .await
}

#[tokio::test]
async fn a_header_of_a_trusted_peer_is_taken_off_and_the_rest_goes_to_the_broker() {
    let mut broker = Broker::alone(0).await;
    let frame = request(OFFSET_COMMIT, 6, 1, b"behind a header");
    for mode in [ProxyMode::Optional, ProxyMode::Required] {
        let proxy = start(&broker, mode, "127.0.0.0/8").await;
        for header in [LINE, BINARY, LOCAL] {
            let sent = [header, &frame].concat();
            for piece in [sent.len(), header.len(), 5, 1] {
                let mut client = proxy.connect().await;
                for part in sent.chunks(piece) {
                    client.send(part).await;
                    tokio::task::yield_now().await;
                }
                let mut arrival = broker.next().await;
                assert_eq!(arrival.first, frame, "{mode:?}, pieces of {piece}");
                arrival.send(&opaque(1, b"answer")).await;
                assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
            }
        }
    }
}

#[tokio::test]
async fn without_a_header_a_connection_is_the_peers_where_that_is_allowed() {
    let mut broker = Broker::alone(0).await;
    let frame = request(OFFSET_COMMIT, 6, 1, b"without a header");
    for trusted in ["127.0.0.0/8", "10.0.0.0/8"] {
        let proxy = start(&broker, ProxyMode::Optional, trusted).await;
        let mut client = proxy.connect().await;
        client.send(&frame).await;
        assert_eq!(broker.next().await.first, frame, "{trusted}");
    }
}

#[tokio::test]
async fn what_may_not_be_ends_with_its_cause_and_reaches_no_broker() {
    let broker = Broker::alone(0).await;
    let frame = request(OFFSET_COMMIT, 6, 1, b"");
    let local = "127.0.0.0/8";
    let elsewhere = "10.0.0.0/8";
    let malformed = [b"PROXY TCP4 nonsense\r\n", &frame[..]].concat();
    let overlong = [&BINARY[..14], &[0, 14], &BINARY[16..], &frame].concat();
    let twice = [LINE, LINE].concat();
    for (mode, trusted, sent, cause) in [
        (ProxyMode::Optional, elsewhere, LINE, "proxy_untrusted"),
        (ProxyMode::Required, elsewhere, BINARY, "proxy_untrusted"),
        (
            ProxyMode::Required,
            elsewhere,
            &frame[..],
            "proxy_untrusted",
        ),
        (
            ProxyMode::Required,
            local,
            &frame[..],
            "proxy_header_missing",
        ),
        (
            ProxyMode::Required,
            local,
            b"GET / HTTP/1.1\r\n\r\n",
            "proxy_header_missing",
        ),
        (
            ProxyMode::Required,
            local,
            &malformed[..],
            "proxy_header_malformed",
        ),
        (
            ProxyMode::Optional,
            local,
            &overlong[..],
            "proxy_header_malformed",
        ),
        (
            ProxyMode::Required,
            local,
            &twice[..],
            "proxy_header_unexpected",
        ),
        (ProxyMode::Off, local, LINE, "proxy_header_unexpected"),
    ] {
        let proxy = start(&broker, mode, trusted).await;
        let before = broker.accepted();
        let mut client = proxy.connect().await;
        client.try_send(sent).await;
        assert_eq!(
            client.rest().await,
            b"",
            "{mode:?} {trusted} {cause}: nothing is answered"
        );
        drop(client);
        proxy.until_closed(cause, 1).await;
        assert_eq!(
            broker.accepted(),
            before,
            "{mode:?} {trusted} {cause}: nobody is dialled"
        );
    }
}

#[tokio::test]
async fn a_health_check_is_no_fault_with_a_header_or_without() {
    let broker = Broker::alone(0).await;
    for (header, trusted) in [
        (&b""[..], "127.0.0.0/8"),
        (LOCAL, "127.0.0.0/8"),
        (LINE, "127.0.0.0/8"),
        (b"", "10.0.0.0/8"),
    ] {
        let proxy = start(&broker, ProxyMode::Required, trusted).await;
        let mut client = proxy.connect().await;
        client.send(header).await;
        client.finish().await;
        proxy.until_closed("closed_without_data", 1).await;
    }
}

/// What is logged by this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Catches it until the guard is dropped.
    pub(crate) fn catch() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(lines))
    }

    /// The first line with these words.
    pub(crate) fn line(&self, words: &str) -> String {
        let said = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let line = said.lines().find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_session_is_told_by_the_client_that_the_header_names_and_by_its_sender() {
    // In a process of its own: whether a line of code logs is cached for all threads, and others
    // have no subscriber.
    in_own_process!(OwnProcess::PLAIN, look_at_the_log);
}

async fn look_at_the_log() {
    let (log, _guard) = Log::catch();
    let broker = Broker::alone(0).await;
    let proxy = start(&broker, ProxyMode::Required, "127.0.0.0/8").await;
    let mut client = proxy.connect().await;
    let sender = client.stream.local_addr().unwrap();
    client
        .try_send(&[LINE, b"GET / HTTP/1.1\r\n\r\n"].concat())
        .await;
    client.rest().await;
    drop(client);
    proxy.until_closed("http", 1).await;
    let line = log.line("session ended");
    assert!(
        line.contains("peer=192.0.2.7:51000") && line.contains(&format!("via={sender}")),
        "{line}"
    );
}
