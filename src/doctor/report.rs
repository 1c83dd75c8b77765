//! What was found, and how it is shown: as a table for people, as JSON for machines, or as the
//! problems alone.

use super::{Code, Trouble};
use crate::observe::text::{self, Shown};
use crate::protocol::doctor_requests::{Offered, Topology};
use crate::protocol::table;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A step on the way from a name to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The bootstrap name has an address.
    Resolve,
    /// Somebody listens there.
    Connect,
    /// The certificate is good, where TLS is spoken.
    Tls,
    /// Kafka answers, and says which versions it has.
    Versions,
    /// Whether a login is demanded, and whether it works.
    Sasl,
    /// The list of brokers.
    Metadata,
    /// Each advertised broker.
    Broker,
    /// One record there and back.
    Record,
    /// The ports that Narrows is to bind.
    Ports,
    /// What the system allows the process.
    System,
}

impl Stage {
    /// The step at which a connection failed.
    pub(super) fn of(trouble: &Trouble) -> Self {
        match trouble.code.word() {
            word if word.starts_with("dns_") => Self::Resolve,
            word if word.starts_with("connect_") => Self::Connect,
            word if word.starts_with("tls_") => Self::Tls,
            _ => Self::Versions,
        }
    }

    /// The word in the table and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Versions => "versions",
            Self::Sasl => "sasl",
            Self::Metadata => "metadata",
            Self::Broker => "broker",
            Self::Record => "record",
            Self::Ports => "ports",
            Self::System => "system",
        }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works now, or for some.
    Warning,
    /// Clients fail here.
    Problem,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warn",
            Self::Problem => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where on the way.
    pub stage: Stage,
    /// How it stands.
    pub verdict: Verdict,
    /// Which trouble it is, if it is any.
    pub code: Option<Code>,
    /// What was seen; for a trouble, with its cure.
    pub text: String,
}

/// All that was found, in the order in which it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whose report it is: `kafka:9092, TLS`.
    pub(crate) subject: String,
    /// The lines.
    pub findings: Vec<Finding>,
    /// What the bootstrap server can do.
    pub(crate) offered: Option<Offered>,
    /// The brokers.
    pub(crate) topology: Option<Topology>,
    /// Configurations for clients: whose, and the text. Empty unless all is well.
    pub clients: Vec<(&'static str, String)>,
}

impl Report {
    /// Notes what is as it should be.
    pub(crate) fn fine(&mut self, stage: Stage, text: impl Into<String>) {
        self.push(stage, Verdict::Fine, None, text.into());
    }

    /// Notes what does not stop a client now.
    pub(crate) fn warn(&mut self, stage: Stage, trouble: &Trouble) {
        let text = trouble.sentence();
        self.push(stage, Verdict::Warning, Some(trouble.code), text);
    }

    /// Notes what stops a client.
    pub(crate) fn problem(&mut self, stage: Stage, trouble: &Trouble) {
        let text = trouble.sentence();
        self.push(stage, Verdict::Problem, Some(trouble.code), text);
    }

    fn push(&mut self, stage: Stage, verdict: Verdict, code: Option<Code>, text: String) {
        self.findings.push(Finding {
            stage,
            verdict,
            code,
            text,
        });
    }

    /// Whether nothing stops a client.
    pub fn is_fine(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.verdict != Verdict::Problem)
    }

    /// The table, with the verdict below; with `is_verbose`, the versions of every API too.
    pub fn table(&self, is_verbose: bool) -> String {
        self.lines(is_verbose) + &verdict(std::slice::from_ref(self), 0)
    }

    fn lines(&self, is_verbose: bool) -> String {
        let mut text = format!("{}\n", self.subject);
        for finding in &self.findings {
            text += &line(finding);
        }
        if let Some(topology) = &self.topology {
            text += &brokers(topology);
        }
        if let Some(offered) = self.offered.as_ref().filter(|_| is_verbose) {
            text += &versions(offered);
        }
        for (name, config) in &self.clients {
            // Writing to a text can't fail.
            let _ = write!(text, "\n# {name}\n{config}");
        }
        text
    }

    /// The problems and warnings alone, a line each.
    pub fn short(&self) -> String {
        let told = |finding: &&Finding| finding.verdict != Verdict::Fine;
        let lines = self.findings.iter().filter(told).map(|finding| {
            let code = finding.code.map_or("", Code::word);
            let verdict = finding.verdict.word();
            format!("{verdict} {code} {}\n", finding.text)
        });
        let lines: String = lines.collect();
        if lines.is_empty() {
            format!("ok {}\n", self.subject)
        } else {
            lines
        }
    }

    /// Everything as JSON that is safe to print, for programs.
    pub fn json_text(&self) -> String {
        text::json(&self.json()) + "\n"
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "stage": finding.stage.word(),
                "verdict": finding.verdict.word().to_ascii_lowercase(),
                "code": finding.code.map(Code::word),
                "text": finding.text,
                "link": finding.code.map(Code::link),
            })
        });
        let clients: BTreeMap<_, _> = self.clients.iter().cloned().collect();
        json!({
            "subject": self.subject,
            "ok": self.is_fine(),
            "findings": findings.collect::<Vec<_>>(),
            "cluster": self.topology.as_ref().map(cluster_json),
            "apis": self.offered.as_ref().map(apis_json),
            "clients": clients,
        })
    }
}

