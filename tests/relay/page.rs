//! The status page of a Narrows that works, and in a browser.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{OFFSET_COMMIT, opaque, request};
use narrows::admin::AdminSettings;
use std::net::SocketAddr;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Narrows with an admin port.
async fn with_admin(brokers: &[&Broker]) -> (Proxy, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bind = free.local_addr().unwrap();
    drop(free);
    let proxy = Proxy::start_with(brokers, |settings| {
        settings.admin = Some(AdminSettings { bind });
    })
    .await;
    (proxy, bind)
}

async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A session with broker 0, and one that ends with a problem: somebody speaks HTTP.
async fn life(proxy: &Proxy, broker: &mut Broker) -> (Client, Arrival) {
    let mut client = proxy.connect_to(0).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, b"")).await;
    client.frame().await.unwrap();
    let mut stranger = proxy.connect().await;
    stranger
        .send(b"GET /<script>alert(1)</script> HTTP/1.1\r\n\r\n")
        .await;
    stranger.rest().await;
    proxy.until_closed("http", 1).await;
    proxy.problem("http");
    (client, arrival)
}

#[tokio::test]
async fn a_broker_that_can_not_be_dialled_says_why_in_the_broker_map() {
    let zero = Broker::alone(0).await;
    let one = Broker::member(1, &zero.cluster).await;
    let (proxy, _) = with_admin(&[&zero]).await;
    let address = one.address.to_string();
    one.stop_accepting().await;
    let mut client = proxy.connect_to(1).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("dial_failed", 1).await;
    let status = proxy.narrows.status();
    let brokers = &status["listeners"][0]["brokers"];
    let said = brokers[1]["last_problem"].as_str().unwrap();
    assert!(
        said.contains(&format!("{address} can't be reached")),
        "{said}"
    );
    assert!(brokers[0]["last_problem"].is_null());
}

#[tokio::test]
async fn the_status_says_in_words_what_wants_attention_and_who_is_connected_where() {
    let mut zero = Broker::alone(0).await;
    let _one = Broker::member(1, &zero.cluster).await;
    let (proxy, admin) = with_admin(&[&zero]).await;
    let status = proxy.narrows.status();
    assert_eq!(
        status["verdict"]["text"],
        "All is well: 1 listener and 2 brokers."
    );
    let (client, _arrival) = life(&proxy, &mut zero).await;
    let status = proxy.narrows.status();
    assert_eq!(status["verdict"]["state"], "attention");
    let connections: Vec<_> = status["listeners"][0]["brokers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|broker| (broker["node_id"].as_u64(), broker["connections"].as_u64()))
        .collect();
    assert_eq!(connections, [(Some(0), Some(1)), (Some(1), Some(0))]);
    let brokers = &status["listeners"][0]["brokers"];
    assert_eq!(
        (&brokers[0]["is_controller"], &brokers[1]["is_controller"]),
        (&false.into(), &true.into())
    );
    assert!(brokers[0]["connect_p50_ms"].as_f64().unwrap() < 5_000.0);
    let pools = status["pools"].as_array().unwrap();
    assert!(
        pools.iter().all(|pool| pool["why"].is_string()),
        "{pools:?}"
    );
    let page = get(admin, "/").await;
    assert!(page.contains("One thing wants attention.") && !page.contains("<script"));
    drop(client);
    proxy.until_closed("client_closed", 1).await;
    let status = proxy.narrows.status();
    assert_eq!(status["listeners"][0]["brokers"][0]["connections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program chromium: tests/run"]
async fn a_browser_shows_the_page_in_its_style_and_refuses_nothing_of_it() {
    let mut zero = Broker::alone(0).await;
    let _one = Broker::member(1, &zero.cluster).await;
    let (proxy, admin) = with_admin(&[&zero]).await;
    let _session = life(&proxy, &mut zero).await;
    let url = format!("http://{admin}/");
    let browse = move |flags: &[String]| {
        let mut chromium = Command::new("chromium");
        chromium.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ]);
        chromium.args(flags).arg(&url).output().unwrap()
    };
    let screenshot = std::env::var("SCREENSHOT").ok();
    let (dom, complaints) = tokio::task::spawn_blocking(move || {
        if let Some(file) = screenshot {
            browse(&[
                "--window-size=1000,1180".into(),
                format!("--screenshot={file}"),
            ]);
        }
        let seen = browse(&["--dump-dom".into()]);
        (
            String::from_utf8_lossy(&seen.stdout).into_owned(),
            String::from_utf8_lossy(&seen.stderr).into_owned(),
        )
    })
    .await
    .unwrap();
    assert!(dom.contains("<h2>One thing wants attention.</h2>"), "{dom}");
    assert!(dom.contains("kafka.example.com"), "{dom}");
    assert!(!dom.contains("<script"), "{dom}");
    for complaint in ["CONSOLE", "Refused to", "Content Security Policy"] {
        assert!(!complaints.contains(complaint), "{complaints}");
    }
}
