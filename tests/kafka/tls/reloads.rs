//! Certificates and listeners change in a Narrows that runs, under clients that must not notice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::configuration::{only, terminating};
use super::secret::Secret;
use super::socket::TlsSocket;
use super::way::Way;
use crate::clients::{Flow, run};
use crate::conversations::ensure_only_advertised;
use crate::names;
use crate::narrows::{Narrows, own_port};
use crate::oracle::{self, Order};
use crate::pki::Identity;
use crate::stage::{LazyStage, Stage, is_direct, sharing};

pub(crate) fn list(stage: &LazyStage) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            stage,
            "tls::a_renewed_certificate_is_shown_within_seconds_and_no_producer_notices",
            rotate,
        ),
        sharing(
            stage,
            "tls::a_broken_certificate_file_leaves_the_old_one_in_use_until_it_is_mended",
            break_and_mend,
        ),
        sharing(
            stage,
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

fn rotate(stage: &Stage) -> Result<()> {
    let (secret, first) = Secret::mount(stage, names::TO_PLAIN)?;
    let narrows = narrows(stage, &first)?;
    let port = own_port(narrows.slot());
    let producers = [
        produce(stage, "java", port)?,
        produce(stage, "confluent", port)?,
    ];
    await_more(&producers)?;
    let closed = closed(stage, &narrows)?;
    // Held, so that the only connections that could be closed are the producers'.
    let mut held = await_shown(stage, port, &first.der)?;
    for _ in 0..2 {
        let next = secret.renew(stage)?;
        held.extend(await_shown(stage, port, &next.der)?);
        await_more(&producers)?;
    }
    ensure_none_closed(stage, &narrows, closed)?;
    await_reloads(stage, &narrows, "applied", 2.0)?;
    for producer in producers {
        finish(stage, producer)?;
    }
    narrows.ensure_sound()
}

fn break_and_mend(stage: &Stage) -> Result<()> {
    let (secret, first) = Secret::mount(stage, names::TO_PLAIN)?;
    let narrows = narrows(stage, &first)?;
    let port = own_port(narrows.slot());
    secret.break_certificate(stage)?;
    await_reloads(stage, &narrows, "refused", 1.0)?;
    narrows.await_log(&["tls.crt"])?;
    ensure!(
        TlsSocket::open(stage, port, names::TO_PLAIN)?.certificate()? == first.der,
        "the certificate that was read last should still be shown"
    );
    let mended = secret.renew(stage)?;
    await_shown(stage, port, &mended.der)?;
    narrows.ensure_sound()
}

fn add_a_listener(stage: &Stage) -> Result<()> {
    let first = stage.pki.serve(names::TO_PLAIN)?;
    let narrows = narrows(stage, &first)?;
    let port = own_port(narrows.slot());
    let producer = produce(stage, "confluent", port)?;
    await_more(std::slice::from_ref(&producer))?;
    let closed = closed(stage, &narrows)?;

    let mut configuration = configuration(stage, port, &first);
    let added = stage.pki.serve(names::ADDED)?;
    configuration["listeners"][names::ADDED] = terminating(names::ADDED, "plain", port, &added);
    narrows.configure(configuration)?;
    await_reloads(stage, &narrows, "applied", 1.0)?;
    let road = Way::ToPlain.through(stage, port);
    let bootstrap = format!("{}:{port}", names::bootstrap(names::ADDED));
    let metadata = run(
        stage,
        "kcat",
        &road.front,
        &bootstrap,
        "metadata",
        &road.options,
    )?;
    ensure_only_advertised(&metadata, &names::brokers(names::ADDED, port))?;

    await_more(std::slice::from_ref(&producer))?;
    ensure_none_closed(stage, &narrows, closed)?;
    finish(stage, producer)?;
    narrows.ensure_sound()
}

fn narrows(stage: &Stage, identity: &Identity) -> Result<Narrows> {
    stage.own_narrows_with(|slot| Ok(configuration(stage, own_port(slot), identity)))
}

fn configuration(stage: &Stage, port: u16, identity: &Identity) -> serde_json::Value {
    only(
        stage,
        names::TO_PLAIN,
        terminating(names::TO_PLAIN, "plain", port, identity),
    )
}

/// A producer and the topic that it alone writes to.
struct Producer {
    flow: Flow,
    topic: String,
}

fn produce(stage: &Stage, client: &str, port: u16) -> Result<Producer> {
    let topic = stage.world.unique("reload");
    stage.cluster.steward.place(&topic, "2,3,1")?;
    let road = Way::ToPlain.through(stage, port);
    let options = road.with(&[
        format!("topic={topic}"),
        "tag=r".to_owned(),
        "rate=300".to_owned(),
    ]);
    let flow = Flow::endless(
        stage,
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
fn finish(stage: &Stage, producer: Producer) -> Result<()> {
    let acked = oracle::acked(&producer.flow.stop()?)?;
    oracle::ensure_arrived(
        "r",
        Order::AsSent,
        &acked,
        &stage.cluster.steward.read(&producer.topic)?,
    )
}

/// Opens connections until this certificate is shown. They are the caller's to close.
fn await_shown(stage: &Stage, port: u16, certificate: &[u8]) -> Result<Vec<TlsSocket>> {
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    let mut opened = Vec::new();
    loop {
        let socket = TlsSocket::open(stage, port, names::TO_PLAIN)?;
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

fn await_reloads(stage: &Stage, narrows: &Narrows, outcome: &str, count: f64) -> Result<()> {
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    while reloads(stage, narrows, outcome)? < count {
        ensure!(
            Instant::now() < deadline,
            "no reload was {outcome} within {RELOAD_TIMEOUT:?}\n{}",
            narrows.log_tail()
        );
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn ensure_none_closed(stage: &Stage, narrows: &Narrows, before: f64) -> Result<()> {
    let now = closed(stage, narrows)?;
    ensure!(
        now == before,
        "{} connections ended with a reload",
        now - before
    );
    Ok(())
}

fn closed(stage: &Stage, narrows: &Narrows) -> Result<f64> {
    narrows.metric(
        &stage.world,
        "narrows_connections_closed_total",
        r#"listener="a""#,
    )
}

fn reloads(stage: &Stage, narrows: &Narrows, outcome: &str) -> Result<f64> {
    narrows.metric(
        &stage.world,
        "narrows_reloads_total",
        &format!(r#"outcome="{outcome}""#),
    )
}
