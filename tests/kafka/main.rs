//! Narrows against real Apache Kafka: three brokers (and a fourth that joins) in one network
//! namespace, clients that nobody here wrote in another, Narrows in a third between them.
//!
//! ```text
//!   tests/run --kafka 4.3.1            everything this needs, for one version of Kafka
//!   cargo test --test kafka            once that has installed it
//!   cargo test --test kafka -- sasl    the tests with `sasl` in their name
//! ```
//!
//! | variable | what it does |
//! |---|---|
//! | `NARROWS_KAFKA_VERSION=3.9.2` | this version, of those that are installed |
//! | `NARROWS_KAFKA_ONLY_DIALECT=1` | only what depends on what a broker of that version says |
//! | `NARROWS_ROUNDS=20` | again and again, for what fails now and then |
//! | `NARROWS_DIRECT=1` | past Narrows: is it Narrows or the test? |
//!
//! It needs root, for the namespaces. Logs of all processes: target/tmp/kafka-tests/VERSION/.

mod admin_client;
mod arms;
mod brokers;
mod clients;
mod conversations;
mod counts;
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
mod matrix;
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

use fixture::{LazyFixture, is_set};
use libtest_mimic::Trial;

/// What depends on what a broker of a version says, and what a client does about it.
const DIALECT: &[fn(&LazyFixture) -> Vec<Trial>] = &[
    leak_canary::list,
    conversations::list,
    wire::list,
    features::list,
    sasl::list,
    doctor::list,
    reauthentication::list,
    leadership::list,
    matrix::list,
    single::list,
];

/// What is the same with every version. Those that have the fixture for themselves come last, so
/// that the others run side by side.
const THE_REST: &[fn(&LazyFixture) -> Vec<Trial>] = &[
    operations::list,
    dns::list,
    tls::list,
    faults::list,
    upgrade::list,
    restarts::list,
    outages::list,
];

/// Of the tests' times, in what a run prints.
const SLOWEST_SHOWN: usize = 12;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let fixture = LazyFixture::default();
    let mut trials = Vec::new();
    let rounds = std::env::var("NARROWS_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    let the_rest = if is_set("NARROWS_KAFKA_ONLY_DIALECT") {
        &[]
    } else {
        THE_REST
    };
    for _ in 0..rounds {
        for list in DIALECT.iter().chain(the_rest) {
            trials.extend(list(&fixture));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The trials are gone: this was the last holder, and every process and namespace ends here.
    drop(fixture);
    print!("\nslowest:\n{}", fixture::slowest(SLOWEST_SHOWN));
    if let Err(error) = narrows::ensure_ended_quietly() {
        println!("{error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
