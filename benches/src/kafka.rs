//! Real Kafka: three brokers, Kafka's own producer-perf and consumer-perf, direct and through each
//! relay.
//!
//! A relay that knows no Kafka can only stand in front of a cluster that advertises it. So every
//! broker has one listener per such relay, which advertises that relay's port for this broker;
//! Narrows gets the brokers' own listener.

use crate::load;
use crate::meter;
use crate::relays::{self, Kind, Relay, Setting, localhost};
use crate::stats::{self, Estimate};
use crate::sys;
use crate::wire::Binding;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For the report.
pub const ABOUT: &str = "Three brokers in one process each, producer-perf (records of 1 KiB, \
                         acks=all, three replicas, at a fixed \
                         rate, 10,000 a second unless --kafka-rate says otherwise) and consumer-perf (as fast as it goes), nothing pinned. A GB is 10⁹ bytes of records; \
                         MB/s is what the tools say.";

const NODES: [u8; 3] = [1, 2, 3];
const RECORD_BYTES: u64 = 1024;
const CLUSTER_ID: &str = "a2xhbW0tYmVuY2gtMDAwMA";
const START_TIMEOUT: Duration = Duration::from_secs(90);
const TOOL_TIMEOUT: Duration = Duration::from_secs(120);
/// The brokers' own listener: direct, and Narrows' way to them.
const OWN_PORT: u16 = 9092;
const JVM: [&str; 3] = ["-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"];
const TOPIC: &str = "bench";
const GATE: f64 = 1.15;

/// One relay in one round.
#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    pub round: u32,
    pub produce_mb_per_second: f64,
    pub produce_cpu_per_gb: f64,
    pub consume_mb_per_second: f64,
    pub consume_cpu_per_gb: f64,
}

/// One of a lane's numbers.
type Number = fn(&Lane) -> f64;

impl Lane {
    pub fn to_json(&self) -> Value {
        json!({
            "workload": "kafka", "relay": self.name, "round": self.round,
            "produce_mb_per_s": self.produce_mb_per_second, "produce_cpu_s_per_gb": self.produce_cpu_per_gb,
            "consume_mb_per_s": self.consume_mb_per_second, "consume_cpu_s_per_gb": self.consume_cpu_per_gb,
        })
    }
}

/// The gates of real Kafka: name, limit, Narrows over HAProxy splice within a round.
pub fn gates(lanes: &[Lane]) -> Vec<(String, f64, Estimate)> {
    let of = |name: &str, round: u32, value: Number| {
        lanes
            .iter()
            .find(|lane| lane.name == name && lane.round == round)
            .map(value)
    };
    let rounds = lanes.iter().map(|lane| lane.round + 1).max().unwrap_or(0);
    let parts: [(&str, Number); 2] = [
        ("produce", |lane| lane.produce_cpu_per_gb),
        ("consume", |lane| lane.consume_cpu_per_gb),
    ];
    let gate = |(part, value): (&str, Number)| {
        let ratio =
            |round| Some(of("narrows", round, value)? / of("haproxy-splice", round, value)?);
        let ratios: Vec<f64> = (0..rounds)
            .filter_map(ratio)
            .filter(|ratio| ratio.is_finite())
            .collect();
        Some((
            format!("real Kafka {part} CPU s/GB, narrows / haproxy-splice"),
            GATE,
            stats::estimate(&ratios)?,
        ))
    };
    parts.into_iter().filter_map(gate).collect()
}

/// The kinds that take part, each with the port of its listener on the brokers and its own first
/// port.
const WAYS: [(Kind, u16, u16); 4] = [
    (Kind::Narrows, OWN_PORT, 21_000),
    (Kind::HaproxySplice, 9093, 21_100),
    (Kind::HaproxyCopy, 9094, 21_200),
    (Kind::RawSplice, 9095, 21_300),
];

/// How long and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub rounds: u32,
    /// Records of 1 KiB a lane.
    pub records: u64,
    /// Records a second; −1: as fast as it goes, which compares less, since a starved relay reads
    /// more at once.
    pub rate: i64,
}

