//! `narrows doctor` in the place of a client: through Narrows, with and without a login, against
//! brokers that nobody scripted.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::{PASSWORD, USER, version_under_test};
use crate::clients::Front;
use crate::fixture::{Fixture, LazyFixture, sharing};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = vec![sharing(
        fixture,
        "doctor::finds_nothing_wrong_and_brings_a_record_there_and_back",
        find_nothing,
    )];
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let name = format!("doctor::logs_in_with_{mechanism}_at_every_broker");
        trials.push(sharing(fixture, &name, move |fixture| {
            log_in(fixture, mechanism)
        }));
    }
    trials
}

fn find_nothing(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("doctor");
    fixture.cluster.admin_client.create(&topic, 3)?;
    let front = fixture.front();
    let (exit, text) = examine(fixture, &front, &front.plain, &["--topic", &topic])?;
    ensure!(exit == Some(0), "{text}");
    ensure!(text.contains("one record to"), "{text}");
    // Kafka 4.4 has ApiVersions v5 (KIP-1242).
    let confirms = text.contains("confirms its node id");
    ensure!(
        confirms == version_under_test().starts_with("4.4"),
        "{text}"
    );
    Ok(())
}

fn log_in(fixture: &Fixture, mechanism: &str) -> Result<()> {
    // That is what doctor asks without a login.
    fixture.announce(&[r#""cause":"login_missing""#]);
    let front = fixture.front();
    let (exit, text) = examine(fixture, &front, &front.sasl, &[])?;
    ensure!(exit == Some(1) && text.contains("#sasl_required"), "{text}");

    let login = ["--sasl", mechanism, "--user", USER];
    let (exit, text) = examine(fixture, &front, &front.sasl, &login)?;
    ensure!(exit == Some(0), "{text}");
    ensure!(!text.contains(PASSWORD), "the password is printed: {text}");
    Ok(())
}

/// The exit code, and what is printed.
pub(crate) fn examine(
    fixture: &Fixture,
    front: &Front,
    bootstrap: &str,
    options: &[&str],
) -> Result<(Option<i32>, String)> {
    let program = env!("CARGO_BIN_EXE_narrows");
    let mut command = fixture.namespaces.command(front.side, program);
    command
        .args(["doctor", "--bootstrap", bootstrap])
        .args(options);
    command.env("NARROWS_DOCTOR_PASSWORD", PASSWORD);
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}
