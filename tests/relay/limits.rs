//! Who is let in when there is no room for everybody: strangers are turned away, connections that
//! stand go on.

use crate::broker::Broker;
use crate::client::{ADVERTISED_HOST, Client, Proxy, next_ports};
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::tls_peers::{Pki, tls_client};
use crate::{until, within};
use narrows::listener::{LimitsSettings, ProxyMode, ProxyProtocol};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Loopback has a whole network of addresses: who comes from this one is another source than
/// 127.0.0.1.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let stream = within("a connection to Narrows", socket.connect(address))
        .await
        .unwrap();
    Client { stream }
}

/// Whether it is served.
async fn is_served(client: &mut Client) -> bool {
    client
        .try_send(&request(OFFSET_COMMIT, 6, 1, b"body"))
        .await;
    client.frame().await == Some(opaque(1, b"answer"))
}

fn answer(broker: Broker) {
    broker.answer_all(|frame| opaque(header(frame).correlation_id, b"answer"));
}

/// How many were turned away for this; it may be logged.
fn refused(proxy: &Proxy, limit: &str) -> u64 {
    proxy.closed(limit);
    proxy.metric(&format!(
        "narrows_connections_refused_total{{limit=\"{limit}\",listener=\"external\"}}"
    ))
}

fn in_use(proxy: &Proxy, limit: &str) -> u64 {
    proxy.metric(&format!("narrows_limit_in_use{{limit=\"{limit}\"}}"))
}

#[tokio::test]
async fn whoever_is_one_too_many_is_turned_away_and_those_that_stand_go_on() {
    let broker = Broker::alone(0).await;
    let limits = LimitsSettings {
        connections_max: Some(4),
        connections_per_source_max: Some(4),
        newcomers_max: Some(4),
        ..LimitsSettings::default()
    };
    let proxy = Proxy::start_with(&[&broker], |settings| settings.limits = limits).await;
    answer(broker);
    let mut standing = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.connect().await;
        assert!(is_served(&mut client).await);
        standing.push(client);
    }
    let mut client = proxy.connect().await;
    assert_eq!(client.rest().await, b"", "it is closed");
    proxy.until_closed("connections_max", 1).await;
    assert_eq!(refused(&proxy, "connections_max"), 1);
    let said = proxy.problem("connections_max");
    let text = said["last"].as_str().unwrap();
    assert!(text.contains("limits.connections_max"), "{text}");
    assert_eq!(proxy.narrows.status()["limits"][0]["in_use"], 4);
    assert_eq!(proxy.narrows.status()["limits"][0]["max"], 4);
    for client in &mut standing {
        assert!(is_served(client).await);
    }
    drop(standing.pop());
    until("its place to be free", || proxy.active() == 3).await;
    assert!(is_served(&mut proxy.connect().await).await);
}

#[tokio::test]
async fn who_has_not_talked_yet_takes_no_place_of_those_that_have_and_one_source_never_all() {
    let broker = Broker::alone(0).await;
    let limits = LimitsSettings {
        newcomers_max: Some(20),
        ..LimitsSettings::default()
    };
    let proxy = Proxy::start_with(&[&broker], |settings| settings.limits = limits).await;
    answer(broker);
    let mut idle = Vec::new();
    for _ in 0..60 {
        idle.push(proxy.connect().await);
    }
    until("those above the limit to be turned away", || {
        refused(&proxy, "newcomers_per_source_max") == 50
    })
    .await;
    assert_eq!(in_use(&proxy, "newcomers_max"), 10);
    for _ in 0..30 {
        let mut other = connect_from(OTHER, proxy.bootstrap()).await;
        assert!(is_served(&mut other).await, "another source is served");
        idle.push(other);
    }
    assert_eq!(
        in_use(&proxy, "newcomers_max"),
        10,
        "who has talked is none"
    );
    assert_eq!(in_use(&proxy, "connections_max"), 40);
    drop(idle);
    until("all places to be free", || {
        in_use(&proxy, "connections_max") + in_use(&proxy, "newcomers_max") + proxy.active() == 0
    })
    .await;
    assert!(is_served(&mut proxy.connect().await).await);
}

#[tokio::test]
async fn a_listener_has_as_many_connections_as_it_may_and_no_more() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.listeners[0].connections_max = Some(2);
    })
    .await;
    answer(broker);
    let mut first = proxy.connect().await;
    let mut second = proxy.connect_to(0).await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert_eq!(proxy.connect().await.rest().await, b"");
    proxy.until_closed("listener_connections_max", 1).await;
    assert_eq!(refused(&proxy, "listener_connections_max"), 1);
    assert!(is_served(&mut first).await);
}

#[tokio::test]
async fn a_source_that_dials_faster_than_it_may_is_turned_away_with_a_sentence() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.limits.connections_per_source_rate = Some(1);
    })
    .await;
    for _ in 0..200 {
        proxy.connect().await;
    }
    proxy.until_closed("connections_per_source_rate", 1).await;
    assert!(refused(&proxy, "connections_per_source_rate") > 0);
    let said = proxy.problem("connections_per_source_rate");
    let text = said["last"].as_str().unwrap();
    assert!(
        text.contains("more than 1 connections a second, which limits.connections_per_source_rate"),
        "{text}"
    );
    let max = "narrows_limit_max{limit=\"connections_per_source_rate\"}";
    assert_eq!(proxy.metric(max), 1);
}

