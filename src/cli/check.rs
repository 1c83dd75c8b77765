//! `narrows check`: validates without starting. Offline: names are not resolved and nothing is
//! dialled, unless `--live` asks for that too ([`doctor::live()`]).
//!
//! Beyond what keeps Narrows from running, it looks at what keeps clients and brokers from being
//! served: certificates that are not valid now, names that clients are told and no certificate
//! covers, and addresses that lead elsewhere ([`placement`]).

use super::config::print;
use super::doctor::{Output, Progress, in_runtime};
use super::run::configured;
use super::{CheckArgs, EXIT_CONFIGURATION, ended, loaded, paint, placement};
use crate::address::Scheme;
use crate::app::{
    Finding, Settings, Severity, Subject, certificate_checks, configuration_hash, unix_seconds,
    validity_text,
};
use crate::config::keys::{self, Key};
use crate::config::{Loaded, Problem, Problems};
use crate::doctor::{self, Report};
use crate::listener::ListenerSettings;
use crate::net::tls::{Authorities, Certificate, ClientAuth, Identity, Source};
use crate::observe::text;
use crate::session::ListenerTls;
use std::process::ExitCode;

pub(super) fn run(args: CheckArgs) -> ExitCode {
    let (is_live, output) = (args.live, args.output);
    let sources = args.sources();
    let Loaded {
        settings,
        effective,
        ..
    } = match loaded(&sources) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let now = unix_seconds();
    let found = certificate_checks(&settings, now);
    let (problems, warnings): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|finding| finding.severity == Severity::Problem);
    let warnings = warnings.iter().map(ToString::to_string);
    let warnings: Vec<_> = warnings.chain(placement::warnings(&settings)).collect();
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    if problems.is_empty() {
        let details = match sources.without_files {
            true => "certificates and keys were not read (--no-files)\n".to_owned(),
            false => details(&settings, now),
        };
        if !is_live {
            return print(&(ok(warnings.len()) + &summary(&settings) + &details));
        }
        let values: Vec<_> = effective.entries.iter().map(configured).collect();
        let hash = configuration_hash(&values);
        let details = format!("{details}configuration hash {hash}, as on the status page\n");
        return live(&settings, output, &details, warnings.len());
    }
    eprint!(
        "{}",
        Problems {
            list: problems.into_iter().map(problem).collect(),
            files: Vec::new()
        }
    );
    ExitCode::from(EXIT_CONFIGURATION)
}

/// Exit code 1 where something that is configured is not there. `warnings` have been given.
fn live(settings: &Settings, output: Output, details: &str, warnings: usize) -> ExitCode {
    let progress = Progress::new();
    let reports = in_runtime(doctor::live(settings, &|what| progress.tell(what)));
    progress.clear();
    let reports = match reports {
        Ok(reports) => reports,
        Err(error) => return ended(Err(error)),
    };
    let text = match output {
        Output::Table => {
            let tables = doctor::tables(&reports, warnings);
            let tables = paint::table(tables);
            format!("Configured: {}{details}\n{tables}", summary(settings))
        }
        Output::Json => {
            let json: Vec<_> = reports.iter().map(Report::json).collect();
            text::json(&json.into()) + "\n"
        }
        Output::Short => reports.iter().map(Report::short).collect(),
    };
    let printed = print(&text);
    if reports.iter().all(Report::is_fine) {
        printed
    } else {
        ExitCode::FAILURE
    }
}

fn problem(finding: Finding) -> Problem {
    Problem {
        key: key(finding.subject).at(&finding.owner).join("."),
        found: finding.file.map(|file| file.display().to_string()),
        reason: finding.reason,
        cure: finding.cure,
    }
}

fn key(subject: Subject) -> &'static Key {
    match subject {
        Subject::Listener => &keys::TLS_CERTIFICATE,
        Subject::ClientAuthorities => &keys::CLIENT_AUTH_CA,
        Subject::Client => &keys::CLUSTER_TLS_CERTIFICATE,
        Subject::BrokerAuthorities => &keys::CLUSTER_TLS_CA,
        Subject::Verify => &keys::CLUSTER_TLS_VERIFY,
    }
}

