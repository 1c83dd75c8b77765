//! Narrows in this process, and scripted clients that speak to it.

use crate::alloc;
use crate::broker::{Arrival, Broker, read_frame};
use crate::frames::{OFFSET_COMMIT, request};
use crate::warnings::Watch;
use crate::{until, within};
use narrows::address::{NodeIdRanges, PortScheme, Scheme};
use narrows::app::{Narrows, ReloadSettings, Settings, StartError};
use narrows::broker::DialSettings;
use narrows::cluster::ClusterSettings;
use narrows::lifecycle::DrainSettings;
use narrows::listener::ListenerSettings;
use narrows::listener::{LimitsSettings, ProxyProtocol};
use narrows::observe::logs::LogFormat;
use narrows::observe::{LogFilter, LogSettings};
use narrows::session::{ConfigAddresses, SessionSettings, Splice, Unvetted};
use narrows::types::{ClusterName, ListenerName};
use socket2::SockRef;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::RwLockReadGuard;

/// What clients are told; nobody resolves it here.
pub(crate) const ADVERTISED_HOST: &str = "kafka.example.com";

/// Node ids 0–4 have ports.
const NODE_COUNT: u16 = 5;
/// A block: the bootstrap port and those of the nodes.
pub(crate) const PORTS: u16 = NODE_COUNT + 1;

/// Narrows, and where its ports are.
pub(crate) struct Proxy {
    pub(crate) narrows: Narrows,
    bootstrap: SocketAddr,
    _shared: Option<RwLockReadGuard<'static, ()>>,
    warnings: Watch,
}

