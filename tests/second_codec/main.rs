//! What Narrows rewrites, as kafka-python reads it, and what it reads, as kafka-python writes it: a
//! codec that shares no code with Kafka's own message classes (tests/oracle) nor with the crate of
//! the scripted peers.
//!
//! A batch is made and judged by `codec.py`; here it goes through Narrows' code, a rewrite in
//! pieces.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the result of a test"
)]

use narrows::protocol::admission::{self, Unvetted};
use narrows::protocol::rewrite::{Advertise, PREFIX_BYTES, Rewrite};
use narrows::protocol::table::{self, Versions};
use narrows::protocol::{api_versions, header};
use narrows::types::{AdvertisedAddress, NodeId};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Of each version.
const MESSAGES: usize = 60;

/// As `advertised` in codec.py.
struct Advertised;

impl Advertise for Advertised {
    fn advertise(&self, NodeId(node): NodeId) -> AdvertisedAddress {
        let above = u16::try_from(node.rem_euclid(1000)).unwrap();
        AdvertisedAddress {
            host: format!("k{node}").into(),
            port: 19_000 + above,
        }
    }
}

#[test]
fn kafka_python_reads_in_every_rewritten_response_what_was_there_but_for_the_addresses() {
    let mut batch = String::new();
    for line in generated("generate").lines() {
        let (key, version, original) = message(line);
        let rewritten = rewritten(key, version, &original);
        let _ = writeln!(batch, "{line} {}", to_hex(&rewritten));
    }
    let verdict = codec(&["judge"], &batch);
    print!("{verdict}");
    let streamed = verdict.split(" judged, ").nth(1).unwrap();
    assert!(!streamed.starts_with("0 "), "no response has streamed");
}

#[test]
fn the_header_of_every_request_of_kafka_python_is_read_as_it_was_written() {
    for line in generated("requests").lines() {
        let (key, version, frame) = message(line);
        let expected: Vec<_> = line.split(' ').skip(3).collect();
        let frame = &frame[4..];
        let header = header::read(frame, frame.len()).unwrap_or_else(|_| panic!("{line}"));
        let client = header.client_id.map(|id| format!("={}", to_hex(id)));
        let found = [
            header.correlation_id.to_string(),
            client.unwrap_or_else(|| "-".to_owned()),
            (frame.len() - header.body_at).to_string(),
            u8::from(header.is_answered).to_string(),
        ];
        assert_eq!((header.api_key, header.version), (key, version));
        assert_eq!(found[..], expected[..], "{line}");
    }
}

#[test]
fn kafka_python_is_offered_what_both_the_broker_and_the_table_have() {
    let mut batch = String::new();
    for line in generated("offers").lines() {
        let (_, version, original) = message(line);
        let (prefix, body) = original.split_at(PREFIX_BYTES);
        let body = api_versions::cut(body, version, Unvetted::Hide, None).unwrap();
        let mut frame = [prefix, &body].concat();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let _ = writeln!(batch, "{line} {}", to_hex(&frame));
    }
    let rows = (0..=i16::from(u8::MAX)).filter_map(|key| {
        let Versions { min, max } = admission::admitted(table::api(key)?, Unvetted::Hide)?;
        Some(format!("{key}:{min}:{max}"))
    });
    let rows: Vec<_> = rows.collect();
    print!("{}", codec(&["judge", &rows.join(",")], &batch));
}

/// Random messages of `codec.py`, [`MESSAGES`] of each version.
fn generated(what: &str) -> String {
    let given = std::env::var("NARROWS_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("again with NARROWS_SEED={seed}");
    fastrand::seed(seed);
    codec(&[what, &seed.to_string(), &MESSAGES.to_string()], "")
}

/// Key, version and frame of a line.
fn message(line: &str) -> (i16, i16, Vec<u8>) {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap();
    let (key, version) = (next().parse().unwrap(), next().parse().unwrap());
    (key, version, unhex(next()))
}

/// What `codec.py` says; fails where it does.
fn codec(arguments: &[&str], input: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let clients = std::env::var_os("NARROWS_CLIENTS_DIR");
    let clients = clients.map_or_else(|| root.join("target/clients"), Into::into);
    let python = clients.join("python/bin/python");
    assert!(
        python.exists(),
        "kafka-python is missing: tests/clients/install kafka-python"
    );
    let mut child = Command::new(python)
        .arg(root.join("tests/second_codec/codec.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It answers while it reads.
    let writing = std::thread::spawn(move || {
        // Should it have ended, its verdict says why.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// The frame as a client gets it; it arrives in pieces of random sizes.
fn rewritten(key: i16, version: i16, frame: &[u8]) -> Vec<u8> {
    let api = table::api(key).unwrap();
    let mut rewrite = Rewrite::new(api, version, frame.len() - 4)
        .unwrap_or_else(|| panic!("api key {key} version {version} is not rewritten"));
    let mut scanned = PREFIX_BYTES;
    let mut arrived = PREFIX_BYTES;
    while !rewrite.is_ready() {
        assert!(
            arrived < frame.len(),
            "the frame ended before its addresses"
        );
        arrived = (arrived + fastrand::usize(1..=frame.len())).min(frame.len());
        scanned += rewrite.push(&frame[scanned..arrived]).unwrap();
    }
    let held_from = rewrite.held_from().unwrap_or(scanned);
    let held = &frame[held_from..scanned];
    let edited = rewrite.finish(held, held_from, &Advertised).unwrap();
    let held = edited.bytes.as_deref().unwrap_or(held);
    [&frame[..held_from], held, &frame[scanned..]].concat()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
