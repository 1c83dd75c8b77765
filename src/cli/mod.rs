//! The command line: what the commands and flags are called, and which exit code each end has.
//!
//! Exit codes: 0 all is well, 1 something went wrong while running or `doctor` found a problem, 2
//! the command line or the configuration is wrong.

mod check;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod manual;
mod paint;
mod placement;
mod run;
mod strimzi;

use crate::config::{Loaded, Sources, keys, load};
use crate::observe::logs;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The exit code of a wrong command line or configuration.
const EXIT_CONFIGURATION: u8 = 2;

/// One address in front of a whole Apache Kafka cluster.
#[derive(Debug, Parser)]
#[command(name = "narrows", version, long_version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// With what `build.rs` knows of the build.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("NARROWS_COMMIT"),
    ", ",
    env!("NARROWS_BUILD"),
    ")"
);

const EXAMPLES: &str = "\
Examples:
  narrows run --config narrows.yaml
  narrows run --bootstrap-servers kafka-0:9092 --bind 127.0.0.1:9092 --advertised-host localhost
  narrows check narrows.yaml               every problem at once; exit code 0 or 2
  narrows check narrows.yaml --live        and whether brokers, names and ports are there
  narrows config --config narrows.yaml     every value in effect, and where it comes from
  narrows doctor --bootstrap kafka:9092    why a client can't use it, in one sentence
  narrows demo                             the main job on three brokers inside this process

Any key can be set from the environment: NARROWS_, then its levels joined by two underscores:
  NARROWS_CLUSTERS__ORDERS__BOOTSTRAP_SERVERS=kafka-0:9092,kafka-1:9092
Flags stand above the environment, the environment above the file, the file above the defaults.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until it is told to stop
    Run(ConfigArgs),
    /// Validate the configuration without starting anything; offline, unless --live is given
    Check(CheckArgs),
    /// Print the configuration in effect, each value with its origin
    Config(ConfigCommandArgs),
    /// Say why a client can't use a Kafka, or what a line in its log means
    Doctor(doctor::DoctorArgs),
    /// Show the main job: brokers, Narrows in front, a producer and a consumer that know only
    /// Narrows
    Demo(DemoArgs),
    /// Print what a shell needs to complete commands and flags
    Completions(manual::CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Where the configuration comes from; the same for every command that needs one.
#[derive(Args, Debug, Default)]
struct ConfigArgs {
    /// The YAML file; without one, flags and environment have to say everything
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the cluster is asked first
    #[arg(long, value_name = "HOST:PORT,...")]
    bootstrap_servers: Option<String>,
    /// IP address and port of the bootstrap listener; brokers get the ports after it
    #[arg(long, value_name = "IP:PORT")]
    bind: Option<String>,
    /// The host that clients are told to dial
    #[arg(long, value_name = "HOST")]
    advertised_host: Option<String>,
    /// The port of the first broker [default: the port of --bind + 1]
    #[arg(long, value_name = "PORT")]
    first_port: Option<String>,
    /// The node ids that get a port, such as 0-2,100-102 [default: 0-19]
    #[arg(long, value_name = "IDS")]
    node_ids: Option<String>,
    /// IP address and port for health, metrics and status [default: none]
    #[arg(long, value_name = "IP:PORT")]
    admin_bind: Option<String>,
    /// A level or a filter such as info,narrows::session=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, text or json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Args, Debug)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The YAML file, as with --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Leave certificates and keys unread, for a machine that has none of them
    #[arg(long)]
    no_files: bool,
    /// Then ask brokers, names, ports and the system too, from here
    #[arg(long, conflicts_with = "no_files")]
    live: bool,
    /// How to print what --live has found
    #[arg(short, long, value_enum, requires = "live", default_value_t = doctor::Output::Table)]
    output: doctor::Output,
}

#[derive(Args, Debug)]
struct ConfigCommandArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print every key with its values, default and meaning instead, as Markdown
    #[arg(long)]
    keys: bool,
    /// Print the JSON schema of the configuration file instead
    #[arg(long, conflicts_with = "keys")]
    schema: bool,
    /// Print every metric with its type, labels and meaning instead, as Markdown
    #[arg(long, conflicts_with_all = ["keys", "schema"])]
    metrics: bool,
    /// Print the Strimzi listeners for TLS that passes through instead, as YAML
    #[arg(long, conflicts_with_all = ["keys", "schema", "metrics"])]
    strimzi: bool,
}

