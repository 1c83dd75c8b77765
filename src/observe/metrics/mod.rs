//! Every metric of Narrows. Names and labels are public API: dashboards and alerts depend on them.
//!
//! They stand in one table, [`FAMILIES`], from which `config/metrics.md` is made.
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
mod durations;
pub(super) mod families;
mod limits;
mod listener;
mod page;
mod software;

use crate::types::{ClusterName, ListenerName};
use api::ApiNames;
use durations::DurationVec;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use software::Software;
use std::fmt::Write;
use std::sync::Arc;

pub(crate) use cluster::ClusterMetrics;
pub(crate) use families::Family;
pub use families::{FAMILIES, Kind};
pub use limits::{Limit, LimitMetrics};
pub(crate) use listener::{
    AcceptError, BulkTransfers, CopyReason, Direction, ListenerMetrics, UNIDENTIFIED,
};
pub use page::markdown;
pub(crate) use prometheus::{IntCounter, IntGauge};

/// All metrics of one Narrows. There is nothing global: two values count apart.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    api_names: ApiNames,
    software: Arc<Software>,
    connections_accepted: IntCounterVec,
    connections_active: IntGaugeVec,
    connections_closed: IntCounterVec,
    client_connections: IntCounterVec,
    requests: IntCounterVec,
    added_seconds: DurationVec,
    broker_seconds: DurationVec,
    kafka_errors: IntCounterVec,
    sasl_logins: IntCounterVec,
    responses_rewritten: IntCounterVec,
    bytes: IntCounterVec,
    backpressure_seconds: CounterVec,
    bulk_transfers: IntCounterVec,
    pipes: IntGaugeVec,
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
    broker_dial_seconds: HistogramVec,
    metadata_refreshes: IntCounterVec,
    brokers_known: IntGaugeVec,
    brokers_sharing_address: IntGaugeVec,
}

impl Metrics {
    /// Makes every metric, all at zero. `apis` are the key and name of each API that has a label of
    /// its own.
    pub fn new(apis: impl Iterator<Item = (i16, &'static str)>) -> Self {
        let registry = Registry::new();
        let counters = |name| counters(&registry, name);
        let gauges = |name| gauges(&registry, name);
        let durations = |name| registered(&registry, DurationVec::new(row(name)));
        let build_info = gauges("narrows_build_info");
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), env!("NARROWS_COMMIT")])
            .set(1);
        let reloads = counters("narrows_reloads_total");
        // From the first scrape on, so that `increase()` sees the first event.
        for outcome in RELOAD_OUTCOMES {
            reloads.with_label_values(&[outcome]);
        }
        let single = |name| gauges(name).with_label_values::<&str>(&[]);
        Self {
            api_names: ApiNames::new(apis),
            software: Arc::default(),
            connections_accepted: counters("narrows_connections_accepted_total"),
            connections_active: gauges("narrows_connections_active"),
            connections_closed: counters("narrows_connections_closed_total"),
            client_connections: counters("narrows_client_connections_total"),
            requests: counters("narrows_requests_total"),
            added_seconds: durations("narrows_added_duration_seconds"),
            broker_seconds: durations("narrows_broker_duration_seconds"),
            kafka_errors: counters("narrows_kafka_errors_total"),
            sasl_logins: counters("narrows_sasl_logins_total"),
            responses_rewritten: counters("narrows_responses_rewritten_total"),
            bytes: counters("narrows_bytes_total"),
            backpressure_seconds: float_counters(&registry, "narrows_backpressure_seconds_total"),
            bulk_transfers: counters("narrows_bulk_transfers_total"),
            pipes: gauges("narrows_pipes"),
            handshakes: counters("narrows_tls_handshakes_total"),
            handshake_seconds: histograms(&registry, "narrows_tls_handshake_duration_seconds"),
            certificate_not_after: gauges("narrows_certificate_not_after_timestamp_seconds"),
            reloads,
            last_reload_success: single("narrows_last_reload_success"),
            last_reload_timestamp: single("narrows_last_reload_timestamp_seconds"),
            accept_errors: counters("narrows_accept_errors_total"),
            connections_refused: counters("narrows_connections_refused_total"),
            limit_in_use: gauges("narrows_limit_in_use"),
            limit_max: gauges("narrows_limit_max"),
            unmapped_nodes: gauges("narrows_unmapped_nodes"),
            broker_dial_failures: counters("narrows_broker_dial_failures_total"),
            broker_dial_seconds: histograms(&registry, "narrows_broker_dial_duration_seconds"),
            metadata_refreshes: counters("narrows_metadata_refreshes_total"),
            brokers_known: gauges("narrows_brokers_known"),
            brokers_sharing_address: gauges("narrows_brokers_sharing_address"),
            registry,
        }
    }

    /// The handles of one listener. Asking twice gives handles on the same numbers.
    pub fn listener(&self, name: &ListenerName) -> ListenerMetrics {
        ListenerMetrics::new(self, name)
    }

    /// The handles of the limits.
    pub(crate) fn limits(&self) -> LimitMetrics {
        LimitMetrics::new(self)
    }

    /// Says how many pipes there are, by how many bytes each holds.
    pub(crate) fn set_pipes(&self, sizes: impl IntoIterator<Item = (usize, usize)>) {
        for (bytes, count) in sizes {
            self.pipes
                .with_label_values(&[bytes.to_string()])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The handles of one cluster. Asking twice gives handles on the same numbers.
    pub(crate) fn cluster(&self, name: &ClusterName) -> ClusterMetrics {
        ClusterMetrics::new(self, name)
    }

    /// Counts a reload at `now`, in Unix seconds.
    pub(crate) fn reloaded(&self, outcome: &'static str, is_success: bool, now: i64) {
        self.reloads.with_label_values(&[outcome]).inc();
        self.loaded(is_success, now);
    }

    /// Says whether the settings that were read last, at `now` in Unix seconds, are in use.
    pub(crate) fn loaded(&self, is_success: bool, now: i64) {
        self.last_reload_success.set(is_success.into());
        self.last_reload_timestamp.set(now);
    }

    /// The certificates that were there before may not be there any more.
    pub(crate) fn forget_certificates(&self) {
        self.certificate_not_after.reset();
    }

    /// Says when a certificate ends; of several of one owner, the first counts.
    pub(crate) fn certificate(&self, role: &'static str, owner: &str, not_after: i64) {
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
        let Family { name, help, .. } = row("narrows_log_lines_lost_total");
        let lost = crate::observe::logs::lines_lost();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {lost}"
        );
        crate::observe::process::render(&mut text);
        text
    }
}

