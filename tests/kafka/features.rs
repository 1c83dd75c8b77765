//! What only some clients can do, each scenario judging itself: transactions, KIP-848 groups, share
//! groups and administration by the Java client; Kafka's own command-line tools, current and old.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::brokers::version_under_test;
use crate::clients::run;
use crate::fixture::{Fixture, LazyFixture, sharing};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut scenarios = vec![
        (
            "java",
            "transaction",
            "features::transactions_commit_and_abort_and_read_committed_sees_only_the_committed",
        ),
        (
            "java",
            "kip848",
            "features::a_group_of_the_new_protocol_shares_out_and_consumes",
        ),
        (
            "java",
            "admin",
            "features::administration_does_what_it_does_against_the_brokers",
        ),
        (
            "java-4.3.1",
            "admin",
            "features::the_console_tools_administer_topics_groups_log_dirs_and_the_quorum",
        ),
        (
            "java-4.3.1",
            "perf",
            "features::the_perf_tools_read_as_many_records_as_they_wrote",
        ),
        (
            "java-3.9.2",
            "perf",
            "features::the_perf_tools_of_3.9.2_read_as_many_records_as_they_wrote",
        ),
    ];
    // Share groups came with 4.0 and are ready for use since 4.2.
    if !version_under_test().starts_with("3.") {
        scenarios.push((
            "java",
            "share",
            "features::a_share_group_acknowledges_each_record_once",
        ));
    }
    let trial = |(client, scenario, name): (&'static str, &'static str, &str)| {
        sharing(fixture, name, move |fixture| {
            play(fixture, client, scenario)
        })
    };
    scenarios.into_iter().map(trial).collect()
}

fn play(fixture: &Fixture, client: &str, scenario: &str) -> Result<()> {
    let topic = fixture.namespaces.unique(scenario);
    if scenario != "admin" {
        // Which creates its own.
        fixture.cluster.admin_client.create(&topic, 3)?;
    }
    let front = fixture.front();
    let options = [
        format!("topic={topic}"),
        format!("count={}", if scenario == "perf" { 20_000 } else { 200 }),
        format!("tag={topic}"),
        format!("group=g-{topic}"),
    ];
    run(fixture, client, &front, &front.plain, scenario, &options).map(drop)
}
