//! What arrived compared with what was sent, and whom the clients talked to.

use super::brokers::{Brokers, Topic};
use super::front::Front;
use super::screen::megabytes_per_second;
use super::traffic::Outcome;
use crate::cli::DemoArgs;
use indicatif::HumanCount;
use std::collections::BTreeSet;
use std::fmt;

/// The lines of the report, each with its verdict.
pub(super) struct Report {
    lines: Vec<Line>,
}

struct Line {
    is_ok: bool,
    label: &'static str,
    text: String,
}

impl Report {
    pub(super) fn new(
        args: &DemoArgs,
        brokers: &Brokers,
        front: &Front,
        topic: &Topic,
        outcome: &Outcome,
    ) -> Self {
        let lines = vec![
            sent(args, topic, outcome),
            arrived(args, outcome),
            content(outcome),
            order(topic, outcome),
            group(outcome),
            addresses(brokers, front, outcome),
            speed(args, outcome),
        ];
        Self { lines }
    }

    /// Nothing differs.
    pub(super) fn is_ok(&self) -> bool {
        self.lines.iter().all(|line| line.is_ok)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { is_ok, label, text } in &self.lines {
            let mark = if *is_ok { "ok  " } else { "FAIL" };
            writeln!(f, "  {mark}  {label:11}{text}")?;
        }
        if self.is_ok() {
            write!(
                f,
                "\nWhat arrived is what was sent, and the clients saw nothing but Narrows."
            )?;
        }
        Ok(())
    }
}

fn sent(args: &DemoArgs, topic: &Topic, outcome: &Outcome) -> Line {
    let acknowledged = HumanCount(outcome.acknowledged);
    let mut text = format!(
        "{acknowledged} records to {} partitions of {}, acknowledged",
        topic.partitions, topic.name
    );
    let is_ok = outcome.acknowledged == args.records;
    if !is_ok {
        text = format!(
            "{acknowledged} of {} records acknowledged",
            HumanCount(args.records)
        );
        text += &because(outcome);
    }
    Line {
        is_ok,
        label: "sent",
        text,
    }
}

fn arrived(args: &DemoArgs, outcome: &Outcome) -> Line {
    let count = HumanCount(outcome.tally.arrived);
    let missing = outcome.tally.missing(args.records);
    let is_ok = missing == 0 && outcome.tally.arrived == args.records;
    let text = match is_ok {
        true => format!("{count} records, none missing, none twice"),
        false => format!(
            "{count} records, {} missing{}",
            HumanCount(missing),
            because(outcome)
        ),
    };
    Line {
        is_ok,
        label: "arrived",
        text,
    }
}

fn content(outcome: &Outcome) -> Line {
    let different = outcome.tally.different;
    let text = match different {
        0 => "every key and every value as sent".to_owned(),
        n => format!(
            "{} records with another key, value or partition than sent",
            HumanCount(n)
        ),
    };
    Line {
        is_ok: different == 0,
        label: "content",
        text,
    }
}

fn order(topic: &Topic, outcome: &Outcome) -> Line {
    let late = outcome.tally.out_of_order;
    let text = match late {
        0 => format!("as sent, in each of {} partitions", topic.partitions),
        n => format!("{} records came twice, or after later ones", HumanCount(n)),
    };
    Line {
        is_ok: late == 0,
        label: "order",
        text,
    }
}

fn group(outcome: &Outcome) -> Line {
    let (is_ok, text) = match &outcome.committed {
        Ok(()) => (
            true,
            "offsets committed to the group's coordinator".to_owned(),
        ),
        Err(why) => (false, format!("offsets can't be committed: {why}")),
    };
    Line {
        is_ok,
        label: "group",
        text,
    }
}

/// The clients' own account of whom they were told of and whom they dialled, against Narrows'
/// addresses.
fn addresses(brokers: &Brokers, front: &Front, outcome: &Outcome) -> Line {
    let ours = front.addresses();
    let seen: BTreeSet<&String> = outcome.told.iter().chain(outcome.dialled.keys()).collect();
    let foreign: Vec<_> = seen
        .into_iter()
        .filter(|address| !ours.contains(*address))
        .collect();
    let label = "addresses";
    if outcome.told.is_empty() || outcome.dialled.is_empty() {
        return Line {
            is_ok: false,
            label,
            text: format!("the clients know no broker{}", because(outcome)),
        };
    }
    if foreign.is_empty() {
        let dialled: i64 = outcome.dialled.values().sum();
        let text = format!(
            "{dialled} connections, all to Narrows ({} open now); no broker address reached a \
             client",
            outcome.connections
        );
        return Line {
            is_ok: outcome.connections > 0,
            label,
            text,
        };
    }
    let named = |address: &&&String| brokers.nodes.iter().any(|(_, broker)| broker == **address);
    let leaked = foreign.iter().filter(named).count();
    let list = foreign
        .iter()
        .map(|address| address.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let text = format!("clients saw {list}: {leaked} of them the brokers' own");
    Line {
        is_ok: false,
        label,
        text,
    }
}

fn speed(args: &DemoArgs, outcome: &Outcome) -> Line {
    let arrived = outcome.tally.arrived;
    let rate = megabytes_per_second(arrived * u64::from(args.record_bytes), outcome.took);
    let seconds = outcome.took.as_secs_f64();
    let records = HumanCount((arrived as f64 / seconds.max(0.001)) as u64);
    let text =
        format!("{seconds:.1} s from producer to consumer: {records} records/s, {rate:.0} MB/s");
    Line {
        is_ok: true,
        label: "speed",
        text,
    }
}

fn because(outcome: &Outcome) -> String {
    outcome
        .trouble
        .as_ref()
        .map(|trouble| format!(" (the client says: {trouble})"))
        .unwrap_or_default()
}
