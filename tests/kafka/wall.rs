//! The canary: the other tests prove something only while clients have no way to the brokers but
//! through Narrows, and while whoever tries is caught.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::ports;
use crate::clients::{FLOW_PATIENCE, Flow, Front};
use crate::oracle;
use crate::relay;
use crate::stage::{LazyStage, Stage, alone, sharing};
use crate::world::{Side, broker_ip};

pub(crate) fn list(stage: &LazyStage) -> Vec<Trial> {
    vec![
        alone(
            stage,
            "wall::a_client_that_dials_a_broker_is_caught_and_does_not_reach_it",
            caught,
        ),
        alone(
            stage,
            "wall::a_client_behind_a_relay_that_rewrites_nothing_is_caught",
            rewrite_nothing,
        ),
        sharing(stage, "wall::brokers_answer_from_narrows_side", answered),
        sharing(stage, "wall::narrows_namespace_is_no_router", no_router),
        sharing(stage, "wall::the_oracle_finds_every_kind_of_harm", |_| {
            oracle::the_oracle_finds_every_kind_of_harm()
        }),
    ]
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

fn caught(stage: &Stage) -> Result<()> {
    let mark = stage.trap.mark();
    let broker = SocketAddr::from((broker_ip(1), ports::PLAIN));
    let answer = stage
        .world
        .inside(Side::Clients, || ask_api_versions(broker))?;
    ensure!(
        !matches!(answer, Ok(length) if length > 0),
        "a broker answered a client"
    );
    let caught = stage.trap.since(mark);
    stage.trap.forget();
    ensure!(
        caught == [broker],
        "the trap should have noted the dial of {broker} and noted {caught:?}"
    );
    Ok(())
}

/// The leak that Narrows is there to prevent, made on purpose: the client learns the brokers' own
/// addresses and dials them.
fn rewrite_nothing(stage: &Stage) -> Result<()> {
    let topic = stage.world.unique("leak");
    stage.cluster.steward.place(&topic, "2,3")?;
    let relay = relay::start(&stage.world, SocketAddr::from((broker_ip(1), ports::PLAIN)))?;
    let mark = stage.trap.mark();
    let front = Front {
        side: Side::Clients,
        plain: relay.to_string(),
        ..stage.front()
    };
    let options = [format!("topic={topic}"), "tag=w".to_owned()];
    let client = Flow::endless(
        stage,
        "confluent",
        &front,
        &front.plain,
        "produce",
        &options,
    )?;
    let deadline = Instant::now() + FLOW_PATIENCE;
    while stage.trap.since(mark).is_empty() {
        ensure!(
            Instant::now() < deadline,
            "the client never dialled a broker that it was told of"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(client);
    stage.trap.forget();
    Ok(())
}

fn answered(stage: &Stage) -> Result<()> {
    for node_id in [1, 2, 3] {
        let broker = SocketAddr::from((broker_ip(node_id), ports::PLAIN));
        let length = stage
            .world
            .inside(Side::Narrows, || ask_api_versions(broker))??;
        ensure!(length > 0, "broker {node_id} did not answer");
    }
    Ok(())
}

/// The trap stands in for the brokers' addresses, so a router shows at its other address, for which
/// there is no trap.
fn no_router(stage: &Stage) -> Result<()> {
    let beyond = SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), ports::PLAIN));
    let dial = stage.world.inside(Side::Clients, || {
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
