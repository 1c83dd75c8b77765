//! Narrows itself: scheme `port` in plaintext, scheme `sni` with TLS.

use super::kind::{Kind, Setting, localhost};
use crate::certificates::{BOOTSTRAP_NAME, BROKER_NAMES};
use anyhow::Result;
use std::net::SocketAddr;
use std::process::Command;

/// Broker 1 has the port behind `port` in plaintext.
pub fn command(kind: Kind, setting: &Setting, port: u16) -> Result<Command> {
    let mut command = Command::new(&setting.narrows);
    // All of the load comes from one address.
    command.env("NARROWS_LIMITS__CONNECTIONS_PER_SOURCE_MAX", "1000000");
    if kind == Kind::Narrows {
        command
            .args(["run", "--bootstrap-servers", &setting.broker.to_string()])
            .args(["--bind", &localhost(port).to_string()])
            .args(["--advertised-host", "127.0.0.1"])
            .args(["--node-ids", "1-3", "--log-level", "warn"]);
        return Ok(command);
    }
    let text = configuration(&tls(kind, setting), setting.broker, localhost(port));
    let path = setting.write(kind, port, "yaml", &text)?;
    command
        .args(["run", "--log-level", "warn", "--config"])
        .arg(path);
    Ok(command)
}

/// The keys of the section `tls`. rustls offers more suites and curves than the others here; the
/// load takes only the one.
fn tls(kind: Kind, setting: &Setting) -> String {
    let certificates = &setting.certificates;
    match kind {
        Kind::NarrowsPassthrough => {
            let port = setting.broker_behind_hello.port();
            format!("{{mode: passthrough, broker_port: {port}}}")
        }
        _ => format!(
            "{{certificate: {:?}, key: {:?}}}",
            certificates.certificate, certificates.key
        ),
    }
}

/// Scheme `sni`: the broker that a name stands for.
fn configuration(tls: &str, broker: SocketAddr, bind: SocketAddr) -> String {
    format!(
        r#"clusters:
  bench:
    bootstrap_servers: ["{broker}"]
listeners:
  tls:
    bind: {bind}
    address:
      scheme: sni
      bootstrap_host: {BOOTSTRAP_NAME}
      broker_host: {BROKER_NAMES}
    tls: {tls}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use narrows::config::{Sources, load};

    #[test]
    fn what_narrows_is_configured_with_has_no_problem() {
        let tls = [
            "{mode: passthrough, broker_port: 19093}",
            "{certificate: \"/a b/c.pem\", key: \"/a b/k.pem\"}",
        ];
        for (port, tls) in (20_080..).zip(tls) {
            let text = configuration(tls, localhost(19_092), localhost(port));
            let name = format!("narrows-bench-{}-{port}.yaml", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, &text).unwrap();
            let loaded = load(&Sources {
                file: Some(path.clone()),
                without_files: true,
                ..Sources::default()
            });
            std::fs::remove_file(path).unwrap();
            assert!(loaded.is_ok(), "{text}{}", loaded.unwrap_err());
        }
    }
}