/// The verdict of a check without `--live`, in front of what would run.
fn ok(warnings: usize) -> String {
    match warnings {
        0 => "OK: ".to_owned(),
        1 => "OK but for 1 warning: ".to_owned(),
        count => format!("OK but for {count} warnings: "),
    }
}

/// One line: what would run.
fn summary(settings: &Settings) -> String {
    let clusters = settings
        .clusters
        .iter()
        .map(|cluster| cluster.name.to_string());
    let listeners = settings.listeners.iter().map(listener);
    let admin = settings.admin.map_or("no admin port".to_owned(), |admin| {
        format!("admin port {}", admin.bind)
    });
    format!(
        "{}; {}; {admin}\n",
        list("cluster", clusters),
        list("listener", listeners)
    )
}

fn listener(listener: &ListenerSettings) -> String {
    let tls = match listener.tls {
        None => "",
        Some(ListenerTls::Terminate(_)) => ", TLS ends here",
        Some(ListenerTls::Passthrough { .. }) => ", TLS passes through",
    };
    format!("{} on {}{tls}", listener.name, place(listener))
}

fn place(listener: &ListenerSettings) -> String {
    let binds = listener.scheme.binds();
    let bootstrap = binds
        .first()
        .map_or(String::new(), |bind| bind.address.to_string());
    if let Scheme::Sni(scheme) = &listener.scheme {
        let host = scheme.bootstrap_host();
        let pattern = scheme.pattern();
        return format!("{bootstrap}, bootstrap {host}, brokers {pattern}");
    }
    if let Scheme::Single(scheme) = &listener.scheme {
        return format!("{bootstrap}, every broker as {}", scheme.pattern());
    }
    let brokers: Vec<u16> = binds
        .iter()
        .skip(1)
        .map(|bind| bind.address.port())
        .collect();
    let ports = match brokers.as_slice() {
        [first, .., last] => format!("brokers on {first}-{last}"),
        [only] => format!("a broker on {only}"),
        [] => "no brokers".to_owned(),
    };
    format!("{bootstrap}, {ports}")
}

fn list(what: &str, items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    let plural = if items.len() == 1 { "" } else { "s" };
    format!("{} {what}{plural} ({})", items.len(), items.join("; "))
}

/// A line for each certificate and for the authorities that are trusted; nothing without TLS.
fn details(settings: &Settings, now: i64) -> String {
    let mut lines = Vec::new();
    for cluster in &settings.clusters {
        let Some(tls) = &cluster.tls else { continue };
        let owner = format!("cluster {}", cluster.name);
        lines.push(format!(
            "{owner} trusts {}",
            trusted(tls.authorities(), now)
        ));
        lines.extend(
            tls.identity()
                .map(|identity| format!("{owner} shows {}", shown(identity, now))),
        );
    }
    for listener in &settings.listeners {
        let Some(ListenerTls::Terminate(tls)) = &listener.tls else {
            continue;
        };
        let owner = format!("listener {}", listener.name);
        let identities = tls.identities().iter();
        lines.extend(identities.map(|identity| format!("{owner} shows {}", shown(identity, now))));
        lines.extend(match tls.client_auth() {
            ClientAuth::None => None,
            ClientAuth::Requested(authorities) | ClientAuth::Required(authorities) => {
                Some(format!("{owner} trusts {}", trusted(authorities, now)))
            }
        });
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn shown(identity: &Identity, now: i64) -> String {
    let certificate = identity.certificate();
    let names: Vec<_> = certificate.names().collect();
    let names = if names.is_empty() {
        "no name".to_owned()
    } else {
        names.join(", ")
    };
    let left = validity_text(certificate, now);
    let file = identity.file().display();
    format!("{} for {names}: {left} ({file})", certificate.subject)
}

fn trusted(authorities: &Authorities, now: i64) -> String {
    let each = |certificate: &Certificate| {
        format!(
            "{}: {}",
            certificate.subject,
            validity_text(certificate, now)
        )
    };
    match authorities.source() {
        Source::File(file) => {
            let all: Vec<_> = authorities.certificates().iter().map(each).collect();
            format!("{} ({})", all.join("; "), file.display())
        }
        source => source.to_string(),
    }
}
