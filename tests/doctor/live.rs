//! `narrows check --live`: what is configured, against what is there.

use crate::kafka::{Script, server_config};
use crate::peers;
use crate::pki::Authority;
use crate::{PATIENT, expect, report, target};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A configuration in a folder, whose listener is at a loopback address that no other test has.
struct Configured {
    folder: TempDir,
    host: Ipv4Addr,
}

const PORT: u16 = 19_092;

impl Configured {
    /// With this bootstrap server, and lines for the cluster and the whole besides.
    fn with(bootstrap: &str, of_cluster: &str, of_all: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high.max(1), low, NEXT.fetch_add(1, Relaxed));
        let text = format!(
            "clusters:\n  orders:\n    bootstrap_servers: [\"{bootstrap}\"]\n{of_cluster}\
             listeners:\n  external:\n    bind: {host}:{PORT}\n    address:\n      scheme: port\n      \
             advertised_host: {host}\n      first_port: {}\n      node_ids: [0-2]\n{of_all}",
            PORT + 1
        );
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("narrows.yaml"), text).unwrap();
        Self { folder, host }
    }

    fn of(bootstrap: SocketAddr) -> Self {
        Self::with(&bootstrap.to_string(), "", "")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narrows"));
        command.env_clear().current_dir(self.folder.path());
        command.args(args).args(["--config", "narrows.yaml"]);
        command
    }

    /// The exit code, and what is printed.
    async fn check(&self, output: &str) -> (Option<i32>, String) {
        let mut command = self.command(&["check", "--live", "-o", output]);
        // The brokers live on this thread.
        let ended = tokio::task::spawn_blocking(move || command.output());
        let ended = ended.await.unwrap().unwrap();
        let text = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8(text).unwrap())
    }

    /// Expects one problem with this code, whose sentence says `words`.
    async fn expect(&self, code: &str, words: &str) {
        let (exit, text) = self.check("short").await;
        let problems: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("FAIL"))
            .collect();
        assert_eq!(exit, Some(1), "{text}");
        assert_eq!(problems.len(), 1, "{text}");
        assert!(problems[0].starts_with(&format!("FAIL {code} ")), "{text}");
        assert!(problems[0].contains(words), "no {words} in: {text}");
    }
}

#[tokio::test]
async fn what_is_there_as_configured_ends_with_0() {
    let configured = Configured::of(Script::default().start().await);
    let (exit, text) = configured.check("table").await;
    assert_eq!(exit, Some(0), "{text}");
    assert!(
        text.starts_with("Configured: 1 cluster (orders);"),
        "{text}"
    );
    for expected in [
        "\ncluster orders\n  ok   connect  127.0.0.1:",
        "cluster the-cluster, 1 brokers",
        "broker 1 at 127.0.0.1:",
        "\nthis machine\n  ok   ports    4 ports can be bound\n",
        "the clock fits every certificate",
        " pipes of ",
        " connections, ",
        "\nconfiguration hash ",
    ] {
        assert!(text.contains(expected), "no {expected} in: {text}");
    }
    assert!(text.ends_with("\n\nAll is well.\n"), "{text}");
    assert_eq!(text.matches("All is well").count(), 1, "{text}");
    let (_, text) = configured.check("json").await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json[0]["ok"], &json[1]["ok"]),
        (&true.into(), &true.into())
    );
}

#[tokio::test]
async fn a_bootstrap_server_that_is_away() {
    let configured = Configured::of(peers::nobody().await);
    configured
        .expect("connect_refused", "nobody listens at")
        .await;
}

