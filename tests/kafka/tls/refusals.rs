//! Who is not let in, on either side, and what Narrows says about it.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::configuration::{mutual, only, terminating};
use super::socket::{TlsSocket, dial, ensure_unanswered};
use super::way::{PORT, Road, Way, showing};
use crate::clients::run_within;
use crate::names;
use crate::narrows::{Narrows, own_port};
use crate::stage::{LazyStage, Stage, is_direct, sharing};

pub(crate) fn list(stage: &LazyStage) -> Vec<Trial> {
    let mut trials = vec![
        sharing(
            stage,
            "tls::a_client_without_a_certificate_is_refused_where_one_is_required",
            without,
        ),
        sharing(
            stage,
            "tls::a_client_of_a_strange_authority_is_refused_and_reaches_no_broker",
            strange,
        ),
    ];
    if !is_direct() {
        trials.extend([
            sharing(
                stage,
                "tls::a_broker_with_a_certificate_for_another_host_gets_no_client",
                |stage| distrust(stage, names::TO_WRONG_NAME, &["not valid for name"]),
            ),
            sharing(
                stage,
                "tls::a_broker_with_an_expired_certificate_gets_no_client",
                |stage| distrust(stage, names::TO_EXPIRED, &["expired"]),
            ),
            sharing(
                stage,
                "tls::a_plaintext_client_at_the_tls_port_is_disconnected_without_a_byte",
                plaintext_to_tls,
            ),
            sharing(
                stage,
                "tls::a_tls_client_at_a_plaintext_port_is_disconnected_without_an_answer",
                tls_to_plaintext,
            ),
        ]);
    }
    trials
}

/// For a client that would try again and again.
const PATIENCE: Duration = Duration::from_secs(6);

fn without(stage: &Stage) -> Result<()> {
    let option = |name: &str, road: &Road| {
        road.options
            .iter()
            .find(|option| option.starts_with(name))
            .cloned()
    };
    refuse(
        stage,
        "java",
        &["no certificate", "without a certificate"],
        |road| {
            ["cafile=", "security="]
                .into_iter()
                .filter_map(|name| option(name, road))
                .collect()
        },
    )
}

/// By a client that shows what it was given: others keep to themselves what the server can't have
/// asked for.
fn strange(stage: &Stage) -> Result<()> {
    refuse(
        stage,
        "kcat",
        &["unknownissuer", "unknown issuer", "unknown authority"],
        |road| road.with(&showing(&stage.pki.stranger)),
    )
}

/// The client gets TLS's alert, and Narrows says one of these, in whatever case.
fn refuse(
    stage: &Stage,
    client: &str,
    reasons: &[&str],
    options: impl Fn(&Road) -> Vec<String>,
) -> Result<()> {
    let narrows = if is_direct() {
        None
    } else {
        Some(strict_narrows(stage)?)
    };
    let road = match &narrows {
        Some(narrows) => Way::ToMtls.through(stage, own_port(narrows.slot())),
        None => Way::ToMtls.road(stage)?,
    };
    let options = options(&road);
    let outcome = run_within(
        PATIENCE,
        stage,
        client,
        &road.front,
        &road.bootstrap,
        "metadata",
        &options,
    );
    let refusal = outcome
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        refusal.contains("alert"),
        "the client should be refused by TLS itself: {refusal:?}"
    );
    let Some(narrows) = narrows else {
        return Ok(());
    };
    narrows.await_log(reasons)?;
    for metric in [
        "narrows_requests_total",
        r#"narrows_bytes_total{direction="to_broker""#,
    ] {
        let count = narrows.metric(&stage.world, metric, r#"listener="b""#)?;
        ensure!(count == 0.0, "{metric} is {count} after nobody was let in");
    }
    narrows.ensure_sound()
}

/// One that counts nothing but what the refused do.
fn strict_narrows(stage: &Stage) -> Result<Narrows> {
    let identity = stage.pki.serve(names::TO_MTLS)?;
    stage.own_narrows_with(|slot| {
        let listener = terminating(names::TO_MTLS, "mtls", own_port(slot), &identity);
        Ok(only(stage, names::TO_MTLS, mutual(stage, listener)))
    })
}

fn distrust(stage: &Stage, domain: &str, reasons: &[&str]) -> Result<()> {
    let narrows = stage.gateway()?;
    TlsSocket::open(stage, PORT, domain)?.ensure_api_versions_is_not_answered()?;
    narrows.await_log(reasons)
}

/// A TLS alert would be read as the length of a Kafka frame, and Java would allocate it
/// (KAFKA-4090).
fn plaintext_to_tls(stage: &Stage) -> Result<()> {
    let narrows = stage.gateway()?;
    ensure_unanswered(&mut dial(stage, PORT)?)?;
    narrows.await_log(&["plaintext", "security.protocol"])?;
    let road = Way::ToPlain.road(stage)?;
    let outcome = run_within(
        PATIENCE,
        stage,
        "kcat",
        &road.front,
        &road.bootstrap,
        "metadata",
        &[],
    );
    ensure!(
        outcome.is_err(),
        "kcat saw metadata in plaintext at a TLS port"
    );
    Ok(())
}

fn tls_to_plaintext(stage: &Stage) -> Result<()> {
    let road = Way::ToPlain.road(stage)?;
    let bootstrap = &stage.front().plain;
    let outcome = run_within(
        PATIENCE,
        stage,
        "kcat",
        &road.front,
        bootstrap,
        "metadata",
        &road.options,
    );
    ensure!(
        outcome.is_err(),
        "kcat saw metadata with TLS at a plaintext port"
    );
    stage.narrows()?.await_log(&["a tls hello"])
}