#[tokio::test]
async fn more_connections_a_second_than_may_be_in_all_are_turned_away_with_a_sentence() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.limits.connections_rate = Some(1);
    })
    .await;
    let turned_away = "narrows_connections_refused_total\
                       {limit=\"connections_rate\",listener=\"external\"}";
    let text = proxy.narrows.metrics().render();
    let born = text.lines().any(|line| line == format!("{turned_away} 0"));
    assert!(born, "there before the first, so that rate() sees it");
    for _ in 0..200 {
        proxy.connect().await;
    }
    proxy.until_closed("connections_rate", 1).await;
    assert!(refused(&proxy, "connections_rate") > 0);
    let said = proxy.problem("connections_rate");
    let text = said["last"].as_str().unwrap();
    let expected = "more than 1 connections a second, which limits.connections_rate allows";
    assert!(text.contains(expected), "{text}");
    assert_eq!(
        proxy.metric("narrows_limit_max{limit=\"connections_rate\"}"),
        1
    );
}

#[tokio::test]
async fn behind_a_balancer_the_source_is_the_client_that_the_header_names() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.limits.connections_per_source_max = Some(2);
        settings.listeners[0].proxy_protocol = ProxyProtocol {
            mode: ProxyMode::Required,
            trusted: vec!["127.0.0.0/8".parse().unwrap()],
        };
    })
    .await;
    answer(broker);
    let mut standing = Vec::new();
    for (client, passes) in [(7, true), (7, true), (7, false), (8, true), (8, true)] {
        let mut connection = proxy.connect().await;
        let line = format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 51000 9092\r\n");
        connection.try_send(line.as_bytes()).await;
        assert_eq!(is_served(&mut connection).await, passes, "192.0.2.{client}");
        standing.push(connection);
    }
    proxy.until_closed("connections_per_source_max", 1).await;
    assert_eq!(
        proxy.problem("connections_per_source_max")["source"],
        "192.0.2.7"
    );
}

#[tokio::test]
async fn hellos_of_clients_that_are_gone_again_are_not_computed() {
    const GONE: u64 = 2000;
    let pki = Pki::new();
    let broker = Broker::alone(0).await;
    let limits = LimitsSettings {
        newcomers_max: Some(10_000),
        ..LimitsSettings::default()
    };
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.listeners[0].tls = Some(pki.terminate());
        settings.limits = limits;
    })
    .await;
    let hello = hello(&pki);
    // Narrows and this test share a thread, so that all of them are gone before one is accepted.
    for _ in 0..GONE {
        let mut tcp = std::net::TcpStream::connect(proxy.bootstrap()).unwrap();
        tcp.write_all(&hello).unwrap();
    }
    let newcomer = tls_client(proxy.bootstrap(), &pki.client()).await;
    let handshakes = |version: &str, outcome: &str| {
        proxy.metric(&format!(
            "narrows_tls_handshakes_total{{listener=\"external\",outcome=\"{outcome}\",\
             version=\"{version}\"}}"
        ))
    };
    until("all to be noticed, and the newcomer served", || {
        handshakes("none", "gone") == GONE && handshakes("TLSv1.3", "full") == 1
    })
    .await;
    assert_eq!(handshakes("none", "closed"), 0, "none of them was begun");
    drop(newcomer);
    until("all to have ended", || proxy.active() == 0).await;
}

fn hello(pki: &Pki) -> Vec<u8> {
    let name = ADVERTISED_HOST.try_into().unwrap();
    let mut client = rustls::ClientConnection::new(pki.client(), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Narrows as a process of its own, with its own limit of open files.
struct Process {
    child: Child,
    bootstrap: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    async fn start(broker: &Broker, descriptors: usize) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (bootstrap, admin) = (at(next_ports()), at(next_ports()));
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_narrows"), "run"])
            .args(["--bootstrap-servers", &broker.address.to_string()])
            .args(["--bind", &bootstrap.to_string()])
            .args(["--admin-bind", &admin.to_string()])
            .args(["--advertised-host", ADVERTISED_HOST, "--node-ids", "0"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self {
            child,
            bootstrap,
            admin,
        };
        // The admin port listens before the others do.
        let up = async {
            let is_up = |page: String| page.starts_with("HTTP/1.1 200");
            while !process.ask("/readyz").await.is_ok_and(is_up) {
                tokio::task::yield_now().await;
            }
        };
        within("the process to be ready", up).await;
        process
    }

    async fn page(&self, path: &str) -> String {
        within("the admin port", self.ask(path)).await.unwrap()
    }

    async fn ask(&self, path: &str) -> std::io::Result<String> {
        let mut http = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
        http.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        http.read_to_string(&mut page).await?;
        Ok(page)
    }

    async fn open_files(&self) -> u32 {
        let page = self.page("/metrics").await;
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix("process_open_fds "));
        count.unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn one_source_with_thousands_of_connections_leaves_descriptors_for_others_and_the_admin_port()
{
    let broker = Broker::alone(0).await;
    let narrows = Process::start(&broker, 512).await;
    answer(broker);
    assert!(is_served(&mut connect_from(OTHER, narrows.bootstrap).await).await);
    let open_files = narrows.open_files().await;
    let mut idle = Vec::new();
    for _ in 0..3000 {
        idle.push(TcpStream::connect(narrows.bootstrap).await.unwrap());
    }
    for _ in 0..10 {
        assert!(narrows.page("/livez").await.starts_with("HTTP/1.1 200"));
        let mut other = connect_from(OTHER, narrows.bootstrap).await;
        assert!(is_served(&mut other).await, "another source is served");
    }
    let page = narrows.page("/metrics").await;
    let mut errors = page
        .lines()
        .filter(|line| line.starts_with("narrows_accept_errors_total{"));
    assert!(
        errors.all(|line| line.ends_with(" 0")),
        "it never ran out of descriptors: {page}"
    );
    drop(idle);
    let returned = async { while narrows.open_files().await > open_files {} };
    within("the descriptors to return", returned).await;
}
