//! HAProxy: by its kernel splice, by copies, and with TLS, each as its documentation recommends.

use super::kind::{CURVE, Kind, SUITE, Setting, localhost};
use crate::certificates::BROKER_NAME;
use anyhow::Result;
use std::net::SocketAddr;
use std::process::Command;

/// Its pipes, of which each takes two descriptors; bulk here is twelve connections wide.
const PIPES: usize = 256;

pub fn command(kind: Kind, setting: &Setting, port: u16, threads: usize) -> Result<Command> {
    let text = match kind {
        Kind::HaproxyCopy | Kind::HaproxySplice => {
            let way = (localhost(port), setting.broker);
            ways(kind == Kind::HaproxySplice, setting, threads, &[way])
        }
        _ => with_tls(kind, setting, port, threads),
    };
    let mut command = Command::new("haproxy");
    command
        .args(["-db", "-f"])
        .arg(setting.write(kind, port, "conf", &text)?);
    Ok(command)
}

/// TCP mode; with `splices`, all three options, for it copies without one of them.
pub fn ways(
    splices: bool,
    setting: &Setting,
    threads: usize,
    ways: &[(SocketAddr, SocketAddr)],
) -> String {
    let mut text = head(splices, setting, threads, "");
    for (index, (from, to)) in ways.iter().enumerate() {
        text += &format!("listen way{index}\n  bind {from}\n  server broker {to}\n");
    }
    text
}

/// Names that the certificate does not have are turned away, as Narrows does it. `tune.bufsize` is
/// 16 KiB, since its documentation strongly recommends not to change that; with 64 KiB, producing
/// costs a quarter less, so the report has both.
fn with_tls(kind: Kind, setting: &Setting, port: u16, threads: usize) -> String {
    let address = localhost(port);
    if kind == Kind::HaproxyPassthrough {
        return head(true, setting, threads, "")
            + &format!(
                "frontend hello\n  bind {address}\n  tcp-request inspect-delay 5s\n  \
                 tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
                 use_backend broker1 if {{ req.ssl_sni -i {BROKER_NAME} }}\nbackend broker1\n  server broker {}\n",
                setting.broker_behind_hello
            );
    }
    let buffers = if kind == Kind::HaproxyTls64k {
        "  tune.bufsize 65536\n"
    } else {
        ""
    };
    let global = format!(
        "{buffers}  ssl-default-bind-options ssl-min-ver TLSv1.3\n  ssl-default-bind-ciphersuites \
         {SUITE}\n  \
         ssl-default-bind-curves {CURVE}\n"
    );
    head(false, setting, threads, &global)
        + &format!(
            "listen tls\n  bind {address} ssl crt {} strict-sni\n  server broker {}\n",
            setting.certificates.both.display(),
            setting.broker
        )
}

/// The sections in front of the ways, with more lines for the first of them.
fn head(splices: bool, setting: &Setting, threads: usize, global: &str) -> String {
    let connections = setting.connections_max();
    let (pipes, options) = match splices {
        true => (
            "  tune.pipesize 1048576\n",
            "  option splice-auto\n  option splice-request\n  option splice-response\n",
        ),
        false => ("", ""),
    };
    format!(
        "global\n  maxconn {connections}\n  maxpipes {PIPES}\n  nbthread \
         {threads}\n{pipes}{global}defaults\n  mode tcp\n{options}\
         \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
    )
}