/// Starts everything, measures every lane in every round, and ends everything.
pub fn run(setting: &Setting, jars: &Path, pace: Pace) -> Result<Vec<Lane>> {
    let rounds = pace.rounds;
    let everywhere: Vec<usize> = (0..meter::processors()).collect();
    sys::pin(0, &everywhere)?;
    let cluster = Cluster::start(setting, jars)?;
    let relays = WAYS
        .iter()
        .map(|way| start_relay(setting, *way))
        .collect::<Result<Vec<_>>>()?;
    cluster.create_topic()?;
    eprintln!("kafka: warming up");
    cluster.measure("direct", own(1), &[], 0, pace)?;
    let mut lanes = Vec::new();
    for round in 0..rounds {
        eprintln!("kafka: round {} of {rounds}", round + 1);
        let mut order: Vec<(&str, SocketAddr, Vec<u32>)> = vec![("direct", own(1), Vec::new())];
        for relay in &relays {
            let pids = relay.iter().flat_map(|part| part.pids.clone()).collect();
            order.push((relay[0].name.as_str(), relay[0].door.address, pids));
        }
        if round % 2 == 1 {
            order.reverse();
        }
        for (name, bootstrap, pids) in order {
            lanes.push(cluster.measure(name, bootstrap, &pids, round, pace)?);
        }
    }
    Ok(lanes)
}

fn own(node: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, node], OWN_PORT))
}

/// A relay in front of all three brokers; the reference relay needs a process for each.
fn start_relay(
    setting: &Setting,
    (kind, broker_port, first_port): (Kind, u16, u16),
) -> Result<Vec<Relay>> {
    let ways = NODES.map(|node| {
        (
            localhost(first_port + u16::from(node)),
            SocketAddr::from(([127, 0, 1, node], broker_port)),
        )
    });
    let folder = setting.folder.join("kafka");
    match kind {
        Kind::Narrows => {
            let bootstrap: Vec<String> = NODES.iter().map(|node| own(*node).to_string()).collect();
            let mut command = Command::new(&setting.narrows);
            command
                .args([
                    "run",
                    "--bootstrap-servers",
                    &bootstrap.join(","),
                    "--log-level",
                    "warn",
                ])
                .args([
                    "--bind",
                    &localhost(first_port).to_string(),
                    "--advertised-host",
                    "127.0.0.1",
                ])
                .args(["--node-ids", "1-3"]);
            Ok(vec![Relay::spawn(
                kind.name(),
                &mut command,
                Binding::plain(localhost(first_port)),
                &folder,
            )?])
        }
        Kind::HaproxyCopy | Kind::HaproxySplice => {
            let path = folder.join(format!("{}.conf", kind.name()));
            fs::write(
                &path,
                relays::haproxy::ways(
                    kind == Kind::HaproxySplice,
                    setting,
                    meter::processors(),
                    &ways,
                ),
            )?;
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(path);
            Ok(vec![Relay::spawn(
                kind.name(),
                &mut command,
                Binding::plain(ways[0].0),
                &folder,
            )?])
        }
        Kind::RawSplice => ways
            .iter()
            .map(|(from, to)| {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["relay", &from.port().to_string(), &to.to_string(), "splice"]);
                Relay::spawn(kind.name(), &mut command, Binding::plain(*from), &folder)
            })
            .collect(),
        other => bail!("{} has no lane in front of real Kafka", other.name()),
    }
}

struct Cluster {
    class_path: String,
    folder: PathBuf,
    nodes: Vec<Child>,
}