#[tokio::test]
async fn the_verdict_comes_last_and_is_true_of_the_cluster_and_the_machine_together() {
    let (exit, text) = Configured::of(peers::nobody().await).check("table").await;
    assert_eq!(exit, Some(1), "{text}");
    assert!(text.ends_with("\n\n1 to mend.\n"), "{text}");
    assert!(
        !text.contains("All is well") && !text.contains("OK"),
        "{text}"
    );
    // What is said beside the tables counts too.
    let configured = Configured::of(Script::default().start().await);
    let file = configured.folder.path().join("narrows.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let odd = text.replacen("first_port: 19093", "first_port: 39093", 1);
    std::fs::write(&file, odd).unwrap();
    let (exit, text) = configured.check("table").await;
    assert_eq!(exit, Some(0), "{text}");
    let verdict = "\n\nClients can work; 1 to look at.\n";
    assert!(
        text.contains(verdict) && text.contains("warning: listener external"),
        "{text}"
    );
    assert!(!text.contains("All is well"), "{text}");
}

#[tokio::test]
async fn one_bootstrap_server_of_two_that_is_away_is_a_warning() {
    let (away, there) = (peers::nobody().await, Script::default().start().await);
    let both = format!("{away}\", \"{there}");
    let (exit, text) = Configured::with(&both, "", "").check("short").await;
    assert_eq!(exit, Some(0), "{text}");
    assert!(text.starts_with("warn connect_refused "), "{text}");
}

#[tokio::test]
async fn brokers_that_speak_tls_where_plaintext_is_configured() {
    let issued = Authority::new("Example CA").for_names(&["127.0.0.1"]);
    let script = Script::default();
    let address = script.start_tls(server_config(&issued, None)).await;
    let configured = Configured::of(address);
    configured.expect("speaks_tls", "clusters.NAME.tls").await;
}

#[tokio::test]
async fn another_cluster_than_the_one_that_is_pinned() {
    let bootstrap = Script::default().start().await.to_string();
    let configured = Configured::with(&bootstrap, "    cluster_id: another\n", "");
    let words = "belongs to cluster the-cluster, and another is pinned";
    configured.expect("cluster_id_mismatch", words).await;
}

#[tokio::test]
async fn a_broker_without_an_address_on_a_listener() {
    let script = Script {
        brokers: vec![(7, "127.0.0.1".to_owned(), 0)],
        ..Script::default()
    };
    let configured = Configured::of(script.start().await);
    let words = "listener external has no address for broker 7";
    configured.expect("broker_not_in_node_ids", words).await;
}

#[tokio::test]
async fn brokers_that_share_an_address() {
    let brokers = [1, 2].map(|node| (node, "127.0.0.1".to_owned(), 0));
    let script = Script {
        brokers: brokers.into(),
        ..Script::default()
    };
    let configured = Configured::of(script.start().await);
    configured
        .expect("brokers_share_address", "brokers 1, 2")
        .await;
}

#[tokio::test]
async fn brokers_that_share_an_address_are_dialled_where_the_operator_says() {
    let brokers = [1, 2].map(|node| (node, "kafka.invalid".to_owned(), 9_092));
    let script = Script {
        brokers: brokers.into(),
        ..Script::default()
    };
    let addresses = [script.clone().start().await, script.start().await];
    let [first, second] = addresses;
    let rule = format!("    broker_address: [\"1={first}\", \"2={second}\"]\n");
    let (exit, text) = Configured::with(&first.to_string(), &rule, "")
        .check("table")
        .await;
    assert_eq!(exit, Some(0), "{text}");
    assert!(
        text.contains(&format!("broker 2 at {second} answers")),
        "{text}"
    );
}

#[tokio::test]
async fn brokers_that_demand_a_login_are_left_to_clients() {
    let script = Script {
        login: Some((&["PLAIN"], "alice", "hunter2")),
        ..Script::default()
    };
    let (exit, text) = Configured::of(script.start().await).check("table").await;
    assert_eq!(exit, Some(0), "{text}");
    assert!(text.contains("a login is demanded (PLAIN)"), "{text}");
}

#[tokio::test]
async fn a_port_that_another_process_has() {
    let configured = Configured::of(Script::default().start().await);
    let _taken = std::net::TcpListener::bind((configured.host, PORT + 2)).unwrap();
    let words = format!(
        "with process id {}) listens at {}",
        std::process::id(),
        configured.host
    );
    configured.expect("port_taken", &words).await;
}

#[tokio::test]
async fn an_address_that_this_machine_does_not_have() {
    let bootstrap = Script::default().start().await.to_string();
    let configured = Configured::with(&bootstrap, "", "admin:\n  bind: 192.0.2.1:9190\n");
    configured
        .expect("bind_failed", "192.0.2.1:9190 can't be bound")
        .await;
}

#[tokio::test]
async fn more_connections_than_open_files() {
    let bootstrap = Script::default().start().await.to_string();
    let limits = "limits:\n  connections_max: 10000000\n";
    let configured = Configured::with(&bootstrap, "", limits);
    configured
        .expect("descriptors_too_few", "10000000 connections")
        .await;
}

/// A Narrows that runs, until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Configured {
    /// Runs it, until its listener is there.
    async fn run(&self) -> Running {
        let mut command = self.command(&["run", "--log-format", "text"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = Running(child);
        let (started, is_started) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut started = Some(started);
            for line in lines.map_while(Result::ok) {
                if line.contains("listener=external") {
                    started.take().map(|started| started.send(()));
                }
            }
        });
        let waited = tokio::time::timeout(PATIENT, is_started).await;
        waited
            .expect("no start in time")
            .expect("Narrows has ended");
        running
    }
}

#[tokio::test]
async fn the_ports_of_a_narrows_that_runs_are_its_own() {
    let configured = Configured::of(Script::default().start().await);
    let running = configured.run().await;
    let (exit, text) = configured.check("table").await;
    assert_eq!(exit, Some(0), "{text}");
    let expected = format!(
        "4 ports are held by narrows with process id {}",
        running.0.id()
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn through_a_narrows_that_runs_a_client_can_work() {
    let configured = Configured::of(Script::default().start().await);
    let _running = configured.run().await;
    let report = report(&target((configured.host, PORT).into())).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let broker = format!("broker 1 at {}:{}", configured.host, PORT + 2);
    assert!(
        report.table(false).contains(&broker),
        "{}",
        report.table(false)
    );
}

#[tokio::test]
async fn a_narrows_whose_brokers_are_away_is_told_from_a_web_server() {
    let configured = Configured::of(peers::nobody().await);
    let _running = configured.run().await;
    let target = target((configured.host, PORT).into());
    expect(
        &target,
        "narrows_broker_away",
        &["Narrows listens at", "/status"],
    )
    .await;
}

#[tokio::test]
async fn one_port_of_narrows_for_all_brokers_is_no_address_that_they_share() {
    let listeners = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let ports = [0, 1].map(|at: usize| i32::from(listeners[at].local_addr().unwrap().port()));
    let script = Script {
        brokers: vec![
            (1, "127.0.0.1".to_owned(), ports[0]),
            (2, "127.0.0.1".to_owned(), ports[1]),
        ],
        ..Script::default()
    };
    for listener in listeners {
        script.clone().start_on(listener);
    }
    let configured = Configured::with(&format!("127.0.0.1:{}", ports[0]), "", "");
    let (file, host) = (
        configured.folder.path().join("narrows.yaml"),
        configured.host,
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("    address:").unwrap();
    let single = format!("    address: {{scheme: single, advertised_host: {host}}}\n");
    std::fs::write(&file, before.to_owned() + &single).unwrap();
    let _running = configured.run().await;
    let report = report(&target((host, PORT).into())).await;
    let table = report.table(false);
    assert!(report.is_fine(), "{table}");
    let expected = format!("brokers 1, 2 all advertise {host}:{PORT}, where Narrows tells them");
    assert!(table.contains(&expected), "{table}");
}
