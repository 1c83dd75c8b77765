//! TLS that ends at Narrows, on either side: what comes through it, who gets in, and which brokers
//! are believed.

use crate::broker::Broker;
use crate::child::{OwnProcess, in_own_process};
use crate::client::{ADVERTISED_HOST, Proxy};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::pki::{Authority, Wish, self_signed};
use crate::proxy_protocol::Log;
use crate::samples::pattern;
use crate::tls_peers::{
    Front, Pki, authorities, client_config, exchange, identity, server_config, shake_hands,
    tls_client,
};
use crate::{move_clock, until, within};
use narrows::net::tls::{ClientAuth, ClientTls, Verify};
use narrows::session::ListenerTls;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// Around what a record, a buffer and everything that is encrypted at once can hold.
const SIZES: [usize; 9] = [
    1,
    16_383,
    16_384,
    16_385,
    7 * 16_384 - 26,
    7 * 16_384 + 1,
    128 * 1024,
    1_000_000,
    10 * 1024 * 1024,
];

async fn start(pki: &Pki, broker: &Broker) -> Proxy {
    start_with(broker, pki.terminate()).await
}

async fn start_with(broker: &Broker, tls: ListenerTls) -> Proxy {
    Proxy::start_with(&[broker], |settings| {
        settings.listeners[0].tls = Some(tls.clone())
    })
    .await
}

fn handshakes(proxy: &Proxy, version: &str, outcome: &str) -> u64 {
    proxy.metric(&format!(
        "narrows_tls_handshakes_total{{listener=\"external\",outcome=\"{outcome}\",version=\"{version}\"}}"
    ))
}

#[tokio::test]
async fn requests_and_responses_of_any_size_come_through_byte_for_byte() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    for version in VERSIONS {
        for bytes in SIZES {
            let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
            exchange(&mut client, &mut broker, bytes).await;
        }
    }
    let count = SIZES.len() as u64;
    let full = ["TLSv1.2", "TLSv1.3"].map(|version| handshakes(&proxy, version, "full"));
    assert_eq!(full, [count, count]);
}

#[tokio::test]
async fn ten_megabytes_come_through_tls_on_both_sides() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = Proxy::start_at(&[front.address], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.clusters[0].tls = Some(pki.trusting());
    })
    .await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    exchange(&mut client, &mut broker, 10 * 1024 * 1024).await;
}

#[tokio::test]
async fn a_client_may_write_one_byte_in_each_record() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    for version in VERSIONS {
        let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
        let frames = [1, 2].map(|id| request(OFFSET_COMMIT, 6, id, &pattern(300)));
        for byte in frames.concat() {
            client.send(&[byte]).await;
        }
        let mut arrival = broker.next().await;
        assert_eq!(
            (arrival.first.clone(), arrival.frame().await),
            (frames[0].clone(), Some(frames[1].clone()))
        );
    }
}

#[tokio::test]
async fn both_sides_may_send_much_at_once_and_read_slowly() {
    const BYTES: usize = 3 * 1024 * 1024;
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = Proxy::start_at(&[front.address], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.clusters[0].tls = Some(pki.trusting());
    })
    .await;
    for version in VERSIONS {
        let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
        let arrival = client.ask(&mut broker).await;
        let large = request(OFFSET_COMMIT, 6, 2, &pattern(BYTES));
        let answer = opaque(1, &pattern(BYTES));
        let (mut from_narrows, mut to_narrows) = tokio::io::split(client.stream);
        let (mut from_client, mut to_client) = arrival.stream.into_split();
        let sending = async {
            to_narrows.write_all(&large).await.unwrap();
            to_narrows.flush().await.unwrap();
        };
        let (got, came, (), answered) = within("all of it", async {
            tokio::join!(
                read_slowly(&mut from_narrows, answer.len()),
                read_slowly(&mut from_client, large.len()),
                sending,
                to_client.write_all(&answer)
            )
        })
        .await;
        answered.unwrap();
        assert!(got == answer && came == large);
    }
}

