//! Sockets, names and buffers.

pub mod buffer;
pub mod resolve;
pub mod socket;
