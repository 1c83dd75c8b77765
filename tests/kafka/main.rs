//! Klamm against real Apache Kafka: three brokers (and a fourth that joins) in one network namespace, clients that
//! nobody here wrote in another, Klamm in a third between them.
//!
//! ```text
//!   tests/run --kafka 4.3.1                                       everything this needs, for one Kafka version
//!   cargo test --test kafka                                       once that has installed it
//!   KLAMM_KAFKA_VERSION=3.9.2 cargo test --test kafka -- sasl     one version, the tests with `sasl` in their name
//!   KLAMM_DIRECT=1 cargo test --test kafka                        past Klamm: is it Klamm or the test?
//! ```
//!
//! It needs root, for the namespaces. Logs of all processes: target/tmp/kafka-tests/VERSION/.

mod brokers;
mod clients;
mod conversations;
mod features;
mod klamm;
mod leadership;
mod logs;
mod operations;
mod oracle;
mod outages;
mod relay;
mod restarts;
mod sasl;
mod stage;
mod steward;
mod trap;
mod wall;
mod wire;
mod world;

use std::process::ExitCode;

use stage::LazyStage;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let stage = LazyStage::default();
    let mut trials = Vec::new();
    for list in [
        wall::list,
        conversations::list,
        wire::list,
        operations::list,
        features::list,
        sasl::list,
        leadership::list,
        restarts::list,
        outages::list,
    ] {
        trials.extend(list(&stage));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The trials are gone: this was the last holder, and every process and namespace ends here.
    drop(stage);
    conclusion.exit_code()
}
