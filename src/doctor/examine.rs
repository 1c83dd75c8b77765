//! The way of a client, step by step, until a step fails that the next ones stand on.

use super::reach::{Reach, Reached, certificate_of, names, refused_late, unresolved};
use super::{Code, Report, Stage, Target, Trouble, brokers, clients, login, round_trip};
use crate::app::{unix_seconds, validity_text};
use crate::auth::Credentials;
use crate::broker::{ExchangeError, ProbeError};
use crate::net::resolve;
use crate::net::stream::Stream;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::{self, Offered, Topology};
use crate::types::BrokerAddress;
use std::net::SocketAddr;

/// A certificate that expires sooner should have been replaced already.
const SOON_SECONDS: i64 = 14 * 86_400;

/// The key of Fetch, whose versions tell releases apart.
const FETCH: i16 = 1;
const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;

/// Goes the whole way. `progress` is told what is being waited for.
pub async fn examine(target: &Target, progress: &(dyn Fn(&str) + Sync)) -> Report {
    let mut report = Report {
        subject: subject(target),
        ..Report::default()
    };
    let reach = Reach::new(target.tls.clone(), target.timeout);
    let walk = Walk {
        target,
        reach: &reach,
        progress,
    };
    if let Err((stage, trouble)) = walk.go(&mut report).await {
        report.problem(stage, &trouble);
    }
    // Clients expect the name that they dial, and none can be told to expect another one.
    let is_renamed = target
        .tls
        .as_ref()
        .is_some_and(|tls| tls.server_name().is_some());
    if report.is_fine() && !is_renamed {
        report.clients = clients::configurations(target);
    }
    report
}

fn subject(target: &Target) -> String {
    let tls = if target.tls.is_some() {
        "TLS"
    } else {
        "plaintext"
    };
    let login = target
        .credentials
        .as_ref()
        .map_or(String::new(), |credentials| {
            format!(", {}", credentials.mechanism)
        });
    format!("{}, {tls}{login}", target.bootstrap)
}

struct Walk<'a> {
    target: &'a Target,
    reach: &'a Reach,
    progress: &'a (dyn Fn(&str) + Sync),
}

type Stop = (Stage, Trouble);

impl Walk<'_> {
    async fn go(&self, report: &mut Report) -> Result<(), Stop> {
        let address = &self.target.bootstrap;
        self.resolve(report).await?;
        (self.progress)(&format!("connecting to {address}"));
        let reached = self.reach.open(address).await;
        let mut reached = reached.map_err(|trouble| (stage_of(&trouble), trouble))?;
        report.fine(Stage::Connect, reached.peer.to_string());
        certificate(&reached.stream, report);
        (self.progress)(&format!("asking {address} for versions"));
        let offered = match self.reach.versions(&mut reached.stream).await {
            Ok(offered) => offered,
            Err(error) => {
                let trouble = self.reach.unanswered(address, error).await;
                return Err((stage_of(&trouble), trouble));
            }
        };
        if is_controller(&offered) {
            let fact = format!("{address} is a KRaft controller, not a broker");
            let trouble = Trouble::new(Code::SPEAKS_CONTROLLER, fact);
            return Err((Stage::Versions, trouble));
        }
        report.fine(Stage::Versions, software(&offered));
        report.offered = Some(offered);
        let reached = self.log_in(reached, report).await;
        let reached = reached.map_err(|trouble| (Stage::Sasl, trouble))?;
        let (peer, topology) = self.topology(reached, report).await?;
        (self.progress)(&format!("looking at {} brokers", topology.brokers.len()));
        let credentials = self.target.credentials.as_ref();
        brokers::examine(credentials, self.reach, peer, &topology, report).await;
        if let Some(topic) = &self.target.topic {
            (self.progress)(&format!("writing a record to {topic}"));
            round_trip::examine(self.target, self.reach, topic, &topology, report).await;
        }
        Ok(())
    }

    async fn resolve(&self, report: &mut Report) -> Result<(), Stop> {
        let address = &self.target.bootstrap;
        (self.progress)(&format!("resolving {}", address.host));
        match resolve::resolve(address, self.target.timeout).await {
            Ok(found) => {
                let found: Vec<_> = found.iter().map(|peer| peer.ip().to_string()).collect();
                report.fine(Stage::Resolve, found.join(", "));
                Ok(())
            }
            Err(error) => Err((Stage::Resolve, unresolved(address, &error))),
        }
    }

    /// The login, if one is wanted. Returns a connection on which requests can go on.
    async fn log_in(&self, reached: Reached, report: &mut Report) -> Result<Reached, Trouble> {
        let Some(credentials) = &self.target.credentials else {
            return Ok(reached);
        };
        let address = &self.target.bootstrap;
        (self.progress)(&format!("logging in at {address}"));
        let mut reached = self.reach.open(address).await?;
        enter(self.reach, address, &mut reached, credentials).await?;
        let (user, mechanism) = (Shown::name(&credentials.user), credentials.mechanism);
        report.fine(Stage::Sasl, format!("logged in as {user} by {mechanism}"));
        Ok(reached)
    }

    async fn topology(
        &self,
        mut reached: Reached,
        report: &mut Report,
    ) -> Result<(SocketAddr, Topology), Stop> {
        let address = &self.target.bootstrap;
        (self.progress)(&format!("asking {address} for the brokers"));
        let topic = self.target.topic.as_deref();
        let topology = match topology(self.reach, address, &mut reached.stream, topic).await {
            Ok(topology) => topology,
            Err(trouble) => {
                let demanded = login::demanded(self.reach, address, &trouble).await;
                let demanded = demanded.map(|offered| {
                    let fact = format!("{address} demands a login, by {offered}");
                    (Stage::Sasl, Trouble::new(Code::SASL_REQUIRED, fact))
                });
                return Err(demanded.unwrap_or((Stage::Metadata, trouble)));
            }
        };
        if self.target.credentials.is_none() {
            report.fine(Stage::Sasl, "no login is demanded");
        }
        let count = topology.brokers.len();
        if count == 0 {
            let fact = format!("{address} says that its cluster has no brokers");
            return Err((Stage::Metadata, Trouble::new(Code::NO_BROKERS, fact)));
        }
        let id = topology.cluster_id.as_deref().unwrap_or("without an id");
        let id = Shown::name(id).to_string();
        report.fine(Stage::Metadata, format!("cluster {id}, {count} brokers"));
        report.topology = Some(topology.clone());
        Ok((reached.peer, topology))
    }
}

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

/// The step at which a connection failed.
pub(super) fn stage_of(trouble: &Trouble) -> Stage {
    match trouble.code.word() {
        word if word.starts_with("dns_") => Stage::Resolve,
        word if word.starts_with("connect_") => Stage::Connect,
        word if word.starts_with("tls_") => Stage::Tls,
        _ => Stage::Versions,
    }
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
