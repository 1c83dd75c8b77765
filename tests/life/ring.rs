//! Several processes that lead to each other, which no test in one process can be: there they would
//! all have one name.

use crate::process::{PATIENCE, Process, command, own_address};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
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

/// Accepts at an address, with a thread for each connection.
fn serve(address: SocketAddr, each: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            std::thread::spawn(move || each(stream));
        }
    });
}

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), &body[..]].concat()
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok().map(|()| frame)
}

const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;
const LIST: i16 = 3;

/// A broker that demands a login, and says that broker 1 is at `advertised`.
fn sasl_broker(mut client: TcpStream, advertised: SocketAddr) -> Option<()> {
    let mut is_logged_in = false;
    loop {
        let request = read_frame(&mut client)?;
        let correlation_id = &request[4..8];
        let host = advertised.ip().to_string();
        let answer = match i16::from_be_bytes([request[0], request[1]]) {
            HANDSHAKE => frame(&[correlation_id, b"\0\0\0\0\0\x01\0\x05PLAIN"]),
            AUTHENTICATE => {
                is_logged_in = true;
                frame(&[correlation_id, b"\0\0\xff\xff\0\0\0\0"])
            }
            LIST if is_logged_in => frame(&[
                correlation_id,
                b"\0\0\0\x01\0\0\0\x01",
                &u16::try_from(host.len()).unwrap().to_be_bytes(),
                host.as_bytes(),
                &u32::from(advertised.port()).to_be_bytes(),
                b"\xff\xff\0\0\0\x01\0\0\0\0",
            ]),
            _ => return None,
        };
        client.write_all(&answer).ok()?;
    }
}

fn ask(client: &mut TcpStream, head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let request = frame(&[head, b"\0\0\0\x01\0\x04test", body]);
    client.write_all(&request).ok()?;
    read_frame(client)
}

#[test]
fn a_broker_that_demands_a_login_and_advertises_the_balancer_is_recognised() {
    let [address, broker, balancer] = [(); 3].map(|()| own_address());
    let balancer = SocketAddr::from((balancer, 9093));
    serve((broker, 9092).into(), move |client| {
        sasl_broker(client, balancer);
    });
    serve(balancer, move |from| {
        let to = TcpStream::connect(SocketAddr::from((address, 9093))).unwrap();
        let pump = |mut from: TcpStream, mut to: TcpStream| {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        };
        let back = (to.try_clone().unwrap(), from.try_clone().unwrap());
        std::thread::spawn(move || pump(back.0, back.1));
        pump(from, to);
    });
    let (_folder, narrows) = narrows(address, broker, "scheme: port, node_ids: [1-3]");
    // Until it is known that a login is demanded, everybody is asked who he is.
    let demanded =
        "narrows_metadata_refreshes_total{cluster=\"orders\",outcome=\"authentication_demanded\"}";
    narrows.until_metric(demanded, |refreshes| refreshes > 0);
    let handshake = (b"\0\x11\0\x01", b"\0\x05PLAIN");
    // The map is learned from what a client is answered.
    let mut client = TcpStream::connect(SocketAddr::from((address, 9092))).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut client, handshake.0, handshake.1).unwrap();
    ask(&mut client, b"\0\x24\0\0", b"\0\0\0\x05\0u\0pw").unwrap();
    ask(&mut client, b"\0\x03\0\x01", b"\xff\xff\xff\xff").unwrap();
    narrows.until_metric("narrows_brokers_known{cluster=\"orders\"}", |known| {
        known == 1
    });
    let mut client = TcpStream::connect(SocketAddr::from((address, 9093))).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ask(&mut client, handshake.0, handshake.1), None);
    let closed = "narrows_connections_closed_total{cause=\"routing_loop\",listener=\"external\",side=\"narrows\"}";
    narrows.until_metric(closed, |closed| closed > 0);
    assert!(
        narrows.open_files() < 100,
        "{} files open",
        narrows.open_files()
    );
}
