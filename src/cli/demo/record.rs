//! What is in a record, so that whoever receives one can tell what it should have been.

/// How many different stretches of the filler there are.
const STRETCHES: usize = 4_096;
const HEAD_BYTES: usize = 16;

/// Makes the content of any record of one run, and makes it again to compare.
pub(super) struct Recipe {
    run: u32,
    record_bytes: usize,
    /// Random bytes; a record takes a stretch of them that depends on its place.
    filler: Vec<u8>,
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: i32,
    /// Counted from 0 in its partition, in the order sent.
    pub(super) index: u64,
}

impl Recipe {
    /// Two runs with different `run`s have no record in common. `record_bytes` counts the value and
    /// is at least 16.
    pub(super) fn new(run: u32, record_bytes: usize) -> Self {
        let record_bytes = record_bytes.max(HEAD_BYTES);
        let mut filler = vec![0; record_bytes + STRETCHES];
        fastrand::Rng::with_seed(u64::from(run)).fill(&mut filler);
        Self {
            run,
            record_bytes,
            filler,
        }
    }

    /// The key: readable, as it is what `kcat` shows.
    pub(super) fn key(place: Place) -> String {
        format!("{}-{}", place.partition, place.index)
    }

    /// The place that a key names.
    pub(super) fn place(key: &[u8]) -> Option<Place> {
        let (partition, index) = std::str::from_utf8(key).ok()?.split_once('-')?;
        Some(Place {
            partition: partition.parse().ok()?,
            index: index.parse().ok()?,
        })
    }

    /// Writes the value into `into`, whose content is replaced.
    pub(super) fn value(&self, place: Place, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&place.index.to_be_bytes());
        into.extend_from_slice(&place.partition.to_be_bytes());
        into.extend_from_slice(&self.run.to_be_bytes());
        // A prime, so that neighbours differ in every byte; the remainder is below STRETCHES.
        let start = (place.index.wrapping_mul(2_654_435_761) % STRETCHES as u64) as usize;
        into.extend_from_slice(&self.filler[start..start + self.record_bytes - HEAD_BYTES]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_made_twice_alike_and_differs_from_every_other() {
        let value = |run, place| {
            let mut value = Vec::new();
            Recipe::new(run, 64).value(place, &mut value);
            value
        };
        let place = Place {
            partition: 3,
            index: 70_000,
        };
        assert_eq!(value(7, place), value(7, place));
        assert_eq!(value(7, place).len(), 64);
        assert_ne!(value(7, place), value(8, place));
        assert_ne!(
            value(7, place),
            value(
                7,
                Place {
                    partition: 4,
                    ..place
                }
            )
        );
        assert_ne!(
            value(7, place),
            value(
                7,
                Place {
                    index: 70_001,
                    ..place
                }
            )
        );
    }

    #[test]
    fn a_key_names_its_place_and_nothing_else_does() {
        let place = Place {
            partition: 5,
            index: 12,
        };
        assert_eq!(Recipe::place(Recipe::key(place).as_bytes()), Some(place));
        for strange in ["", "5", "5-", "-12", "5-x", "5-12-"] {
            assert_eq!(Recipe::place(strange.as_bytes()), None, "{strange}");
        }
    }
}
