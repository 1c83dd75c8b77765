//! Where a run takes place: what a reader must know to repeat it, and what has to hold for its
//! numbers to mean anything.

use crate::meter;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::Command;

/// Facts about the machine and the programs.
#[derive(Clone, Debug)]
pub struct Environment {
    pub facts: Vec<(&'static str, String)>,
}

impl Environment {
    /// Gathers the facts; an error when congestion control or namespace would distort the numbers.
    pub fn look(open_files: u64) -> Result<Self> {
        let control = read("/proc/sys/net/ipv4/tcp_congestion_control")?;
        ensure!(
            control == "reno",
            "congestion control is {control}, not reno: others pace or probe, and distort \
             loopback; start this with benches/run"
        );
        ensure!(
            fs::read_link("/proc/self/ns/net")?
                != fs::read_link("/proc/1/ns/net").unwrap_or_default(),
            "this is the machine's own network namespace: start this with benches/run"
        );
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let Ok(output) = output else {
                return "not there".to_owned();
            };
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text)
                .lines()
                .next()
                .unwrap_or("")
                .trim()
                .to_owned()
        };
        let cpu = read("/proc/cpuinfo")?;
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or("unknown");
        let facts = vec![
            (
                "commit",
                std::env::var("NARROWS_BENCH_COMMIT").unwrap_or_else(|_| "unknown".to_owned()),
            ),
            ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("kernel", read("/proc/sys/kernel/osrelease")?),
            (
                "CPU",
                format!(
                    "{} × {}",
                    meter::processors(),
                    model.trim_start_matches(['\t', ' ', ':'])
                ),
            ),
            ("congestion control", control),
            (
                "local ports",
                read("/proc/sys/net/ipv4/ip_local_port_range")?.replace('\t', "–"),
            ),
            ("open files", open_files.to_string()),
            ("HAProxy", said("haproxy", &["-v"])),
            ("nginx", said("nginx", &["-v"])),
            (
                "Envoy",
                std::env::var("NARROWS_BENCH_ENVOY").unwrap_or_else(|_| "unknown".to_owned()),
            ),
        ];
        Ok(Self { facts })
    }

    pub fn fact(&self, name: &str) -> &str {
        self.facts
            .iter()
            .find(|(fact, _)| *fact == name)
            .map_or("", |(_, value)| value)
    }
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path)
        .with_context(|| format!("{path} can't be read"))?
        .trim()
        .to_owned())
}