async fn read_slowly(from: &mut (impl tokio::io::AsyncRead + Unpin), bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    for piece in all.chunks_mut(50_000) {
        from.read_exact(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    all
}

#[tokio::test]
async fn the_end_of_a_response_that_finds_no_room_is_not_lost_whether_the_client_has_closed_its_side_or_not()
 {
    const STEP: usize = 32 * 1024;
    /// Longer than Narrows waits for a client to close when a session is over.
    const PAUSE: Duration = Duration::from_millis(1200);
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    let config = pki.client();
    let carried = "narrows_bytes_total{direction=\"to_client\",listener=\"external\"}";
    // How much is held differs a little every time: one of these ends where Narrows holds the last
    // records alone.
    let mut capacity = 0;
    let mut waiting = Vec::new();
    for less in 0..16 {
        let mut client = tls_client(proxy.bootstrap(), &config).await;
        let mut arrival = client.ask(&mut broker).await;
        if less == 0 {
            let before = proxy.metric(carried);
            let whole = opaque(1, &vec![7; 40 * 1024 * 1024]);
            arrival.fill_to_the_brim(&whole).await;
            capacity = usize::try_from(proxy.metric(carried) - before).unwrap();
            continue;
        }
        if less % 2 == 0 {
            client.finish().await;
        }
        let whole = opaque(1, &vec![7; capacity - less / 2 * STEP]);
        let written = arrival.fill(&whole).await;
        arrival.send(&whole[written..]).await;
        waiting.push((client, arrival, whole));
    }
    move_clock(PAUSE).await;
    // Nothing happens from here on but that clients read.
    for (mut client, _arrival, whole) in waiting {
        assert!(
            client.frame().await.is_some_and(|frame| frame == whole),
            "{} bytes",
            whole.len()
        );
    }
}

#[tokio::test]
async fn keys_may_change_while_bytes_move_in_both_directions() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client_of(&TLS13)).await;
    client.send(&request(OFFSET_COMMIT, 6, 0, b"")).await;
    let mut arrival = broker.next().await;
    for id in 1..20 {
        let sent = request(OFFSET_COMMIT, 6, id, &pattern(70_000));
        let answer = opaque(id - 1, &pattern(90_000));
        let (half, rest) = sent.split_at(30_000);
        let sending = async {
            client.send(half).await;
            client.stream.get_mut().1.refresh_traffic_keys().unwrap();
            client.send(rest).await;
            client.frame().await
        };
        let (got, ()) = tokio::join!(sending, arrival.send(&answer));
        assert!(got == Some(answer), "the response to {}", id - 1);
        assert!(
            arrival.frame().await.is_some_and(|frame| frame == sent),
            "request {id}"
        );
    }
}

#[tokio::test]
async fn keys_that_change_on_an_idle_connection_change_back_with_the_next_response() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client_of(&TLS13)).await;
    let mut arrival = client.ask(&mut broker).await;
    arrival.send(&opaque(1, b"answer")).await;
    client.frame().await.unwrap();
    for id in 2..5 {
        client.stream.get_mut().1.refresh_traffic_keys().unwrap();
        client.stream.flush().await.unwrap();
        client.send(&request(OFFSET_COMMIT, 6, id, b"")).await;
        arrival.frame().await.unwrap();
        arrival.send(&opaque(id, b"answer")).await;
        assert_eq!(client.frame().await, Some(opaque(id, b"answer")));
    }
}

#[tokio::test]
async fn a_client_that_comes_again_need_not_do_a_full_handshake() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    for (version, label) in VERSIONS.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let config = pki.client_of(version);
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let mut client = tls_client(proxy.bootstrap(), &config).await;
            exchange(&mut client, &mut broker, 10).await;
            assert_eq!(
                client.stream.get_ref().1.handshake_kind(),
                Some(kind),
                "{label}"
            );
        }
        assert_eq!(
            (
                handshakes(&proxy, label, "full"),
                handshakes(&proxy, label, "resumed")
            ),
            (1, 2)
        );
    }
}

