//! Medians, and how sure they are.

const RESAMPLES: usize = 2000;

/// A median with the interval that holds 95 % of the medians of resampled rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)? / 2;
    match sorted.len() % 2 {
        1 => Some(sorted[middle]),
        _ => Some((sorted[middle] + sorted[middle + 1]) / 2.0),
    }
}

/// Bootstrap of the median; the same values give the same interval. With one value, the interval is
/// that value.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let mut random = fastrand::Rng::with_seed(4);
    let resample = |_| {
        median(
            &(0..values.len())
                .map(|_| values[random.usize(..values.len())])
                .collect::<Vec<_>>(),
        )
    };
    let median = median(values)?;
    let mut medians: Vec<f64> = (0..RESAMPLES).filter_map(resample).collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| medians[((medians.len() - 1) as f64 * share).round() as usize];
    Some(Estimate {
        median,
        low: at(0.025),
        high: at(0.975),
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_interval_holds_its_median_and_stays_within_the_values() {
        let estimate = estimate(&[1.0, 1.1, 0.9, 1.05, 5.0]).unwrap();
        assert_eq!(estimate.median, 1.05);
        assert!(estimate.low >= 0.9 && estimate.low <= 1.05 && estimate.high <= 5.0);
    }

    #[test]
    fn one_value_is_its_own_interval() {
        assert_eq!(
            estimate(&[2.0]),
            Some(Estimate {
                median: 2.0,
                low: 2.0,
                high: 2.0
            })
        );
        assert_eq!(estimate(&[]), None);
    }
}
