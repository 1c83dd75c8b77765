//! What the system is asked for that nothing else wraps as it is needed here: the one place with
//! `unsafe`, and the one that knows libc.
//!
//! * [`rcvlowat`]: how many bytes must have arrived before a socket counts as readable;
//! * [`malloc_trim`]: gives free memory back to the system;
//! * `read_file`: a whole file, within a bound.
//!
//! Each `unsafe` call says why it is sound. Everything else, `net` included, has none:
//! `tests/house` checks it.

#![allow(
    unsafe_code,
    reason = "these calls have no safe wrapper; each says why it is sound"
)]

pub mod malloc_trim;
pub(crate) mod rcvlowat;
mod read_file;

pub(crate) use read_file::read_file;
