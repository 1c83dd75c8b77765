//! Names of brokers that the DNS answers late or never, by the system's own resolver: a network
//! namespace of the test's own, with a DNS server of its own and nothing else.
//!
//! What a client sees directly: glibc asks again after 5 s, so that one lost packet is a delay.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::json;

use crate::brokers::{self, ports};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::logs;
use crate::namespaces::{Side, broker_ip};
use crate::narrows;
use crate::relay;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "dns::a_lost_packet_delays_the_first_client_and_fails_nobody",
            lose_a_packet,
        ),
        sharing(
            fixture,
            "dns::a_dead_server_takes_few_threads_and_nothing_from_clients_that_need_no_name",
            lose_every_packet,
        ),
    ]
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const BROKER: SocketAddr = loopback(9092);
const ADMIN: SocketAddr = loopback(9190);
const NAMED: SocketAddr = loopback(19092);
const NUMERIC: SocketAddr = loopback(29092);

const CLIENTS: usize = 1_500;
const NODES: u16 = 100;
/// Of the runtime, the log and the accounts, on any machine that runs this, and one for each lookup
/// that may be under way (32 for each of two clusters). Tokio would allow 512 for lookups alone.
const THREADS_MAX: usize = 160;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn lose_a_packet(fixture: &Fixture) -> Result<()> {
    let island = Island::make(fixture, "lost")?;
    let server = island.serve_names(|count| count > 0)?;
    let narrows = island.narrows(&json!({
        "clusters": {"orders": {"bootstrap_servers": ["kafka.test:9092"]}},
        "listeners": {"orders": listener("orders", NAMED)},
        "admin": {"bind": ADMIN.to_string()},
    }))?;
    let mut client = island.dial(NAMED)?;
    ask(&mut client)?;
    let asked = server.asked();
    ensure!(asked.len() > 1, "no packet was lost: {asked:?}");
    narrows.ensure_quiet()
}

fn lose_every_packet(fixture: &Fixture) -> Result<()> {
    // Each client takes one here.
    ::narrows::net::descriptors::raise_limit();
    let island = Island::make(fixture, "dead")?;
    let server = island.serve_names(|_| false)?;
    let mut named = listener("named", NAMED);
    named["address"]["node_ids"] = json!([format!("1-{NODES}")]);
    let narrows = island.narrows(&json!({
        "clusters": {
            "named": {
                "bootstrap_servers": ["kafka.test:9092"],
                "broker_address": "kafka-{node_id}.test:9092",
            },
            "numeric": {"bootstrap_servers": [BROKER.to_string()]},
        },
        "listeners": {"named": named, "numeric": listener("numeric", NUMERIC)},
        "admin": {"bind": ADMIN.to_string()},
    }))?;
    let mut waiting = Vec::new();
    for port in (1..=NODES).cycle().take(CLIENTS) {
        let mut client = island.dial(loopback(NAMED.port() + port))?;
        client.write_all(&API_VERSIONS)?;
        waiting.push(client);
    }
    // All that may be looked up at once is.
    let deadline = Instant::now() + PATIENCE;
    while server.names() < 32 {
        ensure!(Instant::now() < deadline, "names asked: {}", server.names());
        thread::sleep(POLL);
    }
    for _ in 0..20 {
        ask(&mut island.dial(NUMERIC)?).context("a client that needs no name")?;
    }
    let threads = narrows.threads()?;
    ensure!(
        threads <= THREADS_MAX,
        "{threads} threads for {CLIENTS} clients"
    );
    for client in &mut waiting {
        client.set_nonblocking(true)?;
        let error = client.read(&mut [0]).map(drop);
        let is_open = error.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        ensure!(is_open, "a client was turned away before its time");
    }
    Ok(())
}

fn listener(cluster: &str, bind: SocketAddr) -> serde_json::Value {
    json!({
        "cluster": cluster,
        "bind": bind.to_string(),
        "address": {"scheme": "port", "advertised_host": "127.0.0.1", "node_ids": ["1-4"]},
    })
}

/// ApiVersions v0, correlation id 7, without a client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// Waits for the answer of a broker.
fn ask(client: &mut TcpStream) -> Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(&API_VERSIONS)?;
    let mut head = [0; 10];
    client.read_exact(&mut head).context("no answer")?;
    ensure!(head[4..] == [0, 0, 0, 7, 0, 0], "not an answer: {head:?}");
    Ok(())
}

/// A network namespace that ends with its last process and socket. On it: loopback, a way to broker
/// 1 at [`BROKER`], and what a test starts.
struct Island {
    namespace: File,
    folder: PathBuf,
    log: String,
}

