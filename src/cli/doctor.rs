//! `narrows doctor`: why a client can't use a Kafka; `narrows doctor explain`: what a number or a
//! text in a log means.
//!
//! Exit codes: 0 a client can work, 1 a problem was found, 2 the command line is wrong or a file
//! can't be read.

use super::config::print;
use super::{EXIT_CONFIGURATION, complain, paint};
use crate::auth::{Credentials, Mechanism, Secret};
use crate::config;
use crate::doctor::{self, Report, Target, explain};
use crate::net::tls::{Authorities, ClientTls, Identity, Verify};
use crate::observe::logs;
use crate::types::BrokerAddress;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Where the password may be, if it is in no file.
const PASSWORD_VARIABLE: &str = "NARROWS_DOCTOR_PASSWORD";
/// No password is longer; what is, is another file.
const PASSWORD_BYTES_MAX: u64 = 4_096;
/// What `explain -` reads of standard input.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// The time between two tries with `--wait`.
const PAUSE: Duration = Duration::from_secs(1);

/// What `narrows doctor` is told.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct DoctorArgs {
    #[command(subcommand)]
    explain: Option<DoctorCommand>,
    /// Where a client would begin
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        required_unless_present = "codes"
    )]
    bootstrap: Option<BrokerAddress>,
    /// Speak TLS, as with security.protocol SSL or SASL_SSL
    #[arg(long)]
    tls: bool,
    /// Trust the authorities in this PEM file [default: the system's]
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Show the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Expect certificates for this name instead of the host that is dialled
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
    /// Log in: plain, scram-sha-256 or scram-sha-512
    #[arg(long, value_name = "MECHANISM", requires = "user")]
    sasl: Option<Mechanism>,
    /// Who logs in; the password comes from --password-file or NARROWS_DOCTOR_PASSWORD
    #[arg(long, value_name = "NAME", requires = "sasl")]
    user: Option<String>,
    /// The file with the password
    #[arg(long, value_name = "FILE", requires = "sasl")]
    password_file: Option<PathBuf>,
    /// Write one record to this topic and read it again
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// How long each step may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = step_timeout)]
    timeout: Duration,
    /// Try again until all is well, for so long [default: 60s]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s",
          value_parser = waiting)]
    wait: Option<Duration>,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Print the versions of every API too
    #[arg(short, long)]
    verbose: bool,
    /// Print the page of all codes instead, as Markdown
    #[arg(long, hide = true)]
    codes: bool,
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// Say what a number or a text in the log of a client or broker means
    Explain {
        /// The number, or the text; `-` reads standard input
        #[arg(required = true, allow_hyphen_values = true, value_name = "TEXT")]
        text: Vec<String>,
    },
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// For machines
    Json,
    /// Problems and warnings alone, a line each
    Short,
}

fn step_timeout(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_millis(10)..=Duration::from_secs(60))
}

fn waiting(text: &str) -> Result<Duration, String> {
    config::duration(
        text,
        Duration::from_secs(1)..=Duration::from_secs(24 * 3_600),
    )
}

