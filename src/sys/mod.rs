//! The system calls that no crate wraps: the one place with `unsafe`, and the one that knows libc.
//!
//! * [`rcvlowat`]: how many bytes must have arrived before a socket counts as readable;
//! * [`malloc_trim`]: gives free memory back to the system.
//!
//! Each says why its call is sound. Everything else, `net` included, has no `unsafe`:
//! `tests/house.rs` checks it.

#![allow(
    unsafe_code,
    reason = "these calls have no safe wrapper; each says why it is sound"
)]

pub mod malloc_trim;
pub mod rcvlowat;
