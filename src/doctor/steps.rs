//! The steps that every way through a cluster has: the certificate looked at, the login, the
//! question who the brokers are, and what the versions of the one that answered say.

use super::diagnosis::refused_late;
use super::reach::{Reach, Reached, certificate_of, names};
use super::{Code, Report, Stage, Trouble, login};
use crate::app::{unix_seconds, validity_text};
use crate::auth::Credentials;
use crate::broker::{ExchangeError, ProbeError};
use crate::net::stream::Stream;
use crate::protocol::doctor_requests::{self, Offered, Topology};
use crate::types::BrokerAddress;

/// A certificate that expires sooner should have been replaced already.
const SOON_SECONDS: i64 = 14 * 86_400;

/// The key of Fetch, whose versions tell releases apart.
const FETCH: i16 = 1;
const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;

/// The certificate that the other side has shown, if TLS is spoken.
pub(super) fn certificate(stream: &Stream, report: &mut Report) {
    let Stream::Tls(tls) = stream else { return };
    let version = tls.agreed().version;
    let Some(certificate) = certificate_of(stream) else {
        return report.fine(Stage::Tls, version);
    };
    let now = unix_seconds();
    let left = validity_text(&certificate, now);
    let text = format!(
        "{version}, a certificate for {}, {left}",
        names(&certificate)
    );
    if certificate.not_after.saturating_sub(now) < SOON_SECONDS {
        report.warn(Stage::Tls, &Trouble::new(Code::TLS_EXPIRES_SOON, text));
    } else {
        report.fine(Stage::Tls, text);
    }
}

/// Logs in where the listener wants that.
pub(super) async fn enter(
    reach: &Reach,
    address: &BrokerAddress,
    reached: &mut Reached,
    credentials: &Credentials,
) -> Result<(), Trouble> {
    if login::log_in(reach, address, &mut reached.stream, credentials).await? {
        return Ok(());
    }
    let mechanism = credentials.mechanism;
    let fact = format!("{address} has no SASL, and {mechanism} was asked for");
    Err(Trouble::new(Code::SASL_NOT_OFFERED, fact))
}

/// Asks for the brokers, and for a topic.
pub(super) async fn topology(
    reach: &Reach,
    address: &BrokerAddress,
    stream: &mut Stream,
    topic: Option<&str>,
) -> Result<Topology, Trouble> {
    let request = doctor_requests::topology_request(reach.name.as_bytes(), topic);
    let answer = reach.ask(stream, &request).await.map_err(ProbeError::from);
    let read = answer.and_then(|answer| Ok(doctor_requests::read_topology(&answer)?));
    read.map_err(|error| {
        if let ProbeError::Exchange(ExchangeError::Io(io)) = &error
            && let Some(trouble) = refused_late(address, io)
        {
            return trouble;
        }
        let fact = format!("{address} does not say who the brokers are ({error})");
        Trouble::new(Code::METADATA_FAILED, fact)
    })
}

/// Every broker has Metadata, and no controller has.
pub(super) fn is_controller(offered: &Offered) -> bool {
    let has = |wanted| offered.apis.iter().any(|(key, _)| *key == wanted);
    !offered.apis.is_empty() && !has(METADATA)
}

/// What answered, as far as its versions tell.
pub(super) fn software(offered: &Offered) -> String {
    let newest = |key| {
        let of_key = offered.apis.iter().find(|(api, _)| *api == key);
        of_key.map_or(-1, |(_, versions)| versions.max)
    };
    // By the release in which a version came: KIP-1242, 1166, 853, 405, 903, 516.
    let release = match (newest(API_VERSIONS), newest(FETCH)) {
        (5.., _) => "4.4 or newer",
        (_, 18..) => "4.1 to 4.3",
        (_, 17) => "3.9 or 4.0",
        (_, 16) => "3.7 or 3.8",
        (_, 15) => "3.5 or 3.6",
        (_, 13 | 14) => "3.1 to 3.4",
        (_, 12) => "2.7 to 3.0",
        _ => "2.6 or older",
    };
    let metadata = offered
        .features
        .iter()
        .find(|(name, _)| name == "metadata.version")
        .map_or(String::new(), |(_, level)| {
            format!(", metadata.version {level}")
        });
    let count = offered.apis.len();
    format!("Kafka, {count} APIs as in {release}{metadata}; a broker, or a proxy in front of one")
}
