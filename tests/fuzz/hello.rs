//! Any bytes as a TLS hello: the result depends on the hello alone, neither on what follows nor on
//! how it is cut into records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narrows_fuzz::hello::{Beginning, HELLO_BYTES_MAX, Hello, read};
use std::borrow::Cow;

const HEADER_BYTES: usize = 5;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Beginning::Hello(hello)) = read(bytes) {
        look_at(bytes, &hello);
    }
});

fn look_at(bytes: &[u8], hello: &Hello<'_>) {
    let wire = bytes
        .get(..hello.wire_bytes)
        .expect("the hello has arrived");
    assert!(wire.len() <= HELLO_BYTES_MAX);
    assert_eq!(
        read(wire),
        Ok(Beginning::Hello(hello.clone())),
        "what follows makes no difference"
    );
    assert_eq!(
        read(&wire[..wire.len() - 1]),
        Ok(Beginning::Incomplete),
        "its last byte belongs to it"
    );
    let message = message(wire);
    if let Some(name) = hello.server_name.as_deref().filter(|name| !name.is_empty()) {
        assert!(
            message.windows(name.len()).any(|window| window == name),
            "the name stands in it"
        );
    }
    let is_in_one = wire.len() == HEADER_BYTES + message.len();
    let is_borrowed = !matches!(hello.server_name, Some(Cow::Owned(_)));
    assert!(is_borrowed || !is_in_one, "one record needs no allocation");
    for record_bytes in [1, 2, 5, 100, message.len()] {
        let records = in_records(&message, record_bytes);
        if records.len() <= HELLO_BYTES_MAX {
            let Ok(Beginning::Hello(again)) = read(&records) else {
                panic!("not read in other records")
            };
            assert_eq!(
                (again.server_name, again.wire_bytes),
                (hello.server_name.clone(), records.len())
            );
        }
    }
}

/// The payloads of the records, the last of which may be cut.
fn message(mut wire: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while wire.len() > HEADER_BYTES {
        let end = HEADER_BYTES + usize::from(u16::from_be_bytes([wire[3], wire[4]]));
        let (record, rest) = wire.split_at(end.min(wire.len()));
        message.extend_from_slice(&record[HEADER_BYTES..]);
        wire = rest;
    }
    message
}

fn in_records(message: &[u8], record_bytes: usize) -> Vec<u8> {
    let record = |payload: &[u8]| {
        let length = u16::try_from(payload.len())
            .expect("16 KiB at the most")
            .to_be_bytes();
        [&[0x16, 3, 3][..], &length, payload].concat()
    };
    message.chunks(record_bytes).flat_map(record).collect()
}
