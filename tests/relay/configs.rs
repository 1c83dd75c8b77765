//! DescribeConfigs shows no address of a node, at any size, unless the operator lets it; and
//! FindCoordinator is answered for as many groups as the operator has room for.

use crate::broker::Broker;
use crate::client::Proxy;
use crate::frames::request;
use crate::samples::{
    DESCRIBE_CONFIGS, FIND_COORDINATOR, Setting, Shape, describe_configs, masked, node, response,
};
use narrows::session::ConfigAddresses;

const LISTENERS: Setting<'static> = ("listeners", "PLAINTEXT://kafka-0.internal:9092", false);

/// Settings of a cluster with many topics, and those of a broker among them.
fn settings() -> Vec<Setting<'static>> {
    let mut settings = vec![("cleanup.policy", "delete", false); 20_000];
    settings[10_000] = LISTENERS;
    settings
}

#[tokio::test]
async fn describe_configs_of_any_size_passes_with_its_addresses_masked() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let asked = request(DESCRIBE_CONFIGS, 4, 1, b"body");
    client.send(&asked).await;
    let mut arrival = broker.next().await;
    let stars = "*".repeat(LISTENERS.1.len());
    for (id, mut settings) in [(1, vec![LISTENERS]), (2, settings())] {
        let sent = describe_configs(4, id, &settings);
        let at = settings.len() / 2;
        settings[at] = masked(LISTENERS, &stars);
        let expected = describe_configs(4, id, &settings);
        let (_, passed) = tokio::join!(arrival.send(&sent), client.frame());
        assert!(passed == Some(expected), "{} keys", settings.len());
        client
            .send(&request(DESCRIBE_CONFIGS, 4, id + 1, b""))
            .await;
        arrival.frame().await.unwrap();
    }
}

#[tokio::test]
async fn an_operator_can_let_addresses_in_configurations_pass() {
    let mut broker = Broker::alone(0).await;
    let pass = |settings: &mut narrows::app::Settings| {
        settings.session.config_addresses = ConfigAddresses::Pass;
    };
    let proxy = Proxy::start_with(&[&broker], pass).await;
    let mut client = proxy.connect().await;
    client.send(&request(DESCRIBE_CONFIGS, 4, 1, b"body")).await;
    let shown = describe_configs(4, 1, &[LISTENERS]);
    broker.next().await.send(&shown).await;
    assert_eq!(client.frame().await, Some(shown));
}

#[tokio::test]
async fn the_coordinators_of_many_groups_pass_within_the_operators_bound() {
    let host = "kafka-0.internal";
    let groups: Vec<_> = (0..70_000).map(|_| node(0, host, 9092)).collect();
    let frame = response(FIND_COORDINATOR, 4, 1, &Shape::of(&groups));
    for (bound, passes) in [(8 * 1024 * 1024, true), (1024 * 1024, false)] {
        let mut broker = Broker::alone(0).await;
        let limited = |settings: &mut narrows::app::Settings| {
            settings.session.held_response_bytes_max = bound;
        };
        let proxy = Proxy::start_with(&[&broker], limited).await;
        let mut client = proxy.connect().await;
        client.send(&request(FIND_COORDINATOR, 4, 1, b"body")).await;
        let mut arrival = broker.next().await;
        let sent = frame.clone();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // Narrows may close in the middle of it.
            let _ = arrival.stream.write_all(&sent).await;
            arrival
        });
        let answer = client.frame().await;
        assert_eq!(answer.is_some(), passes, "{bound}");
        let own = host.as_bytes();
        let leaks = |frame: &Vec<u8>| frame.windows(own.len()).any(|window| window == own);
        assert!(!answer.as_ref().is_some_and(leaks), "{bound}");
        drop(client);
        drop(sending.await.unwrap());
        if !passes {
            proxy.until_closed("response_too_large", 1).await;
        }
    }
}
