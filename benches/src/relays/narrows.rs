//! Narrows itself: scheme `port` in plaintext, scheme `sni` with TLS.

use super::kind::{Kind, Setting, localhost};
use crate::certificates::{BOOTSTRAP_NAME, BROKER_NAMES};
use anyhow::Result;
use std::process::Command;

/// Broker 1 has the port behind `port` in plaintext.
pub fn command(kind: Kind, setting: &Setting, port: u16) -> Result<Command> {
    let mut command = Command::new(&setting.narrows);
    if kind == Kind::Narrows {
        command
            .args(["run", "--bootstrap-servers", &setting.broker.to_string()])
            .args(["--bind", &localhost(port).to_string()])
            .args(["--advertised-host", "127.0.0.1"])
            .args(["--node-ids", "1-3", "--log-level", "warn"]);
        return Ok(command);
    }
    let path = setting.write(kind, port, "yaml", &configuration(kind, setting, port))?;
    command
        .args(["run", "--log-level", "warn", "--config"])
        .arg(path);
    Ok(command)
}

/// Scheme `sni`: the broker that a name stands for. rustls offers more suites and curves than the
/// others here; the load takes only the one.
fn configuration(kind: Kind, setting: &Setting, port: u16) -> String {
    let certificates = &setting.certificates;
    let hello_port = setting.broker_behind_hello.port();
    let tls = match kind {
        Kind::NarrowsPassthrough => {
            format!("      mode: passthrough\n      broker_port: {hello_port}\n")
        }
        _ => format!(
            "      certificate: {}\n      key: {}\n",
            certificates.certificate.display(),
            certificates.key.display()
        ),
    };
    format!(
        "clusters:\n  bench:\n    bootstrap_servers: [\"{}\"]\nlisteners:\n  tls:\n    bind: {}\n \
         address:\n      scheme: sni\n      \
         bootstrap_host: {BOOTSTRAP_NAME}\n      broker_host: {BROKER_NAMES}\n    tls:\n{tls}",
        setting.broker,
        localhost(port)
    )
}