/// How a reload can end.
const RELOAD_OUTCOMES: [&str; 3] = ["applied", "unchanged", "refused"];

fn row(name: &str) -> &'static Family {
    families::family(name).expect("each name stands in the table")
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let collector = made.expect("a literal, legal name");
    registry
        .register(Box::new(collector.clone()))
        .expect("each name stands once in `Metrics::new`");
    collector
}

fn counters(registry: &Registry, name: &str) -> IntCounterVec {
    let Family { help, labels, .. } = row(name);
    registered(registry, IntCounterVec::new(Opts::new(name, *help), labels))
}

/// Of seconds.
fn float_counters(registry: &Registry, name: &str) -> CounterVec {
    let Family { help, labels, .. } = row(name);
    registered(registry, CounterVec::new(Opts::new(name, *help), labels))
}

fn gauges(registry: &Registry, name: &str) -> IntGaugeVec {
    let Family { help, labels, .. } = row(name);
    registered(registry, IntGaugeVec::new(Opts::new(name, *help), labels))
}

fn histograms(registry: &Registry, name: &str) -> HistogramVec {
    let Family {
        help, labels, kind, ..
    } = row(name);
    let mut options = HistogramOpts::new(name, *help);
    if let Kind::Histogram(buckets) = kind {
        options = options.buckets(buckets.to_vec());
    }
    registered(registry, HistogramVec::new(options, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{NodeId, Side};

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
        external.requests(3, 1);
        external.rewritten(3);
        external.bytes_to_broker.inc_by(10);
        external.bytes_to_client.inc_by(20);
        external.bulk_transfers.begun(None);
        external.bulk_transfers.begun(Some(CopyReason::Off));
        external.accept_error(AcceptError::NoFileDescriptors);
        external.unmapped(2);
        let orders = metrics.cluster(&ClusterName("orders".into()));
        orders.dial_failed(Some(NodeId(7)), "refused");
        orders.refresh("ok");
        orders.brokers_known.set(3);
        orders.brokers_sharing_address.set(2);

        let text = metrics.render();
        for line in [
            "narrows_connections_accepted_total{listener=\"external\"} 1",
            "narrows_connections_active{listener=\"external\"} 1",
            "narrows_connections_closed_total{cause=\"client_closed\",listener=\"external\",side=\"client\"} \
             1",
            "narrows_requests_total{api=\"Metadata\",listener=\"external\"} 1",
            "narrows_responses_rewritten_total{api=\"Metadata\",listener=\"external\"} 1",
            "narrows_bytes_total{direction=\"to_broker\",listener=\"external\"} 10",
            "narrows_bytes_total{direction=\"to_client\",listener=\"external\"} 20",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"spliced\",reason=\"none\"} \
             1",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"copied\",reason=\"off\"} 1",
            "narrows_bulk_transfers_total{listener=\"external\",mode=\"copied\",reason=\"no_pipe\"} \
             0",
            "narrows_accept_errors_total{listener=\"external\",reason=\"no_file_descriptors\"} 1",
            "narrows_unmapped_nodes{listener=\"external\"} 2",
            "narrows_broker_dial_failures_total{cluster=\"orders\",node_id=\"7\",reason=\"refused\"} \
             1",
            "narrows_metadata_refreshes_total{cluster=\"orders\",outcome=\"ok\"} 1",
            "narrows_brokers_known{cluster=\"orders\"} 3",
            "narrows_brokers_sharing_address{cluster=\"orders\"} 2",
            concat!(
                "narrows_build_info{commit=\"",
                env!("NARROWS_COMMIT"),
                "\",version=\"",
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
        external.requests(0, 1);
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
            external.requests(key, 1);
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
        external.requests(1, 1);
        external.clone().requests(1, 1);
        metrics.listener(&listener("external")).requests(1, 1);
        metrics.listener(&listener("internal")).requests(1, 1);
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
