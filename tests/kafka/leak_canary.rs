//! The canary: the other tests prove something only while clients have no way to the brokers but
//! through Narrows, and while whoever tries is caught.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::ports;
use crate::clients::{FLOW_PATIENCE, Flow, Front};
use crate::fixture::{Fixture, LazyFixture, alone, sharing};
use crate::namespaces::{Side, broker_ip};
use crate::relay;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    vec![
        alone(
            fixture,
            "leak_canary::a_client_that_dials_a_broker_is_caught_and_does_not_reach_it",
            caught,
        ),
        alone(
            fixture,
            "leak_canary::a_client_behind_a_relay_that_rewrites_nothing_is_caught",
            rewrite_nothing,
        ),
        sharing(
            fixture,
            "leak_canary::brokers_answer_from_narrows_side",
            answered,
        ),
        sharing(
            fixture,
            "leak_canary::narrows_namespace_is_no_router",
            no_router,
        ),
    ]
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

fn caught(fixture: &Fixture) -> Result<()> {
    let mark = fixture.trap.mark();
    let broker = SocketAddr::from((broker_ip(1), ports::PLAIN));
    let answer = fixture
        .namespaces
        .inside(Side::Clients, || ask_api_versions(broker))?;
    ensure!(
        !matches!(answer, Ok(length) if length > 0),
        "a broker answered a client"
    );
    let caught = fixture.trap.since(mark);
    fixture.trap.forget();
    ensure!(
        caught == [broker],
        "the trap should have noted the dial of {broker} and noted {caught:?}"
    );
    Ok(())
}

/// The leak that Narrows is there to prevent, made on purpose: the client learns the brokers' own
/// addresses and dials them.
fn rewrite_nothing(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("leak");
    fixture.cluster.admin_client.place(&topic, "2,3")?;
    let relay = relay::start(
        &fixture.namespaces,
        SocketAddr::from((broker_ip(1), ports::PLAIN)),
    )?;
    let mark = fixture.trap.mark();
    let front = Front {
        side: Side::Clients,
        plain: relay.to_string(),
        ..fixture.front()
    };
    let options = [format!("topic={topic}"), "tag=w".to_owned()];
    let client = Flow::endless(
        fixture,
        "confluent",
        &front,
        &front.plain,
        "produce",
        &options,
    )?;
    let deadline = Instant::now() + FLOW_PATIENCE;
    while fixture.trap.since(mark).is_empty() {
        ensure!(
            Instant::now() < deadline,
            "the client never dialled a broker that it was told of"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(client);
    fixture.trap.forget();
    Ok(())
}

fn answered(fixture: &Fixture) -> Result<()> {
    for node_id in [1, 2, 3] {
        let broker = SocketAddr::from((broker_ip(node_id), ports::PLAIN));
        let length = fixture
            .namespaces
            .inside(Side::Narrows, || ask_api_versions(broker))??;
        ensure!(length > 0, "broker {node_id} did not answer");
    }
    Ok(())
}

/// The trap stands in for the brokers' addresses, so a router shows at its other address, for which
/// there is no trap.
fn no_router(fixture: &Fixture) -> Result<()> {
    let beyond = SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), ports::PLAIN));
    let dial = fixture.namespaces.inside(Side::Clients, || {
        TcpStream::connect_timeout(&beyond, DIAL_TIMEOUT)
    })?;
    let refusal = dial
        .err()
        .context("a client dialled past Narrows' own address")?;
    ensure!(
        refusal.kind() == std::io::ErrorKind::NetworkUnreachable,
        "there is a route from the clients to the brokers' network: {refusal}"
    );
    Ok(())
}

/// Sends an ApiVersions request v0; how long the answer says it is.
fn ask_api_versions(broker: SocketAddr) -> std::io::Result<u32> {
    let mut stream = TcpStream::connect_timeout(&broker, DIAL_TIMEOUT)?;
    stream.set_read_timeout(Some(DIAL_TIMEOUT))?;
    // Length 10, api key 18, version 0, correlation id 1, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    Ok(u32::from_be_bytes(length))
}
