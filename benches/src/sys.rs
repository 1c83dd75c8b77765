//! The system calls that the standard library lacks: epoll, splice, sendfile, processor affinity,
//! limits.
//!
//! `unsafe` because they are foreign functions; every pointer given here is to memory that outlives
//! the call, with its own length, and every descriptor is owned by the caller or by an [`OwnedFd`].
#![allow(
    unsafe_code,
    reason = "system calls: each one is given valid pointers and lengths"
)]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Readiness of descriptors, level-triggered, each under a token.
pub struct Epoll(OwnedFd);

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new and owned from here on.
        Ok(Self(unsafe {
            OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?)
        }))
    }

    pub fn add(&self, fd: RawFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, read, write)
    }

    pub fn change(&self, fd: RawFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, read, write)
    }

    fn control(
        &self,
        operation: i32,
        fd: RawFd,
        token: u64,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        let bits = if read { libc::EPOLLIN } else { 0 } | if write { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event {
            events: bits as u32,
            u64: token,
        };
        // SAFETY: `event` lives through the call.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    /// Waits up to `timeout` and replaces `ready` by what is ready. An interruption counts as
    /// nothing ready.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let millis = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: the array has 256 elements and lives through the call.
        let result =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 256, millis) };
        let count = match checked(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        ready.clear();
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            let has = |bits: i32| event.events & bits as u32 != 0;
            let failed = has(libc::EPOLLHUP | libc::EPOLLERR);
            ready.push(Ready {
                token: event.u64,
                readable: has(libc::EPOLLIN) || failed,
                writable: has(libc::EPOLLOUT) || failed,
            });
        }
        Ok(())
    }
}

/// A timer that makes an [`Epoll`] wake up with more than a millisecond's precision.
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no pointers; the descriptor is new and owned from here on.
        Ok(Self(unsafe {
            OwnedFd::from_raw_fd(checked(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?)
        }))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Goes off once, `after` from now; also clears what has gone off.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let nanos = after.as_nanos().clamp(1, 3_600_000_000_000);
        let value = libc::timespec {
            tv_sec: (nanos / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
        };
        let spec = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        // SAFETY: `spec` lives through the call; the old value is not asked for.
        checked(unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &spec, std::ptr::null_mut())
        })
        .map(drop)
    }
}

pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are the slice's.
    counted(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// With `more`, the kernel may wait for what follows before it sends a segment.
pub fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: pointer and length are the slice's.
    counted(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Sends `count` bytes of `file` from `offset` on, without a copy.
pub fn sendfile(socket: RawFd, file: RawFd, offset: u64, count: usize) -> io::Result<usize> {
    let mut offset = offset as libc::off_t;
    // SAFETY: `offset` lives through the call.
    counted(unsafe { libc::sendfile(socket, file, &mut offset, count) })
}

/// Moves up to `count` bytes between a socket and a pipe, without waiting.
pub fn splice(from: RawFd, to: RawFd, count: usize, more: bool) -> io::Result<usize> {
    let flags =
        libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | if more { libc::SPLICE_F_MORE } else { 0 };
    let none = std::ptr::null_mut();
    // SAFETY: no offsets are given, so no pointers are followed.
    counted(unsafe { libc::splice(from, none, to, none, count, flags) })
}

/// A pipe of `bytes`: its reading and its writing end.
pub fn pipe(bytes: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors, which are new and owned from here on.
    let (read, write) = unsafe {
        checked(libc::pipe2(
            ends.as_mut_ptr(),
            libc::O_NONBLOCK | libc::O_CLOEXEC,
        ))?;
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    // SAFETY: no pointers.
    checked(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) })?;
    Ok((read, write))
}

/// Lets thread or process `id` (0: the calling thread) run on these processors only.
pub fn pin(id: i32, processors: &[usize]) -> io::Result<()> {
    // SAFETY: a cpu_set_t is plain bits, for which zero is valid; CPU_SET stays inside it by its
    // own check.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for processor in processors {
            libc::CPU_SET(*processor, &mut set);
        }
        set
    };
    // SAFETY: `set` lives through the call, and the size is its own.
    checked(unsafe { libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

/// Raises the limit of open files as far as `wanted`, or as far as it goes, and returns what it is
/// now.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` and `more` live through the calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let more = libc::rlimit {
            rlim_cur: wanted.max(limit.rlim_max),
            rlim_max: wanted.max(limit.rlim_max),
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &more) != 0 {
            let most = libc::rlimit {
                rlim_cur: limit.rlim_max,
                rlim_max: limit.rlim_max,
            };
            libc::setrlimit(libc::RLIMIT_NOFILE, &most);
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

/// This process ends when its parent does: nothing is left running after a run that was
/// interrupted.
pub fn end_with_parent() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid as i32, libc::SIGTERM) };
}

/// A connection with TCP_NODELAY that does not block. Loopback answers at once, so the connect
/// itself may wait.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Closing sends a reset, so that no port waits in TIME_WAIT.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: `linger` lives through the call, and the size is its own.
    checked(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            value,
            size,
        )
    })
    .map(drop)
}

/// Whether an error only means "not now".
pub fn is_later(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
