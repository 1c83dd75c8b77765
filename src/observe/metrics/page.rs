//! `config/metrics.md`: every metric, as `narrows config --metrics` prints it.

use super::families::{FAMILIES, Family, Kind};
use crate::observe::process;
use std::fmt::Write;

const HEAD: &str = "\
# Metrics

<!-- Written by `narrows config --metrics`; change src/observe/metrics/families.rs instead. -->

What `/metrics` on the admin port has, in the Prometheus text format. Names, labels and the words in
them are public: they change only in a release that says so.

- **Nothing that a client sends makes a series without a bound.** Listeners and clusters are
  configured, APIs and errors come from tables (anything else is `other`), and causes, reasons and
  outcomes are words in the code. No label has a client id, a topic, a user or an address of a client.
- Counters whose labels are words in the code (`cause`, `limit`, `reason`, `outcome`) are there at zero
  from the start, so that `rate()` sees the first event. Those by API, Kafka error, SASL mechanism or
  client library appear when they are first counted, since nobody has all of them; failed dials of a
  broker appear when it is known, of the first 100.
- Where several listeners share a port, a connection that has not named one of them counts at the
  listener `(unidentified)`.
- The codes of `cause` are on the status page with what to do; `side` says whose doing it was.

| metric | type | labels | |
|---|---|---|---|
";

/// The page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let process = process::FAMILIES;
    for family in FAMILIES.iter().chain(process) {
        let Family {
            name, labels, help, ..
        } = family;
        let kind = family.kind.word();
        let labels = labels.join(", ");
        // Writing to a String does not fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
    }
    page.push_str("\nThe buckets of histograms, in seconds:\n\n");
    for family in FAMILIES {
        if let Kind::Histogram(buckets) = family.kind {
            let buckets: Vec<_> = buckets.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "- `{}`: {}", family.name, buckets.join(", "));
        }
    }
    page
}
