//! What there is to say about certificates in settings that are valid in themselves: those that
//! have expired or soon will, names that clients are told and no certificate covers, and
//! verification that is off.
//!
//! A function of the settings and the time. `narrows check` refuses what clients that verify will
//! refuse; `narrows run` only warns of it, since a Narrows that runs serves those that don't, and a
//! certificate can be replaced while it does.

use super::Settings;
use crate::address::sni::PLACEHOLDER;
use crate::address::{Advertised, Scheme, SniScheme};
use crate::cluster::ClusterSettings;
use crate::listener::ListenerSettings;
use crate::net::tls::{Authorities, Certificate, ClientAuth, Identity, ServerTls, Source, Verify};
use crate::session::ListenerTls;
use crate::types::{NodeId, Severity};
use std::fmt;
use std::path::{Path, PathBuf};

pub(super) const DAY_SECONDS: i64 = 86_400;

/// A certificate that expires sooner should be on its way already: cert-manager renews 30 days
/// ahead, Strimzi 30.
const SOON_DAYS: i64 = 14;

/// Where any node id has a name: the smallest, and one whose name is long.
const SAMPLE_NODES: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(1_000_000)];

/// How many names that are not covered are told one by one.
const NAMES_TOLD_MAX: usize = 3;

/// Something about the certificates of one listener or cluster that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Whose it is: the name of a listener or of a cluster.
    pub(crate) owner: String,
    /// What it is about.
    pub(crate) subject: Subject,
    /// Whether it will fail.
    pub(crate) severity: Severity,
    /// The file that it is subject, if it is one.
    pub(crate) file: Option<PathBuf>,
    /// What is wrong.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) cure: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The certificates that a listener shows.
    Listener,
    /// The authorities that vouch for a listener's clients.
    ClientAuthorities,
    /// The certificate that Narrows shows to a cluster's brokers.
    Client,
    /// The authorities that vouch for a cluster's brokers.
    BrokerAuthorities,
    /// What is verified of a cluster's brokers.
    Verify,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            reason,
            cure,
            ..
        } = self;
        let kind = match self.subject {
            Subject::Listener | Subject::ClientAuthorities => "listener",
            Subject::Client | Subject::BrokerAuthorities | Subject::Verify => "cluster",
        };
        write!(f, "{kind} {owner}: {reason}: {cure}")
    }
}

/// Everything that was found, in the order of the settings. `now` is the second since 1970.
pub(crate) fn certificate_checks(settings: &Settings, now: i64) -> Vec<Finding> {
    let clusters = settings
        .clusters
        .iter()
        .flat_map(|cluster| of_cluster(cluster, now));
    let listeners = settings
        .listeners
        .iter()
        .flat_map(|listener| of_listener(listener, now));
    clusters.chain(listeners).collect()
}

/// How long a certificate is valid from `now` on, in words: `89 days left`.
pub(crate) fn validity_text(certificate: &Certificate, now: i64) -> String {
    match certificate.not_after.saturating_sub(now) {
        over if over < 0 => format!("expired {} ago", span(-over)),
        _ if certificate.not_before > now => {
            format!(
                "valid only in {}",
                span(certificate.not_before.saturating_sub(now))
            )
        }
        left => format!("{} left", span(left)),
    }
}

fn of_cluster(cluster: &ClusterSettings, now: i64) -> Vec<Finding> {
    let Some(tls) = &cluster.tls else {
        return Vec::new();
    };
    let owner = Owner {
        name: &cluster.name.0,
        now,
    };
    let mut found = owner.authorities(Subject::BrokerAuthorities, tls.authorities());
    found.extend(
        tls.identity()
            .into_iter()
            .flat_map(|identity| owner.dates(Subject::Client, identity)),
    );
    found.extend(
        tls.identity()
            .and_then(|identity| owner.usage(Subject::Client, identity)),
    );
    let is_small_circle = matches!(tls.authorities().source(), Source::File(_));
    if tls.verify() == Verify::Chain && !is_small_circle {
        let reason = "brokers may have any name (tls.verify: chain), and every public authority \
                      is trusted: anyone with a certificate of one can impersonate a broker";
        let cure = "set tls.ca to the authorities that sign the brokers' certificates";
        found.push(owner.finding(
            Subject::Verify,
            Severity::Warning,
            None,
            reason.into(),
            cure.into(),
        ));
    }
    if tls.verify() == Verify::Off {
        let reason = "brokers are not verified (tls.verify: off): anyone who can intercept the \
            connection can impersonate a broker";
        let cure =
            "set tls.ca to the authorities that sign their certificates, and remove tls.verify";
        found.push(owner.finding(
            Subject::Verify,
            Severity::Warning,
            None,
            reason.into(),
            cure.into(),
        ));
    }
    found
}

