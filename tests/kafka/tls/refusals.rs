//! Who is not let in, on either side, and what Narrows says about it.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::configuration::{mutual, only, terminating};
use super::socket::{TlsSocket, dial, ensure_unanswered};
use super::way::{PORT, Road, Way, showing};
use crate::clients::run_within;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::names;
use crate::narrows::{Narrows, own_port};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = vec![
        sharing(
            fixture,
            "tls::a_client_without_a_certificate_is_refused_where_one_is_required",
            without,
        ),
        sharing(
            fixture,
            "tls::a_client_of_a_strange_authority_is_refused_and_reaches_no_broker",
            strange,
        ),
    ];
    if !is_direct() {
        trials.extend([
            sharing(
                fixture,
                "tls::a_broker_with_a_certificate_for_another_host_gets_no_client",
                |fixture| distrust(fixture, names::TO_WRONG_NAME, &["not valid for name"]),
            ),
            sharing(
                fixture,
                "tls::a_broker_with_an_expired_certificate_gets_no_client",
                |fixture| distrust(fixture, names::TO_EXPIRED, &["expired"]),
            ),
            sharing(
                fixture,
                "tls::a_plaintext_client_at_the_tls_port_is_disconnected_without_a_byte",
                plaintext_to_tls,
            ),
            sharing(
                fixture,
                "tls::a_tls_client_at_a_plaintext_port_is_disconnected_without_an_answer",
                tls_to_plaintext,
            ),
        ]);
    }
    trials
}

/// For a client that would try again and again.
const PATIENCE: Duration = Duration::from_secs(6);

fn without(fixture: &Fixture) -> Result<()> {
    let option = |name: &str, road: &Road| {
        road.options
            .iter()
            .find(|option| option.starts_with(name))
            .cloned()
    };
    refuse(
        fixture,
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
fn strange(fixture: &Fixture) -> Result<()> {
    refuse(
        fixture,
        "kcat",
        &["unknownissuer", "unknown issuer", "unknown authority"],
        |road| road.with(&showing(&fixture.pki.stranger)),
    )
}

/// The client gets TLS's alert, and Narrows says one of these, in whatever case.
fn refuse(
    fixture: &Fixture,
    client: &str,
    reasons: &[&str],
    options: impl Fn(&Road) -> Vec<String>,
) -> Result<()> {
    let narrows = if is_direct() {
        None
    } else {
        Some(strict_narrows(fixture)?)
    };
    let road = match &narrows {
        Some(narrows) => Way::ToMtls.through(fixture, own_port(narrows.slot())),
        None => Way::ToMtls.road(fixture)?,
    };
    let options = options(&road);
    let outcome = run_within(
        PATIENCE,
        fixture,
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
    narrows.announce(&[r#""cause":"tls_handshake_failed""#]);
    narrows.await_log(reasons)?;
    for metric in [
        "narrows_requests_total",
        r#"narrows_bytes_total{direction="to_broker""#,
    ] {
        let count = narrows.metric(&fixture.namespaces, metric, r#"listener="b""#)?;
        ensure!(count == 0.0, "{metric} is {count} after nobody was let in");
    }
    narrows.ensure_sound()
}

/// One that counts nothing but what the refused do.
fn strict_narrows(fixture: &Fixture) -> Result<Narrows> {
    let identity = fixture.pki.serve(names::TO_MTLS)?;
    fixture.own_narrows_with(|slot| {
        let listener = terminating(names::TO_MTLS, "mtls", own_port(slot), &identity);
        Ok(only(fixture, names::TO_MTLS, mutual(fixture, listener)))
    })
}

fn distrust(fixture: &Fixture, domain: &str, reasons: &[&str]) -> Result<()> {
    let narrows = fixture.gateway()?;
    TlsSocket::open(fixture, PORT, domain)?.ensure_api_versions_is_not_answered()?;
    narrows.await_log(reasons)
}

/// A TLS alert would be read as the length of a Kafka frame, and Java would allocate it
/// (KAFKA-4090).
fn plaintext_to_tls(fixture: &Fixture) -> Result<()> {
    let narrows = fixture.gateway()?;
    narrows.announce(&[r#""cause":"plaintext_on_tls""#]);
    ensure_unanswered(&mut dial(fixture, PORT)?)?;
    narrows.await_log(&["plaintext", "security.protocol"])?;
    let road = Way::ToPlain.road(fixture)?;
    let outcome = run_within(
        PATIENCE,
        fixture,
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

fn tls_to_plaintext(fixture: &Fixture) -> Result<()> {
    fixture.announce(&[r#""cause":"tls_on_plaintext""#]);
    let road = Way::ToPlain.road(fixture)?;
    let bootstrap = &fixture.front().plain;
    let outcome = run_within(
        PATIENCE,
        fixture,
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
    fixture.narrows()?.await_log(&["a tls hello"])
}
