//! Every metric of Narrows. Names and labels are public API: dashboards and alerts depend on them.
//!
//! | name | labels | |
//! |---|---|---|
//! | `narrows_connections_accepted_total` | listener | client connections accepted |
//! | `narrows_connections_active` | listener | client connections open now |
//! | `narrows_connections_closed_total` | listener, cause, side | client connections that ended, and whose doing it was: `client`, `broker`, `narrows` |
//! | `narrows_requests_total` | listener, api | requests forwarded or answered |
//! | `narrows_responses_rewritten_total` | listener, api | responses in which addresses were replaced |
//! | `narrows_bytes_total` | listener, direction | bytes written: `to_broker`, `to_client` |
//! | `narrows_bulk_transfers_total` | listener, mode, reason | runs of 16 KiB and more that were `spliced` or `copied`, and why copied: `off`, `tls`, `no_pipe`, `small_pipe` |
//! | `narrows_tls_handshakes_total` | listener, version, outcome | TLS handshakes with clients: `full`, `resumed`, or why they failed |
//! | `narrows_tls_handshake_duration_seconds` | listener | how long completed handshakes took |
//! | `narrows_accept_errors_total` | listener, reason | connections that could not be accepted |
//! | `narrows_connections_refused_total` | listener, limit | connections that a limit kept out |
//! | `narrows_limit_in_use` | limit | how many there are of what `limits` bounds |
//! | `narrows_limit_max` | limit | how many there may be |
//! | `narrows_unmapped_nodes` | listener | brokers that have no address on this listener |
//! | `narrows_broker_dial_failures_total` | cluster, reason | brokers that could not be reached |
//! | `narrows_metadata_refreshes_total` | cluster, outcome | attempts to learn the brokers |
//! | `narrows_brokers_known` | cluster | brokers whose address is known |
//! | `narrows_certificate_not_after_timestamp_seconds` | role, owner | when the certificate of a `listener` or a `cluster` expires, in Unix time |
//! | `narrows_reloads_total` | outcome | reloads that were `applied`, found everything `unchanged`, or were `refused` |
//! | `narrows_last_reload_success` | | 1 when the last reload, or the start, was accepted; 0 when it was refused |
//! | `narrows_last_reload_timestamp_seconds` | | when that was, in Unix time |
//! | `narrows_log_lines_lost_total` | | log lines that standard error did not take |
//! | `narrows_build_info` | version | always 1 |
//!
//! Beside them stand the usual `process_*` metrics. Where several listeners share a port, a
//! connection that has not named one of them counts at the listener `(unidentified)`.
//!
//! **Cardinality is bounded by the configuration, never by what a client sends:** listeners and
//! clusters are configured, api labels come from the API table (any other key counts as `other`),
//! and causes, reasons and outcomes are words in the code. **The data path touches only atomics:**
//! names are looked up when a handle is made, not when something is counted.

mod api;
mod cluster;
mod limits;
mod listener;

use crate::types::{ClusterName, ListenerName};
use api::ApiNames;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use std::fmt::Write;

pub use cluster::ClusterMetrics;
pub use limits::{Limit, LimitMetrics};
pub use listener::{BulkTransfers, CopyReason, ListenerMetrics, UNIDENTIFIED};
/// A number that only grows.
pub use prometheus::IntCounter;
/// A number that goes up and down.
pub use prometheus::IntGauge;

/// All metrics of one Narrows. There is nothing global: two values count apart.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    api_names: ApiNames,
    connections_accepted: IntCounterVec,
    connections_active: IntGaugeVec,
    connections_closed: IntCounterVec,
    requests: IntCounterVec,
    responses_rewritten: IntCounterVec,
    bytes: IntCounterVec,
    bulk_transfers: IntCounterVec,
    handshakes: IntCounterVec,
    handshake_seconds: HistogramVec,
    certificate_not_after: IntGaugeVec,
    reloads: IntCounterVec,
    last_reload_success: IntGauge,
    last_reload_timestamp: IntGauge,
    accept_errors: IntCounterVec,
    connections_refused: IntCounterVec,
    limit_in_use: IntGaugeVec,
    limit_max: IntGaugeVec,
    unmapped_nodes: IntGaugeVec,
    broker_dial_failures: IntCounterVec,
    metadata_refreshes: IntCounterVec,
    brokers_known: IntGaugeVec,
}