impl Proxy {
    /// Narrows in front of these bootstrap servers, when it knows its brokers.
    pub(crate) async fn start(brokers: &[&Broker]) -> Self {
        Self::start_with(brokers, |_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(brokers: &[&Broker], change: impl Fn(&mut Settings)) -> Self {
        Self::start_at(
            &brokers
                .iter()
                .map(|broker| broker.address)
                .collect::<Vec<_>>(),
            change,
        )
        .await
    }

    /// The same in front of these addresses.
    pub(crate) async fn start_at(
        bootstrap_servers: &[SocketAddr],
        change: impl Fn(&mut Settings),
    ) -> Self {
        let shared = alloc::shared().await;
        let mut proxy = Self::begin(bootstrap_servers, change);
        proxy._shared = Some(shared);
        proxy.until_refreshed().await;
        proxy
    }

    /// Starts without waiting for anything.
    pub(crate) fn begin(bootstrap_servers: &[SocketAddr], change: impl Fn(&mut Settings)) -> Self {
        let warnings = Watch::begin();
        for _ in 0..1000 {
            let bootstrap = SocketAddr::from((Ipv4Addr::LOCALHOST, next_ports()));
            let mut settings = settings(bootstrap, bootstrap_servers);
            change(&mut settings);
            match Narrows::start(settings) {
                Ok(narrows) => {
                    return Self {
                        narrows,
                        bootstrap,
                        _shared: None,
                        warnings,
                    };
                }
                Err(StartError::Bind(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free ports")
    }

    pub(crate) async fn until_refreshed(&self) {
        until("the first refresh", || {
            self.narrows.status()["clusters"][0]["refresh"] != "pending"
        })
        .await;
    }

    /// The port that advertises node `id`.
    pub(crate) fn port(&self, id: u16) -> u16 {
        self.bootstrap.port() + 1 + id
    }

    /// A client at the bootstrap port.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.bootstrap).await
    }

    /// A client at the port of node `id`.
    pub(crate) async fn connect_to(&self, id: u16) -> Client {
        Client::connect(SocketAddr::new(self.bootstrap.ip(), self.port(id))).await
    }

    pub(crate) fn bootstrap(&self) -> SocketAddr {
        self.bootstrap
    }

    /// The value of a metric's series, its name and labels as rendered; 0 while there is none.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.narrows.metrics().render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Warnings and errors with this text are what the test is about; it fails on all others.
    pub(crate) fn announce(&self, text: &str) {
        self.warnings.announce(text);
    }

    /// The problem on the status page that has this cause. It may be logged too.
    pub(crate) fn problem(&self, cause: &str) -> serde_json::Value {
        self.warnings.announce_cause(cause);
        let status = self.narrows.status();
        let problems = status["problems"].as_array().unwrap();
        problems
            .iter()
            .find(|problem| problem["cause"] == cause)
            .cloned()
            .unwrap_or_default()
    }

    /// How many sessions ended with this cause. It may be logged too.
    pub(crate) fn closed(&self, cause: &str) -> u64 {
        self.warnings.announce_cause(cause);
        let series =
            format!("narrows_connections_closed_total{{cause=\"{cause}\",listener=\"external\"");
        let text = self.narrows.metrics().render();
        // One cause can be either side's doing.
        let lines = text.lines().filter(|line| line.starts_with(&series));
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        lines.map(value).sum()
    }

    /// Every cause that sessions ended with.
    pub(crate) fn causes(&self) -> Vec<String> {
        let text = self.narrows.metrics().render();
        let of_metric = text
            .lines()
            .filter_map(|line| line.strip_prefix("narrows_connections_closed_total{"))
            .filter(|line| !line.ends_with(" 0"));
        of_metric.map(str::to_owned).collect()
    }

    /// Waits until so many sessions ended with this cause.
    pub(crate) async fn until_closed(&self, cause: &str, count: u64) {
        let end = tokio::time::Instant::now() + crate::PATIENCE / 2;
        while self.closed(cause) < count {
            assert!(
                tokio::time::Instant::now() < end,
                "{count} times {cause}, but {:?}",
                self.causes()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How many sessions there are.
    pub(crate) fn active(&self) -> u64 {
        self.metric("narrows_connections_active{listener=\"external\"}")
    }
}

/// A block of ports below the ephemeral ones. Whether they are free shows when they are bound.
pub(crate) fn next_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (32_000 - 11_000) / PORTS;
    let begin = (std::process::id() % u32::from(blocks)) as u16;
    11_000 + (begin + NEXT.fetch_add(1, Relaxed)) % blocks * PORTS
}

fn settings(bootstrap: SocketAddr, bootstrap_servers: &[SocketAddr]) -> Settings {
    let second = Duration::from_secs(1);
    let name = ClusterName("orders".into());
    let node_ids = NodeIdRanges::new(vec![(0, i32::from(NODE_COUNT) - 1)]).unwrap();
    let scheme = PortScheme::new(
        bootstrap,
        bootstrap.port() + 1,
        node_ids,
        ADVERTISED_HOST.into(),
        0,
    )
    .unwrap();
    Settings {
        clusters: vec![ClusterSettings {
            name: name.clone(),
            bootstrap_servers: bootstrap_servers
                .iter()
                .map(|at| at.to_string().parse().unwrap())
                .collect(),
            cluster_id: None,
            broker_address: None,
            metadata_refresh_interval: 3600 * second,
            dial: DialSettings {
                dns_timeout: 5 * second,
                connect_timeout: 5 * second,
                probe_timeout: 5 * second,
            },
            tls: None,
        }],
        listeners: vec![ListenerSettings {
            name: ListenerName("external".into()),
            cluster: name,
            scheme: Scheme::Port(scheme),
            connections_max: None,
            proxy_protocol: ProxyProtocol::default(),
            tls: None,
        }],
        admin: None,
        limits: LimitsSettings::default(),
        session: SessionSettings {
            frame_bytes_max: 100 * 1024 * 1024,
            sasl_frame_bytes_max: 512 * 1024,
            held_response_bytes_max: 4 * 1024 * 1024,
            in_flight_requests_max: 10_000,
            tls_handshake_timeout: 10 * second,
            first_frame_timeout: 10 * second,
            frame_progress_timeout: 10 * second,
            half_close_timeout: 10 * second,
            connection_age_max: None,
            drain_spread: Duration::ZERO,
            unvetted: Unvetted::Hide,
            config_addresses: ConfigAddresses::Mask,
            splice: Splice::Auto,
        },
        reload: ReloadSettings {
            interval: Duration::ZERO,
        },
        drain: DrainSettings {
            delay: Duration::ZERO,
            timeout: 10 * second,
        },
        log: LogSettings {
            level: LogFilter::parse("info").unwrap(),
            format: LogFormat::Text,
        },
    }
}

/// A scripted client, over TCP alone or with TLS.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection to Narrows", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("Narrows to take a request", write(&mut self.stream, bytes))
            .await
            .unwrap();
    }

    /// Sends a small request, number 1, and waits until it has come to the broker.
    pub(crate) async fn ask(&mut self, broker: &mut Broker) -> Arrival {
        let asked = request(OFFSET_COMMIT, 6, 1, b"body");
        self.send(&asked).await;
        let arrival = broker.next().await;
        assert_eq!(arrival.first, asked, "the request as it was sent");
        arrival
    }

    /// Sends what it can: Narrows may close in between.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = within("Narrows to take a request", write(&mut self.stream, bytes)).await;
    }

    /// The next response with its length; `None` when Narrows has closed.
    pub(crate) async fn frame(&mut self) -> Option<Vec<u8>> {
        within("a response", read_frame(&mut self.stream)).await
    }

    /// No more requests.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = within("Narrows to close", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
