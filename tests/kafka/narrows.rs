//! Narrows under test: the real binary with a real configuration file, in the namespace between
//! clients and brokers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::brokers::ports;
use crate::clients::Front;
use crate::logs;
use crate::namespaces::{NARROWS_FOR_CLIENTS, NODE_IDS, Namespaces, Side, broker_ip};

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
/// The configuration says so, and the tests hold Narrows to it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN_GRACE: Duration = Duration::from_secs(3);
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// One running Narrows, by default with a plaintext listener and two for SASL. Dropped: it is
/// killed.
#[derive(Debug)]
pub(crate) struct Narrows {
    child: Mutex<Child>,
    slot: u16,
    config: PathBuf,
    log: PathBuf,
    version: String,
    watch: Mutex<Watch>,
}

/// What is looked for in the log of a Narrows: warnings that no test has announced.
#[derive(Debug, Default)]
struct Watch {
    /// So many bytes of the log have been judged.
    judged: usize,
    /// Lines with one of these texts are what a test is about.
    announced: Vec<String>,
}

thread_local! {
    /// What the Narrows that ended in this test warned of and the test had not announced.
    static UNANNOUNCED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Fails with what the Narrows that have ended on this thread warned of, unannounced.
pub(crate) fn ensure_ended_quietly() -> Result<()> {
    let warned = UNANNOUNCED.take();
    ensure!(warned.is_empty(), "{}", warned.join("\n"));
    Ok(())
}

impl Narrows {
    /// Starts it and waits until it says that it is ready. Each slot has its own ports, so several
    /// can run.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with the end of its log.
    pub(crate) fn start(namespaces: &Namespaces, version: &str, slot: u16) -> Result<Self> {
        Self::start_from(namespaces, version, slot, &configuration(slot))
    }

    /// As [`Self::start`], with clusters and listeners of the caller's. Of the ports, [`own_port`]
    /// is free for it.
    pub(crate) fn start_with(
        namespaces: &Namespaces,
        version: &str,
        slot: u16,
        configuration: Value,
    ) -> Result<Self> {
        Self::start_from(namespaces, version, slot, &complete(slot, configuration))
    }

    fn start_from(
        namespaces: &Namespaces,
        version: &str,
        slot: u16,
        configuration: &str,
    ) -> Result<Self> {
        let config = namespaces.scratch().join(format!("narrows-{slot}.yaml"));
        fs::write(&config, configuration)?;
        let child = launch(namespaces, version, slot, &config)?;
        let log = logs::path(version, &format!("narrows-{slot}"))?;
        let narrows = Self {
            child: Mutex::new(child),
            slot,
            config,
            log,
            version: version.to_owned(),
            watch: Mutex::default(),
        };
        narrows.await_ready(namespaces)?;
        Ok(narrows)
    }

    /// The same configuration again, after [`Self::kill`] or [`Self::drain`].
    pub(crate) fn start_again(&self, namespaces: &Namespaces) -> Result<()> {
        *self.child() = launch(namespaces, &self.version, self.slot, &self.config)?;
        self.await_ready(namespaces)
    }

    /// Replaces the configuration file of one that was started with the caller's clusters and
    /// listeners.
    pub(crate) fn configure(&self, configuration: Value) -> Result<()> {
        let next = self.config.with_extension("next");
        fs::write(&next, complete(self.slot, configuration))?;
        Ok(fs::rename(next, &self.config)?)
    }

    /// Which of the places for a Narrows it has.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// What clients are told to dial.
    pub(crate) fn front(&self) -> Front {
        let brokers = |first_port: u16| -> BTreeMap<i64, (String, u16)> {
            (first_port..)
                .zip(NODE_IDS)
                .map(|(port, id)| (id.into(), (NARROWS_FOR_CLIENTS.to_string(), port)))
                .collect()
        };
        let bootstrap = |port: u16| format!("{NARROWS_FOR_CLIENTS}:{port}");
        Front {
            side: Side::Clients,
            plain: bootstrap(plain_port(self.slot)),
            sasl: bootstrap(sasl_port(self.slot)),
            reauth: bootstrap(reauth_port(self.slot)),
            brokers: brokers(plain_port(self.slot) + 1),
            sasl_brokers: brokers(sasl_port(self.slot) + 1),
        }
    }

    /// Asks the admin port: status code and body.
    pub(crate) fn get(&self, namespaces: &Namespaces, path: &str) -> Result<(u16, String)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port(self.slot)));
        namespaces.inside(Side::Narrows, || http_get(address, path))?
    }

    /// The value of a metric, summed over all its labels that contain a text; 0 when there is none
    /// yet.
    pub(crate) fn metric(&self, namespaces: &Namespaces, name: &str, label: &str) -> Result<f64> {
        let (status, body) = self.get(namespaces, "/metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        let samples = body
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        Ok(samples
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// The errors that brokers have answered clients, as the metrics have them.
    pub(crate) fn refusals(&self, namespaces: &Namespaces) -> String {
        let metrics = self.get(namespaces, "/metrics");
        let text = metrics.map_or_else(|error| format!("{error:#}"), |(_, text)| text);
        let errors = text
            .lines()
            .filter(|line| line.starts_with("narrows_kafka_errors_total"));
        format!(
            "brokers answered:\n{}",
            errors.collect::<Vec<_>>().join("\n")
        )
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    /// When it did not end within its drain time.
    pub(crate) fn drain(&self) -> Result<ExitStatus> {
        let mut child = self.child();
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + DRAIN_TIMEOUT + DRAIN_GRACE;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "Narrows did not end within its drain time of {DRAIN_TIMEOUT:?}\n{}",
                logs::tail(&self.log)
            );
            std::thread::sleep(POLL);
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// # Errors
    /// When it has ended or has panicked, with the end of its log.
    pub(crate) fn ensure_sound(&self) -> Result<()> {
        if let Some(status) = self.child().try_wait()? {
            bail!("Narrows ended with {status}\n{}", logs::tail(&self.log));
        }
        let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let panic = log.lines().find(|line| line.contains("panicked at"));
        ensure!(
            panic.is_none(),
            "Narrows {}; see {}",
            panic.unwrap_or_default(),
            self.log.display()
        );
        Ok(())
    }

    /// What a test is about: Narrows may warn with lines that have one of these texts.
    pub(crate) fn announce(&self, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned());
        self.watch().announced.extend(texts);
    }

    /// How many texts have been announced.
    pub(crate) fn announced(&self) -> usize {
        self.watch().announced.len()
    }

    /// What was announced after the first so many texts is news again.
    pub(crate) fn forget_announced_since(&self, count: usize) {
        self.watch().announced.truncate(count);
    }

    /// # Errors
    /// When it has warned of what no test has announced, since the last look.
    pub(crate) fn ensure_quiet(&self) -> Result<()> {
        let log = fs::read(&self.log)?;
        let mut watch = self.watch();
        // A line may be half written.
        let end = log
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let new = String::from_utf8_lossy(log.get(watch.judged..end).unwrap_or(b"")).into_owned();
        watch.judged = end;
        let is_announced = |line: &&str| {
            let mut announced = watch.announced.iter();
            announced.any(|text| line.contains(text.as_str()))
        };
        let warned: Vec<_> = new
            .lines()
            .filter(|line| is_warning(line) && !is_announced(line))
            .take(10)
            .collect();
        ensure!(
            warned.is_empty(),
            "Narrows warned of what no test has announced:\n{}\nsee {}",
            warned.join("\n"),
            self.log.display()
        );
        Ok(())
    }

    /// Waits until one of these texts, in lower case, is in its log, which may be in any.
    pub(crate) fn await_log(&self, texts: &[&str]) -> Result<()> {
        let deadline = Instant::now() + LOG_TIMEOUT;
        loop {
            let log = String::from_utf8_lossy(&fs::read(&self.log)?).to_lowercase();
            if texts.iter().any(|text| log.contains(text)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "none of {texts:?} is in Narrows' log after {LOG_TIMEOUT:?}\n{}",
                logs::tail(&self.log)
            );
            std::thread::sleep(POLL);
        }
    }

    /// The end of its log, for a failure's text.
    pub(crate) fn log_tail(&self) -> String {
        logs::tail(&self.log)
    }

    fn await_ready(&self, namespaces: &Namespaces) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            self.ensure_sound()?;
            if matches!(self.get(namespaces, "/readyz"), Ok((200, _))) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "Narrows was not ready within {READY_TIMEOUT:?}\n{}",
                logs::tail(&self.log)
            );
            std::thread::sleep(POLL);
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Narrows {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
        if let Err(error) = self.ensure_quiet() {
            UNANNOUNCED.with_borrow_mut(|warned| warned.push(format!("{error:#}")));
        }
    }
}

/// The log is not a terminal, so that its lines are JSON; whatever else comes was not logged.
fn is_warning(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(line) => line["level"] == "WARN" || line["level"] == "ERROR",
        Err(_) => !line.trim().is_empty(),
    }
}

