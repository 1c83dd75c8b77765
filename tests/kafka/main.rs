//! Narrows against real Apache Kafka: three brokers (and a fourth that joins) in one network
//! namespace, clients that nobody here wrote in another, Narrows in a third between them.
//!
//! ```text
//!   tests/run --kafka 4.3.1                                       everything this needs, for one
//!   Kafka version cargo test --test kafka                                       once that has
//!   installed it NARROWS_KAFKA_VERSION=3.9.2 cargo test --test kafka -- sasl     one version, the
//!   tests with `sasl` in their name NARROWS_ROUNDS=20 cargo test --test kafka -- kafka-python
//!   again and again, for what fails now and then NARROWS_DIRECT=1 cargo test --test kafka
//!   past Narrows: is it Narrows or the test?
//! ```
//!
//! It needs root, for the namespaces. Logs of all processes: target/tmp/kafka-tests/VERSION/.

mod admin_client;
mod arms;
mod brokers;
mod clients;
mod conversations;
mod dns;
mod doctor;
mod faults;
mod features;
mod fixture;
#[path = "../no_loss/judge.rs"]
mod judge;
mod leadership;
mod leak_canary;
mod listeners;
mod logs;
mod names;
mod namespaces;
mod narrows;
mod operations;
mod oracle;
mod outages;
mod pki;
mod reauthentication;
mod relay;
mod restarts;
mod sasl;
mod single;
mod tls;
mod trap;
mod upgrade;
mod wire;

use std::process::ExitCode;

use fixture::LazyFixture;
use libtest_mimic::Trial;

/// Those that have the fixture for themselves come last, so that the others run side by side.
const LISTS: &[fn(&LazyFixture) -> Vec<Trial>] = &[
    leak_canary::list,
    conversations::list,
    wire::list,
    operations::list,
    dns::list,
    features::list,
    sasl::list,
    doctor::list,
    reauthentication::list,
    tls::list,
    leadership::list,
    single::list,
    faults::list,
    upgrade::list,
    restarts::list,
    outages::list,
];

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let fixture = LazyFixture::default();
    let mut trials = Vec::new();
    let rounds = std::env::var("NARROWS_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    for list in std::iter::repeat_n(LISTS, rounds).flatten() {
        trials.extend(list(&fixture));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The trials are gone: this was the last holder, and every process and namespace ends here.
    drop(fixture);
    if let Err(error) = narrows::ensure_ended_quietly() {
        println!("{error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
