//! Standard error is an operator's device: nothing waits for it, and nothing dies of it.

use crate::process::{Process, command, configuration, own_address};
use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
use std::fs::{File, OpenOptions};
use std::io::{Write, pipe};
use std::process::{Command, Stdio};
use std::time::Duration;

const LOST: &str = "narrows_log_lines_lost_total";
const CLOSED_WITHOUT_DATA: &str = "narrows_connections_closed_total{cause=\"closed_without_data\",listener=\"external\",side=\"client\"}";

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Probes are answered, clients are accepted, and a SIGTERM ends it with 0.
fn assert_alive_and_stoppable(process: Process) {
    assert!(process.page("/livez").starts_with("HTTP/1.1 200"));
    process.visits(300);
    process.until_metric(CLOSED_WITHOUT_DATA, |count| count == 300);
    assert!(process.page("/readyz").starts_with("HTTP/1.1 200"));
    process.signal(SIGTERM);
    let (status, took) = process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_pipe_that_is_full_and_that_nobody_reads_holds_nothing_up() {
    let address = own_address();
    let config = file(&configuration(address, "log: {level: trace}"));
    let (reader, mut writer) = pipe().unwrap();
    let bytes = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&vec![b'x'; bytes]).unwrap();
    let mut command = command(config.path());
    command.stderr(Stdio::from(writer));
    let process = Process::start(command, address);
    assert_alive_and_stoppable(process);
    drop(reader);
}

#[test]
fn a_full_disk_loses_lines_which_are_counted() {
    let address = own_address();
    let config = file(&configuration(address, "log: {level: debug}"));
    let mut command = command(config.path());
    command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let process = Process::start(command, address);
    process.page("/livez");
    process.until_metric(LOST, |lost| lost > 0);
    assert_alive_and_stoppable(process);
}

#[test]
fn a_reader_that_goes_away_loses_lines_which_are_counted() {
    let address = own_address();
    let config = file(&configuration(address, "log: {level: debug}"));
    let (reader, writer) = pipe().unwrap();
    let mut command = command(config.path());
    command.stderr(Stdio::from(writer));
    let process = Process::start(command, address);
    process.page("/livez");
    drop(reader);
    process.signal(SIGHUP);
    process.until_metric(LOST, |lost| lost > 0);
    assert_alive_and_stoppable(process);
}

#[test]
fn standard_error_may_be_closed() {
    let address = own_address();
    let config = file(&configuration(address, "log: {level: debug}"));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" run --config \"$1\" 2>&-"]);
    command
        .arg(env!("CARGO_BIN_EXE_narrows"))
        .arg(config.path());
    assert_alive_and_stoppable(Process::start(command, address));
}

#[test]
fn a_wrong_configuration_ends_with_2_whatever_standard_error_is() {
    let address = own_address();
    let config = file("clusters: {}");
    for format in ["text", "json"] {
        let (reader, mut writer) = pipe().unwrap();
        let bytes = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        writer.write_all(&vec![b'x'; bytes]).unwrap();
        let devices = [
            Stdio::from(writer),
            Stdio::from(File::options().write(true).open("/dev/full").unwrap()),
        ];
        for device in devices {
            let mut command = command(config.path());
            command.args(["--log-format", format]).stderr(device);
            let (status, _) = Process::start(command, address).ended();
            assert_eq!(status.code(), Some(2), "{format}");
        }
        drop(reader);
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_narrows"));
    check.args(["check", "--config"]).arg(config.path());
    check.stderr(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(check.status().unwrap().code(), Some(2), "check");
}

#[test]
fn a_reload_changes_what_is_logged() {
    let address = own_address();
    let config = file(&configuration(address, "log: {level: info, format: json}"));
    let process = Process::read(command(config.path()), address);
    process.lines_until("listening");
    process.visits(1);
    process.until_metric(CLOSED_WITHOUT_DATA, |count| count == 1);
    let debug = configuration(address, "log: {level: debug, format: json}");
    std::fs::write(config.path(), debug).unwrap();
    process.signal(SIGHUP);
    let before = process.lines_until("\"reloaded");
    assert!(!before.iter().any(|line| line.contains("session ended")));
    process.visits(1);
    let after = process.lines_until("session ended");
    let line: serde_json::Value = serde_json::from_str(after.last().unwrap()).unwrap();
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["cause"], "closed_without_data");
}
