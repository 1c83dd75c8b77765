//! Any bytes as an answer to what Narrows asks in its own name, for `doctor`, `check --live` and
//! its refreshes: it is read or malformed, and never takes more room than its bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narrows_fuzz::protocol::{doctor_requests, own_requests};

/// The fewest bytes of a broker in Metadata v4, and of an API in ApiVersions v0.
const BROKER_BYTES_MIN: usize = 4 + 2 + 4 + 2;
const API_BYTES_MIN: usize = 3 * 2;

fuzz_target!(|bytes: &[u8]| {
    let old = doctor_requests::read_old_versions(bytes).map(Some);
    for read in [doctor_requests::read_versions(bytes), old] {
        if let Ok(Some(offered)) = read {
            assert!(offered.apis.len() * API_BYTES_MIN <= bytes.len());
        }
    }
    if let Ok(topology) = doctor_requests::read_topology(bytes) {
        assert!(topology.brokers.len() * BROKER_BYTES_MIN <= bytes.len());
        let hosts = topology.brokers.iter().map(|broker| broker.host.len());
        // A byte that is not UTF-8 is shown as three.
        assert!(hosts.sum::<usize>() <= 3 * bytes.len());
    }
    if let Ok(answer) = doctor_requests::read_token(bytes) {
        assert!(answer.token.len() <= bytes.len());
    }
    if let Ok((_, records)) = doctor_requests::read_fetched(bytes) {
        assert!(records.len() <= bytes.len());
    }
    let _ = doctor_requests::read_produced(bytes);
    if let Ok(list) = own_requests::read_metadata(bytes) {
        assert!(list.brokers.len() * BROKER_BYTES_MIN <= bytes.len());
    }
    if let Ok(own_requests::Handshake::Demanded(mechanisms)) = own_requests::read_handshake(bytes) {
        assert!(mechanisms.len() * 2 <= bytes.len());
    }
    let is_right = own_requests::read_identity(bytes);
    assert!(!(own_requests::is_wrong_broker(bytes) && is_right == Some(true)));
    let _ = own_requests::read_offers(bytes);
});
