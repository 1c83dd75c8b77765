//! The certificates that are in use: how long they hold, in the metrics and on the status page.

use super::Settings;
use super::certificate_checks::DAY_SECONDS;
use crate::net::tls::Certificate;
use crate::observe::metrics::Metrics;
use crate::observe::time::{rfc3339, unix_seconds};
use crate::session::ListenerTls;
use serde_json::{Value, json};

/// A certificate, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    owner: String,
    role: &'static str,
    certificate: Certificate,
}

impl Shown {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "owner": self.owner,
            "role": self.role,
            "subject": self.certificate.subject,
            "names": self.certificate.names().collect::<Vec<_>>(),
            "serial": self.certificate.serial,
            "state": self.state(),
            "not_after": rfc3339(self.certificate.not_after),
            "days_left": self.days_left(),
        })
    }

    fn state(&self) -> &'static str {
        let now = unix_seconds();
        if now > self.certificate.not_after {
            "expired"
        } else if now < self.certificate.not_before {
            "not_yet_valid"
        } else {
            "valid"
        }
    }

    fn days_left(&self) -> i64 {
        self.certificate
            .not_after
            .saturating_sub(unix_seconds())
            .div_euclid(DAY_SECONDS)
    }
}

/// Every certificate that the settings have; authorities are not among them.
pub(super) fn of(settings: &Settings) -> Vec<Shown> {
    let listeners = settings.listeners.iter().flat_map(|listener| {
        let certificates = match &listener.tls {
            Some(ListenerTls::Terminate(tls)) => tls.certificates().cloned().collect(),
            _ => Vec::new(),
        };
        let owner = listener.name.to_string();
        certificates.into_iter().map(move |certificate| Shown {
            owner: owner.clone(),
            role: "listener",
            certificate,
        })
    });
    let clusters = settings.clusters.iter().filter_map(|cluster| {
        let certificate = cluster.tls.as_ref()?.certificate()?.clone();
        Some(Shown {
            owner: cluster.name.to_string(),
            role: "cluster",
            certificate,
        })
    });
    listeners.chain(clusters).collect()
}

/// Sets the metric of each; where an owner has several, the first to expire.
pub(super) fn count(certificates: &[Shown], metrics: &Metrics) {
    metrics.forget_certificates();
    for shown in certificates {
        metrics.certificate(shown.role, &shown.owner, shown.certificate.not_after);
    }
}
