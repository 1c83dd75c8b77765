//! `benches/run` is the way in; it sets everything up and starts this program, which measures. The
//! subcommands `broker` and `relay` are processes that it starts itself.

mod broker;
mod certificates;
mod chart;
mod environment;
mod frames;
mod gates;
mod idle;
mod kafka;
mod load;
mod meter;
mod options;
mod raw;
mod relays;
mod report;
mod rounds;
mod stats;
mod storm;
mod sys;
mod syscalls;
mod tls;
mod wire;
mod workloads;

use anyhow::{Context, Result, ensure};
use certificates::{BROKER_NAME, Certificates};
use environment::Environment;
use idle::Idle;
use options::Options;
use relays::{Kind, Relay, Setting, localhost};
use report::Findings;
use rounds::{Bench, Effort, Placement};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;
use syscalls::Count;
use tls::Client;
use wire::{Binding, Transport};
use workloads::Workload;

/// The simulator also has the next one, for connections that begin with a TLS hello.
const BROKER_PORT: u16 = 19_092;
/// Each relay gets ten ports from here on; a second set with two threads stands behind the first.
const FIRST_PORT: u16 = 20_000;
const TWO_THREADS_PORT: u16 = 20_200;
const IDLE_PORT: u16 = 20_400;
/// Room for 10,000 connections, of which each is two descriptors of a relay.
const OPEN_FILES: u64 = 65_536;

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["broker", port, folder] => broker::run(port.parse()?, folder.as_ref()),
        ["relay", port, upstream, mode] => {
            raw::run(port.parse()?, upstream.parse()?, *mode == "splice")
        }
        ["check", rest @ ..] => Options::read(rest).map(drop),
        words => bench(&Options::read(words)?, &arguments.join(" ")),
    }
}

