//! The reference relay: what a relay costs that knows nothing and does nothing but move bytes. One
//! thread, one epoll, one 256 KiB buffer; with `splice`, a direction whose last read was long goes
//! through a pipe instead.
//!
//! It is the limit to measure against, not something to run: it connects while it accepts, and it
//! trusts everybody.

use crate::sys::{self, Epoll};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

const LISTENER: u64 = u64::MAX;
const BUFFER_BYTES: usize = 256 * 1024;
const PIPE_BYTES: usize = 1024 * 1024;
/// A read of more than this lets the next one go through a pipe; a splice of less than the other
/// goes back.
const SPLICE_ABOVE_BYTES: usize = 32 * 1024;
const COPY_BELOW_BYTES: usize = 16 * 1024;

struct Way {
    /// What was read and could not be sent.
    held: Vec<u8>,
    pipe: Option<Pipe>,
    is_bulk: bool,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes: usize,
}

struct Pair {
    /// Client and broker; way 0 leads from the one to the other, way 1 back.
    sides: [TcpStream; 2],
    ways: [Way; 2],
    interest: [(bool, bool); 2],
}

struct Relay {
    epoll: Epoll,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    pipes: VecDeque<Pipe>,
    buffer: Vec<u8>,
    splices: bool,
}

/// Relays `port` of 127.0.0.1 to `upstream` until the process ends.
pub fn run(port: u16, upstream: SocketAddr, splices: bool) -> Result<()> {
    sys::end_with_parent();
    sys::raise_open_files(65_536);
    let listener = TcpListener::bind(("127.0.0.1", port)).context("the reference relay's port")?;
    listener.set_nonblocking(true)?;
    let mut relay = Relay {
        epoll: Epoll::new()?,
        pairs: Vec::new(),
        free: Vec::new(),
        pipes: VecDeque::new(),
        buffer: vec![0; BUFFER_BYTES],
        splices,
    };
    relay
        .epoll
        .add(listener.as_raw_fd(), LISTENER, true, false)?;
    let mut ready = Vec::new();
    loop {
        relay.epoll.wait(&mut ready, Duration::from_secs(3600))?;
        for event in &ready {
            if event.token == LISTENER {
                relay.accept(&listener, upstream)?;
                continue;
            }
            let index = (event.token / 2) as usize;
            let side = (event.token % 2) as usize;
            if relay
                .turn(index, side, event.readable, event.writable)
                .is_err()
            {
                relay.close(index);
            }
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, upstream: SocketAddr) -> Result<()> {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if sys::is_later(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("the reference relay can't accept"),
            };
            client.set_nodelay(true)?;
            client.set_nonblocking(true)?;
            let sides = [
                client,
                sys::connect(upstream).context("the reference relay can't connect")?,
            ];
            let index = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            });
            for (side, stream) in sides.iter().enumerate() {
                self.epoll
                    .add(stream.as_raw_fd(), (2 * index + side) as u64, true, false)?;
            }
            let way = || Way {
                held: Vec::new(),
                pipe: None,
                is_bulk: false,
            };
            let pair = Pair {
                sides,
                ways: [way(), way()],
                interest: [(true, false); 2],
            };
            self.pairs[index] = Some(pair);
        }
    }

    fn turn(&mut self, index: usize, side: usize, readable: bool, writable: bool) -> Result<()> {
        let Some(pair) = self.pairs.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        if writable {
            let from = 1 - side;
            pair.ways[from].flush(&pair.sides[side], &mut self.pipes)?;
        }
        if readable && pair.ways[side].is_empty() {
            let from = &pair.sides[side];
            let to = &pair.sides[1 - side];
            pair.ways[side].pump(from, to, &mut self.buffer, &mut self.pipes, self.splices)?;
        }
        for side in 0..2 {
            let wanted = (pair.ways[side].is_empty(), !pair.ways[1 - side].is_empty());
            if wanted != pair.interest[side] {
                pair.interest[side] = wanted;
                let fd = pair.sides[side].as_raw_fd();
                self.epoll
                    .change(fd, (2 * index + side) as u64, wanted.0, wanted.1)?;
            }
        }
        Ok(())
    }

    /// Pipes with bytes in them go with their pair.
    fn close(&mut self, index: usize) {
        if self.pairs[index].take().is_some() {
            self.free.push(index);
        }
    }
}

impl Way {
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.pipe.is_none()
    }

    fn pump(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        buffer: &mut [u8],
        pipes: &mut VecDeque<Pipe>,
        splices: bool,
    ) -> Result<()> {
        if splices && self.is_bulk {
            return self.pump_pipe(from, to, pipes);
        }
        let count = match sys::recv(from.as_raw_fd(), buffer) {
            Ok(0) => anyhow::bail!("closed"),
            Ok(count) => count,
            Err(error) if sys::is_later(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.is_bulk = count > SPLICE_ABOVE_BYTES;
        let sent = send(to, &buffer[..count])?;
        self.held.extend_from_slice(&buffer[sent..count]);
        Ok(())
    }

    fn pump_pipe(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        pipes: &mut VecDeque<Pipe>,
    ) -> Result<()> {
        let mut pipe = match pipes.pop_front() {
            Some(pipe) => pipe,
            None => {
                let (read, write) = sys::pipe(PIPE_BYTES as i32)?;
                Pipe {
                    read,
                    write,
                    bytes: 0,
                }
            }
        };
        match sys::splice(from.as_raw_fd(), pipe.write.as_raw_fd(), PIPE_BYTES, false) {
            Ok(0) => anyhow::bail!("closed"),
            Ok(count) => pipe.bytes = count,
            Err(error) if sys::is_later(&error) => {
                pipes.push_front(pipe);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.is_bulk = pipe.bytes >= COPY_BELOW_BYTES;
        self.pipe = Some(pipe);
        self.flush(to, pipes)
    }

    fn flush(&mut self, to: &TcpStream, pipes: &mut VecDeque<Pipe>) -> Result<()> {
        if !self.held.is_empty() {
            let sent = send(to, &self.held)?;
            self.held.drain(..sent);
        }
        if let Some(mut pipe) = self.pipe.take() {
            match sys::splice(pipe.read.as_raw_fd(), to.as_raw_fd(), pipe.bytes, false) {
                Ok(count) => pipe.bytes -= count,
                Err(error) if sys::is_later(&error) => {}
                Err(error) => return Err(error.into()),
            }
            match pipe.bytes {
                0 => pipes.push_front(pipe),
                _ => self.pipe = Some(pipe),
            }
        }
        Ok(())
    }
}

fn send(to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match sys::send(to.as_raw_fd(), bytes, false) {
        Err(error) if sys::is_later(&error) => Ok(0),
        other => other,
    }
}
