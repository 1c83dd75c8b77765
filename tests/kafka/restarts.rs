//! Narrows itself is killed, restarted and drained under clients.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::arms::Arms;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::narrows::Narrows;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    let mut trials = vec![sharing(
        fixture,
        "restarts::a_drained_narrows_without_clients_exits_with_0_at_once",
        drain_idle,
    )];
    for client in ["java", "confluent", "franz-go"] {
        let name = format!(
            "restarts::{client}_loses_and_doubles_nothing_when_narrows_is_killed_and_restarted"
        );
        trials.push(sharing(fixture, &name, move |fixture| {
            interrupt(fixture, client, &Narrows::kill)
        }));
        let name = format!(
            "restarts::{client}_loses_and_doubles_nothing_when_narrows_is_drained_and_exits_with_0"
        );
        trials.push(sharing(fixture, &name, move |fixture| {
            interrupt(fixture, client, &drain)
        }));
    }
    trials
}

fn drain_idle(fixture: &Fixture) -> Result<()> {
    let narrows = fixture.own_narrows()?;
    let start = std::time::Instant::now();
    drain(&narrows)?;
    let took = start.elapsed();
    ensure!(
        took < Duration::from_secs(5),
        "a drain with nothing to wait for took {took:?}"
    );
    Ok(())
}

fn drain(narrows: &Narrows) -> Result<()> {
    let status = narrows.drain()?;
    ensure!(
        status.success(),
        "a drain should exit with 0: {status}\n{}",
        narrows.log_tail()
    );
    Ok(())
}

fn interrupt(
    fixture: &Fixture,
    client: &'static str,
    end: &dyn Fn(&Narrows) -> Result<()>,
) -> Result<()> {
    let narrows = fixture.own_narrows()?;
    let arms = Arms::start(fixture, client, narrows.front(), "2,3,1")?;
    for _ in 0..2 {
        arms.await_more(200)?;
        end(&narrows)?;
        narrows.start_again(&fixture.namespaces)?;
    }
    arms.await_more(200)?;
    arms.finish(fixture)?;
    narrows.ensure_sound()
}
