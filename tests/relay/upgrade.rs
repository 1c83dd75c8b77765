//! Another process takes the place of one that runs, and sockets outlive a restart: the real
//! binary, clients that come all the time, and not one of them is refused.

use crate::alloc;
use crate::broker::Broker;
use crate::client::{Client, next_ports};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::process::Process;
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGUSR2, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

const ATTEMPTS: usize = 10_000;
/// Clients that come at once; each attempt is a new connection.
const CLIENTS: usize = 20;
const NARROWS: &str = env!("CARGO_BIN_EXE_narrows");
const STOPPED: &str = "\"stopped\"";

/// A command `narrows` that can be replaced, its configuration, and where it listens.
struct Installed {
    folder: tempfile::TempDir,
    bootstrap: SocketAddr,
    admin: SocketAddr,
}

impl Installed {
    fn in_front_of(broker: &Broker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = next_ports();
        let [bootstrap, admin] = [port, port + 10].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        let installed = Self {
            folder,
            bootstrap,
            admin,
        };
        installed.configure(&format!(
            "
clusters:
  orders: {{bootstrap_servers: ['{}']}}
listeners:
  external:
    cluster: orders
    bind: {bootstrap}
    address: {{scheme: port, advertised_host: localhost, node_ids: [0-2]}}
admin: {{bind: {admin}}}
reload: {{interval: 0s}}
",
            broker.address,
        ));
        installed.install(NARROWS);
        installed
    }

    fn configure(&self, text: &str) {
        fs::write(self.folder.path().join("narrows.yaml"), text).unwrap();
    }

    /// Puts another program in the command's place, at once. It is a link: a file that was just
    /// written can't be run while another test forks (ETXTBSY).
    fn install(&self, program: &str) {
        let new = self.folder.path().join("new");
        symlink(program, &new).unwrap();
        fs::rename(new, self.folder.path().join("narrows")).unwrap();
    }

    /// Runs it with these sockets, as a service manager does.
    fn start(&self, sockets: Vec<OwnedFd>) -> Process {
        let mut command = Command::new("sh");
        let count = sockets.len();
        let script = "LISTEN_PID=$$ exec \"$folder/narrows\" run --config \"$folder/narrows.yaml\"";
        command.args(["-c", script]).env_clear();
        command.env("folder", self.folder.path());
        if count > 0 {
            command.env("LISTEN_FDS", count.to_string());
        }
        let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.collect()).unwrap();
        Process::read(command, Ipv4Addr::LOCALHOST)
    }
}

/// The process that a line of the one before names. It ends with the test.
struct Successor(Pid);

impl Successor {
    fn of(lines: &[String]) -> Self {
        let mut ids = lines.iter().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["successor"].as_i64()
        });
        Self(Pid::from_raw(ids.next_back().unwrap().try_into().unwrap()))
    }

    fn signal(&self, signal: Signal) {
        kill(self.0, signal).unwrap();
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill(self.0, SIGKILL);
    }
}

fn answer(frame: &[u8]) -> Vec<u8> {
    opaque(header(frame).correlation_id, b"answer")
}

/// Connects, asks, and is answered: whatever else happens is a failure.
async fn attempt(bootstrap: SocketAddr) {
    let mut client = Client::connect(bootstrap).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
}

/// Reads what the process says, on a thread of its own, while clients come.
async fn lines_until(process: &Arc<Process>, text: &'static str) -> Vec<String> {
    let process = Arc::clone(process);
    let read = tokio::task::spawn_blocking(move || process.lines_until(text));
    read.await.unwrap()
}

