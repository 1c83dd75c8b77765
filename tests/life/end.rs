//! It ends when it is told to: after a drain, and at once when it is told again.

use crate::process::{Process, command, configuration, own_address};
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);

fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(folder.path().join("narrows.yaml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    folder
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn bootstrap_servers_that_never_answer_do_not_hold_up_the_end() {
    let address = own_address();
    let silent = TcpListener::bind(SocketAddr::from((address, 9999))).unwrap();
    let folder = folder_with(&configuration(address, ""));
    let process = Process::read(command(&folder.path().join("narrows.yaml")), address);
    let (asked, _) = silent.accept().unwrap();
    process.signal(SIGTERM);
    let (status, took) = process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(took < SOON, "{took:?}");
    drop(asked);
}

#[test]
fn a_configuration_that_is_a_pipe_without_a_writer_does_not_keep_it_from_ending() {
    let address = own_address();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("narrows.yaml");
    make_fifo(&fifo);
    for signal in [SIGTERM, SIGINT] {
        let process = Process::read(command(&fifo), address);
        // It has opened the pipe for reading as soon as it can be opened for writing.
        let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        process.signal(signal);
        let lines = process.rest();
        let (status, _) = process.ended();
        assert_eq!(status.code(), Some(1));
        let reason = format!("{signal} received while the configuration was being read");
        assert!(lines.concat().contains(&reason), "{lines:?}");
        drop(writer);
    }
}

#[test]
fn a_configuration_from_a_pipe_is_read_once_and_runs() {
    let address = own_address();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("narrows.yaml");
    make_fifo(&fifo);
    let process = Process::read(command(&fifo), address);
    std::fs::write(&fifo, configuration(address, "")).unwrap();
    process.lines_until("listening");
    process.signal(SIGTERM);
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_signal_is_heard_while_a_reload_waits_for_a_file() {
    let address = own_address();
    let folder = folder_with(&configuration(address, "reload: {interval: 0s}"));
    let file = folder.path().join("narrows.yaml");
    let process = Process::read(command(&file), address);
    process.lines_until("listening");
    std::fs::remove_file(&file).unwrap();
    make_fifo(&file);
    process.signal(SIGHUP);
    process.lines_until("SIGHUP received");
    process.signal(SIGTERM);
    let (status, took) = process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(took < SOON, "{took:?}");
}

#[test]
fn the_same_signal_twice_within_a_moment_does_not_skip_the_drain() {
    let address = own_address();
    let delay = Duration::from_secs(2);
    let folder = folder_with(&configuration(address, "drain: {delay: 2s}"));
    let process = Process::read(command(&folder.path().join("narrows.yaml")), address);
    process.lines_until("listening");
    let began = Instant::now();
    process.signal(SIGTERM);
    process.lines_until("SIGTERM received");
    process.signal(SIGTERM);
    let lines = process.lines_until("stopped").concat();
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    assert!(!lines.contains("a second signal"), "{lines}");
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn another_signal_or_the_same_one_later_ends_the_drain_at_once() {
    let address = own_address();
    let folder = folder_with(&configuration(address, "drain: {delay: 60s}"));
    let config = folder.path().join("narrows.yaml");
    for (second, pause) in [
        (SIGINT, Duration::ZERO),
        (SIGTERM, Duration::from_millis(1_100)),
    ] {
        let process = Process::read(command(&config), address);
        process.lines_until("listening");
        process.signal(SIGTERM);
        process.lines_until("SIGTERM received");
        // The clock of another process can't be moved.
        std::thread::sleep(pause);
        process.signal(second);
        process.lines_until(&format!("a second signal ({second}): ending at once"));
        let (status, took) = process.ended();
        assert_eq!(status.code(), Some(0));
        assert!(took < SOON, "{took:?}");
    }
}
