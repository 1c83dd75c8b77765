//! Clients that are told addresses by which none of them ever comes: nothing fails at Narrows, and
//! it says so all the same.

use crate::broker::Broker;
use crate::client::{ADVERTISED_HOST, Proxy};
use crate::cluster::teach;
use crate::move_clock;
use crate::tls_peers::{Pki, exchange, named_client};
use crate::tunnel;
use std::time::Duration;

const NO_BROKER_CONNECTION: &str = "no_broker_connection";
/// Longer than a client takes to come by an address that it has been told.
const LATE: Duration = Duration::from_secs(31);

#[tokio::test]
async fn an_advertised_host_by_which_nobody_comes_is_a_problem_that_names_it() {
    let mut zero = Broker::alone(0).await;
    let nodes = [(0, zero.address)];
    let proxy = Proxy::start(&[&zero]).await;
    for _ in 0..3 {
        teach(&proxy, &mut zero, &nodes).await;
    }
    assert!(proxy.problem(NO_BROKER_CONNECTION).is_null(), "too early");
    move_clock(LATE).await;
    teach(&proxy, &mut zero, &nodes).await;
    let problem = proxy.problem(NO_BROKER_CONNECTION);
    let text = problem["last"].as_str().unwrap();
    for part in [
        &format!("4 clients were told the brokers' addresses, such as {ADVERTISED_HOST}:"),
        "none has come by one",
        "listeners.external.address",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn where_one_client_comes_by_an_address_there_is_no_problem() {
    let mut zero = Broker::alone(0).await;
    let nodes = [(0, zero.address)];
    let proxy = Proxy::start(&[&zero]).await;
    let mut client = proxy.connect_to(0).await;
    client.ask(&mut zero).await;
    for _ in 0..4 {
        teach(&proxy, &mut zero, &nodes).await;
        move_clock(LATE).await;
    }
    let status = proxy.narrows.status();
    assert_eq!(status["problems"], serde_json::json!([]));
}

#[tokio::test]
async fn brokers_behind_tls_that_passes_through_are_told_to_advertise_the_names_of_the_listener() {
    let pki = Pki::new();
    let (mut broker, front) = pki.broker_behind_tls(0).await;
    let proxy = tunnel::start(&pki, &front).await;
    for count in 0..4 {
        if count == 3 {
            move_clock(LATE).await;
        }
        let at = proxy.bootstrap();
        let mut client = named_client(at, ADVERTISED_HOST, &pki.client()).await;
        exchange(&mut client, &mut broker, 10).await;
    }
    let problem = proxy.problem(NO_BROKER_CONNECTION);
    let text = problem["last"].as_str().unwrap();
    for part in [
        "4 clients came by the bootstrap name, and none by a broker's name",
        "must advertise",
        "broker-0.kafka.example.com",
        "narrows config --strimzi",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