impl Cluster {
    fn start(setting: &Setting, jars: &Path) -> Result<Self> {
        ensure!(
            jars.join(".complete").exists(),
            "Kafka is not there: run tests/kafka/fetch 4.3.1"
        );
        let folder = setting.folder.join("kafka");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("log4j2.properties"), LOG4J2)?;
        let mut cluster = Self {
            class_path: format!("{}/*", jars.display()),
            folder,
            nodes: Vec::new(),
        };
        for node in NODES {
            let child = cluster.launch(node)?;
            cluster.nodes.push(child);
        }
        for node in NODES {
            cluster.await_node(node)?;
        }
        Ok(cluster)
    }

    /// Formats and starts one node.
    fn launch(&self, node: u8) -> Result<Child> {
        let properties = self.folder.join(format!("node-{node}.properties"));
        fs::write(&properties, node_properties(node, &self.folder)?)?;
        let log = File::create(self.folder.join(format!("node-{node}.log")))?;
        let java = format!(
            "java {} -Dlog4j2.configurationFile='{}/log4j2.properties' -cp '{}'",
            JVM.join(" "),
            self.folder.display(),
            self.class_path
        );
        let properties = properties.display();
        let script = format!(
            "set -e\n{java} kafka.tools.StorageTool format -t {CLUSTER_ID} -c \
             '{properties}'\nexec {java} kafka.Kafka '{properties}'\n"
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command
            .spawn()
            .context("java can't be started: apt-get install default-jre-headless")
    }

    fn await_node(&mut self, node: u8) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(error) = load::open(&Binding::plain(own(node))) {
            for child in &mut self.nodes {
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "a broker ended with {status}, see {}",
                        self.folder.display()
                    );
                }
            }
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("broker {node} does not answer"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn create_topic(&self) -> Result<()> {
        let servers = own(1).to_string();
        let topic = TOPIC;
        let arguments = [
            "--bootstrap-server",
            &servers,
            "--create",
            "--if-not-exists",
            "--topic",
            topic,
            "--partitions",
            "6",
            "--replication-factor",
            "3",
        ];
        let deadline = Instant::now() + START_TIMEOUT;
        // The first attempts may find fewer than three brokers registered.
        while let Err(error) = self.tool("org.apache.kafka.tools.TopicCommand", &arguments) {
            if Instant::now() > deadline {
                return Err(error);
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        name: &str,
        bootstrap: SocketAddr,
        pids: &[u32],
        round: u32,
        pace: Pace,
    ) -> Result<Lane> {
        let records = pace.records;
        let servers = bootstrap.to_string();
        let count = records.to_string();
        let rate = pace.rate.to_string();
        let size = RECORD_BYTES.to_string();
        let before = meter::cpu_nanos(pids);
        let said = self
            .tool(
                "org.apache.kafka.tools.ProducerPerformance",
                &[
                    "--topic",
                    TOPIC,
                    "--num-records",
                    &count,
                    "--record-size",
                    &size,
                    "--throughput",
                    &rate,
                    "--producer-props",
                    "acks=all",
                    &format!("bootstrap.servers={servers}"),
                ],
            )
            .with_context(|| format!("producer-perf, {name}"))?;
        let between = meter::cpu_nanos(pids);
        let produce_mb_per_second = produced_mb_per_second(&said)
            .with_context(|| format!("producer-perf, {name}, says no rate: {said}"))?;
        let said = self
            .tool(
                "org.apache.kafka.tools.ConsumerPerformance",
                &[
                    "--bootstrap-server",
                    &servers,
                    "--topic",
                    TOPIC,
                    "--messages",
                    &count,
                    "--timeout",
                    "60000",
                ],
            )
            .with_context(|| format!("consumer-perf, {name}"))?;
        let after = meter::cpu_nanos(pids);
        let (consumed_mib, consume_mb_per_second) = consumed(&said)
            .with_context(|| format!("consumer-perf, {name}, says no rate: {said}"))?;
        let gigabytes = (records * RECORD_BYTES) as f64 / 1e9;
        Ok(Lane {
            name: name.to_owned(),
            round,
            produce_mb_per_second,
            produce_cpu_per_gb: (between - before) as f64 / 1e9 / gigabytes,
            consume_mb_per_second,
            consume_cpu_per_gb: (after - between) as f64
                / 1e9
                / (consumed_mib * 1.048_576 / 1000.0),
        })
    }

    /// Runs one of Kafka's tools and returns what it said.
    fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let log = self.folder.join("tool.log");
        let output = File::create(&log)?;
        let mut child = Command::new("java")
            .args(JVM)
            .arg(format!(
                "-Dlog4j2.configurationFile={}/log4j2.properties",
                self.folder.display()
            ))
            .args(["-cp", &self.class_path, class])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("java can't be started")?;
        let deadline = Instant::now() + TOOL_TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!(
                    "{class} did not end within {TOOL_TIMEOUT:?}: {}",
                    fs::read_to_string(&log)?
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = fs::read_to_string(&log)?;
        ensure!(status.success(), "{class} ended with {status}: {said}");
        Ok(said)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.nodes {
            // Its data goes too, so it needs no farewell; one that is gone already is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
        for node in NODES {
            let _ = fs::remove_dir_all(self.folder.join(format!("data-{node}")));
        }
    }
}

/// From the last line: `… records/sec (19.53 MB/sec), …`.
fn produced_mb_per_second(said: &str) -> Option<f64> {
    let line = said.lines().rev().find(|line| line.contains("MB/sec)"))?;
    line.split('(')
        .nth(1)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// MiB consumed and the rate without the rebalance, from the line of numbers: the third and the
/// ninth column.
fn consumed(said: &str) -> Option<(f64, f64)> {
    let line = said
        .lines()
        .rev()
        .find(|line| line.split(',').count() >= 10 && !line.contains("start.time"))?;
    let column = |index: usize| line.split(',').nth(index)?.trim().parse().ok();
    Some((column(2)?, column(8)?))
}

fn node_properties(node: u8, folder: &Path) -> Result<String> {
    let ip = format!("127.0.1.{node}");
    let voters: Vec<String> = NODES
        .iter()
        .map(|id| format!("{id}@127.0.1.{id}:9090"))
        .collect();
    let (mut listeners, mut advertised, mut map) = (
        format!("CONTROLLER://{ip}:9090,INTERNAL://{ip}:9091,OWN://{ip}:{OWN_PORT}"),
        format!("INTERNAL://{ip}:9091,OWN://{ip}:{OWN_PORT}"),
        "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,OWN:PLAINTEXT".to_owned(),
    );
    for (_, port, first_port) in WAYS.iter().filter(|(kind, ..)| *kind != Kind::Narrows) {
        write!(listeners, ",WAY{port}://{ip}:{port}")?;
        write!(
            advertised,
            ",WAY{port}://127.0.0.1:{}",
            first_port + u16::from(node)
        )?;
        write!(map, ",WAY{port}:PLAINTEXT")?;
    }
    Ok(format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={}\nlisteners={listeners}\n\
         advertised.listeners={advertised}\nlistener.security.protocol.map={map}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=INTERNAL\nlog.dirs={}\n{PROPERTIES}",
        voters.join(","),
        folder.join(format!("data-{node}")).display(),
    ))
}

const PROPERTIES: &str = "num.partitions=6\ndefault.replication.factor=3\nmin.insync.replicas=2\n\
                          offsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
                          group.initial.rebalance.delay.ms=0\nnum.network.threads=2\nnum.io.threads=4\n";
const LOG4J2: &str = "rootLogger.level=WARN\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\n\
                      appender.out.name=out\nappender.out.layout.type=PatternLayout\n\
                      appender.out.layout.pattern=[%d] %p %m (%c)%n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_are_read_from_what_the_tools_say() {
        let said = "1 records sent, 2.0 records/sec (0.5 MB/sec), 3 ms avg\n\
                    200000 records sent, 19999.000000 records/sec (19.53 MB/sec), 5.20 ms avg latency\n";
        assert_eq!(produced_mb_per_second(said), Some(19.53));
        let said = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, \
                    nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
                    2026-11-21 05:00:00:000, 2026-11-21 05:00:02:000, 195.3125, 97.6, 200000, 100000.0, 400, 1600, 122.07, 125000.0\n";
        assert_eq!(consumed(said), Some((195.3125, 122.07)));
        assert_eq!(consumed(""), None);
    }
}
