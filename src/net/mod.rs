//! Sockets, TLS, names, buffers and pipes.

#![forbid(unsafe_code)]

pub(crate) mod buffer;
pub mod descriptors;
pub mod hello;
pub(crate) mod own_sockets;
pub(crate) mod passed;
pub(crate) mod pipe;
pub mod proxy_header;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod stream;
pub mod tls;