impl Metrics {
    /// Makes every metric, all at zero. `apis` are the key and name of each API that has a label of
    /// its own.
    pub fn new(apis: impl Iterator<Item = (i16, &'static str)>) -> Self {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| counters(&registry, name, help, labels);
        let gauges = |name, help, labels: &[&str]| gauges(&registry, name, help, labels);
        // From the first scrape on, so that `increase()` sees the first event.
        let counters_at_zero = |name, help, label, values: &[&str]| {
            let counters = counters(name, help, &[label]);
            for value in values {
                counters.with_label_values(&[*value]);
            }
            counters
        };

        let build_info = gauges(
            "narrows_build_info",
            "The version of Narrows, as a label; always 1.",
            &["version"],
        );
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Self {
            api_names: ApiNames::new(apis),
            connections_accepted: counters(
                "narrows_connections_accepted_total",
                "Client connections accepted.",
                &["listener"],
            ),
            connections_active: gauges(
                "narrows_connections_active",
                "Client connections that are open now.",
                &["listener"],
            ),
            connections_closed: counters(
                "narrows_connections_closed_total",
                "Client connections that ended, by cause, and the side whose doing it was.",
                &["listener", "cause", "side"],
            ),
            requests: counters(
                "narrows_requests_total",
                "Requests from clients, by the name of their API; `other` is an API that Narrows \
                 does not know.",
                &["listener", "api"],
            ),
            responses_rewritten: counters(
                "narrows_responses_rewritten_total",
                "Responses in which broker addresses were replaced.",
                &["listener", "api"],
            ),
            bytes: counters(
                "narrows_bytes_total",
                "Bytes carried, by direction.",
                &["listener", "direction"],
            ),
            bulk_transfers: counters(
                "narrows_bulk_transfers_total",
                "Runs of 16 KiB and more that Narrows need not look at: spliced by the kernel, or \
                 copied, and why.",
                &["listener", "mode", "reason"],
            ),
            handshakes: counters(
                "narrows_tls_handshakes_total",
                "TLS handshakes with clients, by version and outcome: full, resumed, or why they \
                 failed.",
                &["listener", "version", "outcome"],
            ),
            handshake_seconds: histograms(
                &registry,
                "narrows_tls_handshake_duration_seconds",
                "How long completed TLS handshakes with clients took.",
                &HANDSHAKE_SECONDS,
            ),
            certificate_not_after: gauges(
                "narrows_certificate_not_after_timestamp_seconds",
                "When a certificate expires, in Unix time; of several, the first to expire.",
                &["role", "owner"],
            ),
            reloads: counters_at_zero(
                "narrows_reloads_total",
                "Reloads of the configuration and its files, by outcome.",
                "outcome",
                &RELOAD_OUTCOMES,
            ),
            last_reload_success: gauges(
                "narrows_last_reload_success",
                "1 when the last reload, or the start, was accepted; 0 when it was refused.",
                &[],
            )
            .with_label_values::<&str>(&[]),
            last_reload_timestamp: gauges(
                "narrows_last_reload_timestamp_seconds",
                "When the last reload, or the start, was accepted or refused, in Unix time.",
                &[],
            )
            .with_label_values::<&str>(&[]),
            accept_errors: counters(
                "narrows_accept_errors_total",
                "Client connections that could not be accepted, by reason.",
                &["listener", "reason"],
            ),
            connections_refused: counters(
                "narrows_connections_refused_total",
                "Client connections that were turned away, by the limit that was met.",
                &["listener", "limit"],
            ),
            limit_in_use: gauges(
                "narrows_limit_in_use",
                "How many there are of what a limit bounds.",
                &["limit"],
            ),
            limit_max: gauges(
                "narrows_limit_max",
                "How many there may be of what a limit bounds.",
                &["limit"],
            ),
            unmapped_nodes: gauges(
                "narrows_unmapped_nodes",
                "Brokers that clients cannot reach through this listener: their node id is not in \
                 node_ids.",
                &["listener"],
            ),
            broker_dial_failures: counters(
                "narrows_broker_dial_failures_total",
                "Connections to brokers that could not be made, by reason.",
                &["cluster", "reason"],
            ),
            metadata_refreshes: counters(
                "narrows_metadata_refreshes_total",
                "Attempts to learn the cluster's brokers, by outcome.",
                &["cluster", "outcome"],
            ),
            brokers_known: gauges(
                "narrows_brokers_known",
                "Brokers of the cluster whose address is known.",
                &["cluster"],
            ),
            registry,
        }
    }

    /// The handles of one listener. Asking twice gives handles on the same numbers.
    pub fn listener(&self, name: &ListenerName) -> ListenerMetrics {
        ListenerMetrics::new(self, name)
    }

    /// The handles of the limits.
    pub fn limits(&self) -> LimitMetrics {
        LimitMetrics::new(self)
    }

    /// The handles of one cluster. Asking twice gives handles on the same numbers.
    pub fn cluster(&self, name: &ClusterName) -> ClusterMetrics {
        ClusterMetrics::new(self, name)
    }

    /// Counts a reload at `now`, in Unix seconds.
    pub fn reloaded(&self, outcome: &'static str, is_success: bool, now: i64) {
        self.reloads.with_label_values(&[outcome]).inc();
        self.loaded(is_success, now);
    }

    /// Says whether the settings that were read last, at `now` in Unix seconds, are in use.
    pub fn loaded(&self, is_success: bool, now: i64) {
        self.last_reload_success.set(is_success.into());
        self.last_reload_timestamp.set(now);
    }

    /// The certificates that were there before may not be there any more.
    pub fn forget_certificates(&self) {
        self.certificate_not_after.reset();
    }

    /// Says when a certificate ends; of several of one owner, the first counts.
    pub fn certificate(&self, role: &'static str, owner: &str, not_after: i64) {
        let gauge = self.certificate_not_after.with_label_values(&[role, owner]);
        let known = Some(gauge.get()).filter(|known| *known != 0);
        gauge.set(known.map_or(not_after, |known| known.min(not_after)));
    }

    /// Everything in the Prometheus text format, version 0.0.4. Reads a few small files of `/proc`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "some metrics could not be written");
        }
        let lost = crate::observe::logs::lines_lost();
        let name = "narrows_log_lines_lost_total";
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} Log lines that standard error did not take.\n# TYPE {name} counter\n\
             {name} {lost}"
        );
        crate::observe::process::render(&mut text);
        text
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters =
        IntCounterVec::new(Opts::new(name, help), labels).expect("a literal, legal name");
    registry
        .register(Box::new(counters.clone()))
        .expect("each name stands once in `Metrics::new`");
    counters
}

