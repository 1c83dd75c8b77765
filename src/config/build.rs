//! Assembles the settings of every module from single values, in the order of the reference file.

mod listener;
mod tls;

use super::keys::{self, Key};
use super::problem::Fault;
use super::reader::Reader;
use super::{parse, ports};
use crate::admin::AdminSettings;
use crate::app::{ReloadSettings, Settings};
use crate::broker::DialSettings;
use crate::cluster::ClusterSettings;
use crate::lifecycle::DrainSettings;
use crate::listener::{LimitsSettings, ListenerSettings};
use crate::observe::LogSettings;
use crate::session::SessionSettings;
use crate::types::ClusterName;
use std::time::Duration;

/// All settings; `None` when the reader has noted a problem with any of them.
pub(super) fn settings(reader: &mut Reader) -> Option<Settings> {
    let cluster_names = names(reader, "clusters", &keys::BOOTSTRAP_SERVERS);
    let listener_names = names(reader, "listeners", &keys::BIND);
    // Everything is read before anything is given up, so that every problem is found.
    let clusters: Vec<_> = cluster_names
        .iter()
        .map(|name| cluster(reader, name))
        .collect();
    let listeners: Vec<_> = listener_names
        .iter()
        .map(|name| listener::settings(reader, name, &cluster_names))
        .collect();
    let admin = reader
        .optional(&keys::ADMIN_BIND, "", parse::bind)
        .map(|bind| bind.map(|bind| AdminSettings { bind }));
    let limits = limits(reader);
    let session = session(reader);
    let reload = reload(reader);
    let drain = drain(reader);
    let log = log(reader);

    let good_listeners: Vec<_> = listeners.iter().flatten().cloned().collect();
    let good_clusters: Vec<_> = clusters.iter().flatten().cloned().collect();
    ports::check(reader, &good_listeners, admin.flatten(), &good_clusters);
    if listeners.len() == good_listeners.len() {
        every_cluster_is_used(reader, &cluster_names, &good_listeners);
    }
    Some(Settings {
        clusters: clusters.into_iter().collect::<Option<_>>()?,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        admin: admin?,
        limits: limits?,
        session: SessionSettings {
            drain_spread: drain?.timeout / 2,
            ..session?
        },
        reload: reload?,
        drain: drain?,
        log: log?,
    })
}

/// The names in a section; none at all is a problem, told by the key that every one of them needs.
fn names(reader: &mut Reader, section: &str, needed: &Key) -> Vec<String> {
    let names = reader.names(section);
    if names.is_empty() && !reader.is_told(section) {
        let name = "NAME";
        let path = needed.at(name).join(".");
        let flag = needed.flag.unwrap_or_default();
        let reason = format!("there are no {section}: Narrows needs at least one");
        let cure = format!(
            "set {path} in the file (--config FILE), or {}, or the flag {flag}",
            needed.variable(name)
        );
        reader.absent(section, Fault::new(reason, cure));
    }
    names
}

fn cluster(reader: &mut Reader, name: &str) -> Option<ClusterSettings> {
    let bootstrap_servers = reader.many(&keys::BOOTSTRAP_SERVERS, name, parse::bootstrap_servers);
    let cluster_id = reader.optional(&keys::CLUSTER_ID, name, parse::cluster_id);
    let broker_address = reader.optional_many(&keys::BROKER_ADDRESS, name, parse::broker_address);
    let refresh = reader.duration(&keys::METADATA_REFRESH_INTERVAL, name);
    let dns_timeout = reader.duration(&keys::DNS_TIMEOUT, name);
    let connect_timeout = reader.duration(&keys::CONNECT_TIMEOUT, name);
    let probe_timeout = reader.duration(&keys::PROBE_TIMEOUT, name);
    let tls = tls::of_cluster(reader, name);
    Some(ClusterSettings {
        name: ClusterName(name.into()),
        bootstrap_servers: bootstrap_servers?,
        cluster_id: cluster_id?,
        broker_address: broker_address?,
        metadata_refresh_interval: refresh?,
        dial: DialSettings {
            dns_timeout: dns_timeout?,
            connect_timeout: connect_timeout?,
            probe_timeout: probe_timeout?,
        },
        tls: tls?,
    })
}

