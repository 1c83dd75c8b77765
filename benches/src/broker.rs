//! The broker simulator: one thread, one epoll. It reads what a request asks for and drops the
//! rest, and answers from prepared frames: ApiVersions v0–v4 (newer ones as Kafka does: error 35 in
//! v0), Metadata, Produce v12, Fetch v17.
//!
//! On the port behind its own, it drops one TLS record first: for relays that read a hello and pass
//! the rest through.

use crate::frames::{self, RESPONSE_CORRELATION_AT};
use crate::sys::{self, Epoll};
use anyhow::{Context, Result};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const LISTENER: u64 = u64::MAX;
const HELLO_LISTENER: u64 = u64::MAX - 1;
/// A TLS record's type, version and length.
const RECORD_HEAD_BYTES: usize = 5;
/// As large as a fast client's socket buffer: bulk is read in few calls.
const BUFFER_BYTES: usize = 256 * 1024;
/// More than any processor cache here: what `sendfile` sends from it is cold.
const FILE_BYTES: usize = 512 * 1024 * 1024;
/// What is looked at of a request; longer ones are Produce, whose records nobody reads.
const HEAD_BYTES_MAX: usize = 512;

/// Serves on `port` of 127.0.0.1, and behind a TLS hello on the next one, until the process ends.
/// `folder` holds the file of cold pages.
pub fn run(port: u16, folder: &Path) -> Result<()> {
    sys::end_with_parent();
    sys::raise_open_files(65_536);
    let answers = Answers::new(port, folder)?;
    let mut broker = Broker {
        epoll: Epoll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        answers,
    };
    let listen = |broker: &Broker, port: u16, token: u64| -> Result<TcpListener> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).context("the broker simulator's port")?;
        listener.set_nonblocking(true)?;
        broker.epoll.add(listener.as_raw_fd(), token, true, false)?;
        Ok(listener)
    };
    let listener = listen(&broker, port, LISTENER)?;
    let hello_listener = listen(&broker, port + 1, HELLO_LISTENER)?;
    let mut ready = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        broker.epoll.wait(&mut ready, Duration::from_secs(3600))?;
        for event in &ready {
            match event.token {
                LISTENER => broker.accept(&listener, false)?,
                HELLO_LISTENER => broker.accept(&hello_listener, true)?,
                token => broker.turn(token as usize, event.readable, &mut buffer),
            }
        }
    }
}

struct Broker {
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    answers: Answers,
}

struct Connection {
    stream: TcpStream,
    /// A TLS record comes first.
    expects_hello: bool,
    /// The beginning of the request that is being read, its length in front.
    head: Vec<u8>,
    /// What is left of it behind `head`.
    skip: usize,
    out: VecDeque<Piece>,
    waits_to_write: bool,
}

/// Something to be sent.
enum Piece {
    Bytes { bytes: Vec<u8>, sent: usize },
    Shared { bytes: Rc<Vec<u8>>, sent: usize },
    File { at: u64, left: usize },
}

impl Broker {
    fn accept(&mut self, listener: &TcpListener, expects_hello: bool) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if sys::is_later(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("the broker simulator can't accept"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll
                .add(stream.as_raw_fd(), token as u64, true, false)?;
            self.connections[token] = Some(Connection {
                stream,
                expects_hello,
                head: Vec::new(),
                skip: 0,
                out: VecDeque::new(),
                waits_to_write: false,
            });
        }
    }

    fn turn(&mut self, token: usize, readable: bool, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(token).and_then(Option::as_mut) else {
            return;
        };
        let mut turn = || -> Result<bool> {
            if readable && !connection.read(buffer, &mut self.answers)? {
                return Ok(false);
            }
            connection.write(&self.answers)?;
            let waits = !connection.out.is_empty();
            if waits != connection.waits_to_write {
                connection.waits_to_write = waits;
                self.epoll
                    .change(connection.stream.as_raw_fd(), token as u64, true, waits)?;
            }
            Ok(true)
        };
        // A client that goes away is ordinary here; one that is wrong shows as a load that gets no
        // answer.
        if !matches!(turn(), Ok(true)) {
            self.connections[token] = None;
            self.free.push(token);
        }
    }
}

