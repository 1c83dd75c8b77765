//! A real Apache Kafka cluster of three combined broker and controller nodes, and a fourth broker
//! that can join: each node has an address of its own and the same ports as the others, as with
//! pods.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::admin_client::AdminClient;
use crate::counts;
use crate::listeners;
use crate::logs;
use crate::namespaces::{NODE_IDS, Namespaces, Side, broker_ip};
use crate::oracle::{self, Order, Record};

/// The ports that every node listens on.
pub(crate) mod ports {
    pub(crate) const CONTROLLER: u16 = 9090;
    /// Between brokers.
    pub(crate) const INTERNAL: u16 = 9091;
    /// Plaintext, without authentication.
    pub(crate) const PLAIN: u16 = 9092;
    /// SASL over plaintext: PLAIN and SCRAM-SHA-256.
    pub(crate) const SASL: u16 = 9094;
    /// TLS with a client certificate if the client likes, and with SASL.
    pub(crate) const TLS: u16 = 9095;
    pub(crate) const SASL_TLS: u16 = 9096;
    /// As [`SASL`], but a client must authenticate again after [`super::REAUTH_AFTER`] (KIP-368).
    pub(crate) const REAUTH: u16 = 9097;
    /// TLS with a client certificate.
    pub(crate) const MTLS: u16 = 9098;
    /// TLS with a certificate that is for another host, and with one that has expired.
    pub(crate) const WRONG_NAME: u16 = 9099;
    pub(crate) const EXPIRED: u16 = 9100;
    /// As [`MTLS`], advertised at names that clients know: as brokers say these themselves, the
    /// port is the one that clients find Narrows' TLS at.
    pub(crate) const PASSTHROUGH: u16 = 9443;
    pub(crate) const ALL: [u16; 11] = [
        CONTROLLER,
        INTERNAL,
        PLAIN,
        SASL,
        TLS,
        SASL_TLS,
        REAUTH,
        MTLS,
        WRONG_NAME,
        EXPIRED,
        PASSTHROUGH,
    ];
}

/// `connections.max.reauth.ms` of the one listener that has it: long enough for a busy machine, as
/// a client that comes too late is disconnected.
pub(crate) const REAUTH_AFTER: Duration = Duration::from_secs(5);

/// The user of the SASL listeners.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "alicepw";

/// Controllers from the start; the fourth node is a broker only.
const FOUNDERS: [u8; 3] = [1, 2, 3];
pub(crate) const FOURTH: u8 = 4;
/// A controlled shutdown moves every leader first.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The version under test, and where its jars are.
#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    pub(crate) version: String,
    /// The folder of its logs' name: the version, or what several versions are run for.
    pub(crate) logs: String,
    jars: PathBuf,
}

impl Kafka {
    /// The release that `NARROWS_KAFKA_VERSION` names, 4.3.1 by default; fetched from Maven Central
    /// when it is not there.
    pub(crate) fn under_test() -> Result<Self> {
        let version = version_under_test();
        Self::fetched(&version, &version)
    }

    /// A release that runs for what has its logs in this folder.
    pub(crate) fn fetched(version: &str, logs: &str) -> Result<Self> {
        let kafka = Self::named(version, logs);
        let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/fetch");
        let status = Command::new(fetch).arg(&kafka.version).status()?;
        ensure!(
            status.success(),
            "Kafka {} could not be fetched; tests/kafka/fetch says why",
            kafka.version
        );
        Ok(kafka)
    }

    fn named(version: &str, logs: &str) -> Self {
        let folder = std::env::var_os("NARROWS_KAFKA_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kafka"),
            PathBuf::from,
        );
        Self {
            version: version.to_owned(),
            logs: logs.to_owned(),
            jars: folder.join(version),
        }
    }

    /// The class path of the release, with what was compiled for this run in front.
    pub(crate) fn class_path(&self, namespaces: &Namespaces) -> String {
        format!(
            "{}:{}/*",
            classes(namespaces).display(),
            self.jars.display()
        )
    }
}