/// A cluster that nothing leads to is most likely a misspelt name, in a variable for instance.
fn every_cluster_is_used(reader: &mut Reader, clusters: &[String], listeners: &[ListenerSettings]) {
    for name in clusters {
        if !listeners.is_empty()
            && !listeners
                .iter()
                .any(|listener| *listener.cluster.0 == **name)
        {
            let reason = "no listener leads to this cluster";
            let cure = "remove it, or name it as the cluster of a listener";
            reader.wrong(&keys::BOOTSTRAP_SERVERS, name, Fault::new(reason, cure));
        }
    }
}

/// What is not set follows from what the process may use, which is known where it runs.
fn limits(reader: &mut Reader) -> Option<LimitsSettings> {
    let mut count =
        |key: &Key| reader.optional(key, "", parse::integer::<usize>(key.kind.integers()));
    let connections_max = count(&keys::CONNECTIONS_MAX);
    let connections_per_source_max = count(&keys::CONNECTIONS_PER_SOURCE_MAX);
    let connections_rate = count(&keys::CONNECTIONS_RATE);
    let connections_per_source_rate = count(&keys::CONNECTIONS_PER_SOURCE_RATE);
    let newcomers_max = count(&keys::NEWCOMERS_MAX);
    let handshakes = count(&keys::TLS_HANDSHAKES_WAITING_MAX);
    Some(LimitsSettings {
        connections_max: connections_max?,
        connections_per_source_max: connections_per_source_max?,
        connections_rate: connections_rate?,
        connections_per_source_rate: connections_per_source_rate?,
        newcomers_max: newcomers_max?,
        tls_handshakes_waiting_max: handshakes?,
    })
}

fn session(reader: &mut Reader) -> Option<SessionSettings> {
    let frame_bytes_max = reader.bytes(&keys::FRAME_BYTES_MAX, "");
    let sasl_frame_bytes_max = reader.bytes(&keys::SASL_FRAME_BYTES_MAX, "");
    let held_response = reader.bytes(&keys::HELD_RESPONSE_BYTES_MAX, "");
    let in_flight = reader.integer(&keys::IN_FLIGHT_REQUESTS_MAX, "");
    let handshake = reader.duration(&keys::TLS_HANDSHAKE_TIMEOUT, "");
    let first_frame = reader.duration(&keys::FIRST_FRAME_TIMEOUT, "");
    let frame_progress = reader.duration(&keys::FRAME_PROGRESS_TIMEOUT, "");
    let age_max = reader.duration(&keys::CONNECTION_AGE_MAX, "");
    let half_close = reader.duration(&keys::HALF_CLOSE_TIMEOUT, "");
    let unvetted = reader.one(&keys::UNVETTED, "", parse::unvetted);
    let configs = reader.one(&keys::DESCRIBE_CONFIGS, "", parse::describe_configs);
    let splice = reader.one(&keys::SPLICE, "", parse::splice);
    if let (Some(frame), Some(sasl)) = (frame_bytes_max, sasl_frame_bytes_max)
        && sasl > frame
    {
        let fault = Fault::new(
            "it is above frame_bytes_max, which holds for every frame",
            "lower it, or raise frame_bytes_max",
        );
        reader.wrong(&keys::SASL_FRAME_BYTES_MAX, "", fault);
    }
    Some(SessionSettings {
        frame_bytes_max: frame_bytes_max?,
        sasl_frame_bytes_max: sasl_frame_bytes_max?,
        held_response_bytes_max: held_response?,
        in_flight_requests_max: in_flight?,
        tls_handshake_timeout: handshake?,
        first_frame_timeout: first_frame?,
        frame_progress_timeout: frame_progress?,
        half_close_timeout: half_close?,
        connection_age_max: age_max.map(|age| (!age.is_zero()).then_some(age))?,
        drain_spread: Duration::ZERO,
        unvetted: unvetted?,
        config_addresses: configs?,
        splice: splice?,
    })
}

fn reload(reader: &mut Reader) -> Option<ReloadSettings> {
    let interval = reader.duration(&keys::RELOAD_INTERVAL, "");
    Some(ReloadSettings {
        interval: interval?,
    })
}

fn drain(reader: &mut Reader) -> Option<DrainSettings> {
    let delay = reader.duration(&keys::DRAIN_DELAY, "");
    let timeout = reader.duration(&keys::DRAIN_TIMEOUT, "");
    Some(DrainSettings {
        delay: delay?,
        timeout: timeout?,
    })
}

pub(super) fn log(reader: &mut Reader) -> Option<LogSettings> {
    let level = reader.one(&keys::LOG_LEVEL, "", parse::log_level);
    let format = reader.one(&keys::LOG_FORMAT, "", parse::log_format);
    Some(LogSettings {
        level: level?,
        format: format?,
    })
}
