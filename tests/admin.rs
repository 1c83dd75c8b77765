//! The admin port, spoken to as a socket sees it: raw HTTP bytes in, raw bytes out.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use narrows::admin::{
    CONNECTION_LIFE, CONNECTIONS_MAX, HEADER_TIMEOUT, PARTING_TIMEOUT, Pages, Readiness, serve,
};
use narrows::lifecycle::Tasks;
use narrows::observe::Metrics;
use narrows::types::ListenerName;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running admin port.
struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn start(pages: Pages) -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(serve(
        Arc::new(listener),
        Arc::new(pages),
        Tasks::default(),
        shutdown,
    ));
    Admin {
        address,
        stop,
        serving,
    }
}

fn pages() -> Pages {
    Pages {
        metrics: Box::new(|| Metrics::new([(3, "Metadata")].into_iter()).render()),
        readiness: Box::new(|| Readiness {
            ready: true,
            reasons: Vec::new(),
        }),
        status: Box::new(
            || serde_json::json!({"brokers": [{"node_id": 1, "advertised": "kafka.example.com:19093"}]}),
        ),
    }
}

/// A status page that no pair of socket buffers can hold, so that it stays on its way until
/// somebody reads it.
fn pages_with_a_long_status(bytes: usize) -> Pages {
    Pages {
        status: Box::new(move || serde_json::Value::String("x".repeat(bytes))),
        ..pages()
    }
}

/// What came back on one connection.
#[derive(Debug)]
struct Answer {
    /// `HTTP/1.1 200 OK` and the headers, in lower case.
    head: String,
    body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Self {
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("no answer")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .next()
    }
}

/// Sends `request` and reads until the other side closes. A reset counts as closing: it is how a
/// kernel tells a peer that the rest of what it sends will not be read.
async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await;
    Answer::parse(&read_to_close(&mut stream).await)
}

async fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

async fn request(admin: &Admin, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: narrows\r\nConnection: close\r\n\r\n");
    exchange(admin.address, request.as_bytes()).await
}

async fn get(admin: &Admin, path: &str) -> Answer {
    request(admin, "GET", path).await
}

/// Asks on a connection that stays open, and reads just the answer.
async fn ask(stream: &mut TcpStream, path: &str) -> Answer {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: narrows\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    loop {
        let answer = Answer::parse(&bytes);
        let length = answer
            .header("content-length")
            .and_then(|length| length.parse().ok());
        if length == Some(answer.body.len()) {
            return answer;
        }
        assert_ne!(
            stream.read_buf(&mut bytes).await.unwrap(),
            0,
            "closed after {bytes:?}"
        );
    }
}

/// For tests whose clock is paused: it moves only while everybody waits for a timeout.
fn assert_at_once(began: tokio::time::Instant) {
    let waited = began.elapsed();
    assert!(
        waited < Duration::from_secs(1),
        "a timeout had to come first: {waited:?}"
    );
}

// What the pages say.

#[tokio::test]
async fn livez_says_ok() {
    let admin = start(pages()).await;
    let answer = get(&admin, "/livez").await;
    assert_eq!((answer.status(), answer.body.as_str()), ("200", "ok\n"));
}

#[tokio::test]
async fn readyz_says_200_when_ready() {
    let admin = start(pages()).await;
    let answer = get(&admin, "/readyz").await;
    assert_eq!((answer.status(), answer.body.as_str()), ("200", "ready\n"));
}

#[tokio::test]
async fn readyz_says_503_and_every_reason_when_not_ready_while_livez_stays_ok() {
    let reasons = vec![
        "draining since 3 s".to_owned(),
        "listener external is not bound".to_owned(),
    ];
    let readiness = Box::new(move || Readiness {
        ready: false,
        reasons: reasons.clone(),
    });
    let admin = start(Pages {
        readiness,
        ..pages()
    })
    .await;
    let answer = get(&admin, "/readyz").await;
    assert_eq!(answer.status(), "503");
    assert_eq!(
        answer.body,
        "not ready\n- draining since 3 s\n- listener external is not bound\n"
    );
    assert_eq!(get(&admin, "/livez").await.status(), "200");
}

