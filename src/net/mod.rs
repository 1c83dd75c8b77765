//! Sockets, TLS, names, buffers and pipes.

pub mod buffer;
pub mod heap;
pub mod hello;
pub mod low_mark;
pub mod pipe;
pub mod proxy_header;
pub mod resolve;
pub mod socket;
pub mod stream;
pub mod tls;