#[tokio::test]
async fn of_ten_thousand_attempts_during_upgrades_none_is_refused_and_no_response_is_lost() {
    // Ten thousand connections are no company for a test that measures.
    let _alone = alloc::alone().await;
    let broker = Broker::alone(0).await;
    let installed = Installed::in_front_of(&broker);
    broker.answer_all(answer);
    let process = Arc::new(installed.start(Vec::new()));
    lines_until(&process, "listening").await;
    let made = Arc::new(AtomicUsize::new(0));
    let is_upgraded = Arc::new(AtomicBool::new(false));
    let client = || {
        let (made, is_upgraded) = (Arc::clone(&made), Arc::clone(&is_upgraded));
        let bootstrap = installed.bootstrap;
        tokio::spawn(async move {
            while made.fetch_add(1, Relaxed) < ATTEMPTS || !is_upgraded.load(Relaxed) {
                attempt(bootstrap).await;
            }
            // And one behind the last upgrade.
            attempt(bootstrap).await;
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    process.signal(SIGUSR2);
    // The processes share standard error.
    let second = Successor::of(&lines_until(&process, STOPPED).await);
    second.signal(SIGUSR2);
    let third = Successor::of(&lines_until(&process, STOPPED).await);
    is_upgraded.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(process.page_at(installed.admin, "/readyz").contains("200"));
    third.signal(SIGTERM);
    lines_until(&process, STOPPED).await;
    let first = Arc::into_inner(process).unwrap();
    assert_eq!(first.ended().0.code(), Some(0));
}

#[tokio::test]
async fn what_is_in_flight_during_an_upgrade_is_answered_by_the_process_that_has_it() {
    let mut broker = Broker::alone(0).await;
    let installed = Installed::in_front_of(&broker);
    let process = Arc::new(installed.start(Vec::new()));
    lines_until(&process, "listening").await;
    let mut client = Client::connect(installed.bootstrap).await;
    let mut arrival = client.ask(&mut broker).await;
    process.signal(SIGUSR2);
    let successor = Successor::of(&lines_until(&process, "successor").await);
    arrival.send(&opaque(1, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
    assert_eq!(client.frame().await, None, "it comes again, to the new one");
    drop(client);
    lines_until(&process, STOPPED).await;
    let mut again = Client::connect(installed.bootstrap).await;
    again.ask(&mut broker).await;
    drop(successor);
}

#[tokio::test]
async fn where_the_new_process_does_not_start_the_old_one_goes_on_and_says_why() {
    let broker = Broker::alone(0).await;
    let installed = Installed::in_front_of(&broker);
    broker.answer_all(answer);
    let process = Arc::new(installed.start(Vec::new()));
    lines_until(&process, "listening").await;
    for (program, reason) in [
        ("/bin/false", "ended before it was ready (exit status: 1)"),
        ("/nowhere", "can't be started: No such file or directory"),
        (NARROWS, "ended before it was ready (exit status: 2)"),
    ] {
        installed.install(program);
        if program == NARROWS {
            installed.configure("clusters: {}");
        }
        process.signal(SIGUSR2);
        let line = lines_until(&process, "this process goes on").await;
        let line = line.last().unwrap();
        assert!(line.contains(reason) && line.contains("ERROR"), "{line}");
        attempt(installed.bootstrap).await;
    }
    process.signal(SIGTERM);
    lines_until(&process, STOPPED).await;
}

#[tokio::test]
async fn with_sockets_that_a_service_manager_holds_a_restart_refuses_nobody() {
    let broker = Broker::alone(0).await;
    let installed = Installed::in_front_of(&broker);
    broker.answer_all(answer);
    let addresses = [installed.bootstrap, installed.admin];
    let held = addresses.map(|address| TcpListener::bind(address).unwrap());
    for _ in 0..2 {
        let early: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(attempt(installed.bootstrap)))
            .collect();
        tokio::net::TcpStream::connect(installed.bootstrap)
            .await
            .unwrap();
        let copies = held.iter().map(|socket| socket.try_clone().unwrap().into());
        let process = Arc::new(installed.start(copies.collect()));
        lines_until(&process, "listening on sockets that were passed").await;
        for client in early {
            client.await.unwrap();
        }
        process.signal(SIGTERM);
        lines_until(&process, STOPPED).await;
    }
}

#[tokio::test]
async fn a_passed_socket_that_nothing_binds_is_an_error_with_the_cure() {
    let broker = Broker::alone(0).await;
    let installed = Installed::in_front_of(&broker);
    let port = installed.bootstrap.port();
    let nothing = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    let bind = installed.bootstrap;
    let socket =
        |ip: [u8; 4], port| OwnedFd::from(TcpListener::bind(SocketAddr::from((ip, port))).unwrap());
    for (passed, expected) in [
        (
            vec![socket([127, 0, 0, 9], port)],
            format!("pass one of {bind} (ListenStream={bind})"),
        ),
        (
            vec![socket([127, 0, 0, 9], port + 11)],
            "take it out of the socket unit".to_owned(),
        ),
        (
            vec![socket([127, 0, 0, 1], port), nothing()],
            "descriptor 4 of those passed by LISTEN_FDS is not a TCP socket".to_owned(),
        ),
    ] {
        let process = installed.start(passed);
        let lines = process.rest().concat();
        assert!(lines.contains(&expected), "{lines}");
        assert_eq!(process.ended().0.code(), Some(1));
    }
}