/// The release to test with.
pub(crate) fn version_under_test() -> String {
    std::env::var("NARROWS_KAFKA_VERSION").unwrap_or_else(|_| "4.3.1".to_owned())
}

/// Where the harness's own Java classes of this run are.
pub(crate) fn classes(namespaces: &Namespaces) -> PathBuf {
    namespaces.scratch().join("classes")
}

/// The running cluster. All methods wait until what they did is visible to every broker.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) admin_client: AdminClient,
    /// The release of the nodes that are started from now on.
    kafka: Mutex<Kafka>,
    logs: String,
    id: String,
    folder: PathBuf,
    nodes: Mutex<BTreeMap<u8, Child>>,
}

impl Cluster {
    /// Formats and starts three nodes and waits until they stand.
    ///
    /// # Errors
    /// When a node dies or the cluster does not stand in time, with the end of the nodes' logs.
    pub(crate) fn start(namespaces: &Namespaces, kafka: Kafka) -> Result<Self> {
        let folder = namespaces.scratch().join("brokers");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("log4j2.properties"), LOG4J2)?;
        fs::write(folder.join("log4j.properties"), LOG4J)?;
        let id = format!(
            "{}Q",
            std::iter::repeat_with(fastrand::alphanumeric)
                .take(21)
                .collect::<String>()
        );
        let mut nodes = BTreeMap::new();
        for node_id in FOUNDERS {
            nodes.insert(
                node_id,
                launch(namespaces, &kafka, &folder, node_id, Some(&id))?,
            );
        }
        let admin_client = AdminClient::start(namespaces, &kafka)?;
        let cluster = Self {
            admin_client,
            logs: kafka.logs.clone(),
            kafka: Mutex::new(kafka),
            id,
            folder,
            nodes: Mutex::new(nodes),
        };
        cluster
            .await_whole()
            .context("the brokers did not come up")?;
        Ok(cluster)
    }

    /// The folder of this cluster's logs.
    pub(crate) fn logs(&self) -> &str {
        &self.logs
    }

    /// The brokers hold of a topic exactly what was acknowledged: see [`oracle::ensure_arrived`].
    ///
    /// # Errors
    /// Where they don't, also says where in the first partition a producer's count does not go on:
    /// whether records are there twice because their producer had begun another epoch.
    pub(crate) fn ensure_holds(
        &self,
        tag: &str,
        order: Order,
        acked: &[Record],
        topic: &str,
    ) -> Result<()> {
        let held = self.admin_client.read(topic)?;
        oracle::ensure_arrived(tag, order, acked, &held).with_context(|| {
            let folder = data_dir(&self.folder, FOUNDERS[0]).join(format!("{topic}-0"));
            let segment = folder.join("00000000000000000000.log");
            match counts::breaks(&segment) {
                Ok(counts) => format!("held by the brokers, where producers count: {counts}"),
                Err(error) => format!("held by the brokers; how producers count: {error:#}"),
            }
        })
    }

    /// Nodes that are started from now on have this release.
    pub(crate) fn change_release(&self, kafka: Kafka) {
        *self.kafka.lock().unwrap_or_else(PoisonError::into_inner) = kafka;
    }

    fn kafka(&self) -> Kafka {
        let kafka = self.kafka.lock();
        kafka.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// SIGKILL: the broker gets no chance to say goodbye, its connections are reset.
    pub(crate) fn kill(&self, node_id: u8) -> Result<()> {
        let mut child = self.take(node_id)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM and a controlled shutdown: leaders are moved away first.
    pub(crate) fn stop(&self, node_id: u8) -> Result<()> {
        let mut child = self.take(node_id)?;
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                bail!("broker {node_id} did not stop within {STOP_TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stands still: its connections stay, and nothing moves on them.
    pub(crate) fn freeze(&self, node_id: u8) -> Result<()> {
        self.signal(node_id, Signal::SIGSTOP)
    }

    /// Goes on after a [`Self::freeze`].
    pub(crate) fn thaw(&self, node_id: u8) -> Result<()> {
        self.signal(node_id, Signal::SIGCONT)
    }

    fn signal(&self, node_id: u8, signal: Signal) -> Result<()> {
        let nodes = self.nodes();
        let child = nodes.get(&node_id);
        let child = child.with_context(|| format!("broker {node_id} does not run"))?;
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// Starts a node that was killed or stopped, under its id and with its data; does not wait for
    /// it.
    pub(crate) fn start_again(&self, namespaces: &Namespaces, node_id: u8) -> Result<()> {
        let child = launch(namespaces, &self.kafka(), &self.folder, node_id, None)?;
        self.nodes().insert(node_id, child);
        Ok(())
    }

    /// A fourth node joins, as a broker only.
    pub(crate) fn join_fourth(&self, namespaces: &Namespaces) -> Result<()> {
        let child = launch(
            namespaces,
            &self.kafka(),
            &self.folder,
            FOURTH,
            Some(&self.id),
        )?;
        self.nodes().insert(FOURTH, child);
        self.await_whole()
    }

    /// The fourth node leaves for good; nothing may be stored on it any more.
    pub(crate) fn remove_fourth(&self) -> Result<()> {
        self.stop(FOURTH)?;
        self.admin_client.ask(&format!("gone {FOURTH}"))?;
        self.admin_client.ask(&format!("unregister {FOURTH}"))?;
        fs::remove_dir_all(data_dir(&self.folder, FOURTH))?;
        Ok(())
    }

    /// Starts whichever founder is down, takes a fourth node away, and waits until every replica is
    /// in sync.
    pub(crate) fn heal(&self, namespaces: &Namespaces) -> Result<()> {
        for node_id in FOUNDERS {
            let is_up = match self.nodes().get_mut(&node_id) {
                Some(child) => child.try_wait()?.is_none(),
                None => false,
            };
            if !is_up {
                self.start_again(namespaces, node_id)?;
            }
        }
        if self.nodes().contains_key(&FOURTH) {
            self.remove_fourth()?;
        }
        self.await_whole()
    }

    /// Waits until every node that runs is in the cluster and every replica is in sync.
    pub(crate) fn await_whole(&self) -> Result<()> {
        let count = self.nodes().len();
        self.admin_client
            .ask_while(&format!("whole {count}"), || self.ensure_alive())
    }

    fn ensure_alive(&self) -> Result<()> {
        for (node_id, child) in self.nodes().iter_mut() {
            if let Some(status) = child.try_wait()? {
                let tail = logs::tail(&logs::path(&self.logs, &format!("broker-{node_id}"))?);
                bail!(
                    "broker {node_id} ended with {status}; is there memory for another JVM? Its \
                     last words:\n{tail}"
                );
            }
        }
        Ok(())
    }

    fn take(&self, node_id: u8) -> Result<Child> {
        self.nodes()
            .remove(&node_id)
            .with_context(|| format!("broker {node_id} does not run"))
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u8, Child>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A JVM that starts fast and stays small: what is tested here is not Kafka's throughput.
pub(crate) const JVM: [&str; 5] = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
];

/// Formatting and running are one process, so that three nodes do both side by side.
fn launch(
    namespaces: &Namespaces,
    kafka: &Kafka,
    folder: &Path,
    node_id: u8,
    format_as: Option<&str>,
) -> Result<Child> {
    let properties = folder.join(format!("node-{node_id}.properties"));
    fs::write(
        &properties,
        node_properties(namespaces, kafka, folder, node_id)?,
    )?;
    let java = format!(
        "java {} -Dlog4j2.configurationFile={folder}/log4j2.properties \
         -Dlog4j.configuration=file:{folder}/log4j.properties \
         -cp '{}/*'",
        JVM.join(" "),
        kafka.jars.display(),
        folder = folder.display(),
    );
    let mut script = String::from("set -e\n");
    if let Some(cluster_id) = format_as {
        writeln!(
            script,
            "{java} kafka.tools.StorageTool format -t {cluster_id} -c {} \
             --add-scram 'SCRAM-SHA-256=[name={USER},password={PASSWORD}]'",
            properties.display()
        )?;
    }
    writeln!(script, "exec {java} kafka.Kafka {}", properties.display())?;
    let log = logs::open(&kafka.logs, &format!("broker-{node_id}"))?;
    spawn_logged(
        namespaces
            .command(Side::Brokers, "sh")
            .args(["-c", &script]),
        log,
    )
    .with_context(|| format!("broker {node_id} could not be started; is `java` installed?"))
}

fn spawn_logged(command: &mut Command, log: File) -> Result<Child> {
    Ok(command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?)
}

fn data_dir(folder: &Path, node_id: u8) -> PathBuf {
    folder.join(format!("data-{node_id}"))
}

fn node_properties(
    namespaces: &Namespaces,
    kafka: &Kafka,
    folder: &Path,
    node_id: u8,
) -> Result<String> {
    use ports::{CONTROLLER, INTERNAL, PLAIN, REAUTH, SASL};
    let is_founder = FOUNDERS.contains(&node_id);
    let ip = broker_ip(node_id);
    let voters: Vec<_> = FOUNDERS
        .iter()
        .map(|id| format!("{id}@{}:{CONTROLLER}", broker_ip(*id)))
        .collect();
    let for_clients = format!(
        "INTERNAL://{ip}:{INTERNAL},PLAIN://{ip}:{PLAIN},SASL://{ip}:{SASL},REAUTH://{ip}:{REAUTH}"
    );
    let binds = format!("{for_clients},{}", listeners::binds(node_id));
    let (roles, binds) = if is_founder {
        (
            "broker,controller",
            format!("CONTROLLER://{ip}:{CONTROLLER},{binds}"),
        )
    } else {
        ("broker", binds)
    };
    let mut text = format!(
        "process.roles={roles}\nnode.id={node_id}\ncontroller.quorum.voters={}\nlisteners={binds}\n\
         advertised.listeners={for_clients},{}\nlistener.security.protocol.map={PROTOCOLS},{}\n\
         log.dirs={}\nbroker.rack=rack-{node_id}\n{COMMON_PROPERTIES}{}",
        voters.join(","),
        listeners::advertised(node_id),
        listeners::protocols(),
        data_dir(folder, node_id).display(),
        listeners::properties(namespaces, node_id),
    );
    for mechanism in ["plain", "scram-sha-256"] {
        let after = REAUTH_AFTER.as_millis();
        writeln!(
            text,
            "listener.name.reauth.{mechanism}.connections.max.reauth.ms={after}"
        )?;
    }
    if kafka.version.starts_with("3.") {
        // KIP-848 groups: a preview in 3.9, the default from 4.0 on.
        text += "group.coordinator.rebalance.protocols=classic,consumer\n";
    }
    ensure!(
        NODE_IDS.contains(&node_id),
        "there is no address for node {node_id}"
    );
    Ok(text)
}

const PROTOCOLS: &str = "CONTROLLER:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,\
                         REAUTH:SASL_PLAINTEXT";

/// Brokers talk to each other with SASL as a super user, so that a test that denies something to
/// ANONYMOUS can't break the cluster itself. Dead brokers are noticed within seconds, groups start
/// at once, coordinators have few partitions.
const COMMON_PROPERTIES: &str = r#"controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="adminpw" user_admin="adminpw";
listener.name.internal.sasl.enabled.mechanisms=PLAIN
listener.name.internal.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="adminpw" user_admin="adminpw";
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alicepw";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.reauth.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.reauth.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alicepw";
listener.name.reauth.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:admin
num.partitions=4
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=5
group.share.min.record.lock.duration.ms=1000
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
num.network.threads=2
num.io.threads=4
log.index.size.max.bytes=1048576
"#;

/// Logging for 4.x …
const LOG4J2: &str = "rootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\n\
                      appender.out.name=out\nappender.out.layout.type=PatternLayout\n\
                      appender.out.layout.pattern=[%d] %p %m (%c)%n\n";
/// … and for 3.x.
const LOG4J: &str = "log4j.rootLogger=INFO, \
                     out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
                     log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
                     log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n\n";