impl Island {
    fn make(fixture: &Fixture, name: &str) -> Result<Self> {
        let made = thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()?;
            ensure!(up.success(), "no loopback");
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        let namespace = made.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
        let name = fixture.namespaces.unique(name);
        let folder = fixture.namespaces.scratch().join(&name);
        fs::create_dir_all(&folder)?;
        let island = Self {
            namespace,
            folder,
            log: name,
        };
        let broker = island.inside(|| TcpListener::bind(BROKER))??;
        let outside = fixture.namespaces.entrance(Side::Narrows)?;
        relay::serve(broker, outside, (broker_ip(1), ports::PLAIN).into());
        Ok(island)
    }

    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let visit = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(act())
            });
            visit
                .join()
                .map_err(|_| anyhow::anyhow!("a thread on the island panicked"))?
        })
    }

    fn dial(&self, address: SocketAddr) -> Result<TcpStream> {
        self.inside(|| TcpStream::connect(address))?
            .with_context(|| format!("nobody at {address}"))
    }

    /// Whether Narrows runs: the admin port listens before the others do, and answers after them.
    fn is_live(&self) -> Result<bool> {
        let (status, _) = self.inside(|| narrows::http_get(ADMIN, "/livez"))??;
        Ok(status == 200)
    }

    /// A DNS server that says that every name is at 127.0.0.1, where `answers` has it answer the
    /// questions that it has had before this one.
    fn serve_names(&self, answers: fn(usize) -> bool) -> Result<Names> {
        let socket = self.inside(|| UdpSocket::bind("127.0.0.1:53"))??;
        let names = Names::default();
        let asked = Arc::clone(&names.asked);
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let Some(question) = packet.get(12..length) else {
                    continue;
                };
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let count = asked.len();
                asked.push(question.to_vec());
                drop(asked);
                if answers(count) {
                    // Where it can't be sent, it is lost.
                    let _ = socket.send_to(&answer(&packet[..2], question), from);
                }
            }
        });
        Ok(names)
    }

    /// Narrows, for which `/etc/resolv.conf` names the server here.
    fn narrows(&self, configuration: &serde_json::Value) -> Result<Process> {
        let config = self.folder.join("narrows.yaml");
        fs::write(&config, configuration.to_string())?;
        let resolver = self.folder.join("resolv.conf");
        fs::write(&resolver, "nameserver 127.0.0.1\n")?;
        let logs = &brokers::version_under_test();
        let log = logs::open(logs, &self.log)?;
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" run --config \"$3\"";
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command
            .args([&resolver, Path::new(env!("CARGO_BIN_EXE_narrows")), &config])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = self.inside(|| command.spawn())??;
        let process = Process {
            child,
            log: logs::path(logs, &self.log)?,
        };
        let deadline = Instant::now() + PATIENCE;
        while !self.is_live().unwrap_or(false) {
            let is_late = Instant::now() > deadline;
            ensure!(!is_late, "no Narrows\n{}", logs::tail(&process.log));
            thread::sleep(POLL);
        }
        Ok(process)
    }
}

/// What a DNS server has been asked.
#[derive(Default)]
struct Names {
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Names {
    fn asked(&self) -> Vec<Vec<u8>> {
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many names have been asked for, whatever of them was wanted.
    fn names(&self) -> usize {
        let asked = self.asked();
        let names = asked.iter().map(|question| &question[..question.len() - 4]);
        names.collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// RFC 1035, section 4: for A one address, for everything else none.
fn answer(id: &[u8], question: &[u8]) -> Vec<u8> {
    const TYPE_A: [u8; 4] = [0, 1, 0, 1];
    let end = question.iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    let question = &question[..end.min(question.len())];
    let is_address = question.ends_with(&TYPE_A);
    let mut packet = [id, &[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]].concat();
    packet.extend(question);
    if is_address {
        // The name of the question, for no time at all.
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    packet
}

/// A Narrows on an island. Dropped: it is killed.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn threads(&self) -> Result<usize> {
        let tasks = format!("/proc/{}/task", self.child.id());
        Ok(fs::read_dir(tasks)?.count())
    }

    /// # Errors
    /// When it has warned of anything.
    fn ensure_quiet(&self) -> Result<()> {
        let log = fs::read_to_string(&self.log)?;
        let is_loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
        let warned: Vec<_> = log.lines().filter(is_loud).collect();
        ensure!(warned.is_empty(), "{warned:?}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
