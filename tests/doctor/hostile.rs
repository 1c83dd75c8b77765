//! Peers that send any bytes at all: the report comes, whatever they are.

use crate::kafka::{Garbled, Script};
use crate::logins::alice;
use crate::{IMPATIENT, expect, peers, report, target};
use narrows::auth::Mechanism;
use narrows::doctor::Target;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

/// Answers each request with the next of `answers`, then closes.
async fn answering(answers: Vec<Vec<u8>>) -> std::net::SocketAddr {
    peers::peer(move |mut tcp| {
        let answers = answers.clone();
        async move {
            let mut sent = [0; 1_024];
            for answer in answers {
                let is_read = matches!(tcp.read(&mut sent).await, Ok(1..));
                if !is_read || tcp.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// A response to `correlation_id`, whatever is in it.
fn framed(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [
        &length.to_be_bytes()[..],
        &correlation_id.to_be_bytes(),
        body,
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_end_in_a_report(
        is_framed: bool,
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..5),
    ) {
        let answers: Vec<_> = match is_framed {
            true => bodies.iter().map(|body| framed(1, body)).collect(),
            false => bodies,
        };
        let report = Runtime::new().unwrap().block_on(async {
            let address = answering(answers).await;
            report(&Target { timeout: IMPATIENT, ..target(address) }).await
        });
        let text = report.table(true) + &report.json_text() + &report.short();
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}

/// Produce, Fetch, Metadata, SaslHandshake, ApiVersions and SaslAuthenticate: all that doctor asks.
const ASKED: [i16; 6] = [0, 1, 3, 17, 18, 36];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_bytes_behind_the_truth_at_any_stage_end_in_a_report_without_the_password(
        api_key in prop::sample::select(&ASKED[..]),
        kept in 0..120usize,
        bytes in prop::collection::vec(
            prop_oneof![Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()],
            0..80,
        ),
    ) {
        let script = Script {
            login: Some((&["PLAIN"], "alice", "hunter2")),
            topic: Some("orders"),
            garbled: Some(Garbled { api_key, kept, bytes }),
            ..Script::default()
        };
        let report = Runtime::new().unwrap().block_on(async {
            let target = Target {
                topic: Some("orders".to_owned()),
                timeout: IMPATIENT,
                ..target(script.start().await)
            };
            report(&alice(target, Mechanism::Plain, "hunter2")).await
        });
        let text = report.table(true) + &report.json_text() + &report.short();
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        prop_assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_topic_named_in_terminal_controls_steers_no_terminal() {
    let name = "\u{7f}\u{9b}31m\u{202e}";
    let script = Script {
        topic: Some(name),
        ..Script::default()
    };
    let target = Target {
        topic: Some(name.to_owned()),
        ..target(script.start().await)
    };
    let report = report(&target).await;
    assert_eq!(report.json()["cluster"]["topics"][0]["name"], name);
    for text in [report.table(true), report.json_text(), report.short()] {
        let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(steers), "{text:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json_text()).unwrap();
    assert_eq!(json, report.json());
}

#[tokio::test]
async fn a_broker_list_of_a_hundred_thousand_is_no_broker_list() {
    let versions = framed(1, &[0, 0, 1, 0, 0, 0, 0, 0]);
    let list = framed(2, &[0, 0, 0, 0, 0, 1, 0x86, 0xa0]);
    let handshake = framed(1, &[0, 34, 0, 0, 0, 0]);
    let address = peers::peer(move |mut tcp| {
        let answers = [versions.clone(), handshake.clone(), list.clone()];
        async move {
            let mut sent = [0; 1_024];
            while let Ok(8..) = tcp.read(&mut sent).await {
                let answer = match sent[5] {
                    18 => &answers[0],
                    17 => &answers[1],
                    _ => &answers[2],
                };
                let _ = tcp.write_all(answer).await;
            }
        }
    });
    let target = target(address.await);
    expect(&target, "metadata_failed", &["reaches behind the end"]).await;
}
