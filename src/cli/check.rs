//! `klamm check`: validates without starting. Offline: names are not resolved and nothing is dialled.

use super::config::print;
use super::{ConfigArgs, loaded};
use crate::app::Settings;
use crate::listener::ListenerSettings;
use std::process::ExitCode;

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match loaded(&args.sources()) {
        Ok(loaded) => print(&summary(&loaded.settings)),
        Err(code) => code,
    }
}

/// One line: what would run.
fn summary(settings: &Settings) -> String {
    let clusters = settings.clusters.iter().map(|cluster| cluster.name.to_string());
    let listeners = settings.listeners.iter().map(listener);
    let admin =
        settings.admin.map_or("no admin port".to_owned(), |admin| format!("admin port {}", admin.bind));
    format!("OK: {}; {}; {admin}\n", list("cluster", clusters), list("listener", listeners))
}

fn listener(listener: &ListenerSettings) -> String {
    let binds = listener.scheme.binds();
    let bootstrap = binds.first().map_or(String::new(), |bind| bind.address.to_string());
    let brokers: Vec<u16> = binds.iter().skip(1).map(|bind| bind.address.port()).collect();
    let ports = match brokers.as_slice() {
        [first, .., last] => format!("brokers on {first}-{last}"),
        [only] => format!("a broker on {only}"),
        [] => "no brokers".to_owned(),
    };
    format!("{} on {bootstrap}, {ports}", listener.name)
}

fn list(what: &str, items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    let plural = if items.len() == 1 { "" } else { "s" };
    format!("{} {what}{plural} ({})", items.len(), items.join("; "))
}
