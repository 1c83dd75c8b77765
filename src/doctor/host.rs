//! The machine that Narrows is to run on: ports, limits and the clock.

use super::{Code, Report, Stage, Trouble};
use crate::app::{Settings, capacity, certificate_checks, unix_seconds};
use crate::listener::{LimitsSettings, descriptors_for, limits_text};
use crate::net::pools::PoolSizes;
use crate::net::{descriptors, pools, socket};
use crate::session::{ListenerTls, Splice};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How many ports that can't be bound are told one by one.
const TOLD_MAX: usize = 5;

/// Looks at everything. Must be called inside a tokio runtime. Waits for the disk, as `check` does.
pub(super) fn examine(settings: &Settings) -> Report {
    let mut report = Report {
        subject: "this machine".to_owned(),
        ..Report::default()
    };
    ports(settings, &mut report);
    descriptors(&settings.limits, descriptors::raise_limit(), &mut report);
    let limits = limits_text(settings.limits, capacity());
    report.fine(Stage::System, format!("limits: {limits}"));
    report.fine(Stage::System, PoolSizes::here().to_string());
    if settings.session.splice == Splice::Auto {
        pipes(pools::pipe_pages(), &mut report);
    }
    clock(settings, unix_seconds(), &mut report);
    report
}

/// Whether each address can be bound, or has been by a Narrows that runs.
fn ports(settings: &Settings, report: &mut Report) {
    let binds = settings.listeners.iter();
    let binds = binds.flat_map(|listener| listener.scheme.binds());
    let binds = binds.map(|bind| bind.address);
    let binds: Vec<_> = binds
        .chain(settings.admin.iter().map(|admin| admin.bind))
        .collect();
    let mut free = 0;
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    let mut troubles = Vec::new();
    for address in binds {
        match socket::listen(address) {
            Ok(_) => free += 1,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => match holder(address) {
                Some(holder) if holder.starts_with(OWN_COMMAND) => {
                    *held.entry(holder).or_default() += 1;
                }
                holder => {
                    let holder = holder.map_or_else(String::new, |holder| format!(" ({holder})"));
                    let fact = format!("another process{holder} listens at {address}");
                    troubles.push(Trouble::new(Code::PORT_TAKEN, fact));
                }
            },
            Err(error) => {
                let fact = format!("{address} can't be bound ({error})");
                troubles.push(Trouble::new(Code::BIND_FAILED, fact));
            }
        }
    }
    for trouble in troubles.iter().take(TOLD_MAX) {
        report.problem(Stage::Ports, trouble);
    }
    if let Some(more) = troubles.len().checked_sub(TOLD_MAX + 1) {
        let code = troubles[TOLD_MAX].code;
        let fact = format!("{} more addresses can't be bound", more + 1);
        report.problem(Stage::Ports, &Trouble::new(code, fact));
    }
    if free > 0 {
        report.fine(Stage::Ports, format!("{free} ports can be bound"));
    }
    for (holder, count) in held {
        report.fine(Stage::Ports, format!("{count} ports are held by {holder}"));
    }
}

/// The command of a Narrows that runs, as the kernel names it.
const OWN_COMMAND: &str = "narrows ";

/// Who listens there: the command and the process id; `None` where that can't be seen.
fn holder(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        listening_inode(&text, address).map(str::to_owned)
    })?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let is_it = |file: &std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        };
        if files.flatten().any(|file| is_it(&file)) {
            let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let command = crate::observe::text::Shown::name(command.trim()).to_string();
            return Some(format!("{command} with process id {pid}"));
        }
    }
    None
}

/// The inode of the socket that stands in the way of a bind, from `/proc/net/tcp` (proc(5)): the
/// second column is its address, the fourth the state, of which 0A is listening, the tenth the
/// inode.
fn listening_inode(table: &str, wanted: SocketAddr) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = listed_address(columns.next()?)?;
        let state = columns.nth(1)?;
        let is_any = local.ip().is_unspecified() || wanted.ip().is_unspecified();
        let is_in_the_way = local.port() == wanted.port() && (is_any || local.ip() == wanted.ip());
        (is_in_the_way && state == "0A")
            .then(|| columns.nth(5))
            .flatten()
    })
}