#[tokio::test]
async fn metrics_are_prometheus_text_of_this_moment() {
    let metrics = Arc::new(Metrics::new([(3, "Metadata")].into_iter()));
    let external = metrics.listener(&ListenerName("external".into()));
    let pages = Pages {
        metrics: Box::new(move || metrics.render()),
        ..pages()
    };
    let admin = start(pages).await;
    external.requests(3, 1);
    let answer = get(&admin, "/metrics").await;
    assert_eq!(answer.status(), "200");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let line = "narrows_requests_total{api=\"Metadata\",listener=\"external\"} 1";
    assert!(
        answer.body.lines().any(|found| found == line),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("\nprocess_open_fds "),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn status_is_json_that_people_can_read() {
    let admin = start(pages()).await;
    let answer = get(&admin, "/api/status").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        get(&admin, "/status").await.body,
        answer.body,
        "as it was called"
    );
    let status: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        status["brokers"][0]["advertised"],
        "kafka.example.com:19093"
    );
    assert!(answer.body.lines().count() > 3, "indented: {}", answer.body);
}

#[tokio::test]
async fn the_status_page_may_do_nothing_in_a_browser_but_be_shown() {
    let admin = start(pages()).await;
    let answer = get(&admin, "/").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    assert!(!answer.body.contains("<script") && !answer.body.contains("style=\""));
    let style = get(&admin, "/style.css").await;
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(style.body.contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn a_page_that_is_not_there_lists_the_pages() {
    let admin = start(pages()).await;
    for (path, status) in [
        ("/nope", "404"),
        ("/livez/", "404"),
        ("/../livez", "404"),
        ("*", "404"),
    ] {
        let answer = get(&admin, path).await;
        assert_eq!(answer.status(), status, "{path}");
        for page in ["/livez", "/readyz", "/metrics", "/api/status"] {
            assert!(answer.body.contains(page), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_query_is_ignored_and_http_1_0_is_served() {
    let admin = start(pages()).await;
    assert_eq!(get(&admin, "/livez?verbose=1").await.status(), "200");
    let answer = exchange(admin.address, b"GET /livez HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status(), answer.body.as_str()), ("200", "ok\n"));
}

#[tokio::test]
async fn head_gives_the_headers_of_get_and_no_body() {
    let admin = start(pages()).await;
    for path in ["/", "/livez", "/readyz", "/status", "/nope"] {
        let head = request(&admin, "HEAD", path).await;
        let get = get(&admin, path).await;
        assert_eq!(head.body, "", "{path}");
        assert_eq!(head.status(), get.status(), "{path}");
        assert_eq!(
            head.header("content-length"),
            Some(get.body.len().to_string().as_str()),
            "{path}"
        );
    }
}

// What it refuses.

#[tokio::test]
async fn any_method_but_get_and_head_is_refused_on_every_path() {
    let admin = start(pages()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/", "/livez", "/metrics", "/nope"] {
            let answer = request(&admin, method, path).await;
            assert_eq!(
                (answer.status(), answer.header("allow")),
                ("405", Some("get, head")),
                "{method} {path}"
            );
        }
    }
    let tunnel = b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: 10.0.0.1:22\r\n\r\n";
    assert_eq!(exchange(admin.address, tunnel).await.status(), "405");
}

#[tokio::test]
async fn a_request_body_is_refused_and_never_taken_for_a_request() {
    let admin = start(pages()).await;
    let inner = "GET /metrics HTTP/1.1\r\nHost: narrows\r\n\r\n";
    for (method, status) in [("GET", "413"), ("HEAD", "413"), ("POST", "405")] {
        let sized = format!("Content-Length: {}\r\n\r\n{inner}", inner.len());
        let chunked = format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n{inner}",
            inner.len()
        );
        for body in [sized, chunked] {
            let request = format!("{method} /livez HTTP/1.1\r\nHost: narrows\r\n{body}");
            let answer = exchange(admin.address, request.as_bytes()).await;
            assert_eq!(answer.status(), status, "{request}");
            assert_eq!(answer.header("connection"), Some("close"), "{request}");
            assert!(
                !answer.body.contains("HTTP/1.1"),
                "a second answer: {answer:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_announced_but_never_sent_holds_nothing() {
    let admin = start(pages()).await;
    let began = tokio::time::Instant::now();
    let request = b"GET /livez HTTP/1.1\r\nHost: narrows\r\nContent-Length: 1000000000\r\nExpect: \
          100-continue\r\n\r\n";
    assert_eq!(exchange(admin.address, request).await.status(), "413");
    assert_at_once(began);
}

#[tokio::test]
async fn what_is_no_http_is_answered_with_4xx_or_closed_and_harms_nobody() {
    let admin = start(pages()).await;
    let long_line = [b"GET /".as_slice(), &[b'a'; 1 << 20]].concat();
    let long_header = [
        b"GET / HTTP/1.1\r\nA: ".as_slice(),
        &[b'a'; 1 << 17],
        b"\r\n\r\n",
    ]
    .concat();
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    let cases: [(&str, &[u8]); 13] = [
        (
            "a Kafka ApiVersions request",
            b"\0\0\0\x13\0\x12\0\x03\0\0\0\0\0\x04kcat\0\0\0\0\0\r\n\r\n",
        ),
        (
            "a TLS hello",
            b"\x16\x03\x01\x00\xf8\x01\0\0\xf4\x03\x03\r\n\r\n",
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("no path", b"GET\r\n\r\n"),
        ("no such version", b"GET / HTTP/9.9\r\n\r\n"),
        ("NUL in the path", b"GET /li\0vez HTTP/1.1\r\n\r\n"),
        (
            "a header without a colon",
            b"GET / HTTP/1.1\r\nHost narrows\r\n\r\n",
        ),
        (
            "a negative length",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ),
        (
            "two lengths",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        ),
        (
            "an unknown coding",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ),
        ("a line without an end", &long_line),
        ("a header of 128 KiB", &long_header),
        ("a thousand headers", many_headers.as_bytes()),
    ];
    for (name, bytes) in cases {
        let answer = exchange(admin.address, bytes).await;
        let expected = match name {
            // It is closed without a word: HTTP/1 has none that HTTP/2 would read.
            "HTTP/2" => "no answer",
            "a line without an end" | "a header of 128 KiB" | "a thousand headers" => "431",
            _ => "400",
        };
        assert_eq!(answer.status(), expected, "{name}: {answer:?}");
        assert_eq!(get(&admin, "/livez").await.status(), "200", "after {name}");
    }
}

#[tokio::test]
async fn random_bytes_get_no_page_and_harm_nobody() {
    let admin = start(pages()).await;
    let mut random = fastrand::Rng::with_seed(0x6b_6c61_6d6d);
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let answer = Answer::parse(&read_to_close(&mut stream).await);
        let statuses = ["no answer", "400"];
        assert!(statuses.contains(&answer.status()), "{bytes:?}: {answer:?}");
    }
    assert_eq!(get(&admin, "/livez").await.status(), "200");
}

// What a connection may hold.

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let admin = start(pages()).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, "/livez").await.body, "ok\n");
    }
    let pipelined = b"GET /livez HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n";
    stream.write_all(pipelined).await.unwrap();
    let both = String::from_utf8(read_to_close(&mut stream).await).unwrap();
    let livez = both.find("\r\n\r\nok\n");
    let readyz = both.find("\r\n\r\nready\n");
    assert!(livez.is_some() && livez < readyz, "{both}");
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_arrive_in_time_ends_the_connection() {
    let admin = start(pages()).await;
    for sent in ["", "GET /livez HT"] {
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = Answer::parse(&read_to_close(&mut stream).await);
        assert_ne!(answer.status(), "200");
        let waited = began.elapsed();
        assert!(
            waited >= HEADER_TIMEOUT && waited < HEADER_TIMEOUT + Duration::from_secs(1),
            "{waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_of_a_byte_a_second_ends_no_later() {
    let admin = start(pages()).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let began = tokio::time::Instant::now();
    let (mut from, mut to) = stream.split();
    let drip = async {
        for byte in b"GET /livez HTTP/1.1\r\nHost: narrows.example.com\r\n\r\n" {
            to.write_all(&[*byte]).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::io::Result::Ok(())
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = from.read_to_end(&mut answer) => {}
        dripped = drip => panic!("still open after the whole header: {dripped:?}"),
    }
    assert_ne!(Answer::parse(&answer).status(), "200");
    ensure_within_header_timeout(began);
}

fn ensure_within_header_timeout(since: tokio::time::Instant) {
    let took = since.elapsed();
    assert!(took < HEADER_TIMEOUT + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_ends_when_it_is_idle() {
    let admin = start(pages()).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    ask(&mut stream, "/livez").await;
    let idle_since = tokio::time::Instant::now();
    read_to_close(&mut stream).await;
    ensure_within_header_timeout(idle_since);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_never_idle_ends_all_the_same() {
    let admin = start(pages()).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut served = 0;
    // Bounded, lest a connection without an end give a test without an end.
    while began.elapsed() < 2 * CONNECTION_LIFE {
        let mut answer = [0; 1024];
        let asked = stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await;
        if asked.is_err() || !matches!(stream.read(&mut answer).await, Ok(1..)) {
            break;
        }
        served += 1;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(served >= 11, "{served}");
    assert!(
        began.elapsed() <= CONNECTION_LIFE + Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_does_not_read_holds_up_nobody_and_is_cut_off() {
    let status_bytes = 24 << 20;
    let admin = start(pages_with_a_long_status(status_bytes)).await;
    let mut scraper = TcpStream::connect(admin.address).await.unwrap();
    scraper
        .write_all(b"GET /status HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    scraper.read_exact(&mut [0; 1]).await.unwrap();

    assert_eq!(get(&admin, "/livez").await.status(), "200");
    assert_eq!(get(&admin, "/metrics").await.status(), "200");

    // The clock is paused: this moves it, through each of the server's own deadlines.
    tokio::time::sleep(CONNECTION_LIFE + PARTING_TIMEOUT + Duration::from_secs(1)).await;
    let received = read_to_close(&mut scraper).await.len();
    assert!(
        received < status_bytes,
        "all {received} bytes came: it was not cut off"
    );
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_the_oldest_connection_when_all_are_taken() {
    let admin = start(pages()).await;
    let excess = 70;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX + excess {
        idle.push(TcpStream::connect(admin.address).await.unwrap());
    }
    // A probe is one more.
    assert_eq!(get(&admin, "/livez").await.status(), "200");

    let kept = idle.split_off(excess + 1);
    for mut evicted in idle {
        assert_eq!(
            read_to_close(&mut evicted).await,
            b"",
            "closed without an answer"
        );
    }
    for mut kept in kept {
        assert_eq!(
            ask(&mut kept, "/livez").await.body,
            "ok\n",
            "younger ones stay"
        );
    }
}

#[tokio::test]
async fn a_thousand_connections_with_half_a_huge_header_take_no_more_than_the_places() {
    let admin = start(pages()).await;
    let half = [
        b"GET /livez HTTP/1.1\r\nX-Long: ".as_slice(),
        &[b'x'; 12 * 1024],
    ]
    .concat();
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        // One that has lost its place already takes no more.
        let _ = stream.write_all(&half).await;
        held.push(stream);
    }
    assert_eq!(get(&admin, "/livez").await.status(), "200");
    let places = held.split_off(1000 + 1 - CONNECTIONS_MAX);
    for mut evicted in held {
        assert_eq!(read_to_close(&mut evicted).await, b"");
    }
    for mut kept in places {
        kept.write_all(b"\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let answer = Answer::parse(&read_to_close(&mut kept).await);
        assert_eq!(answer.status(), "200", "younger ones stay");
    }
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_ends() {
    let admin = start(pages()).await;
    let mut first = TcpStream::connect(admin.address).await.unwrap();
    for _ in 0..3 * CONNECTIONS_MAX {
        assert_eq!(get(&admin, "/livez").await.status(), "200");
    }
    assert_eq!(
        ask(&mut first, "/livez").await.body,
        "ok\n",
        "nobody needed its place"
    );
}

#[test]
fn a_probe_is_answered_when_idle_connections_used_up_the_file_descriptors() {
    const ROLE: &str = "NARROWS_TEST_ADMIN_WITH_FEW_FDS";
    const NAME: &str = "a_probe_is_answered_when_idle_connections_used_up_the_file_descriptors";
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    if std::env::var_os(ROLE).is_some() {
        return runtime.block_on(serve_until_stdin_ends());
    }
    // The limit is the process's, so the server gets a process of its own: this test again, in its
    // other role.
    let mut server = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(NAME)
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| line.unwrap().split_once("serving on ")?.1.parse().ok())
        .unwrap();

    let answer = runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX - 4 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let probe = exchange(address, b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
        tokio::time::timeout(HEADER_TIMEOUT / 2, probe).await
    });
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    assert_eq!(
        answer
            .expect("before any idle connection times out")
            .status(),
        "200"
    );
}

async fn serve_until_stdin_ends() {
    let admin = start(pages()).await;
    println!("serving on {}", admin.address);
    let wait = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
}

// How it ends.

#[tokio::test(start_paused = true)]
async fn shutdown_closes_the_port_and_every_idle_connection() {
    let admin = start(pages()).await;
    let mut fresh = TcpStream::connect(admin.address).await.unwrap();
    let mut used = TcpStream::connect(admin.address).await.unwrap();
    ask(&mut used, "/livez").await;

    let began = tokio::time::Instant::now();
    admin.stop.send(()).unwrap();
    admin.serving.await.unwrap();
    assert_eq!(read_to_close(&mut fresh).await, b"");
    assert_eq!(read_to_close(&mut used).await, b"");
    assert_at_once(began);
    assert!(
        TcpStream::connect(admin.address).await.is_err(),
        "the port is closed"
    );
}

#[tokio::test]
async fn shutdown_lets_a_response_that_is_on_its_way_finish() {
    let status_bytes = 8 << 20;
    let admin = start(pages_with_a_long_status(status_bytes)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut scraper = socket.connect(admin.address).await.unwrap();
    scraper
        .write_all(b"GET /status HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 16];
    scraper.read_exact(&mut head).await.unwrap();

    admin.stop.send(()).unwrap();
    admin.serving.await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK\r");
    assert!(
        read_to_close(&mut scraper).await.len() > status_bytes,
        "all of it came"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_scraper_that_does_not_read() {
    let status_bytes = 24 << 20;
    let admin = start(pages_with_a_long_status(status_bytes)).await;
    let mut scraper = TcpStream::connect(admin.address).await.unwrap();
    scraper
        .write_all(b"GET /status HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    scraper.read_exact(&mut [0; 1]).await.unwrap();

    admin.stop.send(()).unwrap();
    admin.serving.await.unwrap();
    tokio::time::sleep(PARTING_TIMEOUT + Duration::from_secs(1)).await;
    assert!(read_to_close(&mut scraper).await.len() < status_bytes);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_leaves_no_connection_behind() {
    let admin = start(pages()).await;
    let mut idle = TcpStream::connect(admin.address).await.unwrap();
    ask(&mut idle, "/livez").await;
    let began = tokio::time::Instant::now();
    admin.serving.abort();
    assert_eq!(read_to_close(&mut idle).await, b"");
    assert_at_once(began);
}