/// How a reload can end.
const RELOAD_OUTCOMES: [&str; 3] = ["applied", "unchanged", "refused"];

/// From a resumed handshake beside the client to a full one across the world.
const HANDSHAKE_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let histograms = HistogramVec::new(options, &["listener"]).expect("a literal, legal name");
    registry
        .register(Box::new(histograms.clone()))
        .expect("each name stands once in `Metrics::new`");
    histograms
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a literal, legal name");
    registry
        .register(Box::new(gauges.clone()))
        .expect("each name stands once in `Metrics::new`");
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Side;

    fn metrics() -> Metrics {
        Metrics::new([(0, "Produce"), (1, "Fetch"), (3, "Metadata")].into_iter())
    }

    fn listener(name: &str) -> ListenerName {
        ListenerName(name.into())
    }

    fn samples(text: &str, metric: &str) -> Vec<String> {
        let of_metric = |line: &&str| line.starts_with(&format!("{metric}{{"));
        text.lines().filter(of_metric).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_counted_shows_under_its_public_name() {
        let metrics = metrics();
        let external = metrics.listener(&listener("external"));
        external.accepted.inc();
        external.active.inc();
        external.closed("client_closed", Side::Client);
        external.request(3);
        external.rewritten(3);
        external.bytes_to_broker.inc_by(10);
        external.bytes_to_client.inc_by(20);
        external.bulk_transfers.begun(None);
        external.bulk_transfers.begun(Some(CopyReason::Off));
        external.accept_error("too_many_open_files");
        external.unmapped(2);
        let orders = metrics.cluster(&ClusterName("orders".into()));
        orders.dial_failed("refused");
        orders.refresh("ok");
        orders.brokers_known.set(3);

        let text = metrics.render();
        for line in [
            "narrows_connections_accepted_total{listener=\"external\"} 1",
            "narrows_connections_active{listener=\"external\"} 1",
            "narrows_connections_closed_total{cause=\"client_closed\",listener=\"external\",side=\"client\"} 1",
            "narrows_requests_total{api=\"Metadata\",listener=\"external\"} 1",
            "narrows_responses_rewritten_total{api=\"Metadata\",listener=\"external\"} 1",
            "narrows_bytes_total{direction=\"to_broker\",listener=\"external\"} 10",
            "narrows_bytes_total{direction=\"to_client\",listener=\"external\"} 20",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"spliced\",reason=\"none\"} 1",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"copied\",reason=\"off\"} 1",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"copied\",reason=\"no_pipe\"} 0",
            "narrows_accept_errors_total{listener=\"external\",reason=\"too_many_open_files\"} 1",
            "narrows_unmapped_nodes{listener=\"external\"} 2",
            "narrows_broker_dial_failures_total{cluster=\"orders\",reason=\"refused\"} 1",
            "narrows_metadata_refreshes_total{cluster=\"orders\",outcome=\"ok\"} 1",
            "narrows_brokers_known{cluster=\"orders\"} 3",
            concat!(
                "narrows_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn a_listener_starts_at_zero_and_shows_no_api_that_nobody_used() {
        let metrics = metrics();
        let external = metrics.listener(&listener("external"));
        let text = metrics.render();
        assert_eq!(
            samples(&text, "narrows_connections_accepted_total"),
            ["narrows_connections_accepted_total{listener=\"external\"} 0"]
        );
        assert_eq!(samples(&text, "narrows_bytes_total").len(), 2);
        assert!(samples(&text, "narrows_requests_total").is_empty());
        external.request(0);
        assert_eq!(
            samples(&metrics.render(), "narrows_requests_total").len(),
            1
        );
    }

    #[test]
    fn no_key_from_the_wire_makes_a_series_of_its_own() {
        let metrics = metrics();
        let external = metrics.listener(&listener("external"));
        for key in i16::MIN..=i16::MAX {
            external.request(key);
            external.rewritten(key);
        }
        let text = metrics.render();
        let mut requests = samples(&text, "narrows_requests_total");
        requests.sort();
        assert_eq!(
            requests,
            [
                "narrows_requests_total{api=\"Fetch\",listener=\"external\"} 1",
                "narrows_requests_total{api=\"Metadata\",listener=\"external\"} 1",
                "narrows_requests_total{api=\"Produce\",listener=\"external\"} 1",
                "narrows_requests_total{api=\"other\",listener=\"external\"} 65533",
            ]
        );
        assert_eq!(samples(&text, "narrows_responses_rewritten_total").len(), 4);
    }

    #[test]
    fn handles_of_the_same_listener_count_together_and_of_others_apart() {
        let metrics = metrics();
        let external = metrics.listener(&listener("external"));
        external.request(1);
        external.clone().request(1);
        metrics.listener(&listener("external")).request(1);
        metrics.listener(&listener("internal")).request(1);
        let mut requests = samples(&metrics.render(), "narrows_requests_total");
        requests.sort();
        assert_eq!(
            requests,
            [
                "narrows_requests_total{api=\"Fetch\",listener=\"external\"} 3",
                "narrows_requests_total{api=\"Fetch\",listener=\"internal\"} 1",
            ]
        );
    }

    #[test]
    fn every_family_has_one_help_line_and_one_type_line() {
        let metrics = metrics();
        metrics.listener(&listener("external"));
        let text = metrics.render();
        let mut families: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let helps = text
            .lines()
            .filter(|line| line.starts_with("# HELP "))
            .count();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!((families.len(), helps), (count, count), "{text}");
    }
}
