//! Kafka's protocol as far as a proxy must know it, without I/O.

pub mod table;
