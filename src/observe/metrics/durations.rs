//! Histograms of durations for the data path: to count takes two atomic additions, where those
//! of the `prometheus` crate take five.

use super::families::{Family, Kind};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Durations of one kind, in buckets.
#[derive(Debug)]
pub(super) struct Durations {
    /// The upper bounds, in nanoseconds.
    bounds: Arc<[u64]>,
    /// How many are within each bound and not within the one before; the last has no bound.
    counts: Box<[AtomicU64]>,
    /// In nanoseconds: 584 years.
    sum: AtomicU64,
}

impl Durations {
    fn new(bounds: &Arc<[u64]>) -> Self {
        Self {
            bounds: Arc::clone(bounds),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts something that took so long each of `count` times.
    pub(super) fn observe(&self, took: Duration, count: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.iter().position(|bound| nanos <= *bound);
        let place = place.unwrap_or(self.bounds.len());
        self.counts[place].fetch_add(count, Relaxed);
        self.sum.fetch_add(nanos.wrapping_mul(count), Relaxed);
    }

    fn to_proto(&self, buckets: &[f64]) -> Histogram {
        let mut cumulative = 0;
        let mut filled = Vec::with_capacity(buckets.len());
        for (count, upper_bound) in self.counts.iter().zip(buckets) {
            cumulative += count.load(Relaxed);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*upper_bound);
            bucket.set_cumulative_count(cumulative);
            filled.push(bucket);
        }
        let above = self.counts.last().map_or(0, |count| count.load(Relaxed));
        let mut histogram = Histogram::default();
        histogram.set_sample_count(cumulative + above);
        histogram.set_sample_sum(Duration::from_nanos(self.sum.load(Relaxed)).as_secs_f64());
        histogram.set_bucket(filled);
        histogram
    }
}

/// A metric of durations, by listener and API.
#[derive(Clone, Debug)]
pub(super) struct DurationVec {
    family: &'static Family,
    desc: Desc,
    bounds: Arc<[u64]>,
    members: Arc<Mutex<Vec<Member>>>,
}

#[derive(Debug)]
struct Member {
    listener: String,
    api: &'static str,
    durations: Arc<Durations>,
}

impl DurationVec {
    /// `family` is a histogram with the labels `listener` and `api`.
    pub(super) fn new(family: &'static Family) -> prometheus::Result<Self> {
        let labels = family.labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(
            family.name.to_owned(),
            family.help.to_owned(),
            labels,
            Default::default(),
        )?;
        Ok(Self {
            bounds: buckets(family).iter().map(|bound| nanos(*bound)).collect(),
            family,
            desc,
            members: Arc::default(),
        })
    }

    /// The durations under these labels; the same ones each time.
    pub(super) fn member(&self, listener: &str, api: &'static str) -> Arc<Durations> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let known = members
            .iter()
            .find(|known| known.listener == listener && known.api == api);
        if let Some(known) = known {
            return Arc::clone(&known.durations);
        }
        let durations = Arc::new(Durations::new(&self.bounds));
        members.push(Member {
            listener: listener.to_owned(),
            api,
            durations: Arc::clone(&durations),
        });
        durations
    }
}

impl Collector for DurationVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = members.iter().map(|member| {
            let mut metric = Metric::default();
            metric.set_label(vec![
                label("api", member.api),
                label("listener", &member.listener),
            ]);
            metric.set_histogram(member.durations.to_proto(buckets(self.family)));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

fn buckets(family: &Family) -> &'static [f64] {
    match family.kind {
        Kind::Histogram(buckets) => buckets,
        Kind::Counter | Kind::Gauge => &[],
    }
}

/// Bounds are fractions of seconds that nanoseconds can say exactly.
fn nanos(seconds: f64) -> u64 {
    let nanos = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    u64::try_from(nanos.as_nanos()).unwrap_or(u64::MAX)
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use super::super::families::{ADDED_SECONDS, family};
    use super::*;

    fn added() -> DurationVec {
        DurationVec::new(family("narrows_added_duration_seconds").unwrap()).unwrap()
    }

    #[test]
    fn a_duration_counts_in_every_bucket_that_it_is_within() {
        let all = added();
        let fetch = all.member("external", "Fetch");
        for micros in [1, 2, 3, 5_000, 7_000] {
            fetch.observe(Duration::from_micros(micros), 1);
        }
        let histogram = fetch.to_proto(&ADDED_SECONDS);
        let counts: Vec<u64> = histogram
            .get_bucket()
            .iter()
            .map(Bucket::cumulative_count)
            .collect();
        assert_eq!(counts, [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(histogram.get_sample_count(), 5);
        assert!((histogram.get_sample_sum() - 0.012_006).abs() < 1e-12);
    }

    #[test]
    fn the_same_labels_count_together() {
        let all = added();
        for api in ["Fetch", "Fetch", "other"] {
            all.member("external", api).observe(Duration::ZERO, 1);
        }
        let series = all.collect()[0].get_metric().to_vec();
        let counts: Vec<u64> = series
            .iter()
            .map(|metric| metric.get_histogram().get_sample_count())
            .collect();
        assert_eq!(counts, [2, 1]);
    }
}
