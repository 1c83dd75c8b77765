//! TLS hellos written by hand: with names that no library would send.

/// A handshake record with this hello, whole.
pub(crate) fn hello(names: &[&[u8]]) -> Vec<u8> {
    record(&message(names))
}

/// The hello without its record.
pub(crate) fn message(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|name| [&[0][..], &with_length(name)].concat())
        .collect();
    let server_name = if names.is_empty() {
        Vec::new()
    } else {
        extension(0, &with_length(&list))
    };
    let versions = extension(43, &[2, 3, 4]);
    let body = [
        &[3, 3][..],
        &[7; 32],
        // No session id; one cipher suite; no compression.
        &[0, 0, 2, 0x13, 0x01, 1, 0],
        &with_length(&[server_name, versions].concat()),
    ];
    let body = body.concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// A handshake record with this content.
pub(crate) fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &with_length(content)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length(content)].concat()
}

fn with_length(content: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(content.len()).unwrap().to_be_bytes()[..],
        content,
    ]
    .concat()
}
