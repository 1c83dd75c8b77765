//! What a TLS connection costs: little while it is idle, and no more while it waits for the rest of
//! a record.
//!
//! The clients are another process, so that all that is counted is Narrows': its heap, and its
//! pages, which hold what the cryptography library has too.

use crate::alloc;
use crate::child::{ALL_FILES, OwnProcess, in_own_process, one_worker};
use crate::client::{ADVERTISED_HOST, Proxy};
use crate::frames::{OFFSET_COMMIT, request};
use crate::memory::{resident_bytes, serve_idle};
use crate::pki::write;
use crate::plain::read_frame;
use crate::tls_peers::Pki;
use crate::until;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const NAME: &str =
    "tls_memory::an_idle_tls_connection_holds_less_than_24_kib_and_so_does_one_with_half_a_record";
/// What a crowd of clients is to do, in the environment: an address, a file of authorities, how
/// many, and how much of a record each sends behind its request.
const CROWD: &str = "NARROWS_TEST_CROWD";
const COUNT: usize = 500;
const FEW: usize = 150;
/// Those that come before, and pay for what all share.
const FIRST: usize = 100;
const EACH_BYTES_MAX: usize = 24 * 1024;

#[test]
fn an_idle_tls_connection_holds_less_than_24_kib_and_so_does_one_with_half_a_record() {
    if let Ok(task) = std::env::var(CROWD) {
        return be_a_crowd(&task);
    }
    in_own_process!(
        OwnProcess {
            files: ALL_FILES,
            runtime: one_worker,
            shown: "each"
        },
        measure
    );
}

async fn measure() {
    let pki = Pki::new();
    let folder = tempfile::TempDir::new().unwrap();
    let ca = write(folder.path(), "ca.crt", pki.authority.pem());
    let _measured = alloc::alone().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let broker = std::thread::spawn(move || serve_idle(&listener, at, FIRST + COUNT + 2 * FEW));
    let proxy = Proxy::begin(&[at], |settings| {
        settings.listeners[0].tls = Some(pki.terminate())
    });
    proxy.until_refreshed().await;
    drop(Crowd::gather(&proxy, &ca, FIRST, 0).await);
    until("the first sessions to end", || proxy.active() == 0).await;
    for (what, count, half, bytes_max) in [
        ("idle", COUNT, 0, EACH_BYTES_MAX),
        ("with 1,000 bytes of a record", FEW, 1000, EACH_BYTES_MAX),
        // It has to be kept, but nothing beside it.
        (
            "with 16,000 bytes of a record",
            FEW,
            16_000,
            EACH_BYTES_MAX + 16_000,
        ),
    ] {
        let heap = alloc::heap_bytes();
        let resident = resident_bytes();
        let crowd = Crowd::gather(&proxy, &ca, count, half).await;
        let heap = alloc::heap_bytes().saturating_sub(heap) / count;
        // What the allocator keeps of finished handshakes is nobody's: how much depends on how many
        // went on at once, and so on what else the machine does.
        narrows::sys::malloc_trim::give_back();
        let resident = resident_bytes().saturating_sub(resident) / count;
        println!("TLS connection {what}: {heap} bytes of heap and {resident} bytes of pages each");
        assert!(
            heap < bytes_max && resident < bytes_max,
            "{what}: {heap} and {resident} bytes each"
        );
        drop(crowd);
        until("all sessions to end", || proxy.active() == 0).await;
    }
    proxy.narrows.stop().await;
    drop(broker);
}

/// Clients in a process of their own.
struct Crowd(Child);

impl Crowd {
    /// When this returns, each has had a request answered, and Narrows has read what else it has
    /// sent.
    async fn gather(proxy: &Proxy, ca: &Path, count: usize, half: usize) -> Self {
        let task = format!("{} {} {count} {half}", proxy.bootstrap(), ca.display());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", NAME, "--nocapture"])
            .env(CROWD, task);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let ready = move || {
            said.lines()
                .map_while(Result::ok)
                .any(|line| line.contains("ready"))
        };
        assert!(
            tokio::task::spawn_blocking(ready).await.unwrap(),
            "the clients have given up"
        );
        until("all sessions", || proxy.active() == count as u64).await;
        // Nobody answers the last bytes: the kernel knows when Narrows has read them.
        let port = proxy.bootstrap().port();
        until("Narrows to read all", || unread_bytes(port) == 0).await;
        Self(child)
    }
}

/// What waits in the kernel on its way to this port, sent or come.
fn unread_bytes(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let connections = table.lines().skip(1).map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (sent, come) = fields[4].split_once(':').unwrap();
        match (fields[1].ends_with(&port), fields[2].ends_with(&port)) {
            (true, _) => come.to_owned(),
            (false, true) => sent.to_owned(),
            (false, false) => "0".to_owned(),
        }
    });
    connections
        .map(|bytes| u64::from_str_radix(&bytes, 16).unwrap())
        .sum()
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn be_a_crowd(task: &str) {
    let parts: Vec<_> = task.split(' ').collect();
    let [at, ca, count, half] = parts[..] else {
        panic!("{task}")
    };
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let config = Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let mut kept = Vec::new();
    for _ in 0..count.parse().unwrap() {
        let session =
            ClientConnection::new(Arc::clone(&config), ADVERTISED_HOST.try_into().unwrap())
                .unwrap();
        let mut client = StreamOwned::new(session, TcpStream::connect(at).unwrap());
        client
            .write_all(&request(OFFSET_COMMIT, 6, 1, b"body"))
            .unwrap();
        read_frame(&mut client, &mut Vec::new()).unwrap();
        let half = half.parse().unwrap();
        if half > 0 {
            // The header of the largest record that there can be, and some of it.
            let record = [&[23, 3, 3, 0x40, 0x11][..], &vec![0; half]].concat();
            client.sock.write_all(&record).unwrap();
        }
        kept.push(client);
    }
    println!("\nready");
    let _ = std::io::stdin().read(&mut [0]);
}