/// The tables of several reports, with one verdict that is true of all, `warnings` included that
/// are in none of them.
pub(crate) fn tables(reports: &[Report], warnings: usize) -> String {
    let tables = reports.iter().map(|report| report.lines(false) + "\n");
    tables.collect::<String>() + verdict(reports, warnings).trim_start()
}

fn verdict(reports: &[Report], warnings: usize) -> String {
    let count = |verdict| {
        let found = reports.iter().flat_map(|report| &report.findings);
        found.filter(|finding| finding.verdict == verdict).count()
    };
    match (count(Verdict::Problem), count(Verdict::Warning) + warnings) {
        (0, 0) => "\nAll is well.\n".to_owned(),
        (0, warnings) => format!("\nClients can work; {warnings} to look at.\n"),
        (problems, 0) => format!("\n{problems} to mend.\n"),
        (problems, warnings) => format!("\n{problems} to mend, {warnings} to look at.\n"),
    }
}

fn line(finding: &Finding) -> String {
    let (verdict, stage) = (finding.verdict.word(), finding.stage.word());
    let more = finding.code.map_or(String::new(), |code| {
        format!("{:16}({})\n", "", code.link())
    });
    format!("  {verdict:4} {stage:8} {}\n{more}", finding.text)
}

/// As many brokers as a person reads; JSON has them all.
const SHOWN_MAX: usize = 100;

/// The brokers and topics in the form of `kcat -L`.
fn brokers(topology: &Topology) -> String {
    let mut text = String::new();
    let id = topology.cluster_id.as_deref().unwrap_or("none");
    let count = topology.brokers.len();
    let _ = writeln!(text, "\nCluster {}: {count} brokers:", Shown::name(id));
    for broker in topology.brokers.iter().take(SHOWN_MAX) {
        let role = if topology.controller == Some(broker.node) {
            " (controller)"
        } else {
            ""
        };
        let rack = broker.rack.as_deref().map_or(String::new(), |rack| {
            format!(", rack {}", Shown::name(rack))
        });
        let (node, port) = (broker.node, broker.port);
        let host = Shown::name(&broker.host);
        let _ = writeln!(text, "  broker {node} at {host}:{port}{rack}{role}");
    }
    if count > SHOWN_MAX {
        let _ = writeln!(text, "  and {} more", count - SHOWN_MAX);
    }
    for topic in &topology.topics {
        let (name, count) = (Shown::name(&topic.name), topic.partitions.len());
        let _ = writeln!(text, "  topic \"{name}\" with {count} partitions:");
        for partition in topic.partitions.iter().take(SHOWN_MAX) {
            let leader = partition.leader.map_or(-1, |leader| leader.0);
            let (replicas, in_sync) = (list(&partition.replicas), list(&partition.in_sync));
            let index = partition.index;
            let _ = writeln!(
                text,
                "    partition {index}, leader {leader}, replicas: {replicas}, isrs: {in_sync}"
            );
        }
    }
    text
}

fn list(ids: &[i32]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

/// What the broker can do, in the form of `kafka-broker-api-versions`.
fn versions(offered: &Offered) -> String {
    let mut text = "\nAPI versions:\n".to_owned();
    for (key, versions) in &offered.apis {
        let name = table::api(*key).map_or("UNKNOWN", |api| api.name);
        let _ = writeln!(
            text,
            "  {name}({key}): {} to {}",
            versions.min, versions.max
        );
    }
    text
}

fn cluster_json(topology: &Topology) -> Value {
    let brokers = topology.brokers.iter().map(|broker| {
        json!({
            "node_id": broker.node.0,
            "host": broker.host,
            "port": broker.port,
            "rack": broker.rack,
            "is_controller": topology.controller == Some(broker.node),
        })
    });
    let topics = topology.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            json!({
                "partition": partition.index,
                "leader": partition.leader.map(|leader| leader.0),
                "replicas": partition.replicas,
                "isr": partition.in_sync,
            })
        });
        json!({"name": topic.name, "partitions": partitions.collect::<Vec<_>>()})
    });
    json!({
        "cluster_id": topology.cluster_id,
        "brokers": brokers.collect::<Vec<_>>(),
        "topics": topics.collect::<Vec<_>>(),
    })
}

fn apis_json(offered: &Offered) -> Value {
    let apis = offered.apis.iter().map(|(key, versions)| {
        let name = table::api(*key).map(|api| api.name);
        json!({"key": key, "name": name, "min": versions.min, "max": versions.max})
    });
    apis.collect()
}
