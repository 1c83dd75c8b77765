//! Pipes through which the kernel moves bytes from socket to socket, without their entering this
//! process.
//!
//! A pipe that has bytes in it belongs to one connection: it goes back to its pool only when it is
//! empty, and is closed otherwise, so that one client's bytes can never reach another.

use super::pools::PoolSizes;
use super::socket::is_transient;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe is asked to hold, best first, unless the [sizes](PoolSizes) say less. The kernel
/// refuses more than `pipe-max-size`, and more than `pipe-user-pages-soft` in all, to users without
/// privileges; a pipe has 64 KiB without asking, as long as the user has pages left.
const PIPE_BYTES: [usize; 2] = [1024 * 1024, 256 * 1024];

/// A smaller pipe is not used. Once a user's pages are used up (`pipe-user-pages-soft`, by whatever
/// processes), the kernel makes pipes of two pages: with 8 KiB splicing took 0.362 s/GiB where
/// copying takes 0.300.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// After a pipe that was too small, none is made for so long: asking costs three system calls.
const SMALL_PIPE_PAUSE: Duration = Duration::from_secs(1);

/// `NONBLOCK` is for the pipe, whatever the sockets' own modes are: without it a full one would
/// stop the thread, and every session on it. `MOVE` is a hint (splice(2)).
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// The pipes of a process. How many there may be bounds what slow readers can hold in the kernel,
/// outside of any socket's accounting.
#[derive(Clone, Debug)]
pub(crate) struct PipePool {
    shelf: Arc<Mutex<Shelf>>,
    pipes_max: usize,
    /// What each is asked to hold, at the most.
    bytes_max: usize,
}

/// Why there is no pipe, so that bytes must be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPipe {
    /// All are lent, or the system has none.
    Exhausted,
    /// The system makes none of a size that is worth it.
    TooSmall,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Ends>,
    lent: usize,
    /// How many there are of each size, lent or not.
    sizes: BTreeMap<usize, usize>,
    /// When a pipe was too small last.
    too_small: Option<Instant>,
}

/// A pipe's two ends, and how many bytes it holds at the most.
#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl PipePool {
    /// A pool of so many pipes of such a size.
    pub(crate) fn new(sizes: &PoolSizes) -> Self {
        Self {
            shelf: Arc::default(),
            pipes_max: sizes.pipes,
            bytes_max: sizes.pipe_bytes,
        }
    }

    /// How many pipes there are, lent or not, by how many bytes each holds.
    pub(crate) fn sizes(&self) -> BTreeMap<usize, usize> {
        self.lock().sizes.clone()
    }

    /// Lends an empty pipe of at least [`PIPE_BYTES_MIN`].
    pub(crate) fn borrow(&self) -> Result<Pipe, NoPipe> {
        self.borrow_or(|| Ends::new(self.bytes_max).map_err(|_| NoPipe::Exhausted))
    }

    fn borrow_or(&self, make: impl FnOnce() -> Result<Ends, NoPipe>) -> Result<Pipe, NoPipe> {
        let mut shelf = self.lock();
        if shelf.lent >= self.pipes_max {
            return Err(NoPipe::Exhausted);
        }
        let ends = match shelf.idle.pop() {
            Some(ends) => ends,
            None => shelf.make(make)?,
        };
        // Only now: a pipe that could not be made is not lent, and would count for ever.
        shelf.lent += 1;
        Ok(Pipe {
            ends: Some(ends),
            held: 0,
            pool: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn make(&mut self, make: impl FnOnce() -> Result<Ends, NoPipe>) -> Result<Ends, NoPipe> {
        let is_too_soon = |at: Instant| at.elapsed() < SMALL_PIPE_PAUSE;
        if self.too_small.is_some_and(is_too_soon) {
            return Err(NoPipe::TooSmall);
        }
        let ends = make()?;
        let is_small = ends.capacity < PIPE_BYTES_MIN;
        self.too_small = is_small.then(Instant::now);
        if is_small {
            return Err(NoPipe::TooSmall);
        }
        *self.sizes.entry(ends.capacity).or_default() += 1;
        Ok(ends)
    }
}

impl Ends {
    fn new(bytes_max: usize) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Whichever size is refused, the pipe keeps the one that it has.
        let _ = PIPE_BYTES
            .iter()
            .filter(|bytes| **bytes <= bytes_max)
            .find(|bytes| fcntl_setpipe_size(&write, **bytes).is_ok());
        let capacity = fcntl_getpipe_size(&write)?;
        Ok(Self {
            read,
            write,
            capacity,
        })
    }
}

/// A pipe on loan.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Taken when it is given back.
    ends: Option<Ends>,
    /// How many bytes are in it.
    held: usize,
    pool: PipePool,
}

