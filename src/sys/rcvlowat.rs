//! SO_RCVLOWAT: how many bytes must have arrived before a socket counts as readable.
//!
//! In the middle of a large frame there is no use in being woken for every segment: without the
//! mark a 1 MiB record set costs one wake-up a segment. No crate that Narrows uses has this option.

use std::io;
use std::os::fd::AsRawFd;
use tokio::net::TcpStream;

/// Sets the mark; 1 is the system's default. The end of the stream and errors always wake.
pub(crate) fn set(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; the pointer and the size
    // describe `value`, which the kernel copies before the call returns.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
