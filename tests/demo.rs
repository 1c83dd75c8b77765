//! `narrows demo` as its user runs it: the program, its output and its exit code.

#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

fn demo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("demo")
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_demo_shows_the_broker_map_and_that_what_arrived_is_what_was_sent() {
    let output = demo(&["--records", "3001", "--record-bytes", "200"]);
    let out = text(&output.stdout);
    let err = text(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(err, "");
    for promise in [
        "3,001 records of 200 bytes through one address",
        "node id   clients are told   the broker itself",
        "100 %  3,001 of 3,001 records",
        "ok    sent       3,001 records to 6 partitions of narrows-demo, acknowledged",
        "ok    arrived    3,001 records, none missing, none twice",
        "ok    content    every key and every value as sent",
        "ok    order      as sent, in each of 6 partitions",
        "ok    group      offsets committed",
        "no broker address reached a client",
        "What arrived is what was sent",
    ] {
        assert!(out.contains(promise), "`{promise}` is not in:\n{out}");
    }
    assert!(!out.contains("FAIL"), "{out}");
}

#[test]
fn the_map_has_three_brokers_whose_own_addresses_are_not_what_clients_are_told() {
    let output = demo(&["--records", "1", "--record-bytes", "16"]);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}\n{}", text(&output.stderr));
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let map: Vec<_> = rows
        .iter()
        .filter(|row| row.len() == 3 && row[1].contains(':') && row[2].contains(':'))
        .collect();
    assert_eq!(
        map.iter().map(|row| row[0]).collect::<Vec<_>>(),
        ["1", "2", "3"],
        "{out}"
    );
    for told in &map {
        assert!(map.iter().all(|row| row[2] != told[1]), "{out}");
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_told_in_plain_words() {
    // A port of this test's own, where nobody listens.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let output = demo(&["--bootstrap-servers", &address]);
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(
        err.starts_with(&format!("narrows: no broker answers at {address} (")),
        "{err}"
    );
    assert!(err.contains("is the cluster up"), "{err}");
}

#[test]
fn an_address_that_is_none_is_told_before_anything_is_dialled() {
    let output = demo(&["--bootstrap-servers", "127.0.0.1:9092,kafka-1"]);
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(
        err.contains("`kafka-1` is no address: the port is missing"),
        "{err}"
    );
}

#[test]
fn a_demo_that_stays_says_what_to_try_and_shows_its_status_until_it_is_interrupted() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .args(["demo", "--stay", "--records", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut until = |text: &str| {
        let mut seen = Vec::new();
        loop {
            let line = lines.next().map(Result::unwrap);
            seen.push(line.unwrap_or_else(|| panic!("no `{text}` in {seen:#?}")));
            if seen.last().unwrap().contains(text) {
                return seen.pop().unwrap();
            }
        }
    };
    // Records are binary: a terminal gets what can be read.
    assert!(until("kcat -b 127.0.0.1:").ends_with(" -L"));
    assert!(until(" -C ").contains("-f '%p %o: key %k, %S bytes\\n'"));
    let line = until("curl http://");
    let admin = line.split('/').nth(2).unwrap();
    let mut status = TcpStream::connect(admin).unwrap();
    write!(status, "GET /api/status HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    status.read_to_string(&mut page).unwrap();
    assert_eq!(page.split(' ').nth(1), Some("200"), "{page}");
    assert!(page.contains("\"node_id\""), "{page}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(demo.wait().unwrap().success());
}