impl Pipe {
    /// How many bytes are in it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `bytes_max` bytes from a socket into the pipe, which must be empty: only then
    /// does "nothing moved" mean that the socket has nothing. 0 at the end of the stream.
    /// Cancel-safe, as all polling is.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else {
            return Poll::Ready(Ok(0));
        };
        let bytes_max = bytes_max.min(ends.capacity);
        let moved = loop {
            ready!(from.poll_read_ready(cx))?;
            let attempt = || Ok(splice(from, None, &ends.write, None, bytes_max, FLAGS)?);
            match from.try_io(Interest::READABLE, attempt) {
                Err(error) if is_transient(&error) => {}
                moved => break moved?,
            }
        };
        self.held += moved;
        Poll::Ready(Ok(moved))
    }

    /// Moves up to `bytes_max` bytes that are known to have arrived into a pipe that need not be
    /// empty: whether the socket counts as ready is neither asked nor changed. An error of kind
    /// `WouldBlock` says that the pipe is full.
    pub(crate) fn try_add(&mut self, from: &TcpStream, bytes_max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let bytes_max = bytes_max.min(ends.capacity.saturating_sub(self.held));
        let moved = loop {
            match splice(from, None, &ends.write, None, bytes_max, FLAGS) {
                Err(Errno::INTR) => {}
                moved => break moved?,
            }
        };
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in the pipe to a socket, or some of it; `has_more` says that more of the same
    /// frame follows.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &TcpStream,
        has_more: bool,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else {
            return Poll::Ready(Ok(0));
        };
        let mut flags = FLAGS;
        flags.set(SpliceFlags::MORE, has_more);
        let moved = loop {
            ready!(to.poll_write_ready(cx))?;
            let attempt = || Ok(splice(&ends.read, None, to, None, self.held, flags)?);
            match to.try_io(Interest::WRITABLE, attempt) {
                Err(error) if is_transient(&error) => {}
                moved => break moved?,
            }
        };
        self.held -= moved;
        Poll::Ready(Ok(moved))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut shelf = self.pool.lock();
        shelf.lent -= 1;
        let Some(ends) = self.ends.take() else { return };
        // Whatever is left in it is one connection's bytes, and the next borrower's client would
        // get them.
        if self.held == 0 {
            shelf.idle.push(ends);
        } else if let Some(count) = shelf.sizes.get_mut(&ends.capacity) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn pool() -> PipePool {
        PipePool::new(&PoolSizes::of(None, None))
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_go_from_socket_to_socket_and_the_pipe_comes_back_empty() {
        let pool = pool();
        let ((mut client, from), (to, mut broker)) = (pair().await, pair().await);
        client.write_all(b"abcdefgh").await.unwrap();
        let mut pipe = pool.borrow().unwrap();
        let moved = std::future::poll_fn(|cx| pipe.poll_fill(cx, &from, 5))
            .await
            .unwrap();
        assert_eq!((moved, pipe.held()), (5, 5));
        assert_eq!(
            std::future::poll_fn(|cx| pipe.poll_drain(cx, &to, false))
                .await
                .unwrap(),
            5
        );
        let mut arrived = [0; 5];
        broker.read_exact(&mut arrived).await.unwrap();
        assert_eq!(&arrived, b"abcde");
        let capacity = pipe.ends.as_ref().unwrap().capacity;
        drop(pipe);
        assert_eq!(pool.shelf.lock().unwrap().idle.len(), 1);
        assert_eq!(pool.sizes(), [(capacity, 1)].into());
    }

    #[tokio::test]
    async fn a_pipe_that_holds_bytes_is_closed_and_never_lent_again() {
        let pool = pool();
        let (mut client, from) = pair().await;
        client.write_all(b"secret").await.unwrap();
        let mut pipe = pool.borrow().unwrap();
        std::future::poll_fn(|cx| pipe.poll_fill(cx, &from, 100))
            .await
            .unwrap();
        drop(pipe);
        assert!(pool.sizes().into_values().all(|count| count == 0));
        let shelf = pool.shelf.lock().unwrap();
        assert_eq!((shelf.idle.len(), shelf.lent), (0, 0));
    }

    #[test]
    fn no_more_pipes_are_lent_than_there_may_be() {
        let pool = pool();
        let lent: Vec<_> = (0..pool.pipes_max)
            .map_while(|_| pool.borrow().ok())
            .collect();
        assert_eq!(lent.len(), 64);
        assert_eq!(pool.borrow().err(), Some(NoPipe::Exhausted));
        drop(lent);
        assert!(pool.borrow().is_ok());
    }

    #[test]
    fn a_pipe_of_two_pages_is_not_lent_and_none_is_made_for_a_moment() {
        let pool = pool();
        let small = || {
            let ends = Ends::new(64 * 1024).map_err(|_| NoPipe::Exhausted)?;
            let capacity = fcntl_setpipe_size(&ends.write, 8 * 1024).unwrap();
            Ok(Ends { capacity, ..ends })
        };
        assert_eq!(pool.borrow_or(small).err(), Some(NoPipe::TooSmall));
        let must_not_make = || panic!("it was asked again at once");
        assert_eq!(pool.borrow_or(must_not_make).err(), Some(NoPipe::TooSmall));
        assert_eq!(pool.shelf.lock().unwrap().lent, 0);
        pool.shelf.lock().unwrap().too_small = Instant::now().checked_sub(SMALL_PIPE_PAUSE);
        assert!(pool.borrow().is_ok(), "a moment later the system has one");
        assert_eq!(pool.shelf.lock().unwrap().too_small, None);
    }
}
