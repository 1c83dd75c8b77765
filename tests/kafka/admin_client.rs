//! The harness's hand on the brokers, past Narrows: a JVM with an admin client that obeys one
//! command at a time (`java/AdminConsole.java` has the list).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::brokers::{JVM, Kafka, classes, ports};
use crate::logs;
use crate::namespaces::{Namespaces, Side, broker_ip};
use crate::oracle::Record;

/// The console gives up after 90 s by itself and says on what; this is for one that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// See the module's text.
#[derive(Debug)]
pub(crate) struct AdminClient {
    line: Mutex<Line>,
    #[expect(
        dead_code,
        reason = "held so that the process is known to belong to this one"
    )]
    process: Child,
}

#[derive(Debug)]
struct Line {
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl AdminClient {
    /// Compiles and starts it; it may come up before the brokers do.
    pub(crate) fn start(namespaces: &Namespaces, kafka: &Kafka) -> Result<Self> {
        compile(namespaces, kafka)?;
        let bootstrap_servers = [1, 2, 3]
            .map(|id| format!("{}:{}", broker_ip(id), ports::PLAIN))
            .join(",");
        let mut process = namespaces
            .command(Side::Narrows, "java")
            .args(JVM)
            .args([
                "-cp",
                &kafka.class_path(namespaces),
                "AdminConsole",
                &bootstrap_servers,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(logs::open(&kafka.logs, "admin-client")?)
            .spawn()?;
        let commands = process
            .stdin
            .take()
            .context("the admin client has no input")?;
        let output = process
            .stdout
            .take()
            .context("the admin client has no output")?;
        let (send, answers) = channel();
        thread::spawn(move || {
            // Loggers write to the same stream: only what begins like an answer is one.
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines.filter(|line| line.starts_with("ok ") || line.starts_with("error ")) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            line: Mutex::new(Line { commands, answers }),
            process,
        })
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Errors
    /// What the brokers said, or that nobody answers.
    pub(crate) fn ask(&self, command: &str) -> Result<String> {
        self.exchange(command, || Ok(()))
    }

    /// As [`Self::ask`], as long as a condition holds: for waiting on processes that may die
    /// meanwhile.
    pub(crate) fn ask_while(
        &self,
        command: &str,
        condition: impl Fn() -> Result<()>,
    ) -> Result<()> {
        self.exchange(command, condition).map(drop)
    }

    /// Creates a topic and waits until it has its leaders.
    pub(crate) fn create(&self, topic: &str, partitions: u32) -> Result<()> {
        self.ask(&format!("create {topic} {partitions} 3"))
            .map(drop)
    }

    /// Creates a topic of one partition with these replicas; the first leads.
    pub(crate) fn place(&self, topic: &str, replicas: &str) -> Result<()> {
        self.ask(&format!("place {topic} {replicas}")).map(drop)
    }

    /// Makes a replica of a topic's first partition its leader.
    pub(crate) fn move_leader(&self, topic: &str, to: u8) -> Result<()> {
        self.ask(&format!("move {topic} 0 {to}")).map(drop)
    }

    /// What the brokers themselves hold of a topic: the truth to compare with.
    pub(crate) fn read(&self, topic: &str) -> Result<Vec<Record>> {
        let answer = self.ask(&format!("read {topic} read_committed"))?;
        let records: Vec<serde_json::Value> = serde_json::from_str(&answer)?;
        records.iter().map(Record::consumed).collect()
    }

    fn exchange(&self, command: &str, condition: impl Fn() -> Result<()>) -> Result<String> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(line.commands, "{command}").context("the admin client is gone")?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match line.answers.recv_timeout(Duration::from_millis(200)) {
                Ok(answer) => {
                    return match answer.split_once(' ') {
                        Some(("ok", what)) => Ok(what.to_owned()),
                        _ => Err(anyhow!("the brokers said: {answer}")),
                    };
                }
                Err(RecvTimeoutError::Timeout) => condition()?,
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the admin client died during `{command}`")
                }
            }
            ensure!(
                Instant::now() < deadline,
                "the admin client did not answer `{command}` within {ANSWER_TIMEOUT:?}"
            );
        }
    }
}

fn compile(namespaces: &Namespaces, kafka: &Kafka) -> Result<()> {
    std::fs::create_dir_all(classes(namespaces))?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/java/AdminConsole.java");
    let output = Command::new("javac")
        .args([
            "-Xlint:all",
            "-Werror",
            "-cp",
            &kafka.class_path(namespaces),
            "-d",
        ])
        .args([&classes(namespaces), &source])
        .output()
        .context("`javac` does not run; the tests need a JDK of version 17 or newer")?;
    ensure!(
        output.status.success(),
        "javac: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
