//! Any bytes as a request that several brokers must serve, and any as what a broker answers:
//! nothing is lost between what a request needs and what its pieces need, and a merged response is
//! one that a broker could have sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narrows_fuzz::protocol;

#[path = "../../src/protocol/split/tests/properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| {
    let Some((request_bytes, rest)) = bytes.split_first() else {
        return;
    };
    let (request, answer) = rest.split_at(usize::from(*request_bytes).min(rest.len()));
    properties::check(request, answer);
});
