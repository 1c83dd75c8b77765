//! Sockets, TLS, names, buffers and pipes.

#![forbid(unsafe_code)]

pub mod buffer;
pub mod descriptors;
pub mod hello;
pub mod own_sockets;
pub mod passed;
pub mod pipe;
pub mod proxy_header;
pub mod resolve;
pub mod socket;
pub mod stream;
pub mod tls;
