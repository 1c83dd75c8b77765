//! What only some clients can do, each scenario of the Java client judging itself: transactions, KIP-848 groups, share
//! groups, administration.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::brokers::version_under_test;
use crate::clients::run;
use crate::stage::{LazyStage, Stage, sharing};

pub(crate) fn list(stage: &LazyStage) -> Vec<Trial> {
    let mut scenarios = vec![
        ("transaction", "features::transactions_commit_and_abort_and_read_committed_sees_only_the_committed"),
        ("kip848", "features::a_group_of_the_new_protocol_shares_out_and_consumes"),
        ("admin", "features::administration_does_what_it_does_against_the_brokers"),
    ];
    // Share groups came with 4.0 and are ready for use since 4.2.
    if !version_under_test().starts_with("3.") {
        scenarios.push(("share", "features::a_share_group_acknowledges_each_record_once"));
    }
    let trial =
        |(scenario, name): (&'static str, &str)| sharing(stage, name, move |stage| play(stage, scenario));
    scenarios.into_iter().map(trial).collect()
}

fn play(stage: &Stage, scenario: &str) -> Result<()> {
    let topic = stage.world.unique(scenario);
    if scenario != "admin" {
        // Which creates its own.
        stage.cluster.steward.create(&topic, 3)?;
    }
    let front = stage.front();
    let options = [
        format!("topic={topic}"),
        "count=200".to_owned(),
        format!("tag={topic}"),
        format!("group=g-{topic}"),
    ];
    run(stage, "java", &front, &front.plain, scenario, &options).map(drop)
}
