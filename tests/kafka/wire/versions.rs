//! ApiVersions (key 18) v0–v5: Narrows offers what the broker offers, cut to its table, and nothing
//! else in the answer is touched, whichever version asks; also one that nobody knows.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsResponse, ResponseHeader};
use kafka_protocol::protocol::Decodable;
use libtest_mimic::Trial;
use narrows::protocol::table::{self, Treatment};

use super::Ways;
use super::socket::Socket;
use crate::brokers::version_under_test;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::namespaces::{Namespaces, Side};

pub(super) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "wire::api_versions_is_the_brokers_own_cut_to_the_table_in_every_version",
            be_cut,
        ),
        sharing(
            fixture,
            "wire::api_versions_99_is_answered_in_the_form_of_v0_with_error_35",
            be_too_new,
        ),
    ]
}

/// v5 (KIP-1242) came with 4.4; brokers before it answer it like a version that nobody knows.
const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;
/// The newest that the oracle knows; v5 has the same answer.
const ORACLE_MAX: i16 = 4;
const UNSUPPORTED_VERSION: i16 = 35;
const PRODUCE: i16 = 0;
const API_VERSIONS: i16 = 18;
const CORRELATION_ID: i32 = 7;

/// What nodes of a cluster tell each other, by its keys: LeaderAndIsr to ControlledShutdown, the
/// controllers' quorum, AlterPartition, Envelope, FetchSnapshot, the brokers' life,
/// AllocateProducerIds, ControllerRegistration, AssignReplicasToDirs, UpdateRaftVoter, and the
/// state of share groups.
const BETWEEN_NODES: [i16; 21] = [
    4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 83, 84, 85, 86, 87,
];

fn be_cut(fixture: &Fixture) -> Result<()> {
    let mut ways = Ways::to_broker(fixture, 1)?;
    for version in VERSIONS {
        let mut expected = ask(&mut ways.direct, version)?;
        let answer = ask(&mut ways.front, version)?;
        let later = ask(&mut ways.direct, version)?;
        settle_epoch(&mut expected, &answer, &later)?;
        let offered = expected.api_keys.len();
        cut(&mut expected);
        ensure!(
            answer == expected,
            "v{version}: {answer:?} instead of {expected:?}"
        );
        if answer.error_code == UNSUPPORTED_VERSION {
            ensure!(
                version == 5 && !version_under_test().starts_with("4.4."),
                "v{version} is not answered"
            );
            continue;
        }
        ensure_for_clients(&answer)?;
        // The state of share groups: there is something to cut.
        let is_cut = answer.api_keys.len() < offered;
        ensure!(
            is_cut || version_under_test().starts_with("3."),
            "v{version}: all of {offered} are offered"
        );
    }
    Ok(())
}

fn be_too_new(fixture: &Fixture) -> Result<()> {
    let mut ways = Ways::to_broker(fixture, 1)?;
    for version in [6, 99, i16::MAX] {
        let expected = ask(&mut ways.direct, version)?;
        let answer = ask(&mut ways.front, version)?;
        ensure!(
            answer.error_code == UNSUPPORTED_VERSION,
            "v{version}: {answer:?}"
        );
        // A client goes by it to a version that both know (KIP-511).
        let offers: Vec<_> = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version))
            .collect();
        ensure!(offers == [(API_VERSIONS, 0)], "v{version}: {answer:?}");
        ensure!(
            answer == expected,
            "v{version}: {answer:?} instead of {expected:?}"
        );
    }
    // The connection goes on.
    ensure!(
        ask(&mut ways.front, 0)?.error_code == 0,
        "no answer to what the client does know"
    );
    Ok(())
}

/// The part of an offer that is in Narrows' table and for clients.
pub(crate) fn cut(offer: &mut ApiVersionsResponse) {
    offer.api_keys.retain_mut(|api| {
        let Some(row) = table::api(api.api_key) else {
            return false;
        };
        api.min_version = api.min_version.max(row.versions.min);
        api.max_version = api.max_version.min(row.versions.max);
        row.treatment != Treatment::Refuse && api.min_version <= api.max_version
    });
}

fn ensure_for_clients(offer: &ApiVersionsResponse) -> Result<()> {
    let between_nodes = offer
        .api_keys
        .iter()
        .find(|api| BETWEEN_NODES.contains(&api.api_key));
    ensure!(
        between_nodes.is_none(),
        "what is only between nodes is offered: {between_nodes:?}"
    );
    // Older librdkafka turns compression off when it is not (KAFKA-18659).
    let produce = offer.api_keys.iter().find(|api| api.api_key == PRODUCE);
    ensure!(
        produce.is_some_and(|api| api.min_version == 0),
        "Produce is offered as {produce:?}"
    );
    Ok(())
}

/// The epoch of the features is an offset in the metadata log, which grows all the time: it must
/// lie between the ones before and after.
fn settle_epoch(
    before: &mut ApiVersionsResponse,
    answer: &ApiVersionsResponse,
    after: &ApiVersionsResponse,
) -> Result<()> {
    let epoch = answer.finalized_features_epoch;
    let before_it = before.finalized_features_epoch;
    let after_it = after.finalized_features_epoch;
    ensure!(
        (before_it..=after_it).contains(&epoch),
        "epoch {epoch} between {before_it} and {after_it}"
    );
    before.finalized_features_epoch = epoch;
    Ok(())
}

/// What is offered at an address, as its answer to ApiVersions v0 says.
pub(crate) fn offered(
    namespaces: &Namespaces,
    side: Side,
    address: SocketAddr,
) -> Result<ApiVersionsResponse> {
    ask(&mut Socket::dial(namespaces, side, address)?, 0)
}

/// By hand, as the oracle has neither v5 nor versions that don't exist.
fn ask(socket: &mut Socket, version: i16) -> Result<ApiVersionsResponse> {
    socket.send_frame(&request(version))?;
    let mut answer = socket.receive()?;
    // The answer's header has no tags in any version, and an error tells the form of what follows
    // (KIP-511).
    let header = ResponseHeader::decode(&mut answer, 0)?;
    ensure!(
        header.correlation_id == CORRELATION_ID,
        "v{version}: an answer to another request"
    );
    let form = if is_refusal(&answer) {
        0
    } else {
        version.min(ORACLE_MAX)
    };
    let offer = ApiVersionsResponse::decode(&mut answer, form)?;
    ensure!(
        answer.is_empty(),
        "v{version}: {} bytes behind the answer's end",
        answer.len()
    );
    Ok(offer)
}

fn is_refusal(body: &Bytes) -> bool {
    body.starts_with(&UNSUPPORTED_VERSION.to_be_bytes())
}

fn request(version: i16) -> Vec<u8> {
    let mut frame = [API_VERSIONS.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(CORRELATION_ID.to_be_bytes());
    frame.extend(b"\0\x04wire");
    if version >= 3 {
        // No header tags; the software's name and version, their lengths and one more in front.
        frame.extend(b"\0\x05wire\x021");
    }
    if version == 5 {
        // Neither a cluster nor a node is expected.
        frame.extend(b"\0\xff\xff\xff\xff");
    }
    if version >= 3 {
        frame.push(0); // no tags
    }
    frame
}
