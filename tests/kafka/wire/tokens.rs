//! SaslHandshake v0 (KIP-43): behind it come tokens in frames without any Kafka header, and an
//! empty frame says that they were good; requests follow on the same connection.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use libtest_mimic::Trial;

use super::socket::Socket;
use super::versions::cut;
use super::{POLL, SETTLE_TIMEOUT, Ways, request_of, topic_of};
use crate::brokers::{PASSWORD, USER, ports};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::namespaces::{Side, broker_ip};

pub(super) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "wire::raw_tokens_pass_untouched_and_requests_follow_them",
            log_in,
        ),
        sharing(
            fixture,
            "wire::a_wrong_password_in_a_raw_token_closes_the_connection",
            be_refused,
        ),
    ]
}

fn log_in(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("tokens");
    fixture.cluster.admin_client.create(&topic, 3)?;
    topic_of(fixture, &topic)?;
    teach(fixture, &request_of(&topic))?;
    let mut ways = Ways::to_sasl_listener(fixture, 1)?;
    let mut expected = converse(&mut ways.direct, &request_of(&topic)).context("past Narrows")?;
    let answers = converse(&mut ways.front, &request_of(&topic)).context("through Narrows")?;

    ensure!(
        expected.login[1].is_empty(),
        "the broker should accept by an empty frame: {:?}",
        expected.login
    );
    ensure!(
        answers.login == expected.login,
        "the login: {:?} instead of {:?}",
        answers.login,
        expected.login
    );

    cut(&mut expected.versions);
    // An offset in the metadata log, which grows all the time.
    expected.versions.finalized_features_epoch = answers.versions.finalized_features_epoch;
    ensure!(
        answers.versions == expected.versions,
        "{:?} instead of {:?}",
        answers.versions,
        expected.versions
    );

    for broker in &mut expected.metadata.brokers {
        ways.advertise(&mut broker.host, &mut broker.port)?;
    }
    // Any broker, another one each time.
    expected.metadata.controller_id = answers.metadata.controller_id;
    ensure!(
        answers.metadata == expected.metadata,
        "{:?} instead of {:?}",
        answers.metadata,
        expected.metadata
    );
    Ok(())
}

/// There are no words for an error in this version: the broker only hangs up, and it is the broker
/// who does.
fn be_refused(fixture: &Fixture) -> Result<()> {
    let narrows = fixture.own_narrows()?;
    narrows.announce(&[r#""cause":"sasl_cut_off""#]);
    let front = narrows.front();
    let broker = SocketAddr::from((broker_ip(1), ports::SASL));
    let sockets = [
        Socket::dial(&fixture.namespaces, Side::Narrows, broker)?,
        Socket::dial(&fixture.namespaces, front.side, front.sasl.parse()?)?,
    ];
    for mut socket in sockets {
        hand_over(&mut socket, "wrong")?;
        socket.ensure_closed()?;
    }
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let closed = |cause| {
        narrows.metric(
            &fixture.namespaces,
            "narrows_connections_closed_total",
            cause,
        )
    };
    while closed("")? < 1.0 {
        ensure!(
            Instant::now() < deadline,
            "the connection is not counted as closed"
        );
        std::thread::sleep(POLL);
    }
    ensure!(
        closed(r#"cause="sasl_cut_off""#)? == 1.0,
        "Narrows hung up: {}",
        narrows.log_tail()
    );
    Ok(())
}

/// Where brokers demand authentication Narrows can't ask who is who and goes by what its clients
/// are told: until one was told, a connection that is meant for a broker may reach another one and
/// end behind the login.
fn teach(fixture: &Fixture, metadata: &MetadataRequest) -> Result<()> {
    let front = fixture.front();
    let mut bootstrap = Socket::dial(&fixture.namespaces, front.side, front.sasl.parse()?)?;
    converse(&mut bootstrap, metadata)
        .context("at the bootstrap port")
        .map(drop)
}

struct Answers {
    /// To the handshake and to the token, as they came.
    login: [Bytes; 2],
    versions: ApiVersionsResponse,
    metadata: MetadataResponse,
}

fn converse(socket: &mut Socket, metadata: &MetadataRequest) -> Result<Answers> {
    let handshake = hand_over(socket, PASSWORD)?;
    let token = socket.receive()?;
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("wire-test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    Ok(Answers {
        login: [handshake, token],
        versions: socket.ask(3, &versions)?,
        metadata: socket.ask(12, metadata)?,
    })
}

/// Asks for PLAIN and hands over its only token, which is still to be answered. The answer to the
/// handshake.
fn hand_over(socket: &mut Socket, password: &str) -> Result<Bytes> {
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
    socket.send(0, &request)?;
    let handshake = socket.receive()?;
    let answer = socket.read_answer::<SaslHandshakeRequest>(0, handshake.clone())?;
    ensure!(
        answer.error_code == 0,
        "the broker refuses the mechanism: {answer:?}"
    );
    socket.send_frame(format!("\0{USER}\0{password}").as_bytes())?;
    Ok(handshake)
}
