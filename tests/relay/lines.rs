//! What the log tells of a session when somebody wants to know.

use crate::broker::Broker;
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, SASL_AUTHENTICATE, opaque, raw, request};
use crate::samples::{METADATA, Shape, node, response};
use crate::sasl::begun;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What is logged on this thread, which is all that a test runs on.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn collect(level: Level) -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// Those of modules that begin like this.
    pub(crate) fn of(&self, module: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let is_of = |line: &Value| line["target"].as_str().unwrap().starts_with(module);
        lines.filter(is_of).collect()
    }
}

/// A session that asks for metadata and commits a secret.
async fn session(proxy: &Proxy, broker: &mut Broker) {
    let mut client = proxy.connect().await;
    client.send(&request(METADATA, 12, 1, b"")).await;
    let mut arrival = broker.next().await;
    let shape = Shape::of(&[node(0, "kafka-0", 9092)]);
    arrival.send(&response(METADATA, 12, 1, &shape)).await;
    client.frame().await.unwrap();
    client.send(&request(OFFSET_COMMIT, 6, 2, b"secret")).await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, b"secret")).await;
    client.frame().await.unwrap();
    drop(client);
    proxy.until_closed("client_closed", 1).await;
}

#[tokio::test]
async fn trace_has_a_line_for_each_frame_with_its_header_alone_and_whose_it_is() {
    let (lines, _guard) = Lines::collect(Level::TRACE);
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    session(&proxy, &mut broker).await;
    let of_session = lines.of("narrows::session");
    let frames: Vec<_> = of_session
        .iter()
        .filter(|line| line["level"] == "TRACE")
        .map(|line| {
            format!(
                "{} {} {}",
                line["message"], line["api"], line["correlation_id"]
            )
        })
        .collect();
    assert_eq!(
        frames,
        [
            r#""request" "Metadata" 1"#,
            r#""response" "Metadata" 1"#,
            r#""request" "OffsetCommit" 2"#,
            r#""response" "OffsetCommit" 2"#,
        ]
    );
    let ended = &lines.of("narrows::listener::connection")[0];
    for line in of_session.iter().chain([ended]) {
        assert_eq!(line["span"]["connection"], ended["connection"], "{line}");
        assert_eq!(line["span"]["peer"], ended["peer"], "{line}");
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn debug_tells_the_way_of_a_session_and_its_last_line_what_it_carried() {
    let (lines, _guard) = Lines::collect(Level::DEBUG);
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    session(&proxy, &mut broker).await;
    let way: Vec<_> = lines
        .of("narrows::session")
        .iter()
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        way,
        [
            "connected to the broker",
            "addresses replaced in a response"
        ]
    );
    let ended = &lines.of("narrows::listener::connection")[0];
    assert_eq!(ended["client"], "scripted");
    assert_eq!(ended["cause"], "client_closed");
    assert_eq!(ended["side"], "client");
    assert_eq!(ended["requests"], 2);
    let carried =
        request(METADATA, 12, 1, b"").len() + request(OFFSET_COMMIT, 6, 2, b"secret").len();
    assert_eq!(ended["bytes_to_broker"], carried);
    assert!(ended["seconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn the_last_line_names_the_user_that_a_client_has_logged_in_as_and_no_password() {
    let name = b"al\nice";
    let token = [b"\0", &name[..], b"\0secret"].concat();
    let framed = |version| {
        let length = match version {
            2 => vec![u8::try_from(token.len() + 1).unwrap()],
            _ => i32::try_from(token.len()).unwrap().to_be_bytes().to_vec(),
        };
        let body = [&length[..], &token, &[0][..usize::from(version == 2)]].concat();
        request(SASL_AUTHENTICATE, version, 2, &body)
    };
    // No error, no message, an empty token, no lifetime.
    let answers = [
        raw(b""),
        opaque(2, &[&[0, 0, 0xff, 0xff][..], &[0; 12]].concat()),
        opaque(2, &[&[0, 0, 0, 0, 1][..], &[0; 9]].concat()),
    ];
    let logins = [(0, raw(&token)), (1, framed(1)), (1, framed(2))];
    for ((handshake, sent), answer) in logins.into_iter().zip(answers) {
        let (lines, _guard) = Lines::collect(Level::DEBUG);
        let mut broker = Broker::alone(0).await;
        let proxy = Proxy::start(&[&broker]).await;
        let (mut client, mut arrival) = begun(&proxy, &mut broker, handshake, b"PLAIN").await;
        client.send(&sent).await;
        assert_eq!(arrival.frame().await, Some(sent));
        arrival.send(&answer).await;
        assert_eq!(client.frame().await, Some(answer));
        drop(client);
        proxy.until_closed("client_closed", 1).await;
        let ended = &lines.of("narrows::listener::connection")[0];
        assert_eq!(ended["principal"], "al\\nice", "{ended}");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret"));
    }
}