/// What `narrows demo` is told.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoArgs {
    /// Keep running afterwards, until Ctrl-C
    #[arg(long)]
    pub(crate) stay: bool,
    /// A real cluster in the place of the brokers inside this process
    #[arg(long, value_name = "HOST:PORT,...")]
    pub(crate) bootstrap_servers: Option<String>,
    /// How many records to send
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 200_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) records: u64,
    /// The size of each record's value
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(16..=900_000)
    )]
    pub(crate) record_bytes: u32,
}

/// How long the last log lines may take to be written before the process ends without them.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the program on the arguments of this process.
pub fn main() -> ExitCode {
    let _last = Flush;
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Config(args) => config::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Demo(args) => demo(args),
        Command::Completions(args) => manual::completions(args, Cli::command()),
        Command::Man => manual::page(Cli::command()),
    }
}

/// Has the last log lines written at the end, and at the panic that is the end.
struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        logs::flush(FLUSH_TIMEOUT);
    }
}

#[cfg(feature = "demo")]
fn demo(args: DemoArgs) -> ExitCode {
    ended(demo::run(args))
}

#[cfg(not(feature = "demo"))]
fn demo(_args: DemoArgs) -> ExitCode {
    eprintln!(
        "This narrows was built without the demo. From a clone of its repository (needs gcc, g++ \
         and make):\n\
         \n  cargo run --release --features demo -- demo"
    );
    ExitCode::FAILURE
}

/// Puts a text on standard error. Not `eprint!`, which panics when nobody reads or the disk is
/// full.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The exit code of something that ran, after telling why it failed.
fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("narrows: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The configuration; its problems are told, and `Err` is the exit code.
fn loaded(sources: &Sources) -> Result<Loaded, ExitCode> {
    load(sources).map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

impl CheckArgs {
    fn sources(self) -> Sources {
        let mut sources = self.config.sources();
        sources.file = sources.file.or(self.file);
        sources.without_files = self.no_files;
        sources
    }
}

impl ConfigArgs {
    fn sources(self) -> Sources {
        let flags = [
            (keys::BOOTSTRAP_SERVERS, self.bootstrap_servers),
            (keys::BIND, self.bind),
            (keys::ADVERTISED_HOST, self.advertised_host),
            (keys::FIRST_PORT, self.first_port),
            (keys::NODE_IDS, self.node_ids),
            (keys::ADMIN_BIND, self.admin_bind),
            (keys::LOG_LEVEL, self.log_level),
            (keys::LOG_FORMAT, self.log_format),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(key, value)| Some((key.flag?.to_owned(), value?)));
        Sources::of_process(self.config, given.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_key_table_is_a_flag_of_run_check_and_config() {
        let cli = Cli::command();
        for command in ["run", "check", "config"] {
            let command = cli.find_subcommand(command).unwrap();
            for flag in keys::KEYS.iter().filter_map(|key| key.flag) {
                let is_there = command
                    .get_arguments()
                    .any(|arg| arg.get_long() == flag.strip_prefix("--"));
                assert!(is_there, "{} has no {flag}", command.get_name());
            }
        }
    }

    #[test]
    fn every_flag_that_is_given_reaches_the_configuration() {
        // Every flag is given its own name as the value, so that no two can be swapped.
        let flags: Vec<_> = keys::KEYS.iter().filter_map(|key| key.flag).collect();
        let args = flags.iter().map(|flag| format!("{flag}={flag}"));
        let cli = Cli::parse_from(
            ["narrows".to_owned(), "run".to_owned()]
                .into_iter()
                .chain(args),
        );
        let Command::Run(args) = cli.command else {
            panic!("run was parsed as something else")
        };
        let expected: Vec<_> = flags
            .iter()
            .map(|flag| ((*flag).to_owned(), (*flag).to_owned()))
            .collect();
        assert_eq!(args.sources().flags, expected);
    }

    #[test]
    fn the_demo_sends_two_hundred_thousand_records_of_a_kibibyte_unless_told_otherwise() {
        let Command::Demo(args) = Cli::parse_from(["narrows", "demo"]).command else {
            panic!("no demo")
        };
        let expected = DemoArgs {
            stay: false,
            bootstrap_servers: None,
            records: 200_000,
            record_bytes: 1_024,
        };
        assert_eq!(args, expected);
    }
}
