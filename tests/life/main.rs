//! The life of the process, with the real binary: how it starts, what it says, and that it ends
//! when it is told to, whatever its standard error, its files and its brokers do.

// Clippy's exception for tests does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod admin;
mod end;
mod logs;
mod process;
mod ring;
mod start;