#[tokio::test]
async fn protocols_that_a_client_offers_are_no_failure() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    for version in VERSIONS {
        let mut config = client_config(&pki.authority, &[version], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"kafka".to_vec()];
        let mut client = tls_client(proxy.bootstrap(), &Arc::new(config)).await;
        exchange(&mut client, &mut broker, 10).await;
        assert_eq!(client.stream.get_ref().1.alpn_protocol(), None);
    }
}

#[tokio::test]
async fn a_client_that_closes_has_closed_whether_it_says_so_in_tls_or_not() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    #[derive(Clone, Copy)]
    enum Way {
        Both,
        Tls,
        Tcp,
    }
    let ways = [Way::Both, Way::Tls, Way::Tcp];
    let all = VERSIONS
        .into_iter()
        .flat_map(|version| ways.map(|way| (version, way)));
    for (count, (version, way)) in all.enumerate() {
        let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
        let _arrival = exchange(&mut client, &mut broker, 10).await;
        match way {
            Way::Both => client.finish().await,
            Way::Tls => {
                client.stream.get_mut().1.send_close_notify();
                client.stream.flush().await.unwrap();
            }
            Way::Tcp => client.finish_tcp().await,
        }
        assert_eq!(
            client.ending().await.unwrap(),
            b"",
            "Narrows says in TLS that it closes"
        );
        drop(client);
        proxy.until_closed("client_closed", count as u64 + 1).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_behind_its_handshake_was_a_health_check() {
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    let accepted = broker.accepted();
    for version in VERSIONS {
        let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
        client.finish().await;
        assert_eq!(client.ending().await.unwrap(), b"");
    }
    proxy.until_closed("closed_without_data", 2).await;
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_what_is_pending() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    for version in VERSIONS {
        for says_so in [true, false] {
            let mut client = tls_client(proxy.bootstrap(), &pki.client_of(version)).await;
            let mut arrival = client.ask(&mut broker).await;
            if says_so {
                client.finish().await;
            } else {
                client.finish_tcp().await;
            }
            let answer = opaque(1, &pattern(500_000));
            let (got, ()) = tokio::join!(client.ending(), arrival.send(&answer));
            assert!(got.unwrap() == answer);
            assert_eq!(arrival.rest().await, b"");
        }
    }
    proxy.until_closed("client_closed", 4).await;
}

#[tokio::test]
async fn a_drain_answers_what_is_in_flight_and_says_in_tls_that_it_closes() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let proxy = start(&pki, &broker).await;
    let mut client = tls_client(proxy.bootstrap(), &pki.client()).await;
    let mut arrival = client.ask(&mut broker).await;
    let mut idle = tls_client(proxy.bootstrap(), &pki.client()).await;
    let _idle = exchange(&mut idle, &mut broker, 10).await;
    let mut fresh = tls_client(proxy.bootstrap(), &pki.client()).await;
    let script = async {
        assert_eq!(
            idle.ending().await.unwrap(),
            b"",
            "nothing in flight: closed at once"
        );
        assert_eq!(
            fresh.ending().await.unwrap(),
            b"",
            "nothing sent yet: closed at once"
        );
        drop((idle, fresh));
        client
            .send(&request(OFFSET_COMMIT, 6, 2, b"too late"))
            .await;
        arrival.send(&opaque(1, &pattern(300_000))).await;
        assert!(client.ending().await.unwrap() == opaque(1, &pattern(300_000)));
        drop(client);
        assert_eq!(arrival.rest().await, b"");
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
    assert_eq!((proxy.closed("drained"), proxy.active()), (3, 0));
}

/// A client that shows a certificate, or none.
fn showing(
    pki: &Pki,
    version: &'static SupportedProtocolVersion,
    by: Option<&Authority>,
) -> Arc<ClientConfig> {
    let wish = Wish {
        common_name: "alice",
        names: &["alice.example.com"],
        ..Wish::default()
    };
    let issued = by.map(|authority| authority.issue(&wish));
    Arc::new(client_config(&pki.authority, &[version], issued.as_ref()))
}

/// Tries to get in, and gives the alert that it ends with.
async fn is_refused(proxy: &Proxy, config: &Arc<ClientConfig>) -> String {
    let tcp = TcpStream::connect(proxy.bootstrap()).await.unwrap();
    let mut client = match shake_hands(tcp, ADVERTISED_HOST, config).await {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    client
        .try_send(&request(OFFSET_COMMIT, 6, 1, b"secret"))
        .await;
    let (answered, end) = client.answered().await;
    assert_eq!(answered, b"");
    end.unwrap_err().to_string()
}

#[tokio::test]
async fn where_clients_have_to_show_a_certificate_only_a_good_one_gets_in() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let tls = pki.terminate_for(ClientAuth::Required(pki.authorities()));
    let proxy = start_with(&broker, tls).await;
    let stranger = Authority::new("Stranger");
    let cases = [
        (None, "certificate_required", "CertificateRequired"),
        (Some(&stranger), "certificate_unknown_issuer", "UnknownCA"),
    ];
    for (count, version) in (1..).zip(VERSIONS) {
        let accepted = broker.accepted();
        for (by, outcome, alert) in cases {
            let said = is_refused(&proxy, &showing(&pki, version, by)).await;
            // In TLS 1.2 too, which has no such alert of its own: rustls borrows it from 1.3.
            assert!(said.contains(alert), "{version:?} {said}");
            until("the handshake to be counted", || {
                handshakes(&proxy, "none", outcome) == count
            })
            .await;
        }
        assert_eq!(broker.accepted(), accepted, "nobody is dialled for them");
        let mut client = tls_client(
            proxy.bootstrap(),
            &showing(&pki, version, Some(&pki.authority)),
        )
        .await;
        exchange(&mut client, &mut broker, 10).await;
    }
    assert_eq!(proxy.closed("tls_handshake_failed"), 4);
    let problem = proxy.problem("tls_handshake_failed");
    assert!(
        problem["last"]
            .as_str()
            .unwrap()
            .contains("no authority that is trusted here"),
        "{problem}"
    );
}

#[tokio::test]
async fn where_clients_are_asked_for_a_certificate_none_will_do_but_a_wrong_one_does_not() {
    let pki = Pki::new();
    let mut broker = Broker::alone(0).await;
    let tls = pki.terminate_for(ClientAuth::Requested(pki.authorities()));
    let proxy = start_with(&broker, tls).await;
    for version in VERSIONS {
        for by in [None, Some(&pki.authority)] {
            let mut client = tls_client(proxy.bootstrap(), &showing(&pki, version, by)).await;
            exchange(&mut client, &mut broker, 10).await;
        }
        let said = is_refused(
            &proxy,
            &showing(&pki, version, Some(&Authority::new("Stranger"))),
        )
        .await;
        assert!(said.contains("UnknownCA"), "{said}");
    }
    proxy.until_closed("tls_handshake_failed", 2).await;
}

#[test]
fn the_session_is_told_by_the_certificate_that_the_client_has_shown() {
    // In a process of its own, as in proxy_protocol.rs.
    in_own_process!(OwnProcess::PLAIN, look_at_the_log);
}

async fn look_at_the_log() {
    let (log, _guard) = Log::catch();
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let proxy = start_with(
        &broker,
        pki.terminate_for(ClientAuth::Required(pki.authorities())),
    )
    .await;
    let mut client = tls_client(
        proxy.bootstrap(),
        &showing(&pki, &TLS13, Some(&pki.authority)),
    )
    .await;
    client.try_send(&request(95, 0, 1, b"")).await;
    client.rest().await;
    drop(client);
    proxy.until_closed("not_offered", 1).await;
    let line = log.line("session ended");
    for part in [
        "CN=alice",
        "alice.example.com",
        "tls=\"TLSv1.3\"",
        "server_name=\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// What the status page says of the refresh, where Narrows speaks TLS to whoever is at this
/// address: the reason of a failure, or else the state.
async fn refresh(proxy: &Proxy) -> String {
    let cluster = proxy.narrows.status()["clusters"][0].clone();
    let text = cluster["refresh_text"].as_str();
    text.or(cluster["refresh"].as_str()).unwrap().to_owned()
}

/// Narrows does not believe the broker, says why, and no byte of a client gets there.
async fn is_not_believed(broker: &Broker, front: &Front, tls: ClientTls, why: &str) {
    let proxy = Proxy::start_at(&[front.address], |settings| {
        settings.clusters[0].tls = Some(tls.clone())
    })
    .await;
    proxy.announce("no broker of the cluster can be asked for metadata");
    let said = refresh(&proxy).await;
    assert!(
        said.contains("the TLS handshake failed: ") && said.contains(why),
        "{said}"
    );
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"secret")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("no_bootstrap_server", 1).await;
    let problem = proxy.problem("no_bootstrap_server");
    assert!(problem["last"].as_str().unwrap().contains(why), "{problem}");
    assert_eq!((front.passed_on(), broker.accepted()), (0, 0), "{why}");
}

#[tokio::test]
async fn a_broker_that_is_not_whom_its_certificate_says_gets_no_byte_of_a_client() {
    let pki = Pki::new();
    let (broker, _) = pki.broker_behind_tls(0).await;
    let names: &[&str] = &["127.0.0.1"];
    let issue = |wish: &Wish<'_>| pki.authority.issue(wish);
    let expired = issue(&Wish {
        names,
        days: (-20, -10),
        ..Wish::default()
    });
    let early = issue(&Wish {
        names,
        days: (10, 20),
        ..Wish::default()
    });
    let of_another = pki.authority.for_names(&["kafka-1.example.com"]);
    let stranger = Authority::new("Stranger").for_names(names);
    let unsigned = self_signed(&Wish {
        names,
        ..Wish::default()
    });
    for (issued, why) in [
        (&expired, "renew it, and look at the clocks"),
        (&early, "not valid yet"),
        (
            &of_another,
            "dial a name that it has, or set tls.server_name",
        ),
        (&stranger, "no authority that is trusted here"),
        (&unsigned, "no authority that is trusted here"),
    ] {
        let front = Front::of(&broker, server_config(issued, None)).await;
        is_not_believed(&broker, &front, pki.trusting(), why).await;
    }
}

#[tokio::test]
async fn the_name_in_the_brokers_certificate_may_be_another_than_the_host_that_is_dialled() {
    let pki = Pki::new();
    let (mut broker, _) = pki.broker_behind_tls(0).await;
    let issued = pki.authority.for_names(&["kafka.internal"]);
    let front = Front::of(&broker, server_config(&issued, None)).await;
    broker
        .cluster
        .lock()
        .unwrap()
        .nodes
        .insert(0, front.address);
    let expecting = |name: &str| {
        ClientTls::new(pki.authorities(), None, Some(name.into()), Verify::Full).unwrap()
    };
    let tls = expecting("kafka.internal");
    {
        let proxy = Proxy::start_at(&[front.address], |settings| {
            settings.clusters[0].tls = Some(tls.clone())
        })
        .await;
        assert_eq!(refresh(&proxy).await, "fresh");
        let mut client = proxy.connect_to(0).await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
        assert_eq!(header(&broker.next().await.first).correlation_id, 1);
        let seen = front.handshakes();
        assert!(
            seen.iter()
                .flatten()
                .all(|seen| seen.server_name.as_deref() == Some("kafka.internal")),
            "{seen:?}"
        );
    }
    let (broker, _) = pki.broker_behind_tls(0).await;
    let front = Front::of(&broker, server_config(&issued, None)).await;
    is_not_believed(
        &broker,
        &front,
        expecting("other.internal"),
        "set tls.server_name",
    )
    .await;
}

#[tokio::test]
async fn a_broker_whose_certificate_is_not_to_be_verified_may_be_anybody() {
    let pki = Pki::new();
    let (mut broker, _) = pki.broker_behind_tls(0).await;
    let front = Front::of(&broker, server_config(&self_signed(&Wish::default()), None)).await;
    broker
        .cluster
        .lock()
        .unwrap()
        .nodes
        .insert(0, front.address);
    let tls = ClientTls::new(pki.authorities(), None, None, Verify::Off).unwrap();
    let proxy = Proxy::start_at(&[front.address], |settings| {
        settings.clusters[0].tls = Some(tls.clone())
    })
    .await;
    proxy.announce("brokers are not verified (tls.verify: off)");
    let mut client = proxy.connect_to(0).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(header(&broker.next().await.first).correlation_id, 1);
}

#[tokio::test]
async fn a_broker_that_does_not_speak_tls_is_told_from_one_that_does_not_like_it() {
    let pki = Pki::new();
    // Kafka closes, since a hello reads as a length that is too large; others say something of
    // their own.
    for (banner, why) in [
        (&b""[..], "the other side closed in the middle of it"),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            "what answers there does not speak TLS; is it a plaintext listener?",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plaintext = tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let _ = tcp.write_all(banner).await;
                let _ = tcp.read(&mut [0; 1000]).await;
            }
        });
        let proxy = Proxy::start_at(&[address], |settings| {
            settings.clusters[0].tls = Some(pki.trusting())
        })
        .await;
        proxy.announce("no broker of the cluster can be asked for metadata");
        let said = refresh(&proxy).await;
        assert!(said.contains(why), "{said}");
        plaintext.abort();
    }
}

