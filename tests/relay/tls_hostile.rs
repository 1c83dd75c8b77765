//! What a client can't do to Narrows where it speaks TLS: before the handshake, in it, and behind
//! it.

use crate::alloc;
use crate::broker::{Arrival, Broker};
use crate::child::{ALL_FILES, OwnProcess, in_own_process, one_thread};
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::hello::{hello, record};
use crate::names::{PATTERN, by_names};
use crate::samples::{FETCH, Shape, node, pattern, response};
use crate::tls_peers::{Pki, client_config, shake_hands, tls_client};
use crate::{until, within};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustls::crypto::cipher::OutboundPlainMessage;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn start(pki: &Pki, broker: &Broker, timeout: Duration) -> Proxy {
    Proxy::start_with(&[broker], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.session.tls_handshake_timeout = timeout;
    })
    .await
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn whoever_does_not_speak_tls_is_told_apart_and_gets_no_alert() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    for has_names in [false, true] {
        let proxy = Proxy::start_with(&[&broker], |settings| {
            settings.listeners[0].tls = Some(pki.terminate());
            if has_names {
                by_names(settings, ADVERTISED_HOST, PATTERN, None);
            }
        })
        .await;
        let accepted = broker.accepted();
        let plaintext = request(OFFSET_COMMIT, 6, 1, b"body");
        for (sent, cause, said) in [
            (&plaintext[..], "plaintext_on_tls", "client id scripted"),
            (
                b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
                "http",
                "admin port",
            ),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http", "gRPC"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh", "an SSH client"),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
                "proxy_header_unexpected",
                "proxy_protocol.mode",
            ),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
                "proxy_header_unexpected",
                "proxy_protocol.mode",
            ),
            (
                b"\x15\x03\x03\x00\x02\x02\x28",
                "not_tls",
                "a TLS alert without a handshake",
            ),
            (
                b"\x80\x2e\x01\x00\x02\x00\x15\x00",
                "not_tls",
                "not the beginning of anything known",
            ),
            (
                b"\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa",
                "not_tls",
                "not the beginning of anything known",
            ),
            (
                &[0xff; 100],
                "not_tls",
                "not the beginning of anything known",
            ),
            (&[0; 100], "not_tls", "not the beginning of anything known"),
            (
                b"\x16\x02\x00\x00\x10",
                "not_tls",
                "not the beginning of anything known",
            ),
        ] {
            let before = proxy.problem(cause)["count"].as_u64().unwrap_or(0);
            let mut client = proxy.connect().await;
            client.try_send(sent).await;
            let told = client.rest().await;
            let is_http = sent.starts_with(b"GET");
            assert!(
                if is_http {
                    told.starts_with(b"HTTP/1.1 400 ")
                } else {
                    told.is_empty()
                },
                "{cause}: {told:02x?}"
            );
            drop(client);
            proxy.until_closed(cause, before + 1).await;
            let problem = proxy.problem(cause);
            assert!(
                problem["last"].as_str().unwrap().contains(said),
                "{problem}"
            );
        }
        for sent in [
            &b""[..],
            b"\x16",
            b"\x16\x03\x01\x00",
            &hello(&[b"kafka.example.com"])[..40],
            b"GE",
        ] {
            let mut client = proxy.connect().await;
            client.send(sent).await;
            client.finish().await;
            assert_eq!(client.rest().await, b"");
        }
        until("those that closed early", || {
            (
                proxy.closed("closed_without_data"),
                proxy.closed("client_closed"),
            ) == (1, 4)
        })
        .await;
        assert_eq!(broker.accepted(), accepted, "nobody is dialled");
    }
}

#[tokio::test]
async fn a_handshake_that_comes_byte_by_byte_is_as_good_as_any() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker, LONG).await;
    for version in [&TLS12, &TLS13] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (from, _) = listener.accept().await.unwrap();
        let to = Client::connect(proxy.bootstrap()).await.stream;
        let dripping = tokio::spawn(drip(from, to));
        let mut client = shake_hands(client, ADVERTISED_HOST, &pki.client_of(version))
            .await
            .unwrap();
        client
            .send(&request(OFFSET_COMMIT, 6, 1, &pattern(100)))
            .await;
        let mut arrival = broker.next().await;
        assert_eq!(arrival.first, request(OFFSET_COMMIT, 6, 1, &pattern(100)));
        arrival.send(&opaque(1, b"answer")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
        dripping.abort();
    }
}

