//! The `narrows` program under strace: which data system calls it makes for a load, how many bytes
//! each moves, and what it takes to let a connection in.

use crate::PATIENCE;
use crate::client::{PORTS, next_ports};
use crate::plain::{Asker, Load, serve};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every way in which bytes enter or leave a socket.
const DATA_CALLS: &str = "trace=read,write,readv,writev,recvfrom,sendto,recvmsg,sendmsg,recvmmsg,sendmmsg,splice,sendfile";

/// What a connection takes besides: to be accepted, tuned, watched and closed.
const CONNECTION_CALLS: &str = "accept4,socket,connect,bind,listen,getsockopt,setsockopt,getsockname,getpeername,shutdown,close,epoll_ctl,poll,ppoll";

/// What was done on sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// How many calls, those that found nothing to do included.
    pub(crate) made: usize,
    /// Bytes that entered this process or left it, each way counted.
    pub(crate) copied_bytes: usize,
    /// Bytes that went through a pipe, each way counted.
    pub(crate) spliced_bytes: usize,
}

/// The series of `narrows_bulk_transfers_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BulkTransfers {
    pub(crate) spliced: usize,
    pub(crate) copied_off: usize,
    pub(crate) copied_no_pipe: usize,
}

/// What some round trips cost, and what they were counted as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) calls: Calls,
    pub(crate) runs: BulkTransfers,
}

/// What `count` round trips of a load cost with this value of `relay.splice`: the difference
/// between two connections, each through a process of its own, so that neither beginning nor end
/// counts.
pub(crate) fn cost(load: &Load, count: usize, splice: &str) -> Cost {
    let of = |count| connection(load, count, splice);
    difference(of(count), of(2 * count))
}

/// The same with scheme `single`, for connections whose clients have named their broker.
pub(crate) fn named_cost(load: &Load, count: usize) -> Cost {
    let of = |count| single_connection(load, count, Asker::named);
    difference(of(count), of(2 * count))
}

/// As [`connection`], with scheme `single`, and clients that begin in a way.
pub(crate) fn single_connection(
    load: &Load,
    count: usize,
    asker: impl Fn(TcpStream, &Load) -> Asker,
) -> Cost {
    let traced = Traced::start(serve(load), "auto", "single", DATA_CALLS);
    carried(traced, load, count, asker)
}

/// The same as [`cost`] for connections whose first request has said whom it is for.
pub(crate) fn pinned_cost(load: &Load, count: usize) -> Cost {
    let of = |count| single_connection(load, count, Asker::new);
    difference(of(count), of(2 * count))
}

fn difference(once: Cost, twice: Cost) -> Cost {
    let runs = BulkTransfers {
        spliced: twice.runs.spliced - once.runs.spliced,
        copied_off: twice.runs.copied_off - once.runs.copied_off,
        copied_no_pipe: twice.runs.copied_no_pipe - once.runs.copied_no_pipe,
    };
    let calls = Calls {
        made: twice.calls.made - once.calls.made,
        copied_bytes: twice.calls.copied_bytes - once.calls.copied_bytes,
        spliced_bytes: twice.calls.spliced_bytes - once.calls.spliced_bytes,
    };
    Cost { calls, runs }
}

/// What was done on the two sockets of one connection with `count` round trips, after another one
/// with one, and what the process has counted for both.
pub(crate) fn connection(load: &Load, count: usize, splice: &str) -> Cost {
    let traced = Traced::start(serve(load), splice, "port", DATA_CALLS);
    carried(traced, load, count, Asker::new)
}

fn carried(
    traced: Traced,
    load: &Load,
    count: usize,
    asker: impl Fn(TcpStream, &Load) -> Asker,
) -> Cost {
    let come = || asker(TcpStream::connect(traced.bootstrap).unwrap(), load);
    // For the first connection Narrows asks the broker who it is; while it stands, the next one
    // takes just what the load needs.
    let mut stands = come();
    stands.round_trips(1);
    come().round_trips(count);
    let runs = traced.bulk_transfers();
    let mut sockets: Vec<_> = traced.stop().into_values().collect();
    sockets.sort_by_key(|calls| std::cmp::Reverse(calls.copied_bytes + calls.spliced_bytes));
    let [client, broker, ..] = sockets[..] else {
        panic!("strace has seen no sockets: {sockets:?}")
    };
    let calls = Calls {
        made: client.made + broker.made,
        copied_bytes: client.copied_bytes + broker.copied_bytes,
        spliced_bytes: client.spliced_bytes + broker.spliced_bytes,
    };
    Cost { calls, runs }
}

/// How many calls it takes to let in, serve and end a connection with one round trip, while another
/// one stands: those of `count` connections, each after the other, in the difference between two
/// processes, so that neither beginning nor end counts.
pub(crate) fn connections(load: &Load, count: usize) -> usize {
    let of = |count| {
        let watched = format!("{DATA_CALLS},{CONNECTION_CALLS}");
        let traced = Traced::start(serve(load), "auto", "port", &watched);
        let come = || {
            let mut asker = Asker::new(TcpStream::connect(traced.bootstrap).unwrap(), load);
            asker.round_trips(1);
            asker
        };
        let _stands = come();
        for _ in 0..count {
            drop(come());
        }
        let sockets = traced.stop();
        sockets.values().map(|calls| calls.made).sum::<usize>()
    };
    of(2 * count) - of(count)
}

