//! What a key's value looks like: its form, its unit and its bounds. The readers check by it, the
//! JSON schema and `config/README.md` say it.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer with a unit: `ms`, `s`, `m` or `h`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// An integer, alone or with `B`, `KiB`, `MiB` or `GiB`.
    Bytes {
        /// The fewest, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// An integer.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An IP address and a port.
    Bind,
    /// `host:port`, several as a list or with commas.
    HostPorts,
    /// A template with `{node_id}`, or an address for each node id.
    BrokerAddresses,
    /// Node ids and inclusive ranges, as a list or with commas.
    NodeIds,
    /// IP addresses and prefixes, as a list or with commas.
    Networks,
    /// The path of a file.
    Path,
    /// Paths of files, as a list or with commas.
    Paths,
    /// A text that has rules of its own.
    Text,
}

pub(super) const ZERO: Duration = Duration::ZERO;
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A frame's size: Kafka's lengths end at 2³¹ − 1.
pub(super) const FRAME_BYTES: Kind = Kind::Bytes {
    min: 1_024,
    max: i32::MAX as u64,
};

/// How many connections or handshakes: no machine has more.
pub(super) const COUNT: Kind = integer(1, 10_000_000);

pub(super) const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

impl Kind {
    /// The bounds of a duration. For another kind they take none but zero, so that a key that is
    /// read as what it is not refuses its own default in every test.
    pub(super) fn durations(self) -> RangeInclusive<Duration> {
        match self {
            Self::Duration { min, max } => min..=max,
            _ => ZERO..=ZERO,
        }
    }

    /// The bounds of an integer, as [`durations`](Self::durations).
    pub(super) fn integers(self) -> RangeInclusive<i64> {
        match self {
            Self::Integer { min, max } => min..=max,
            _ => 0..=0,
        }
    }

    /// The bounds of a size in bytes, as [`durations`](Self::durations).
    pub(super) fn bytes(self) -> RangeInclusive<u64> {
        match self {
            Self::Bytes { min, max } => min..=max,
            _ => 0..=0,
        }
    }

    /// What may be written, for people.
    pub(super) fn text(self) -> String {
        match self {
            Self::Duration { min, max } => {
                format!("duration, {} to {}", duration_text(min), duration_text(max))
            }
            Self::Bytes { min, max } => {
                format!("bytes, {} to {}", bytes_text(min), bytes_text(max))
            }
            Self::Integer { min, max } => format!("integer, {min} to {max}"),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::Bind => "`IP:port`".to_owned(),
            Self::HostPorts => "list of `host:port`".to_owned(),
            Self::BrokerAddresses => "template, or an address for each node id".to_owned(),
            Self::NodeIds => "list of ids and ranges".to_owned(),
            Self::Networks => "list of networks".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Paths => "list of paths".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

/// A duration in the largest unit that fits.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 3_600_000 == 0 && millis > 0 => format!("{}h", millis / 3_600_000),
        millis if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

/// A size in the largest unit that fits.
pub(super) fn bytes_text(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    if bytes == i32::MAX as u64 {
        return format!("{bytes} (Kafka's largest frame)");
    }
    bytes.to_string()
}