/// What the client sends goes on byte by byte, what it gets as it comes.
async fn drip(client: TcpStream, narrows: TcpStream) {
    let ((mut from_client, mut to_client), (mut from_narrows, mut to_narrows)) =
        (client.into_split(), narrows.into_split());
    let up = async {
        while let Ok(byte) = from_client.read_u8().await {
            to_narrows.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let down = async {
        tokio::io::copy(&mut from_narrows, &mut to_client)
            .await
            .is_ok()
    };
    tokio::join!(up, down);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker, SHORT).await;
    let accepted = broker.accepted();
    let whole = hello(&[b"kafka.example.com"]);
    // Nothing, some of the hello, all of it, and whatever comes of a real one.
    for (count, sent) in (1..).zip([
        &b""[..],
        &whole[..1],
        &whole[..20],
        &whole[..whole.len() - 1],
    ]) {
        let mut client = proxy.connect().await;
        let began = Instant::now();
        client.send(sent).await;
        assert_eq!(client.rest().await, b"");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        drop(client);
        proxy.until_closed("tls_handshake_timeout", count).await;
    }
    let to_narrows = Client::connect(proxy.bootstrap()).await;
    let mut of_client = rustls_client(&pki);
    let mut bytes = Vec::new();
    of_client.write_tls(&mut bytes).unwrap();
    let mut client = to_narrows;
    client.send(&bytes).await;
    assert_ne!(
        client.rest().await,
        b"",
        "Narrows has answered the hello, and has waited for more"
    );
    proxy.until_closed("tls_handshake_timeout", 5).await;
    assert_eq!(broker.accepted(), accepted);
}

fn rustls_client(pki: &Pki) -> rustls::ClientConnection {
    rustls::ClientConnection::new(pki.client_of(&TLS13), ADVERTISED_HOST.try_into().unwrap())
        .unwrap()
}

#[tokio::test]
async fn a_slow_first_request_is_ended_by_its_own_timeout_behind_the_handshake() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.session.first_frame_timeout = SHORT;
    })
    .await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    client
        .send(&request(OFFSET_COMMIT, 6, 1, b"body")[..10])
        .await;
    assert_eq!(client.ending().await.unwrap(), b"");
    drop(client);
    proxy.until_closed("first_frame_timeout", 1).await;
}

#[tokio::test]
async fn garbage_behind_a_good_handshake_ends_the_session_and_reaches_no_broker() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker, LONG).await;
    // TLS 1.3 counts what comes before the first request to the handshake.
    proxy.announce("cause=\"tls_handshake_failed\"");
    let sent = request(OFFSET_COMMIT, 6, 1, &pattern(200));
    let mut runner = TestRunner::deterministic();
    let edits = prop::collection::vec((any::<Index>(), 1u8..), 1..4);
    let cuts = (
        edits,
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 0..300),
    );
    let reached = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reached);
    let answering = broker.answer_all(move |frame| {
        counted.fetch_add(1, Relaxed);
        opaque(header(frame).correlation_id, b"answer")
    });
    let mut good = 0;
    let mut alerts = 0;
    for round in 0..60 {
        let (edits, is_behind, garbage) = cuts.new_tree(&mut runner).unwrap().current();
        let version = [&TLS12, &TLS13][round % 2];
        let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
        if is_behind {
            good += 1;
            client.send(&sent).await;
            assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
        }
        let (tcp, session) = client.stream.get_mut();
        let mut records = Vec::new();
        session.writer().write_all(&sent).unwrap();
        while session.wants_write() {
            session.write_tls(&mut records).unwrap();
        }
        for (at, byte) in edits {
            // The version of a record is not looked at.
            let at = at.index(records.len());
            records[if at == 2 { 0 } else { at }] ^= byte;
        }
        let spoiled = [&records[..], &garbage].concat();
        within("Narrows to take it", tcp.write_all(&spoiled))
            .await
            .unwrap();
        tcp.shutdown().await.unwrap();
        let (answered, end) = client.answered().await;
        assert_eq!(answered, b"", "round {round}");
        alerts += usize::from(end.is_err_and(|error| error.to_string().contains("alert")));
    }
    until("all sessions to end", || proxy.active() == 0).await;
    assert_eq!(reached.load(Relaxed), good, "garbage reached the broker");
    assert!(
        alerts > 20,
        "whoever sends a bad record is told so: {alerts}"
    );
    assert!(proxy.closed("client_failed") > 20, "{:?}", proxy.causes());
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    client.send(&sent).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
    answering.abort();
}

#[test]
fn a_thousand_hellos_that_promise_megabytes_cost_next_to_nothing() {
    in_own_process!(
        OwnProcess {
            files: ALL_FILES,
            runtime: one_thread,
            shown: "hellos"
        },
        promise_megabytes
    );
}

const MANY: usize = 1000;
/// A session that lingers, and both ends of its connection here.
const REFUSED_BYTES_MAX: usize = 16 * 1024;

