//! nginx' stream module, in plaintext and with TLS.

use super::kind::{CURVE, Kind, SUITE, Setting};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

pub fn command(kind: Kind, setting: &Setting, port: u16, threads: usize) -> Result<Command> {
    let tls = match kind {
        Kind::NginxTls => tls(setting),
        _ => String::new(),
    };
    let text = configuration(setting, port, threads, &tls)?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(&setting.folder)
        .arg("-c")
        .arg(setting.write(kind, port, "conf", &text)?)
        .args(["-e", "stderr"]);
    Ok(command)
}

/// With `tls`, the directives of its server, it ends TLS.
fn configuration(setting: &Setting, port: u16, threads: usize, tls: &str) -> Result<String> {
    let folders = [
        "/usr/lib/nginx/modules",
        "/usr/lib64/nginx/modules",
        "/usr/local/lib/nginx/modules",
    ];
    let module = folders
        .iter()
        .map(|folder| Path::new(folder).join("ngx_stream_module.so"))
        .find(|path| path.exists())
        .with_context(|| format!("nginx has no stream module: {}", super::how_to_get("nginx")))?;
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

/// What makes nginx's server end TLS.
fn tls(setting: &Setting) -> String {
    format!(
        "    ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n    \
         ssl_conf_command Ciphersuites {SUITE};\n    ssl_ecdh_curve {CURVE};\n    ssl_session_tickets on;\n    \
         ssl_session_cache shared:bench:10m;\n",
        setting.certificates.certificate.display(),
        setting.certificates.key.display()
    )
}