fn launch(namespaces: &Namespaces, version: &str, slot: u16, config: &PathBuf) -> Result<Child> {
    let log = logs::open(version, &format!("narrows-{slot}"))?;
    namespaces
        .command(Side::Narrows, env!("CARGO_BIN_EXE_narrows"))
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("Narrows could not be started")
}

/// The client-side port of a Narrows that was started with listeners of the caller's.
pub(crate) fn own_port(slot: u16) -> u16 {
    plain_port(slot)
}

fn plain_port(slot: u16) -> u16 {
    19092 + 20 * slot
}

fn sasl_port(slot: u16) -> u16 {
    plain_port(slot) + 10
}

fn reauth_port(slot: u16) -> u16 {
    plain_port(slot) + 15
}

fn admin_port(slot: u16) -> u16 {
    9190 + slot
}

/// With what every Narrows has here.
fn complete(slot: u16, mut configuration: Value) -> String {
    configuration["admin"] = json!({"bind": format!("127.0.0.1:{}", admin_port(slot))});
    configuration["drain"] = json!({"timeout": format!("{}s", DRAIN_TIMEOUT.as_secs())});
    format!("{configuration:#}\n")
}

/// Two of the three brokers are named: the third must be learnt.
fn configuration(slot: u16) -> String {
    let cluster = |port: u16| format!("[\"{}:{port}\", \"{}:{port}\"]", broker_ip(1), broker_ip(2));
    let listener = |cluster: &str, port: u16| {
        format!(
            "    cluster: {cluster}\n    bind: {NARROWS_FOR_CLIENTS}:{port}\n    address:\n      \
             scheme: port\n      \
             advertised_host: {NARROWS_FOR_CLIENTS}\n      first_port: {}\n      node_ids: [1-4]\n",
            port + 1
        )
    };
    format!(
        "clusters:\n  plain:\n    bootstrap_servers: {}\n  sasl:\n    bootstrap_servers: {}\n  \
         reauth:\n    bootstrap_servers: {}\n\
         listeners:\n  plain:\n{}  sasl:\n{}  reauth:\n{}\
         admin:\n  bind: 127.0.0.1:{}\n\
         drain:\n  timeout: {}s\n",
        cluster(ports::PLAIN),
        cluster(ports::SASL),
        cluster(ports::REAUTH),
        listener("plain", plain_port(slot)),
        listener("sasl", sasl_port(slot)),
        listener("reauth", reauth_port(slot)),
        admin_port(slot),
        DRAIN_TIMEOUT.as_secs(),
    )
}

/// Asks an HTTP server: status code and body.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT)?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer without an end of its head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("an answer without a status")?;
    Ok((status, body.to_owned()))
}