fn of_listener(listener: &ListenerSettings, now: i64) -> Vec<Finding> {
    let Some(ListenerTls::Terminate(tls)) = &listener.tls else {
        return Vec::new();
    };
    let owner = Owner {
        name: &listener.name.0,
        now,
    };
    let mut found: Vec<_> = tls
        .identities()
        .iter()
        .flat_map(|identity| owner.dates(Subject::Listener, identity))
        .collect();
    let leaves = tls.identities().iter();
    found.extend(leaves.filter_map(|leaf| owner.usage(Subject::Listener, leaf)));
    found.extend(owner.names(&listener.scheme, tls));
    if let ClientAuth::Requested(authorities) | ClientAuth::Required(authorities) =
        tls.client_auth()
    {
        found.extend(owner.authorities(Subject::ClientAuthorities, authorities));
    }
    found
}

/// Whose certificates are looked at, and when.
struct Owner<'a> {
    name: &'a str,
    now: i64,
}

impl Owner<'_> {
    fn finding(
        &self,
        subject: Subject,
        severity: Severity,
        file: Option<&Path>,
        reason: String,
        cure: String,
    ) -> Finding {
        let owner = self.name.to_owned();
        let file = file.map(Path::to_owned);
        Finding {
            owner,
            subject,
            severity,
            file,
            reason,
            cure,
        }
    }

    /// Of a chain: each certificate that is not valid now, or not for long.
    fn dates(&self, subject: Subject, identity: &Identity) -> Vec<Finding> {
        let file = identity.file();
        let of = |certificate: &Certificate| {
            let (severity, cure) = self.weigh(certificate)?;
            let reason = format!(
                "the certificate of {}: {}",
                certificate.subject,
                validity_text(certificate, self.now)
            );
            Some(self.finding(subject, severity, Some(file), reason, cure.to_owned()))
        };
        identity.chain().iter().filter_map(of).collect()
    }

    /// A certificate that names its uses, and not the one that it is shown for.
    fn usage(&self, subject: Subject, identity: &Identity) -> Option<Finding> {
        let certificate = identity.certificate();
        let (is_fine, whom, usage, peers) = match subject {
            Subject::Listener => (
                certificate.is_for_servers,
                "servers",
                "serverAuth",
                "client",
            ),
            _ => (
                certificate.is_for_clients,
                "clients",
                "clientAuth",
                "broker",
            ),
        };
        if is_fine {
            return None;
        }
        let reason = format!(
            "the certificate of {} is not for {whom} (its extended key usage lacks {usage}), so \
             every {peers} that verifies refuses it",
            certificate.subject
        );
        let cure = format!("issue one with extendedKeyUsage={usage}, or name the file that has it");
        let file = Some(identity.file());
        Some(self.finding(subject, Severity::Problem, file, reason, cure))
    }

    fn weigh(&self, certificate: &Certificate) -> Option<(Severity, &'static str)> {
        let renew = "renew it; Narrows takes in the new file while it runs";
        match certificate.not_after.saturating_sub(self.now) {
            left if left < 0 => Some((Severity::Problem, renew)),
            _ if certificate.not_before > self.now => {
                Some((Severity::Problem, "wait, or look at the clock of this host"))
            }
            left if left < SOON_DAYS * DAY_SECONDS => Some((Severity::Warning, renew)),
            _ => None,
        }
    }

    /// Of authorities in a file. Those that have expired are trusted all the same, but who they
    /// vouch for will not last.
    fn authorities(&self, subject: Subject, authorities: &Authorities) -> Vec<Finding> {
        let Source::File(file) = authorities.source() else {
            return Vec::new();
        };
        let of = |certificate: &Certificate| {
            self.weigh(certificate)?;
            let reason = format!(
                "the authority {}: {}",
                certificate.subject,
                validity_text(certificate, self.now)
            );
            let cure = "add its successor to the file while both are in use, then remove it";
            Some(self.finding(
                subject,
                Severity::Warning,
                Some(file),
                reason,
                cure.to_owned(),
            ))
        };
        authorities.certificates().iter().filter_map(of).collect()
    }

    /// Names that clients are told and none of the certificates is good for.
    fn names(&self, scheme: &Scheme, tls: &ServerTls) -> Option<Finding> {
        let is_covered = |host: &String| {
            tls.certificates()
                .any(|certificate| certificate.covers(host))
        };
        let missing: Vec<_> = hosts(scheme)
            .into_iter()
            .filter(|host| !is_covered(host))
            .collect();
        let first = tls.identities().first()?;
        if missing.is_empty() {
            return None;
        }
        let told = missing
            .iter()
            .take(NAMES_TOLD_MAX)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = match missing.len().saturating_sub(NAMES_TOLD_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let reason =
            format!("no certificate is good for {told}{more}, which clients are told to dial");
        let severity = Severity::Problem;
        let mut cure = cure(scheme, &missing);
        if tls
            .certificates()
            .all(|certificate| certificate.names().next().is_none())
        {
            cure += "; the common name does not count";
        }
        Some(self.finding(
            Subject::Listener,
            severity,
            Some(first.file()),
            reason,
            cure,
        ))
    }
}

