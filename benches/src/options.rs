//! What the user asked for.

use crate::kafka;
use crate::relays::{KINDS, Kind};
use crate::rounds::Effort;
use crate::workloads;
use anyhow::{Context, Result, bail, ensure};
use std::time::{Duration, Instant};

const TLS_IDLE_CONNECTIONS: usize = 2000;

#[derive(Debug, Default)]
pub struct Options {
    /// Under 5 minutes: fewer workloads and rounds, one core, no Kafka.
    pub quick: bool,
    /// Names of workloads, or what they begin with up to a hyphen; all of them when empty.
    pub only: Vec<String>,
    pub rounds: Option<u32>,
    /// Names of relays; all of them when empty.
    pub relays: Vec<String>,
    /// `NAME=PORT@PID`.
    pub peers: Vec<String>,
    /// Records a second that producer-perf sends.
    pub kafka_rate: Option<i64>,
}

impl Options {
    pub fn read(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match *word {
                "--quick" => options.quick = true,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--relays" => options
                    .relays
                    .extend(value()?.split(',').map(str::to_owned)),
                "--rounds" => {
                    options.rounds = Some(value()?.parse().context("--rounds needs a number")?)
                }
                "--kafka-rate" => {
                    options.kafka_rate =
                        Some(value()?.parse().context("--kafka-rate needs a number")?)
                }
                "--peer" => options.peers.push((*value()?).to_owned()),
                other => bail!(
                    "{other}: benches/run [--quick] [--only NAME,…] [--rounds N] [--relays \
                     NAME,…] [--peer NAME=PORT@PID]… [--kafka-rate N] | --codec"
                ),
            }
        }
        let mut names: Vec<_> = workloads::all()?
            .iter()
            .map(|workload| workload.name)
            .collect();
        names.extend(["syscalls", "idle", "tls-idle", "kafka"]);
        for name in &options.only {
            ensure!(
                names.iter().any(|workload| is_of(workload, name)),
                "there is no workload {name}; there are {}",
                names.join(", ")
            );
        }
        let relays: Vec<_> = KINDS.iter().map(|kind| kind.name()).collect();
        for name in &options.relays {
            let known = relays.contains(&name.as_str());
            ensure!(
                known,
                "there is no relay {name}; there are {}",
                relays.join(", ")
            );
        }
        ensure!(options.rounds != Some(0), "--rounds needs at least 1");
        Ok(options)
    }

    /// Whether this is asked for by its whole name.
    pub fn names(&self, workload: &str) -> bool {
        self.only.iter().any(|name| name == workload)
    }

    /// The relays that take part.
    pub fn kinds(&self) -> Vec<Kind> {
        let takes_part = |kind: &Kind| {
            self.relays.is_empty() || self.relays.iter().any(|name| name == kind.name())
        };
        KINDS.into_iter().filter(takes_part).collect()
    }

    pub fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| is_of(workload, name))
    }

    /// A full run takes about 30 minutes when nobody disturbs it, and not more than 40 when
    /// somebody does.
    pub fn effort(&self) -> Effort {
        let millis = Duration::from_millis;
        let (rounds, warm_up, measure, patience) = match self.quick {
            true => (3, millis(200), millis(400), 30),
            false => (7, millis(300), millis(700), 12 * 60),
        };
        let rounds = self.rounds.unwrap_or(rounds);
        let retry_until = Instant::now() + Duration::from_secs(patience);
        Effort {
            rounds,
            warm_up,
            measure,
            retry_until,
        }
    }

    /// How many idle connections: 1,000 and 10,000, or as many as a relay's open files allow.
    pub fn idle_connections(&self, most: usize) -> Vec<usize> {
        let wanted: &[usize] = if self.quick { &[1000] } else { &[1000, 10_000] };
        wanted.iter().map(|count| *count.min(&most)).collect()
    }

    /// How many of them over TLS, of which each costs a handshake.
    pub fn tls_idle_connections(&self, most: usize) -> usize {
        TLS_IDLE_CONNECTIONS.min(most)
    }

    /// Ten seconds of producing a lane.
    pub fn kafka_pace(&self) -> kafka::Pace {
        let rate = self.kafka_rate.unwrap_or(10_000);
        kafka::Pace {
            rounds: self.rounds.unwrap_or(3),
            records: 100_000,
            rate,
        }
    }
}

/// Whether a workload is one of those that `name` stands for: `tls` stands for `tls-fetch-1m`.
fn is_of(workload: &str, name: &str) -> bool {
    workload
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_there_is_not_is_named_with_those_that_there_are() {
        let error = Options::read(&["--only", "fetch-1m,nonsense"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("nonsense") && error.contains("storm"),
            "{error}"
        );
        assert!(Options::read(&["--only", "fetch-1m,idle", "--rounds", "1"]).is_ok());
    }

    #[test]
    fn the_beginning_of_a_name_stands_for_every_workload_that_begins_so() {
        let options = Options::read(&["--only", "tls,produce"]).unwrap();
        assert!(
            options.wants("tls-fetch-1m")
                && options.wants("tls-idle")
                && options.wants("produce-16k")
        );
        assert!(
            !options.wants("fetch-1m")
                && !options.wants("idle")
                && !options.wants("small-beside-produce")
        );
        assert!(Options::read(&["--only", "tl"]).is_err());
    }

    #[test]
    fn idle_connections_fit_into_the_open_files() {
        let options = Options::default();
        assert_eq!(options.idle_connections(31_000), [1000, 10_000]);
        assert_eq!(options.idle_connections(9000), [1000, 9000]);
    }
}