/// An address as the kernel lists it: words of 32 bits in hexadecimal, as they lie in memory.
fn listed_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok();
    let address = match address.len() {
        8 => IpAddr::from(word(0)?.to_ne_bytes()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Whether the connections that are allowed have descriptors.
fn descriptors(limits: &LimitsSettings, allowed: usize, report: &mut Report) {
    let Some(connections) = limits.connections_max else {
        let text = format!("{allowed} files may be open, which limits.connections_max follows");
        return report.fine(Stage::System, text);
    };
    let needed = descriptors_for(connections);
    if needed <= allowed {
        let text = format!("{allowed} files may be open, {connections} connections need {needed}");
        return report.fine(Stage::System, text);
    }
    let fact = format!(
        "{connections} connections (limits.connections_max) need {needed} open files, and \
         {allowed} are allowed"
    );
    report.problem(
        Stage::System,
        &Trouble::new(Code::DESCRIPTORS_TOO_FEW, fact),
    );
}

/// 64 pipes of 64 KiB, the least that is used, in pages of 4 KiB.
const PAGES_MIN: u64 = 64 * 16;

fn pipes(pages: Option<u64>, report: &mut Report) {
    match pages {
        Some(pages) if pages < PAGES_MIN => {
            let fact = format!(
                "pipes of one user may have {pages} pages ({})",
                pools::PIPE_PAGES
            );
            report.warn(Stage::System, &Trouble::new(Code::PIPES_TOO_SMALL, fact));
        }
        Some(pages) => {
            report.fine(
                Stage::System,
                format!("pipes of one user may have {pages} pages"),
            );
        }
        None => {}
    }
}

/// Certificates of Narrows' own that are not valid yet, by this machine's clock.
fn clock(settings: &Settings, now: i64, report: &mut Report) {
    let clusters = settings.clusters.iter();
    let shown = clusters.filter_map(|cluster| cluster.tls.as_ref()?.certificate());
    let listeners = settings
        .listeners
        .iter()
        .filter_map(|listener| match &listener.tls {
            Some(ListenerTls::Terminate(tls)) => Some(tls.identities().iter()),
            _ => None,
        });
    let own = listeners.flatten().map(|identity| identity.certificate());
    let early = shown
        .chain(own)
        .find(|certificate| certificate.not_before > now);
    if let Some(certificate) = early {
        let validity = crate::app::validity_text(certificate, now);
        let fact = format!("the certificate of {} is {validity}", certificate.subject);
        report.problem(Stage::System, &Trouble::new(Code::CLOCK_BEHIND, fact));
    } else if certificate_checks(settings, now).is_empty() {
        report.fine(Stage::System, "the clock fits every certificate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:2385 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_socket_that_stands_in_the_way_is_found_and_no_other() {
        let inode = |address: &str| listening_inode(TCP, address.parse().unwrap());
        assert_eq!(inode("127.0.0.1:9092"), Some("4711"));
        assert_eq!(inode("0.0.0.0:9092"), Some("4711"));
        assert_eq!(inode("127.0.0.2:9092"), None);
        assert_eq!(inode("127.0.0.1:9093"), None);
        assert_eq!(
            listening_inode("a\nb", "127.0.0.1:1".parse().unwrap()),
            None
        );
        let loopback = listed_address("00000000000000000000000001000000:2384");
        assert_eq!(loopback, Some("[::1]:9092".parse().unwrap()));
    }

    fn report_of(look: impl Fn(&mut Report)) -> String {
        let mut report = Report::default();
        look(&mut report);
        report.short()
    }

    #[test]
    fn more_connections_than_files_are_a_problem() {
        let limits = |connections_max| LimitsSettings {
            connections_max,
            connections_per_source_max: None,
            connections_rate: None,
            connections_per_source_rate: None,
            newcomers_max: None,
            tls_handshakes_waiting_max: None,
        };
        let said = |connections, allowed| {
            report_of(|report| descriptors(&limits(connections), allowed, report))
        };
        let expected = "FAIL descriptors_too_few 1000 connections (limits.connections_max)";
        assert!(said(Some(1_000), 1_024).starts_with(expected));
        assert!(said(Some(1_000), 1_000_000).starts_with("ok"));
        assert!(said(None, 1_024).starts_with("ok"));
    }

    #[test]
    fn pipes_without_room_are_a_warning() {
        assert!(report_of(|report| pipes(Some(100), report)).starts_with("warn pipes_too_small"));
        assert!(report_of(|report| pipes(Some(16_384), report)).starts_with("ok"));
    }

    #[tokio::test]
    async fn who_holds_a_port_is_named() {
        let listener = socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let holder = holder(listener.local_addr().unwrap()).unwrap();
        let pid = std::process::id();
        assert!(
            holder.ends_with(&format!("with process id {pid}")),
            "{holder}"
        );
    }
}