pub(super) fn run(args: DoctorArgs) -> ExitCode {
    if args.codes {
        return print(&doctor::markdown());
    }
    if let Some(DoctorCommand::Explain { text }) = args.explain {
        return explain(&text);
    }
    let (output, is_verbose, wait) = (args.output, args.verbose, args.wait);
    let target = match target(args) {
        Ok(target) => target,
        Err(error) => {
            complain(&format!("narrows: {error:#}\n"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    match in_runtime(examine(&target, wait)) {
        Ok(report) => shown(&report, output, is_verbose),
        Err(error) => {
            complain(&format!("narrows: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a report. The exit code says whether a problem was found.
pub(super) fn shown(report: &Report, output: Output, is_verbose: bool) -> ExitCode {
    let text = match output {
        Output::Table => paint::table(report.table(is_verbose)),
        Output::Json => report.json_text(),
        Output::Short => report.short(),
    };
    let printed = print(&text);
    if report.is_fine() {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// Runs to the end, and leaves behind what still waits for a resolver that does not answer.
pub(super) fn in_runtime<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime can't be started")?;
    let ended = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(ended)
}

async fn examine(target: &Target, wait: Option<Duration>) -> Report {
    let progress = Progress::new();
    let ends_at = wait.map(|wait| Instant::now() + wait);
    loop {
        let report = doctor::examine(target, &|what| progress.tell(what)).await;
        progress.clear();
        let is_over = ends_at.is_none_or(|ends_at| Instant::now() + PAUSE > ends_at);
        if report.is_fine() || is_over {
            return report;
        }
        if let Some(line) = report.short().lines().last() {
            progress.tell(&format!("again in a second: {line}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is being waited for: one line on standard error that each next one replaces. Nothing where
/// standard error is no terminal, or one that can't replace lines (`TERM=dumb`).
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Wider lines than most terminals would not be replaced whole.
    const CHARS_MAX: usize = 76;

    pub(super) fn new() -> Self {
        let is_shown = std::io::stderr().is_terminal() && !logs::is_dumb_terminal();
        Self { is_shown }
    }

    pub(super) fn tell(&self, what: &str) {
        if self.is_shown {
            let what: String = what.chars().take(Self::CHARS_MAX).collect();
            complain(&format!("\r\x1b[K{what}…"));
        }
    }

    pub(super) fn clear(&self) {
        if self.is_shown {
            complain("\r\x1b[K");
        }
    }
}

fn target(args: DoctorArgs) -> anyhow::Result<Target> {
    let credentials = match args.sasl.zip(args.user) {
        None => None,
        Some((mechanism, user)) => Some(Credentials {
            mechanism,
            user,
            password: password(args.password_file.as_deref())?,
        }),
    };
    let tls = match args.tls {
        false => None,
        true => {
            let key_pair = args.cert.as_deref().zip(args.key.as_deref());
            Some(tls(args.ca.as_deref(), key_pair, args.server_name)?)
        }
    };
    Ok(Target {
        bootstrap: args.bootstrap.context("--bootstrap is missing")?,
        tls,
        credentials,
        topic: args.topic,
        timeout: args.timeout,
    })
}

fn tls(
    ca: Option<&Path>,
    key_pair: Option<(&Path, &Path)>,
    server_name: Option<String>,
) -> anyhow::Result<ClientTls> {
    let authorities = match ca {
        Some(path) => Authorities::read(path)?,
        None => Authorities::platform(),
    };
    let identity = match key_pair {
        None => None,
        Some((certificate, key)) => match Identity::read(certificate, key) {
            Ok(identity) => Some(identity),
            Err(problems) => {
                let problems = problems.iter().map(ToString::to_string);
                bail!("{}", problems.collect::<Vec<_>>().join("; "));
            }
        },
    };
    let server_name = server_name.map(Into::into);
    Ok(ClientTls::new(
        authorities,
        identity,
        server_name,
        Verify::Full,
    )?)
}

/// From the file, without the line end behind it; else from the environment.
fn password(file: Option<&Path>) -> anyhow::Result<Secret> {
    let Some(path) = file else {
        #[expect(
            clippy::disallowed_methods,
            reason = "it is no key of the configuration"
        )]
        let password = std::env::var(PASSWORD_VARIABLE).ok();
        let password = password.filter(|password| !password.is_empty());
        return password.map(Secret::new).with_context(|| {
            format!("--sasl needs a password: give --password-file FILE or set {PASSWORD_VARIABLE}")
        });
    };
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("{shown} can't be opened"))?;
    let mut password = String::new();
    file.take(PASSWORD_BYTES_MAX + 1)
        .read_to_string(&mut password)
        .with_context(|| format!("{shown} can't be read as text"))?;
    let password = Secret::new(password);
    let text = password.expose().trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() as u64 > PASSWORD_BYTES_MAX {
        bail!("{shown} has no password of 1 to {PASSWORD_BYTES_MAX} bytes");
    }
    Ok(Secret::new(text.to_owned()))
}

fn explain(words: &[String]) -> ExitCode {
    let text = match words {
        [only] if only == "-" => {
            let mut text = Vec::new();
            #[expect(
                clippy::disallowed_methods,
                reason = "a command that ends, not the proxy"
            )]
            let read = std::io::stdin().take(LOG_BYTES_MAX).read_to_end(&mut text);
            if let Err(error) = read {
                complain(&format!("narrows: standard input can't be read: {error}\n"));
                return ExitCode::from(EXIT_CONFIGURATION);
            }
            String::from_utf8_lossy(&text).into_owned()
        }
        words => words.join(" "),
    };
    let meanings = explain::explain(&text);
    if meanings.is_empty() {
        print(&format!("{}\n", explain::unknown(text.trim())));
        return ExitCode::FAILURE;
    }
    print(&format!("{}\n", meanings.join("\n")))
}
