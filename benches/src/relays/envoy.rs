//! Envoy's TCP proxy.

use super::kind::{Kind, Setting};
use anyhow::{Result, ensure};
use std::process::Command;

pub fn command(setting: &Setting, port: u16, threads: usize) -> Result<Command> {
    ensure!(
        setting.envoy.exists(),
        "Envoy is not there: {}",
        super::how_to_get("envoy")
    );
    let text = configuration(port, setting.broker.port());
    let mut command = Command::new(&setting.envoy);
    command
        .arg("-c")
        .arg(setting.write(Kind::Envoy, port, "yaml", &text)?)
        .args(["--disable-hot-restart", "--log-level", "error"])
        .args(["--concurrency", &threads.to_string()]);
    Ok(command)
}

/// Its circuit breaker would stop at 1,024 connections.
fn configuration(port: u16, broker_port: u16) -> String {
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
