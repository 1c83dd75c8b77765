//! `narrows run` as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Process {
    child: Child,
    lines: Option<Mutex<Receiver<String>>>,
    pub(crate) address: Ipv4Addr,
}

/// A loopback address that no other test of this machine has.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A configuration with one listener and an admin port at `address`.
pub(crate) fn configuration(address: Ipv4Addr, more: &str) -> String {
    format!(
        "
clusters:
  orders:
    bootstrap_servers: [{address}:9999]
listeners:
  external:
    cluster: orders
    bind: {address}:9092
    address: {{scheme: port, advertised_host: kafka.example.com, node_ids: [1-3]}}
admin: {{bind: {address}:9190}}
{more}
"
    )
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narrows"));
    command.args(["run", "--config"]).arg(config).env_clear();
    command
}

impl Process {
    /// Starts it with the standard error that the command has.
    pub(crate) fn start(mut command: Command, address: Ipv4Addr) -> Self {
        let child = command.spawn().unwrap();
        Self {
            child,
            lines: None,
            address,
        }
    }

    /// Starts it, reads its standard error, and waits until it listens.
    pub(crate) fn read(mut command: Command, address: Ipv4Addr) -> Self {
        command.stderr(Stdio::piped());
        let mut process = Self::start(command, address);
        let stderr = process.child.stderr.take().unwrap();
        let (line, lines) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(stderr).lines() {
                if line.send(text.unwrap()).is_err() {
                    return;
                }
            }
        });
        process.lines = Some(Mutex::new(lines));
        process
    }

    fn lines(&self) -> MutexGuard<'_, Receiver<String>> {
        self.lines.as_ref().unwrap().lock().unwrap()
    }

    /// The lines up to the first that contains `text`, which is the last.
    pub(crate) fn lines_until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines().recv_timeout(PATIENCE);
            seen.push(line.unwrap_or_else(|_| panic!("no line with {text:?} in {seen:#?}")));
            if seen.last().unwrap().contains(text) {
                return seen;
            }
        }
    }

    /// Every line to the end of standard error.
    pub(crate) fn rest(&self) -> Vec<String> {
        let lines = self.lines();
        std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).collect()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for its end, and says how long that took.
    pub(crate) fn ended(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "it has not ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a page of the admin port says, once that is there.
    pub(crate) fn page(&self, path: &str) -> String {
        self.page_at(SocketAddr::from((self.address, 9190)), path)
    }

    /// The same of an admin port at another address.
    pub(crate) fn page_at(&self, admin: SocketAddr, path: &str) -> String {
        let began = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(admin) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < PATIENCE, "no admin port: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    /// How many files it has open.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = self.page("/metrics");
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        // Some are born with their first event.
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Looks at a metric until it is as wanted.
    pub(crate) fn until_metric(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !is_so(self.metric(name)) {
            assert!(
                began.elapsed() < PATIENCE,
                "{name} is {}",
                self.metric(name)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// So many clients come and go without a byte.
    pub(crate) fn visits(&self, count: usize) {
        for _ in 0..count {
            drop(TcpStream::connect(SocketAddr::from((self.address, 9092))).unwrap());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
