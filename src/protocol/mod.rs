//! Kafka's protocol as far as a proxy must know it, without I/O.
//!
//! Nothing here has a socket, a clock or randomness, and nothing panics on any bytes or allocates
//! more than the bytes that are there. [`table`] says what is done with each API, [`admission`]
//! whether a request may pass, [`header`] reads the beginning of a request, [`walk`] finds the
//! addresses in a response by its schema, [`rewrite`] replaces them, [`api_versions`] cuts what the
//! broker offers, [`sasl`] follows an authentication that passes through, [`own_requests`] makes
//! Narrows' own requests.

pub mod admission;
pub mod api_versions;
pub mod header;
pub mod own_requests;
pub mod rewrite;
pub mod sasl;
pub mod schema;
pub mod table;
pub mod walk;
pub mod wire;

#[cfg(test)]
pub(crate) mod samples;
