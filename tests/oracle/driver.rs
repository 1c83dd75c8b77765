//! Runs `Oracle.java` on the message classes of a Kafka release and asks it. A test says what it
//! needs: `oracles().of(key, version)?.json(What::Response, key, version, &bytes)?`.

#![allow(dead_code)] // Each test that includes this file uses its part of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Which side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Request,
    Response,
}

/// The oracles of the test process, each started when it is first asked. Held by one test at a
/// time.
pub(crate) fn oracles() -> MutexGuard<'static, Oracles> {
    static ORACLES: LazyLock<Mutex<Oracles>> = LazyLock::new(Mutex::default);
    // A test that failed while it held them has not hurt them: every question has had its answer.
    ORACLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kafka 4.4.0, which knows nearly all versions, and 3.9.2 for those that Kafka 4.0 removed
/// (KIP-896).
#[derive(Default)]
pub(crate) struct Oracles {
    newest: Option<Oracle>,
    oldest: Option<Oracle>,
}

impl Oracles {
    /// The oracle that knows a version of an API, the newest if both do. `Err` if none does, or if
    /// it doesn't start.
    pub(crate) fn of(&mut self, key: i16, version: i16) -> Result<&mut Oracle> {
        let newest = running(&mut self.newest, "4.4.0")?;
        if newest.knows(key, version) {
            return Ok(newest);
        }
        let oldest = running(&mut self.oldest, "3.9.2")?;
        ensure!(
            oldest.knows(key, version),
            "no release under test has version {version} of api key {key}"
        );
        Ok(oldest)
    }
}

fn running<'a>(oracle: &'a mut Option<Oracle>, release: &str) -> Result<&'a mut Oracle> {
    if oracle.is_none() {
        *oracle = Some(Oracle::start(release)?);
    }
    oracle.as_mut().context("just started")
}

/// The message classes of one Kafka release.
pub(crate) struct Oracle {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    versions: BTreeMap<i16, BTreeMap<i16, (i16, i16)>>,
}

impl Oracle {
    /// Starts the oracle of a release that `tests/oracle/fetch` fetched; takes about two seconds.
    pub(crate) fn start(release: &str) -> Result<Oracle> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let jars = root.join("target/oracle").join(release);
        ensure!(
            jars.is_dir(),
            "the oracle has no Kafka {release}: run tests/oracle/fetch (tests/run does)"
        );
        let mut process = Command::new("java")
            .args([
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
            ])
            .arg(jars.join("*"))
            .arg(root.join("tests/oracle/Oracle.java"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the oracle needs java (a JDK, 17 or newer)")?;
        let questions = process.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(process.stdout.take().context("a piped stdout")?);
        let mut oracle = Oracle {
            process,
            questions,
            answers,
            versions: BTreeMap::new(),
        };
        oracle.versions = serde_json::from_str(&oracle.ask("versions")?)?;
        Ok(oracle)
    }

    /// Whether the release has a version of an API.
    pub(crate) fn knows(&self, key: i16, version: i16) -> bool {
        self.headers(key, version).is_some()
    }

    /// The versions of the request and the response header.
    pub(crate) fn headers(&self, key: i16, version: i16) -> Option<(i16, i16)> {
        self.versions.get(&key)?.get(&version).copied()
    }

    /// A message made up from a seed, as Kafka writes it: header and body, without the length in
    /// front. The same seed gives the same message; it may have brokers or none, errors, nulls,
    /// record batches, tagged fields unknown to Kafka, and with every eighth seed (7, 15, …) fields
    /// of 20 kB.
    pub(crate) fn sample(
        &mut self,
        what: What,
        key: i16,
        version: i16,
        seed: u64,
    ) -> Result<Vec<u8>> {
        unhex(&self.ask(&format!("sample {} {key} {version} {seed}", what.word()))?)
    }

    /// The same message as it may also be written: tagged fields that equal their default are
    /// there.
    pub(crate) fn raw(&mut self, what: What, key: i16, version: i16, seed: u64) -> Result<Vec<u8>> {
        unhex(&self.ask(&format!("raw {} {key} {version} {seed}", what.word()))?)
    }

    /// What a message says, header and body without the length in front. `Err` if Kafka can't read
    /// it, or not all of it.
    ///
    /// `header` and `body` are what Kafka's own converters say (a tagged field that equals its
    /// default is left out); `unknownTaggedFields` maps the path of a struct to its `[tag, hex]`,
    /// `records` a path to the hex of the batches.
    pub(crate) fn json(
        &mut self,
        what: What,
        key: i16,
        version: i16,
        message: &[u8],
    ) -> Result<Value> {
        let answer = self.ask(&format!(
            "json {} {key} {version} {}",
            what.word(),
            hex(message)
        ))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// The message that says what a JSON says, as Kafka writes it: `header` and `body` as in
    /// [`json`](Self::json), records in it as base64.
    pub(crate) fn write(
        &mut self,
        what: What,
        key: i16,
        version: i16,
        says: &Value,
    ) -> Result<Vec<u8>> {
        let says = hex(says.to_string().as_bytes());
        unhex(&self.ask(&format!("write {} {key} {version} {says}", what.word()))?)
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.questions, "{question}")?;
        self.questions.flush()?;
        let mut answer = String::new();
        ensure!(
            self.answers.read_line(&mut answer)? > 0,
            "the oracle ended, see its error above"
        );
        match answer.trim_end().split_once(' ') {
            Some(("ok", answer)) => Ok(answer.to_owned()),
            _ => bail!("{question:.60}: {}", answer.trim_end()),
        }
    }
}

impl Drop for Oracle {
    /// The oracles of the test process are never dropped: they end with their standard input, that
    /// is with the process.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl What {
    fn word(self) -> &'static str {
        match self {
            What::Request => "request",
            What::Response => "response",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>> {
    ensure!(
        text.len().is_multiple_of(2) && text.is_ascii(),
        "not hex: {text:.60}"
    );
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}