/// A running `narrows` under strace.
struct Traced {
    bootstrap: SocketAddr,
    admin: SocketAddr,
    strace: Child,
    /// Narrows itself.
    pid: nix::unistd::Pid,
    folder: tempfile::TempDir,
}

impl Traced {
    /// Starts Narrows, and waits until it listens.
    fn start(broker: SocketAddr, splice: &str, scheme: &str, calls: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The bootstrap port, four brokers, and the admin port.
        let ports = free_ports();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let bootstrap = at(ports.start);
        let admin = at(ports.start + 5);
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-y",
            "-qq",
            "-s",
            "0",
            "-e",
            "signal=none",
            "-e",
            calls,
            "-o",
        ]);
        command.arg(folder.path().join("calls"));
        // The shell says under which process id Narrows runs.
        command.args([
            "sh",
            "-c",
            "echo $$ && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_narrows"),
            "run",
        ]);
        command.args([
            "--bootstrap-servers",
            &broker.to_string(),
            "--bind",
            &bootstrap.to_string(),
        ]);
        command.args(["--advertised-host", "127.0.0.1", "--log-level", "warn"]);
        if scheme == "port" {
            command.args(["--node-ids", "0-3"]);
        }
        command
            .args(["--admin-bind", &admin.to_string()])
            .env("NARROWS_RELAY__SPLICE", splice)
            .env("NARROWS_LISTENERS__DEFAULT__ADDRESS__SCHEME", scheme);
        let errors = File::create(folder.path().join("log")).unwrap();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn();
        let mut strace = match spawned {
            Ok(strace) => strace,
            Err(error) => panic!("strace can't be started ({error}): apt-get install strace"),
        };
        let mut said = String::new();
        BufReader::new(strace.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        let Ok(pid) = said.trim().parse() else {
            panic!(
                "strace can't trace here (it needs ptrace): {}",
                log(&folder)
            );
        };
        let pid = nix::unistd::Pid::from_raw(pid);
        let mut traced = Self {
            bootstrap,
            admin,
            strace,
            pid,
            folder,
        };
        traced.until_listening();
        traced
    }

    fn until_listening(&mut self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.admin).is_err() || TcpStream::connect(self.bootstrap).is_err()
        {
            let is_running = self.strace.try_wait().unwrap().is_none();
            assert!(
                is_running && Instant::now() < end,
                "narrows does not listen: {}",
                log(&self.folder)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the admin port says.
    fn bulk_transfers(&self) -> BulkTransfers {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: narrows\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let value = |labels: &str| {
            let series = page
                .lines()
                .filter(|line| line.starts_with("narrows_bulk_transfers_total{"));
            let line = series.clone().find(|line| line.contains(labels)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        BulkTransfers {
            spliced: value("mode=\"spliced\",reason=\"none\""),
            copied_off: value("mode=\"copied\",reason=\"off\""),
            copied_no_pipe: value("mode=\"copied\",reason=\"no_pipe\""),
        }
    }

    /// Ends Narrows, and reads what it did on each socket.
    fn stop(mut self) -> BTreeMap<String, Calls> {
        nix::sys::signal::kill(self.pid, nix::sys::signal::SIGTERM).unwrap();
        self.strace.wait().unwrap();
        let calls = File::open(self.folder.path().join("calls")).unwrap();
        by_socket(BufReader::new(calls).lines().map(Result::unwrap))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind; strace ends with what it traces.
        if self.strace.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::SIGKILL);
            let _ = self.strace.wait();
        }
    }
}

/// What strace and Narrows said.
fn log(folder: &tempfile::TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).unwrap()
}

/// A block of ports on which nobody listens.
fn free_ports() -> Range<u16> {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut blocks = (0..1000)
        .map(|_| next_ports())
        .map(|first| first..first + PORTS);
    blocks.find(|block| block.clone().all(is_free)).unwrap()
}

/// Lines such as `71 splice(9<socket:[812]>, NULL, 11<pipe:[813]>, NULL, 1048576, SPLICE_F_MOVE) =
/// 65483`. A call may be cut in two by that of another thread: `71 splice(9<socket:[812]>, …
/// <unfinished ...>`, `71 <... splice resumed>) = 5`.
fn by_socket(lines: impl Iterator<Item = String>) -> BTreeMap<String, Calls> {
    let mut sockets: BTreeMap<String, Calls> = BTreeMap::new();
    let mut unfinished: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread.to_owned(), beginning.to_owned());
            continue;
        }
        let call = match call.strip_prefix("<... ") {
            Some(end) => unfinished.remove(thread).unwrap() + end,
            None => call.to_owned(),
        };
        let Some((_, socket)) = call.split_once("<socket:[") else {
            continue;
        };
        let (socket, _) = socket.split_once("]>").unwrap();
        let calls = sockets.entry(socket.to_owned()).or_default();
        calls.made += 1;
        let result = call.rsplit_once(" = ").unwrap().1;
        // An error such as `-1 EAGAIN (…)` has moved nothing.
        let bytes = result.parse().unwrap_or(0);
        if call.starts_with("splice(") {
            calls.spliced_bytes += bytes;
        } else {
            calls.copied_bytes += bytes;
        }
    }
    sockets
}
