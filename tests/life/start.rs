//! What a start says, and why there is none.

use crate::process::{Process, command, configuration, own_address};
use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Every line, each of which must be a JSON object with a level and a message.
fn json(lines: &[String]) -> Vec<Value> {
    let object = |line: &String| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            value["level"].is_string() && value["message"].is_string(),
            "{line}"
        );
        value
    };
    lines.iter().map(object).collect()
}

#[test]
fn every_line_is_json_from_the_first_on_where_the_configuration_is_wrong() {
    let address = own_address();
    let in_file = file("log: {format: json}\nlisteners: {a: {bind: nowhere}}");
    let by_flag = file("listeners: {a: {bind: nowhere}}");
    for (config, flags) in [(&in_file, &[][..]), (&by_flag, &["--log-format", "json"])] {
        let mut command = command(config.path());
        command.args(flags);
        let process = Process::read(command, address);
        let lines = json(&process.rest());
        assert_eq!(process.ended().0.code(), Some(2));
        let bind = lines
            .iter()
            .find(|line| line["key"] == "listeners.a.bind")
            .unwrap();
        assert!(
            bind["found"].as_str().unwrap().contains("nowhere"),
            "{bind}"
        );
        assert!(bind["cure"].is_string(), "{bind}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_once_with_its_key_and_the_cure() {
    let address = own_address();
    let config = file(&configuration(address, ""));
    let _taken = TcpListener::bind(SocketAddr::from((address, 9190))).unwrap();
    let mut command = command(config.path());
    command.args(["--log-format", "json"]);
    let process = Process::read(command, address);
    let lines = json(&process.rest());
    assert_eq!(process.ended().0.code(), Some(1));
    let message = lines.last().unwrap()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        message,
        format!(
            "admin.bind = {address}:9190 can't be used: Address already in use (os error 98) \
             (another process has this port: stop it, or change admin.bind)"
        )
    );
}

#[test]
fn a_start_says_what_runs_and_where() {
    let address = own_address();
    let config = file(&configuration(address, "log: {format: json}"));
    let process = Process::read(command(config.path()), address);
    let lines = json(&process.lines_until("listening"));
    let start = &lines[0];
    assert_eq!(start["message"], "Narrows starts");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["config"], config.path().display().to_string());
    assert_eq!(start["admin"], format!("{address}:9190"));
    let listening = lines.last().unwrap();
    assert_eq!(listening["listener"], "external");
    assert_eq!(listening["cluster"], "orders");
    assert_eq!(listening["scheme"], "port");
    assert_eq!(listening["bind"], format!("{address}:9092"));
    assert_eq!(listening["bootstrap"], "kafka.example.com:9092");
    assert_eq!(listening["brokers"], "9093-9095 for node ids 1-3");
    assert_eq!(listening["tls"], "off");
    process.signal(SIGTERM);
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let address = own_address();
    let config = file(&configuration(address, ""));
    let narrows = env!("CARGO_BIN_EXE_narrows");
    let mut shell = std::process::Command::new("sh");
    let script = "ulimit -Sn 1024; ulimit -Hn 4096; exec \"$1\" run --config \"$2\"";
    shell.args(["-c", script, "sh", narrows]).arg(config.path());
    let process = Process::read(shell, address);
    assert_eq!(process.metric("process_max_fds"), 4096);
}
