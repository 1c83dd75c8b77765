//! Sockets, TLS, names, buffers and pipes, and how much of them the process may have.

#![forbid(unsafe_code)]

pub(crate) mod buffer;
pub mod descriptors;
pub mod hello;
pub(crate) mod memory;
pub(crate) mod own_sockets;
pub(crate) mod passed;
pub(crate) mod pipe;
pub(crate) mod pools;
pub mod proxy_header;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod stream;
pub mod tls;