impl Connection {
    /// Reads once. `false` at the end.
    fn read(&mut self, buffer: &mut [u8], answers: &mut Answers) -> Result<bool> {
        let mut input = match sys::recv(self.stream.as_raw_fd(), buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => &buffer[..count],
            Err(error) if sys::is_later(&error) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        while !input.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(input.len());
                self.skip -= count;
                input = &input[count..];
            } else if self.expects_hello {
                let (head, rest) =
                    input.split_at((RECORD_HEAD_BYTES - self.head.len()).min(input.len()));
                self.head.extend_from_slice(head);
                input = rest;
                if let [_, _, _, high, low] = self.head[..] {
                    self.skip = usize::from(u16::from_be_bytes([high, low]));
                    self.head.clear();
                    self.expects_hello = false;
                }
                continue;
            } else {
                let wanted = head_bytes(&self.head) - self.head.len();
                let (head, rest) = input.split_at(wanted.min(input.len()));
                self.head.extend_from_slice(head);
                input = rest;
                if self.head.len() == 4 {
                    continue;
                }
                if self.head.len() < head_bytes(&self.head) {
                    break;
                }
                self.skip = frame_bytes(&self.head) - self.head.len();
            }
            if self.skip == 0 && !self.head.is_empty() {
                answers.answer(&self.head, &mut self.out)?;
                self.head.clear();
            }
        }
        Ok(true)
    }

    fn write(&mut self, answers: &Answers) -> Result<()> {
        let fd = self.stream.as_raw_fd();
        while let Some(piece) = self.out.pop_front() {
            let more = !self.out.is_empty();
            let (sent, rest) = match piece {
                Piece::Bytes { bytes, sent } => (
                    sys::send(fd, &bytes[sent..], more),
                    Piece::Bytes { bytes, sent },
                ),
                Piece::Shared { bytes, sent } => (
                    sys::send(fd, &bytes[sent..], more),
                    Piece::Shared { bytes, sent },
                ),
                Piece::File { at, left } => (
                    answers.send_from_file(fd, at, left),
                    Piece::File { at, left },
                ),
            };
            let count = match sent {
                Ok(count) => count,
                Err(error) if sys::is_later(&error) => 0,
                Err(error) => return Err(error.into()),
            };
            let rest = rest.after(count);
            if rest.left() > 0 {
                self.out.push_front(rest);
                if count == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    fn after(self, count: usize) -> Self {
        match self {
            Self::Bytes { bytes, sent } => Self::Bytes {
                bytes,
                sent: sent + count,
            },
            Self::Shared { bytes, sent } => Self::Shared {
                bytes,
                sent: sent + count,
            },
            Self::File { at, left } => Self::File {
                at: at + count as u64,
                left: left - count,
            },
        }
    }

    fn left(&self) -> usize {
        match self {
            Self::Bytes { bytes, sent } => bytes.len() - sent,
            Self::Shared { bytes, sent } => bytes.len() - sent,
            Self::File { left, .. } => *left,
        }
    }
}

/// The length of the frame that begins with `head`, its length prefix included.
fn frame_bytes(head: &[u8]) -> usize {
    head.first_chunk()
        .map_or(4, |length| 4 + u32::from_be_bytes(*length) as usize)
}

fn head_bytes(head: &[u8]) -> usize {
    if head.len() < 4 {
        4
    } else {
        frame_bytes(head).min(HEAD_BYTES_MAX)
    }
}

/// Prepared answers; the larger ones are made when first asked for.
struct Answers {
    port: u16,
    produce: Vec<u8>,
    api_versions: HashMap<i16, Vec<u8>>,
    metadata: HashMap<(i16, usize), Rc<Vec<u8>>>,
    fetch: HashMap<usize, Rc<Vec<u8>>>,
    file: File,
    /// Where the next answer from the file begins.
    file_at: usize,
}

impl Answers {
    /// Writes the file of cold pages first: nobody waits for that later.
    fn new(port: u16, folder: &Path) -> Result<Self> {
        Ok(Self {
            port,
            produce: frames::produce_response()?,
            api_versions: HashMap::new(),
            metadata: HashMap::new(),
            fetch: HashMap::new(),
            file: cold_pages(folder)?,
            file_at: 0,
        })
    }

    fn answer(&mut self, request: &[u8], out: &mut VecDeque<Piece>) -> Result<()> {
        let number = |at: usize| {
            request
                .get(at..)
                .and_then(|bytes| bytes.first_chunk())
                .map_or(-1, |two| i16::from_be_bytes(*two))
        };
        let api_key = number(4);
        let version = number(6);
        let correlation_id = request.get(8..12).context("a request without a header")?;
        match api_key {
            0 => push(out, &self.produce, correlation_id),
            1 => {
                let (bytes, from_file) =
                    frames::read_fetch(request).context("a Fetch that can't be read")?;
                self.fetched(bytes, from_file, correlation_id, out)?;
            }
            3 => {
                let key = (version, frames::read_metadata(request));
                let answer = match self.metadata.get(&key) {
                    Some(answer) => answer.clone(),
                    None => Rc::new(frames::metadata_response(version, self.port, key.1)?),
                };
                self.metadata.insert(key, answer.clone());
                push_shared(out, answer, correlation_id);
            }
            18 => {
                let answer = match self.api_versions.get(&version) {
                    Some(answer) => answer.clone(),
                    None => frames::api_versions_response(version)?,
                };
                push(out, &answer, correlation_id);
                self.api_versions.insert(version, answer);
            }
            other => anyhow::bail!("the simulator has no answer to api key {other}"),
        }
        Ok(())
    }

    fn fetched(
        &mut self,
        bytes: usize,
        from_file: bool,
        correlation_id: &[u8],
        out: &mut VecDeque<Piece>,
    ) -> Result<()> {
        let answer = match self.fetch.get(&bytes) {
            Some(answer) => answer.clone(),
            None => Rc::new(frames::fetch_response(bytes)?),
        };
        self.fetch.insert(bytes, answer.clone());
        if !from_file {
            push_shared(out, answer, correlation_id);
            return Ok(());
        }
        // Everything between the first and the last bytes comes from the file: those are records,
        // whatever they hold.
        let head = 256;
        let tail = 16;
        push(out, &answer[..head], correlation_id);
        let left = answer.len() - head - tail;
        if self.file_at + left > FILE_BYTES {
            self.file_at = 0;
        }
        let start = self.file_at as u64;
        self.file_at += left;
        out.push_back(Piece::File { at: start, left });
        out.push_back(Piece::Bytes {
            bytes: answer[answer.len() - tail..].to_vec(),
            sent: 0,
        });
        Ok(())
    }

    fn send_from_file(&self, socket: i32, at: u64, left: usize) -> io::Result<usize> {
        match sys::sendfile(socket, self.file.as_raw_fd(), at, left) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }
}

fn cold_pages(folder: &Path) -> Result<File> {
    let path = folder.join("cold-pages");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    let block = vec![b'r'; 1 << 20];
    for _ in 0..FILE_BYTES / block.len() {
        file.write_all(&block).context("the file of cold pages")?;
    }
    Ok(file)
}

/// Appends a copy with its correlation id; small answers that wait together leave together.
fn push(out: &mut VecDeque<Piece>, answer: &[u8], correlation_id: &[u8]) {
    if !matches!(out.back(), Some(Piece::Bytes { .. })) {
        out.push_back(Piece::Bytes {
            bytes: Vec::with_capacity(answer.len()),
            sent: 0,
        });
    }
    if let Some(Piece::Bytes { bytes, .. }) = out.back_mut() {
        let from = bytes.len() + RESPONSE_CORRELATION_AT;
        bytes.extend_from_slice(answer);
        bytes[from..from + 4].copy_from_slice(correlation_id);
    }
}

/// Appends the first 8 bytes with the correlation id, and the rest without a copy.
fn push_shared(out: &mut VecDeque<Piece>, answer: Rc<Vec<u8>>, correlation_id: &[u8]) {
    push(out, &answer[..8], correlation_id);
    out.push_back(Piece::Shared {
        bytes: answer,
        sent: 8,
    });
}