fn bench(options: &Options, arguments: &str) -> Result<()> {
    let open_files = sys::raise_open_files(OPEN_FILES);
    let environment = Environment::look(open_files)?;
    for (name, value) in &environment.facts {
        eprintln!("{name}: {value}");
    }
    let setting = setting(open_files)?;
    let workloads = workloads::all()?;
    let raw = File::create(setting.folder.join("samples.jsonl"))?;
    let mut bench = Bench::new(start_broker(&setting)?, raw);
    let header = serde_json::Map::from_iter(
        environment
            .facts
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone().into())),
    );
    bench.note(&serde_json::json!({ "run": header, "arguments": arguments }))?;
    let began = Instant::now();
    let (names, counts) = rounds(options, &setting, &workloads, &mut bench)?;
    let idle = idle(options, &setting, &mut bench)?;
    let mut lanes = Vec::new();
    if options.wants("kafka") && (!options.quick || !options.only.is_empty()) {
        let jars = std::env::var("NARROWS_BENCH_KAFKA")
            .context("NARROWS_BENCH_KAFKA: benches/run sets it")?;
        lanes = kafka::run(&setting, jars.as_ref(), options.kafka_pace())?;
        for lane in &lanes {
            bench.note(&lane.to_json())?;
        }
    }
    let findings = Findings {
        environment: &environment,
        command: &format!("benches/run {arguments}"),
        workloads: &workloads,
        samples: &bench.samples,
        counts: &counts,
        idle: &idle,
        lanes: &lanes,
        relays: names,
    };
    let text = findings.markdown();
    fs::write(setting.folder.join("REPORT.md"), &text)?;
    fs::write(setting.folder.join("chart.svg"), findings.chart())?;
    println!("{text}");
    eprintln!(
        "took {:.0} s; in target/bench: REPORT.md, samples.jsonl, chart.svg",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Idle connections: plain ones, of two amounts, and TLS ones.
fn idle(options: &Options, setting: &Setting, bench: &mut Bench) -> Result<Vec<Idle>> {
    let most = setting.connections_max();
    let mut amounts = Vec::new();
    if options.wants("idle") {
        amounts.extend(
            options
                .idle_connections(most)
                .into_iter()
                .map(|count| (Transport::Plain, count)),
        );
    }
    if options.wants("tls-idle") && (!options.quick || options.names("tls-idle")) {
        amounts.push((Transport::Tls, options.tls_idle_connections(most)));
    }
    let mut idle = Vec::new();
    for (transport, connections) in amounts {
        for (index, kind) in options.kinds().into_iter().enumerate() {
            if kind == Kind::Direct || kind.transport() != transport {
                continue;
            }
            eprintln!("idle: {connections} connections through {}", kind.name());
            let found = idle::measure(kind, setting, IDLE_PORT + 10 * index as u16, connections)
                .with_context(|| format!("idle connections through {}", kind.name()))?;
            bench.note(&found.to_json())?;
            idle.push(found);
        }
    }
    Ok(idle)
}

/// All rounds in all placements. Returns the names of the relays, and their system calls.
fn rounds(
    options: &Options,
    setting: &Setting,
    workloads: &[Workload],
    bench: &mut Bench,
) -> Result<(Vec<String>, Vec<Count>)> {
    let chosen: Vec<&Workload> = workloads
        .iter()
        .filter(|w| options.wants(w.name) && (w.quick || !options.quick || options.names(w.name)))
        .collect();
    let is_needed = |workloads: &[&Workload], kind: Kind| {
        let counts_calls = options.wants("syscalls") && kind.transport() == Transport::Plain;
        counts_calls
            || workloads
                .iter()
                .any(|workload| workload.transport == kind.transport())
    };
    let needed = |workloads: &[&Workload]| -> Vec<Kind> {
        options
            .kinds()
            .into_iter()
            .filter(|kind| is_needed(workloads, *kind))
            .collect()
    };
    let mut relays = start_relays(&needed(&chosen), setting, FIRST_PORT, Placement::Same, 1)?;
    for peer in &options.peers {
        relays.push(Relay::peer(peer)?);
    }
    let names = relays.iter().map(|relay| relay.name.clone()).collect();
    let effort = options.effort();
    bench.run(Placement::Same, &chosen, &relays, effort)?;
    let counts = if options.wants("syscalls") {
        count_calls(setting, bench, &relays)?
    } else {
        Vec::new()
    };
    if !options.quick {
        let elsewhere: Vec<&Workload> = chosen.iter().copied().filter(|w| w.elsewhere).collect();
        let effort = Effort {
            rounds: effort.rounds.min(2),
            ..effort
        };
        bench.run(Placement::Split, &elsewhere, &relays, effort)?;
        let two = start_relays(
            &needed(&elsewhere),
            setting,
            TWO_THREADS_PORT,
            Placement::Free,
            2,
        )?;
        bench.run(Placement::Free, &elsewhere, &two, effort)?;
    }
    let (_, everywhere) = Placement::Free.processors();
    sys::pin(0, &everywhere)?;
    meter::pin_all(&bench.broker.pids, &everywhere)?;
    Ok((names, counts))
}

fn count_calls(setting: &Setting, bench: &mut Bench, relays: &[Relay]) -> Result<Vec<Count>> {
    let small = workloads::small(64, load::Pace::Closed { depth: 1 })?;
    let fetch = workloads::fetch_1m()?;
    let mut counts = Vec::new();
    for relay in relays.iter().filter(|relay| !relay.pids.is_empty()) {
        eprintln!("system calls of {}", relay.name);
        let count = syscalls::measure(relay, setting, &small, &fetch)
            .with_context(|| format!("system calls of {}", relay.name))?;
        bench.note(&count.to_json())?;
        counts.push(count);
    }
    Ok(counts)
}

/// One of each kind. Relays that take as many threads as they have processors inherit those of the
/// placement.
fn start_relays(
    kinds: &[Kind],
    setting: &Setting,
    first_port: u16,
    placement: Placement,
    threads: usize,
) -> Result<Vec<Relay>> {
    sys::pin(0, &placement.processors().0)?;
    let start = |(index, kind): (usize, &Kind)| {
        Relay::start(*kind, setting, first_port + 10 * index as u16, threads)
    };
    kinds.iter().enumerate().map(start).collect()
}

fn setting(open_files: u64) -> Result<Setting> {
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("{name}: benches/run sets it"));
    let folder = variable("NARROWS_BENCH_FOLDER")?;
    fs::create_dir_all(&folder)?;
    let narrows = variable("NARROWS_BENCH_NARROWS")?.into();
    let envoy = variable("NARROWS_BENCH_ENVOY_PROGRAM")?.into();
    let folder = PathBuf::from(folder);
    let certificates = Certificates::make(&folder)?;
    let client = Client::new(&certificates, BROKER_NAME)?;
    let broker = localhost(BROKER_PORT);
    let broker_behind_hello = localhost(BROKER_PORT + 1);
    Ok(Setting {
        folder,
        narrows,
        envoy,
        broker,
        broker_behind_hello,
        certificates,
        client,
        open_files,
    })
}

fn start_broker(setting: &Setting) -> Result<Relay> {
    let door = Binding::plain(setting.broker);
    ensure!(load::open(&door).is_err(), "port {BROKER_PORT} is taken");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["broker", &BROKER_PORT.to_string()])
        .arg(&setting.folder);
    Relay::spawn("simulator", &mut command, door, &setting.folder)
}
