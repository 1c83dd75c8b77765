//! Why Narrows can't start, told so that ten thousand ports fill no screen.

use crate::listener::{BindError, bind_cure};
use crate::types::ClusterName;
use std::io;
use std::net::SocketAddr;

/// So many ports of one listener that fail for one reason are told one by one.
const PORTS_TOLD_MAX: usize = 3;

/// Why Narrows can't start. Nothing is left half-started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Sockets that can't be bound: all of them. A line for each, or for many that fail alike.
    #[error("{}", bind_errors_text(.0))]
    Bind(Vec<BindError>),
    /// The admin port can't be bound.
    #[error(
        "admin.bind = {address} can't be used: {reason}{}",
        bind_cure(.reason, "change admin.bind")
    )]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// Sockets that were passed, and that no bind has; with the bind that has the same port.
    #[error("{}", passed_text(.0))]
    Passed(Vec<(SocketAddr, Option<SocketAddr>)>),
    /// A listener names a cluster that the settings lack.
    #[error("listener {listener} leads to cluster {cluster}, which does not exist")]
    NoCluster {
        /// The listener's name.
        listener: String,
        /// The cluster's name.
        cluster: ClusterName,
    },
}

/// A line for each; nobody passes ten thousand.
fn passed_text(sockets: &[(SocketAddr, Option<SocketAddr>)]) -> String {
    let line = |(socket, bind): &(SocketAddr, Option<SocketAddr>)| {
        let cure = match bind {
            Some(bind) => format!("pass one of {bind} (ListenStream={bind})"),
            None => "take it out of the socket unit, or add the bind that it was meant for".into(),
        };
        format!(
            "the socket {socket} was passed (LISTEN_FDS), but nothing is configured to bind that \
             address, so clients would wait there for ever: {cure}"
        )
    };
    sockets.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn bind_errors_text(errors: &[BindError]) -> String {
    let is_alike = |a: &BindError, b: &BindError| {
        a.listener == b.listener && a.reason.raw_os_error() == b.reason.raw_os_error()
    };
    let mut lines = Vec::new();
    for alike in errors.chunk_by(is_alike) {
        match alike {
            [first, .., last] if alike.len() > PORTS_TOLD_MAX => lines.push(format!(
                "listener {} can't bind {} ports, from {} to {}: {}{}",
                first.listener,
                alike.len(),
                first.address,
                last.address,
                first.reason,
                bind_cure(&first.reason, "move bind or first_port")
            )),
            few => lines.extend(few.iter().map(ToString::to_string)),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ListenerName;

    fn errors(ports: std::ops::Range<u16>, os_error: i32) -> Vec<BindError> {
        let of = |port| BindError {
            listener: ListenerName("external".into()),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            meant_for: "broker 0".to_owned(),
            reason: io::Error::from_raw_os_error(os_error),
        };
        ports.map(of).collect()
    }

    #[test]
    fn many_ports_that_fail_alike_are_one_line_with_the_cure() {
        let mut all = errors(9093..9095, 98);
        all.extend(errors(10_000..18_989, 24));
        let text = StartError::Bind(all).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("127.0.0.1:9094"), "{text}");
        assert_eq!(
            lines[2],
            "listener external can't bind 8989 ports, from 127.0.0.1:10000 to 127.0.0.1:18988: \
             Too many open files (os error 24) (raise the limit of open files, ulimit -n or \
             LimitNOFILE, or list fewer node_ids)"
        );
    }
}
