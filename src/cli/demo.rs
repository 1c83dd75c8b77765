//! `narrows demo`: the main job, on brokers inside this process or on a real cluster.
//!
//! Brokers, Narrows in front, a producer and a consumer that are told Narrows' address only; at the
//! end what arrived is compared with what was sent. Read on in the order of [`run`]: [`brokers`],
//! [`front`], [`traffic`], [`report`].

#![expect(
    clippy::disallowed_methods,
    reason = "librdkafka's threads are the demo's own, beside the runtime of Narrows"
)]

mod brokers;
mod flow;
mod front;
mod record;
mod report;
mod screen;
mod tally;
mod traffic;
mod watch;

use super::DemoArgs;
use crate::observe::{LogFilter, LogFormat, LogSettings, logs};
use anyhow::{Context, bail};
use brokers::Brokers;
use front::Front;
use screen::say;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// A power of two for three brokers would leave one with less.
const PARTITIONS: i32 = 6;

pub(super) fn run(args: DemoArgs) -> anyhow::Result<()> {
    logs::init(&LogSettings {
        level: LogFilter::level(tracing::Level::WARN),
        format: LogFormat::Text,
    })?;
    let runtime = runtime()?;
    say(screen::title(&args));
    let brokers = Brokers::start(args.bootstrap_servers.as_deref())?;
    let front = runtime.block_on(Front::start(&brokers))?;
    say(screen::map(&brokers, &front));
    let topic = brokers.create_topic(&front.bootstrap, PARTITIONS, &runtime)?;
    let shown =
        show(&args, &brokers, &front, &topic).and_then(|()| stay(&args, &front, &topic, &runtime));
    // Also when something differed: nothing is left behind on a cluster that is not ours.
    if let Some(left) = brokers.remove_topic(&front.bootstrap, &topic, &runtime) {
        say(left);
    }
    runtime.block_on(front.stop());
    shown
}

/// The run itself, then what came of it.
fn show(
    args: &DemoArgs,
    brokers: &Brokers,
    front: &Front,
    topic: &brokers::Topic,
) -> anyhow::Result<()> {
    let outcome = traffic::run(args, front, topic)?;
    let report = report::Report::new(args, brokers, front, topic, &outcome);
    say(report.to_string());
    if report.is_ok() {
        Ok(())
    } else {
        bail!("what arrived is not what was sent: see above")
    }
}

fn stay(
    args: &DemoArgs,
    front: &Front,
    topic: &brokers::Topic,
    runtime: &Runtime,
) -> anyhow::Result<()> {
    if !args.stay {
        return Ok(());
    }
    // Listened for before anybody is told to press it.
    let in_runtime = runtime.enter();
    let interrupted = signal(SignalKind::interrupt()).context("Ctrl-C can't be waited for");
    drop(in_runtime);
    say(screen::invitation(front, topic));
    let _ = runtime.block_on(interrupted?.recv());
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.context("the async runtime can't be started")
}
