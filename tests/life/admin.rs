//! The admin port under abuse, in a process whose descriptors and memory can be looked at.

use crate::process::{PATIENCE, Process, command, configuration, own_address};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const CONNECTIONS: usize = 1_000;
/// The admin port serves 64 connections at once (`admin::CONNECTIONS_MAX`).
const PLACES: u64 = 64;
/// What 64 requests and responses may leave behind in a debug build.
const LEFT_BYTES_MAX: u64 = 16 << 20;

#[test]
fn a_thousand_connections_that_are_silent_slow_or_huge_leave_livez_and_nothing_behind() {
    narrows::net::descriptors::raise_limit();
    let address = own_address();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("narrows.yaml");
    std::fs::write(&file, configuration(address, "")).unwrap();
    let process = Process::read(command(&file), address);
    assert!(process.page("/livez").starts_with("HTTP/1.1 200"));
    let descriptors = process.metric("process_open_fds");
    let memory = process.metric("process_resident_memory_bytes");

    let half_a_header = [b"GET / HTTP/1.1\r\nX-Long: ".as_slice(), &[b'x'; 12 * 1024]].concat();
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(SocketAddr::from((address, 9190))).unwrap();
        let sent: &[u8] = match number % 3 {
            0 => b"",
            1 => &half_a_header,
            // It never reads what it has asked for.
            _ => b"GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n",
        };
        // Who has lost its place already takes nothing any more.
        let _ = stream.write_all(sent);
        held.push(stream);
        if number % 100 == 0 {
            assert!(
                process.page("/livez").starts_with("HTTP/1.1 200"),
                "{number}"
            );
        }
    }
    assert!(process.page("/livez").starts_with("HTTP/1.1 200"));
    assert!(process.page("/readyz").starts_with("HTTP/1.1 200"));
    // All of the thousand stand on this side.
    assert_eq!(held.len(), CONNECTIONS);
    process.until_metric("process_open_fds", |now| now <= descriptors + PLACES);

    drop(held);
    process.until_metric("process_open_fds", |now| now <= descriptors);
    let now = process.metric("process_resident_memory_bytes");
    assert!(
        now < memory + LEFT_BYTES_MAX,
        "{memory} bytes before, {now} now"
    );
}

#[test]
fn a_header_above_its_bound_is_refused_however_long_it_goes_on() {
    let address = own_address();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("narrows.yaml");
    std::fs::write(&file, configuration(address, "")).unwrap();
    let process = Process::read(command(&file), address);
    assert!(process.page("/livez").starts_with("HTTP/1.1 200"));
    let mut stream = TcpStream::connect(SocketAddr::from((address, 9190))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX-Long: ").unwrap();
    stream.write_all(&[b'x'; 16 * 1024]).unwrap();
    let mut answer = Vec::new();
    // A reset behind the answer tells that the rest of what is sent is not read.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