/// The names that clients are told: all of them, or some where there are too many.
fn hosts(scheme: &Scheme) -> Vec<String> {
    let (bootstrap, nodes) = match scheme {
        Scheme::Port(scheme) => (None, scheme.node_ids().iter().take(1).collect()),
        Scheme::Sni(scheme) => {
            let all = scheme.node_ids().map(|ids| ids.iter().collect());
            (
                Some(scheme.bootstrap_host().to_owned()),
                all.unwrap_or_else(|| SAMPLE_NODES.to_vec()),
            )
        }
        Scheme::Single(scheme) if scheme.is_shared() => (None, SAMPLE_NODES[..1].to_vec()),
        Scheme::Single(scheme) => {
            let bootstrap = scheme.bootstrap().host.to_string();
            (Some(bootstrap), SAMPLE_NODES.to_vec())
        }
    };
    let brokers = nodes
        .into_iter()
        .filter_map(|node| match scheme.advertise(node) {
            Advertised::Mapped(address) => Some(address.host.to_string()),
            Advertised::Unmapped(_) => None,
        });
    bootstrap.into_iter().chain(brokers).collect()
}

/// The names to ask for, with a wildcard where one will do.
fn cure(scheme: &Scheme, missing: &[String]) -> String {
    let Scheme::Sni(names) = scheme else {
        return format!(
            "issue it with the subject alternative name {}",
            missing.join(", ")
        );
    };
    let Some(wildcard) = wildcard(names) else {
        let pattern = names.pattern();
        return format!(
            "no wildcard is good for {pattern}, since one stands for the first label only: move \
             {{node_id}} there, or issue it with every broker's name"
        );
    };
    let bootstrap = names.bootstrap_host();
    let is_covered = bootstrap
        .split_once('.')
        .is_some_and(|(_, rest)| wildcard.strip_prefix("*.") == Some(rest));
    let wanted = if is_covered {
        wildcard
    } else {
        format!("{bootstrap}, {wildcard}")
    };
    format!(
        "issue it with the subject alternative names {wanted}; a wildcard stands for one label only"
    )
}

/// The wildcard that covers every broker, where their names differ in the first label only.
fn wildcard(names: &SniScheme) -> Option<String> {
    let pattern = names.pattern();
    let (first, rest) = pattern.split_once('.')?;
    first.contains(PLACEHOLDER).then(|| format!("*.{rest}"))
}

/// A time span in its largest unit: `89 days`, `3 hours`.
fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        days if days >= DAY_SECONDS => (days / DAY_SECONDS, "day"),
        hours if hours >= 3_600 => (hours / 3_600, "hour"),
        minutes => (minutes / 60, "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
