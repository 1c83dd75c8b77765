//! The matrix of scheme `single`: each client, what it is used for, and how the brokers are named.
//!
//! A cell that says yes is a trial, and `config/single.md` shows the same cells, so that the page
//! claims nothing that is not tried. Every trial judges what came back by what was acknowledged,
//! record by record.

mod page;
mod uses;

use libtest_mimic::{Failed, Trial};

use crate::brokers::version_under_test;
use crate::fixture::{LazyFixture, is_direct, sharing};
use crate::single::Hosts;

/// What a client is used for: a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    List,
    Produce,
    Group,
    Idempotent,
    Transactions,
    NoAcks,
    Kip848,
    Static,
    Share,
    Streams,
    Settings,
    LogDirs,
    Rack,
}

use Use::{
    Group, Idempotent, Kip848, List, LogDirs, NoAcks, Produce, Rack, Settings, Share, Static,
    Streams, Transactions,
};

const USES: [Use; 13] = [
    List,
    Produce,
    Group,
    Idempotent,
    Transactions,
    NoAcks,
    Kip848,
    Static,
    Share,
    Streams,
    Settings,
    LogDirs,
    Rack,
];

/// What the matrix says of a client and a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// There is a trial.
    Tried,
    /// There is a trial with a name for each broker; with one address for all it does not work, and
    /// this is why.
    Names(&'static str),
    /// It does not work with this scheme, and this is why, and what does.
    No(&'static str),
    /// The client has no such thing.
    Lacks,
    /// Nobody has tried.
    Untried,
}

use Cell::{Lacks, Names, No, Tried, Untried};

/// A client, and its cells in the order of [`USES`].
#[derive(Debug)]
struct Row {
    /// Its name for `tests/clients/run`.
    driver: &'static str,
    label: &'static str,
    cells: [Cell; USES.len()],
}

const KAFKAJS: &str = "kafkajs takes brokers with equal addresses for one, and writes to a connection that it has closed: \
                       give each broker a name.";
const OLD_LIBRDKAFKA: &str = "The consumer of librdkafka before 2.10 can stop for good when brokers have equal addresses: give \
                              each broker a name.";
const RACK: &str = "A client that does not name its broker reads from the leader, whatever its rack (above): for followers use \
                    scheme `port` or `sni`.";
const LOG_DIRS: &str =
    "Each broker has the directories of all (below): use scheme `port` or `sni`.";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    //                                                     list   produce group idempot transact acks=0  KIP-848  static  share    streams  setting log dirs rack
    Row { driver: "java", label: "Java 4.4.0", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried] },
    Row { driver: "java-4.3.1", label: "Java tools 4.3.1", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, No(LOG_DIRS), No(RACK)] },
    Row { driver: "java-3.9.2", label: "Java tools 3.9.2", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Lacks, Tried, No(LOG_DIRS), No(RACK)] },
    Row { driver: "franz-go", label: "franz-go 1.22.2", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, Tried, Tried] },
    Row { driver: "confluent", label: "librdkafka 2.16 (confluent-kafka 2.16.1)", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, Lacks, No(RACK)] },
    Row { driver: "kcat", label: "librdkafka 2.0.2 (kcat of Debian 12)", cells:
        [Tried, Tried, Names(OLD_LIBRDKAFKA), Tried, Lacks, Tried, Lacks, Names(OLD_LIBRDKAFKA), Lacks, Lacks, Lacks, Lacks, No(RACK)] },
    Row { driver: "sarama", label: "sarama 1.61.1", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, Lacks, Lacks, Tried, No(LOG_DIRS), No(RACK)] },
    Row { driver: "kafka-go", label: "segmentio/kafka-go 0.4.51", cells:
        [Tried, Tried, Tried, Lacks, Lacks, Tried, Lacks, Lacks, Lacks, Lacks, Tried, Lacks, Lacks] },
    Row { driver: "kafka-python", label: "kafka-python 3.0.12", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, Lacks, Lacks, Tried, No(LOG_DIRS), No(RACK)] },
    Row { driver: "aiokafka", label: "aiokafka 0.14.0", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Tried, Lacks, Lacks, Tried, Lacks, No(RACK)] },
    Row { driver: "kafkajs", label: "kafkajs 2.2.4", cells:
        [Names(KAFKAJS), Names(KAFKAJS), Names(KAFKAJS), Names(KAFKAJS), Names(KAFKAJS), Names(KAFKAJS), Lacks, Lacks, Lacks, Lacks,
         Names(KAFKAJS), Lacks, No(RACK)] },
    Row { driver: "platformatic", label: "@platformatic/kafka 2.12.1", cells:
        [Tried, Tried, Tried, Tried, Tried, Tried, Tried, Tried, Lacks, Lacks, Tried, No(LOG_DIRS), No(RACK)] },
];

