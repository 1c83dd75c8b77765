//! The namespaces of a run: three network namespaces with Narrows' between the clients' and the
//! brokers', nothing forwarded.
//!
//! ```text
//!   clients 10.78.0.2 ── 10.78.0.1 narrows 10.77.0.1 ── 10.77.0.11 .12 .13 .14 brokers
//! ```
//!
//! A client that is told a broker's own address can't reach it: there is no route, and the address
//! is occupied by the [leak trap](crate::trap). Everything ends with this process, however it ends:
//! a janitor process holds the other end of a pipe, and when the pipe closes it kills whatever runs
//! in the namespaces and removes them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

/// Where Narrows listens for clients.
pub(crate) const NARROWS_FOR_CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// The clients' only own address.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// The address that the brokers see Narrows come from.
const NARROWS_FOR_BROKERS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Node ids that have an address: three that stand from the start and a fourth that may join.
pub(crate) const NODE_IDS: [u8; 4] = [1, 2, 3, 4];

/// The address of a node: the same ports on each, as with pods.
pub(crate) fn broker_ip(node_id: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + node_id)
}

/// One of the three namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Clients,
    Narrows,
    Brokers,
}

/// Puts a thread into a namespace, for good.
#[derive(Debug)]
pub(crate) struct Entrance(File);

impl Entrance {
    pub(crate) fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("could not enter a namespace")
    }
}

const SIDES: [Side; 3] = [Side::Clients, Side::Narrows, Side::Brokers];

/// The namespaces and the scratch folder of this run, or of one fixture of several. Dropped:
/// everything in them is killed and removed.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// What tells them from others: the process and how many it had made before.
    set: String,
    scratch: PathBuf,
    janitor: Child,
    names_given: AtomicU32,
}

impl Namespaces {
    /// Makes the namespaces and joins them.
    ///
    /// # Errors
    /// When this process may not make namespaces, or `ip` is missing; the text says what is needed.
    pub(crate) fn make() -> Result<Self> {
        sweep_leftovers();
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let set = format!("{}.{made}", std::process::id());
        let scratch = scratch_of(&set);
        fs::create_dir_all(&scratch)?;
        // The janitor comes first: what is half made is cleaned up as well.
        let janitor = start_janitor(&set, &scratch)?;
        let namespaces = Self {
            set,
            scratch,
            janitor,
            names_given: AtomicU32::new(0),
        };
        for side in SIDES {
            ip(&format!("netns add {}", namespaces.name_of(side))).context(NEEDS)?;
        }
        namespaces.join().context(NEEDS)?;
        namespaces.forward_nothing()?;
        Ok(namespaces)
    }