async fn promise_megabytes() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.session.tls_handshake_timeout = LONG;
    });
    proxy.until_refreshed().await;
    let huge = record(&[&[1, 0xff, 0xff, 0xff][..], &[0; 100]].concat());
    // A hello of an allowed size, a byte in each record: more than 16 KiB on the wire.
    let long = [&[1, 0, 0x3f, 0xf0][..], &[3; 3000]].concat();
    let fragments: Vec<u8> = long
        .iter()
        .flat_map(|byte| record(&[*byte]))
        .take(17 * 1024)
        .collect();
    let mut closed = 0;
    for (what, sent) in [
        ("a length of 16 MB", huge),
        ("17 KiB of fragments", fragments),
    ] {
        measured.reset();
        let mut clients = Vec::new();
        for _ in 0..MANY {
            let mut client = proxy.connect().await;
            client.try_send(&sent).await;
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.rest().await, b"", "{what}");
        }
        let each = measured.peak_bytes() / MANY;
        println!("hellos with {what}: {each} bytes each at the most");
        assert!(each < REFUSED_BYTES_MAX, "{what}: {each} bytes each");
        drop(clients);
        closed += MANY as u64;
        proxy.until_closed("tls_hello_malformed", closed).await;
        let largest = measured.largest_bytes();
        assert!(largest <= 256 * 1024, "{what}: {largest} bytes at once");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_has_its_response_wait_at_the_broker() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |settings| {
        settings.listeners[0].tls = Some(pki.terminate())
    });
    proxy.until_refreshed().await;
    let shape = Shape {
        filling: 50 * 1024 * 1024,
        ..Shape::of(&[node(0, "kafka-0.broker.internal", 9092)])
    };
    let whole = response(FETCH, 16, 1, &shape);
    let config = pki.client();
    // Before the handshake: it brings the buffers that are used from then on.
    measured.reset();
    let mut client = tls_client(proxy.bootstrap(), &config).await;
    socket2::SockRef::from(client.stream.get_ref().0)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    client.send(&request(FETCH, 16, 1, b"")).await;
    let mut arrival = broker.next().await;
    let written = arrival.fill_to_the_brim(&whole).await;
    let peak = measured.peak_bytes();
    println!("slow reader over TLS: {peak} bytes held, {written} bytes under way");
    assert!(peak <= SLOW_BYTES_MAX, "{peak} bytes");
    let sending = tokio::spawn(async move {
        arrival
            .stream
            .write_all(&whole[written..])
            .await
            .map(|()| arrival)
    });
    let mut got = vec![0; 4];
    within("its length", client.stream.read_exact(&mut got))
        .await
        .unwrap();
    let length = u32::from_be_bytes(got[..].try_into().unwrap()) as usize;
    let mut rest = vec![0; length];
    within("all of it", client.stream.read_exact(&mut rest))
        .await
        .unwrap();
    drop(sending.await.unwrap().unwrap());
}

/// Records of a handshake message behind the handshake, of which more is promised.
async fn begin_message(
    proxy: &Proxy,
    config: &Arc<ClientConfig>,
    broker: &mut Broker,
) -> (TcpStream, Arrival) {
    let mut client = tls_client(proxy.bootstrap(), config).await;
    let mut arrival = client.ask(broker).await;
    arrival.send(&opaque(1, b"answer")).await;
    client.frame().await.unwrap();
    let (mut tcp, session) = client.stream.into_inner();
    let Some(SupportedCipherSuite::Tls13(suite)) = session.negotiated_cipher_suite() else {
        panic!("TLS 1.3")
    };
    let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("AES-256-GCM")
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let mut encrypt = |sequence, part: &[u8]| {
        let typ = ContentType::Handshake;
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage {
            typ,
            version,
            payload: part.into(),
        };
        encrypter.encrypt(message, sequence).unwrap().encode()
    };
    // The library encrypts in order only.
    for earlier in 0..sequence {
        encrypt(earlier, b"");
    }
    // A key update of 65,520 bytes, three quarters of it.
    let promised = [&[24, 0, 0xff, 0xf0][..], &[0; 3 * 16_384 - 4]].concat();
    for (sequence, part) in (sequence..).zip(promised.chunks(16_384)) {
        // Narrows may have closed already.
        let _ = within(
            "Narrows to take a record",
            tcp.write_all(&encrypt(sequence, part)),
        )
        .await;
    }
    (tcp, arrival)
}

#[tokio::test]
async fn whoever_begins_a_long_handshake_message_behind_the_handshake_holds_no_whole_buffer() {
    const COUNT: usize = 40;
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |settings| {
        settings.listeners[0].tls = Some(pki.terminate())
    });
    proxy.until_refreshed().await;
    let mut config = client_config(&pki.authority, &[&TLS13], None);
    config.enable_secret_extraction = true;
    let config = Arc::new(config);
    let _first = begin_message(&proxy, &config, &mut broker).await;
    measured.reset();
    let start = alloc::heap_bytes();
    let mut kept = Vec::new();
    for _ in 0..COUNT {
        kept.push(begin_message(&proxy, &config, &mut broker).await);
    }
    for (tcp, _) in &mut kept {
        let _ = within("Narrows to close", tcp.read_to_end(&mut Vec::new())).await;
    }
    let each = alloc::heap_bytes().saturating_sub(start) / COUNT;
    println!("in the middle of a handshake message: {each} bytes of heap each");
    assert!(each < 24 * 1024, "{each} bytes each");
    drop(kept);
    proxy.until_closed("client_failed", COUNT as u64).await;
}

/// Three buffers of 128 KiB: what comes, what has been encrypted, and one that the pool keeps; both
/// ends of a session, and the runtime of a test that begins meanwhile.
const SLOW_BYTES_MAX: usize = 3 * 128 * 1024 + 48 * 1024;
