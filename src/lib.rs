//! Klamm: one address in front of a whole Apache Kafka cluster.

pub mod address;
pub mod admin;
pub mod app;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod lifecycle;
pub mod listener;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod session;
pub mod types;
