//! The modules that read the bytes of strangers, compiled alone: they are pure, so that the fuzz
//! targets need neither the rest of Narrows nor its dependencies.

#![allow(
    dead_code,
    unused_imports,
    reason = "what the rest of Narrows uses of these modules"
)]

#[path = "../../../src/address/mod.rs"]
pub mod address;
#[path = "../../../src/net/hello.rs"]
pub mod hello;
#[path = "../../../src/protocol/mod.rs"]
pub mod protocol;
#[path = "../../../src/net/proxy_header.rs"]
pub mod proxy_header;
#[path = "../../../src/types/mod.rs"]
pub mod types;