/// The clients whose producer is idempotent unless it is told otherwise: their conversation shows
/// both.
const IDEMPOTENT: [&str; 8] = [
    "java",
    "java-4.3.1",
    "java-3.9.2",
    "franz-go",
    "confluent",
    "sarama",
    "kafka-python",
    "aiokafka",
];

impl Row {
    /// The cell of a use. What brokers with one address do, those with names do too: beyond the
    /// conversation it is not tried twice.
    fn cell(&self, wanted: Use, hosts: Hosts) -> Cell {
        let at = USES.iter().position(|one| *one == wanted);
        let cell = at.map_or(Untried, |at| self.cells[at]);
        match (cell, hosts) {
            (Names(_), Hosts::Named) => Tried,
            (Tried, Hosts::Named) if !self.is_conversation(wanted) => Untried,
            (cell, _) => cell,
        }
    }

    fn is_tried(&self, wanted: Use, hosts: Hosts) -> bool {
        self.cell(wanted, hosts) == Tried
    }

    /// Whether the conversation that every client has is the trial of this use.
    fn is_conversation(&self, wanted: Use) -> bool {
        match wanted {
            List | Produce | Group => true,
            Idempotent => IDEMPOTENT.contains(&self.driver),
            _ => false,
        }
    }

    fn needs_names(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell, Names(_)))
    }
}

/// Each use with the newest Kafka, which the page is about; with the others what they may do in
/// another way.
fn is_due(row: &Row, wanted: Use, hosts: Hosts) -> bool {
    match &*version_under_test() {
        "4.4.0" => true,
        // Share groups came with 4.0 and are ready for use since 4.2.
        version if wanted == Share && version.starts_with("3.") => false,
        _ => match wanted {
            List | Produce | Group => hosts == Hosts::Equal || row.needs_names(),
            Transactions | Kip848 | Share | Settings => row.driver == "java",
            _ => false,
        },
    }
}

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    let mut trials = vec![Trial::test("matrix::the_page_shows_what_is_tried", || {
        page::compare().map_err(|error| Failed::from(format!("{error:#}")))
    })];
    for row in ROWS {
        for hosts in [Hosts::Equal, Hosts::Named] {
            if is_due(row, List, hosts) && row.is_tried(List, hosts) {
                let name = name(row, "gets_back_every_record_from", hosts);
                trials.push(sharing(fixture, &name, move |fixture| {
                    uses::converse(fixture, row, hosts)
                }));
            }
            if hosts == Hosts::Equal
                && row.cell(Rack, hosts) == No(RACK)
                && row.is_tried(Group, hosts)
                && is_due(row, Rack, hosts)
            {
                let name = name(row, "reads_from_the_leader_in_spite_of_its_rack", hosts);
                trials.push(sharing(fixture, &name, move |fixture| {
                    uses::play(fixture, row, Rack, hosts)
                }));
            }
            for (wanted, text) in uses::OF_SOME {
                if row.is_tried(wanted, hosts)
                    && is_due(row, wanted, hosts)
                    && !row.is_conversation(wanted)
                {
                    let name = name(row, text, hosts);
                    trials.push(sharing(fixture, &name, move |fixture| {
                        uses::play(fixture, row, wanted, hosts)
                    }));
                }
            }
        }
    }
    trials
}

fn name(row: &Row, what: &str, hosts: Hosts) -> String {
    let hosts = match hosts {
        Hosts::Equal => "one_address",
        Hosts::Named => "a_name_for_each_broker",
    };
    format!("matrix::{}_{what}_behind_{hosts}", row.driver)
}
