//! The relays that know TLS: one certificate, TLS 1.3 with AES-128-GCM and X25519 only, tickets on.

use crate::certificates::{BOOTSTRAP_NAME, BROKER_NAME, BROKER_NAMES};
use crate::relays::{Kind, Setting, haproxy_head, localhost};

const SUITE: &str = "TLS_AES_128_GCM_SHA256";
const CURVE: &str = "X25519";

/// Scheme `sni`: the broker that a name stands for. rustls offers more suites and curves than the
/// others here; the load takes only the one.
pub fn narrows(kind: Kind, setting: &Setting, port: u16) -> String {
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

/// Names that the certificate does not have are turned away, as Narrows does it. `tune.bufsize` is
/// 16 KiB, since its documentation strongly recommends not to change that; with 64 KiB, producing
/// costs a quarter less, so the report has both.
pub fn haproxy(kind: Kind, setting: &Setting, port: u16, threads: usize) -> String {
    let address = localhost(port);
    if kind == Kind::HaproxyPassthrough {
        return haproxy_head(true, setting, threads, "")
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
    haproxy_head(false, setting, threads, &global)
        + &format!(
            "listen tls\n  bind {address} ssl crt {} strict-sni\n  server broker {}\n",
            setting.certificates.both.display(),
            setting.broker
        )
}

/// What makes nginx's server end TLS.
pub fn nginx(setting: &Setting) -> String {
    format!(
        "    ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n    \
         ssl_conf_command Ciphersuites {SUITE};\n    ssl_ecdh_curve {CURVE};\n    ssl_session_tickets on;\n    \
         ssl_session_cache shared:bench:10m;\n",
        setting.certificates.certificate.display(),
        setting.certificates.key.display()
    )
}