#[tokio::test]
async fn a_broker_that_speaks_tls_behind_a_cluster_that_does_not_is_named_as_such() {
    let pki = Pki::new();
    let (broker, front) = pki.broker_behind_tls(0).await;
    let proxy = Proxy::start_at(&[front.address], |_| {}).await;
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.announce("the broker's listener speaks TLS");
    let said = refresh(&proxy).await;
    assert!(said.to_lowercase().contains("tls"), "{said}");
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"secret")).await;
    assert_eq!(client.frame().await, None);
    assert_eq!((front.passed_on(), broker.accepted()), (0, 0));
}

#[tokio::test]
async fn narrows_shows_its_certificate_to_brokers_that_demand_one() {
    let pki = Pki::new();
    let (mut broker, _) = pki.broker_behind_tls(0).await;
    let own = Authority::new("Own CA");
    let front = Front::of(&broker, server_config(&pki.broker, Some(&own))).await;
    broker
        .cluster
        .lock()
        .unwrap()
        .nodes
        .insert(0, front.address);
    let showing = |by: &Authority| {
        let shown = identity(&by.for_names(&["narrows.example.com"]));
        ClientTls::new(authorities(&pki.authority), Some(shown), None, Verify::Full).unwrap()
    };
    for (tls, why) in [
        (pki.trusting(), "CertificateRequired"),
        (showing(&pki.authority), "UnknownCA"),
    ] {
        let proxy = Proxy::start_at(&[front.address], |settings| {
            settings.clusters[0].tls = Some(tls.clone())
        })
        .await;
        proxy.announce("no broker of the cluster can be asked for metadata");
        let said = refresh(&proxy).await;
        assert!(said != "fresh" && said.contains(why), "{said}");
        assert_eq!((front.passed_on(), broker.accepted()), (0, 0));
    }
    let tls = showing(&own);
    let proxy = Proxy::start_at(&[front.address], |settings| {
        settings.clusters[0].tls = Some(tls.clone())
    })
    .await;
    assert_eq!(refresh(&proxy).await, "fresh");
    let mut client = proxy.connect_to(0).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(header(&broker.next().await.first).correlation_id, 1);
    assert!(
        front
            .handshakes()
            .iter()
            .flatten()
            .all(|seen| seen.has_certificate)
    );
}
