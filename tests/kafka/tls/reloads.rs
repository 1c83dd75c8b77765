//! Certificates and listeners change in a Narrows that runs, under clients that must not notice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::configuration::{only, terminating};
use super::secret::Secret;
use super::socket::TlsSocket;
use super::way::Way;
use crate::clients::{Flow, metadata};
use crate::conversations::ensure_only_advertised;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::names;
use crate::narrows::{Narrows, own_port};
use crate::oracle::{self, Order};
use crate::pki::Identity;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "tls::a_renewed_certificate_is_shown_within_seconds_and_no_producer_notices",
            rotate,
        ),
        sharing(
            fixture,
            "tls::a_broken_certificate_file_leaves_the_old_one_in_use_until_it_is_mended",
            break_and_mend,
        ),
        sharing(
            fixture,
            "tls::a_listener_that_is_added_to_the_file_serves_without_a_restart",
            add_a_listener,
        ),
    ]
}

/// Files are looked at every second, unless the configuration says otherwise.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// Records between two events.
const BETWEEN: usize = 200;

fn rotate(fixture: &Fixture) -> Result<()> {
    let (secret, first) = Secret::mount(fixture, names::TO_PLAIN)?;
    let narrows = narrows(fixture, &first)?;
    let port = own_port(narrows.slot());
    let producers = [
        produce(fixture, "java", port)?,
        produce(fixture, "confluent", port)?,
    ];
    await_more(&producers)?;
    let closed = closed(fixture, &narrows)?;
    // Held, so that the only connections that could be closed are the producers'.
    let mut held = await_shown(fixture, port, &first.der)?;
    for _ in 0..2 {
        let next = secret.renew(fixture)?;
        held.extend(await_shown(fixture, port, &next.der)?);
        await_more(&producers)?;
    }
    ensure_none_closed(fixture, &narrows, closed)?;
    await_reloads(fixture, &narrows, "applied", 2.0)?;
    for producer in producers {
        finish(fixture, producer)?;
    }
    narrows.ensure_sound()
}

fn break_and_mend(fixture: &Fixture) -> Result<()> {
    let (secret, first) = Secret::mount(fixture, names::TO_PLAIN)?;
    let narrows = narrows(fixture, &first)?;
    let port = own_port(narrows.slot());
    narrows.announce(&["tls.crt"]);
    secret.break_certificate(fixture)?;
    await_reloads(fixture, &narrows, "refused", 1.0)?;
    narrows.await_log(&["tls.crt"])?;
    ensure!(
        TlsSocket::open(fixture, port, names::TO_PLAIN)?.certificate()? == first.der,
        "the certificate that was read last should still be shown"
    );
    let mended = secret.renew(fixture)?;
    await_shown(fixture, port, &mended.der)?;
    narrows.ensure_sound()
}

fn add_a_listener(fixture: &Fixture) -> Result<()> {
    let first = fixture.pki.serve(names::TO_PLAIN)?;
    let narrows = narrows(fixture, &first)?;
    let port = own_port(narrows.slot());
    let producer = produce(fixture, "confluent", port)?;
    await_more(std::slice::from_ref(&producer))?;
    let closed = closed(fixture, &narrows)?;

    let mut configuration = configuration(fixture, port, &first);
    let added = fixture.pki.serve(names::ADDED)?;
    configuration["listeners"][names::ADDED] = terminating(names::ADDED, "plain", port, &added);
    narrows.configure(configuration)?;
    await_reloads(fixture, &narrows, "applied", 1.0)?;
    let road = Way::ToPlain.through(fixture, port);
    let bootstrap = format!("{}:{port}", names::bootstrap(names::ADDED));
    let metadata = metadata(fixture, "kcat", &road.front, &bootstrap, &road.options)?;
    ensure_only_advertised(&metadata, &names::brokers(names::ADDED, port))?;

    await_more(std::slice::from_ref(&producer))?;
    ensure_none_closed(fixture, &narrows, closed)?;
    finish(fixture, producer)?;
    narrows.ensure_sound()
}

fn narrows(fixture: &Fixture, identity: &Identity) -> Result<Narrows> {
    fixture.own_narrows_with(|slot| Ok(configuration(fixture, own_port(slot), identity)))
}

fn configuration(fixture: &Fixture, port: u16, identity: &Identity) -> serde_json::Value {
    only(
        fixture,
        names::TO_PLAIN,
        terminating(names::TO_PLAIN, "plain", port, identity),
    )
}

/// A producer and the topic that it alone writes to.
struct Producer {
    flow: Flow,
    topic: String,
}

fn produce(fixture: &Fixture, client: &str, port: u16) -> Result<Producer> {
    let topic = fixture.namespaces.unique("reload");
    fixture.cluster.admin_client.place(&topic, "2,3,1")?;
    let road = Way::ToPlain.through(fixture, port);
    let options = road.with(&[
        format!("topic={topic}"),
        "tag=r".to_owned(),
        "rate=300".to_owned(),
    ]);
    let flow = Flow::endless(
        fixture,
        client,
        &road.front,
        &road.bootstrap,
        "produce",
        &options,
    )?;
    Ok(Producer { flow, topic })
}

fn await_more(producers: &[Producer]) -> Result<()> {
    producers
        .iter()
        .try_for_each(|producer| producer.flow.await_more(BETWEEN))
}

/// No record failed, and each that was acknowledged is there once.
fn finish(fixture: &Fixture, producer: Producer) -> Result<()> {
    let acked = oracle::acked(&producer.flow.stop()?)?;
    oracle::ensure_arrived(
        "r",
        Order::AsSent,
        &acked,
        &fixture.cluster.admin_client.read(&producer.topic)?,
    )
}

/// Opens connections until this certificate is shown. They are the caller's to close.
fn await_shown(fixture: &Fixture, port: u16, certificate: &[u8]) -> Result<Vec<TlsSocket>> {
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    let mut opened = Vec::new();
    loop {
        let socket = TlsSocket::open(fixture, port, names::TO_PLAIN)?;
        let shown = socket.certificate()?;
        opened.push(socket);
        if shown == certificate {
            return Ok(opened);
        }
        ensure!(
            Instant::now() < deadline,
            "another certificate is still shown after {RELOAD_TIMEOUT:?}"
        );
        std::thread::sleep(POLL);
    }
}

fn await_reloads(fixture: &Fixture, narrows: &Narrows, outcome: &str, count: f64) -> Result<()> {
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    while reloads(fixture, narrows, outcome)? < count {
        ensure!(
            Instant::now() < deadline,
            "no reload was {outcome} within {RELOAD_TIMEOUT:?}\n{}",
            narrows.log_tail()
        );
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn ensure_none_closed(fixture: &Fixture, narrows: &Narrows, before: f64) -> Result<()> {
    let now = closed(fixture, narrows)?;
    ensure!(
        now == before,
        "{} connections ended with a reload",
        now - before
    );
    Ok(())
}

fn closed(fixture: &Fixture, narrows: &Narrows) -> Result<f64> {
    narrows.metric(
        &fixture.namespaces,
        "narrows_connections_closed_total",
        r#"listener="a""#,
    )
}

fn reloads(fixture: &Fixture, narrows: &Narrows, outcome: &str) -> Result<f64> {
    narrows.metric(
        &fixture.namespaces,
        "narrows_reloads_total",
        &format!(r#"outcome="{outcome}""#),
    )
}
