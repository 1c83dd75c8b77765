//! The way of a client, step by step, until a step fails that the next ones stand on.

use super::diagnosis::unresolved;
use super::reach::{Reach, Reached};
use super::steps::{certificate, enter, is_controller, software, topology};
use super::{Code, Report, Stage, Target, Trouble, brokers, clients, login, round_trip};
use crate::net::resolve;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::Topology;
use std::net::SocketAddr;

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
        let mut reached = reached.map_err(|trouble| (Stage::of(&trouble), trouble))?;
        report.fine(Stage::Connect, reached.peer.to_string());
        certificate(&reached.stream, report);
        (self.progress)(&format!("asking {address} for versions"));
        let offered = match self.reach.versions(&mut reached.stream).await {
            Ok(offered) => offered,
            Err(error) => {
                let trouble = self.reach.unanswered(address, error).await;
                return Err((Stage::of(&trouble), trouble));
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