    /// A folder for this run's files, removed at its end.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A command that runs inside a namespace, under its own process id.
    pub(crate) fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name_of(side)])
            .arg(program);
        command
    }

    /// Runs a closure on a thread inside a namespace. Sockets made there stay there, wherever they
    /// are used later.
    pub(crate) fn inside<T: Send>(&self, side: Side, act: impl FnOnce() -> T + Send) -> Result<T> {
        let entrance = self.entrance(side)?;
        thread::scope(|scope| {
            let visit = scope.spawn(move || {
                entrance.enter()?;
                Ok(act())
            });
            visit
                .join()
                .map_err(|_| anyhow::anyhow!("a thread inside a namespace panicked"))?
        })
    }

    /// The way into a namespace for a thread that stays there.
    pub(crate) fn entrance(&self, side: Side) -> Result<Entrance> {
        Ok(Entrance(File::open(format!(
            "/run/netns/{}",
            self.name_of(side)
        ))?))
    }

    /// Makes names known to whatever is started in a namespace from now on, and to nobody else: `ip
    /// netns exec` puts this file in the place of `/etc/hosts`.
    pub(crate) fn publish(&self, side: Side, names: &[(String, Ipv4Addr)]) -> Result<()> {
        let folder = configuration_of(&self.name_of(side));
        fs::create_dir_all(&folder)?;
        let mut hosts = String::from("127.0.0.1 localhost\n");
        for (name, address) in names {
            writeln!(hosts, "{address} {name}")?;
        }
        Ok(fs::write(Path::new(&folder).join("hosts"), hosts)?)
    }

    /// A name that nothing else in this run has: for topics, groups and files.
    pub(crate) fn unique(&self, what: &str) -> String {
        format!(
            "{what}-{}",
            self.names_given.fetch_add(1, Ordering::Relaxed)
        )
    }

    fn name_of(&self, side: Side) -> String {
        name_in(&self.set, side)
    }

    fn join(&self) -> Result<()> {
        let [clients, narrows, brokers] = SIDES.map(|side| self.name_of(side));
        ip(&format!(
            "link add to-narrows netns {clients} type veth peer name to-clients netns {narrows}"
        ))?;
        ip(&format!(
            "link add to-brokers netns {narrows} type veth peer name to-narrows netns {brokers}"
        ))?;
        ip(&format!(
            "-n {clients} address add {CLIENTS}/24 dev to-narrows"
        ))?;
        ip(&format!(
            "-n {narrows} address add {NARROWS_FOR_CLIENTS}/24 dev to-clients"
        ))?;
        ip(&format!(
            "-n {narrows} address add {NARROWS_FOR_BROKERS}/24 dev to-brokers"
        ))?;
        for node_id in NODE_IDS {
            ip(&format!(
                "-n {brokers} address add {}/24 dev to-narrows",
                broker_ip(node_id)
            ))?;
            // Occupied by the leak trap: what a client dials here never leaves its namespace.
            ip(&format!(
                "-n {clients} address add {}/32 dev lo",
                broker_ip(node_id)
            ))?;
        }
        for (namespace, link) in [
            (&clients, "lo"),
            (&clients, "to-narrows"),
            (&narrows, "lo"),
            (&narrows, "to-clients"),
            (&narrows, "to-brokers"),
            (&brokers, "lo"),
            (&brokers, "to-narrows"),
        ] {
            ip(&format!("-n {namespace} link set {link} up"))?;
        }
        Ok(())
    }

    /// Namespaces can inherit forwarding from the machine, and then Narrows' would be a router
    /// around Narrows.
    fn forward_nothing(&self) -> Result<()> {
        let switch = "/proc/sys/net/ipv4/ip_forward";
        let now = self.inside(Side::Narrows, || {
            // Where /proc/sys is read-only, the value that is there decides.
            let _ = fs::write(switch, "0");
            fs::read_to_string(switch)
        })??;
        ensure!(
            now.trim() == "0",
            "Narrows' namespace forwards packets and {switch} can't be written"
        );
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

const NEEDS: &str = "the tests against real Kafka need network namespaces: run them as root (or \
                     with CAP_NET_ADMIN and \
                     CAP_SYS_ADMIN) on Linux, with `ip` from iproute2 installed";

fn name_in(set: &str, side: Side) -> String {
    let side = match side {
        Side::Clients => "clients",
        Side::Narrows => "narrows",
        Side::Brokers => "brokers",
    };
    format!("narrows-{set}-{side}")
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("`ip` does not run")?;
    if !output.status.success() {
        bail!(
            "`ip {arguments}`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// In a process group of its own, so that Ctrl-C at the terminal does not take the janitor before
/// its work.
fn start_janitor(set: &str, scratch: &Path) -> Result<Child> {
    let mut script = String::from("cat >/dev/null\n");
    for side in SIDES {
        script += &removal_of(&name_in(set, side));
    }
    script += "rm -rf \"$1\"\n";
    let mut janitor = Command::new("sh");
    janitor
        .args(["-c", &script, "janitor"])
        .arg(scratch)
        .stdin(Stdio::piped())
        .process_group(0);
    Ok(janitor
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

fn removal_of(namespace: &str) -> String {
    let configuration = configuration_of(namespace);
    format!(
        "ip netns pids {namespace} | xargs -r kill -9\nip netns delete {namespace}\nrm -rf \
         {configuration}\n"
    )
}

/// The files that `ip netns exec` shows in the place of those in `/etc`.
fn configuration_of(namespace: &str) -> String {
    format!("/etc/netns/{namespace}")
}

fn scratch_of(set: &str) -> PathBuf {
    std::env::temp_dir().join(format!("narrows-tests-{set}"))
}

/// Removes the namespaces and files of runs whose process is gone and whose janitor was killed with
/// it.
fn sweep_leftovers() {
    let Ok(namespaces) = fs::read_dir("/run/netns") else {
        return;
    };
    for namespace in namespaces.flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        let parts = name
            .strip_prefix("narrows-")
            .and_then(|rest| rest.split_once('-'));
        let Some((set, _)) = parts else { continue };
        let Some(run) = set
            .split('.')
            .next()
            .and_then(|run| run.parse::<u32>().ok())
        else {
            continue;
        };
        let is_ours = SIDES.iter().any(|side| name_in(set, *side) == name);
        let is_over = !Path::new(&format!("/proc/{run}")).exists();
        if is_ours && is_over {
            let _ = writeln!(
                std::io::stderr(),
                "removing {name}, left over from a run that died"
            );
            let _ = Command::new("sh")
                .args(["-c", &removal_of(&name)])
                .stderr(Stdio::null())
                .status();
            let _ = fs::remove_dir_all(scratch_of(set));
        }
    }
}
