//! Counts what arrives, against what was sent.

use super::record::Place;

/// What has arrived so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All records, whatever is wrong with them.
    pub(super) arrived: u64,
    /// The key or the value is not what was sent, or the partition is another.
    pub(super) different: u64,
    /// Twice, or after one that was sent later.
    pub(super) out_of_order: u64,
    /// For each partition the index that is due.
    due: Vec<u64>,
}

impl Tally {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            due: vec![0; partitions],
            ..Self::default()
        }
    }

    /// Takes in one record that came from `partition`; `place` is what its key names.
    pub(super) fn take(&mut self, partition: i32, place: Option<Place>, is_as_sent: bool) {
        self.arrived += 1;
        let due = usize::try_from(partition)
            .ok()
            .and_then(|partition| self.due.get_mut(partition));
        match (place, due) {
            (Some(place), Some(due)) if place.partition == partition && is_as_sent => {
                self.out_of_order += u64::from(place.index < *due);
                *due = (*due).max(place.index + 1);
            }
            _ => self.different += 1,
        }
    }

    /// How many of `sent` did not arrive, as they were sent and in their turn.
    pub(super) fn missing(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.arrived - self.different - self.out_of_order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(records: &[(i32, i32, u64, bool)]) -> Tally {
        let mut tally = Tally::new(2);
        for (partition, named, index, is_as_sent) in records {
            tally.take(
                *partition,
                Some(Place {
                    partition: *named,
                    index: *index,
                }),
                *is_as_sent,
            );
        }
        tally
    }

    fn wrong(tally: &Tally, sent: u64) -> [u64; 3] {
        [tally.missing(sent), tally.different, tally.out_of_order]
    }

    #[test]
    fn records_that_arrive_once_in_order_leave_nothing_to_say() {
        let tally = tally(&[
            (0, 0, 0, true),
            (1, 1, 0, true),
            (1, 1, 1, true),
            (0, 0, 1, true),
        ]);
        assert_eq!((tally.arrived, wrong(&tally, 4)), (4, [0, 0, 0]));
    }

    #[test]
    fn a_record_that_is_skipped_is_missing() {
        assert_eq!(
            wrong(&tally(&[(0, 0, 0, true), (0, 0, 2, true)]), 3),
            [1, 0, 0]
        );
    }

    #[test]
    fn a_record_that_comes_twice_is_no_substitute_for_a_missing_one() {
        assert_eq!(
            wrong(&tally(&[(0, 0, 0, true), (0, 0, 0, true)]), 2),
            [1, 0, 1]
        );
    }

    #[test]
    fn a_record_with_other_bytes_or_in_another_partition_is_different() {
        assert_eq!(
            wrong(&tally(&[(0, 0, 0, false), (1, 0, 1, true)]), 2),
            [2, 2, 0]
        );
        let mut strange = Tally::new(1);
        strange.take(7, None, true);
        assert_eq!(wrong(&strange, 0), [0, 1, 0]);
    }
}
