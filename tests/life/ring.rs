//! Several processes that lead to each other, which no test in one process can be: there they would
//! all have one name.

use crate::process::{PATIENCE, Process, command, own_address};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A Narrows with two listeners whose bootstrap server is at `next`.
fn narrows(address: Ipv4Addr, next: Ipv4Addr, scheme: &str) -> (tempfile::TempDir, Process) {
    let text = format!(
        "
clusters:
  orders:
    bootstrap_servers: [{next}:9092]
    metadata_refresh_interval: 1h
listeners:
  external:
    cluster: orders
    bind: {address}:9092
    address: {{{scheme}, advertised_host: kafka.example.com}}
admin: {{bind: {address}:9190}}
"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("narrows.yaml");
    std::fs::write(&path, text).unwrap();
    let process = Process::read(command(&path), address);
    process.page("/livez");
    (folder, process)
}

/// Metadata v1 for all topics, of a client that is no Narrows.
const METADATA: &[u8] = b"\0\0\0\x12\0\x03\0\x01\0\0\0\x01\0\x04test\xff\xff\xff\xff";

#[test]
fn a_ring_of_several_ends_each_connection_where_it_comes_back() {
    for (count, scheme) in [
        (2, "scheme: port, node_ids: [1-3]"),
        (3, "scheme: port, node_ids: [1-3]"),
        (2, "scheme: single"),
    ] {
        let addresses: Vec<_> = (0..count).map(|_| own_address()).collect();
        let ring: Vec<_> = (0..count)
            .map(|at| narrows(addresses[at], addresses[(at + 1) % count], scheme))
            .collect();
        let mut client = TcpStream::connect(SocketAddr::from((addresses[0], 9092))).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(METADATA).unwrap();
        // What was opened without an end was so at once: thousands in a second.
        let until = Instant::now() + Duration::from_secs(2);
        let mut most = 0;
        while Instant::now() < until {
            let open = ring.iter().map(|(_, process)| process.open_files()).max();
            most = most.max(open.unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(most < 100, "{count} with {scheme}: {most} files open");
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    }
}
