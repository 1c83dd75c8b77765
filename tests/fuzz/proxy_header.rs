//! Any bytes as a PROXY protocol header: the result depends on the header alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narrows_fuzz::proxy_header::{Beginning, read};

fuzz_target!(|bytes: &[u8]| {
    let beginning = read(bytes);
    match beginning {
        Ok(Beginning::Header {
            client,
            bytes: length,
        }) => {
            let header = bytes.get(..length).expect("the header has arrived");
            assert_eq!(read(header), beginning, "what follows makes no difference");
            assert_eq!(
                read(&header[..length - 1]),
                Ok(Beginning::Incomplete),
                "its last byte belongs to it"
            );
            if let (Some(client), Ok(line)) = (client, std::str::from_utf8(header))
                && line.starts_with("PROXY ")
            {
                let words: Vec<_> = line.trim_end().split(' ').collect();
                assert_eq!(
                    words[2].parse(),
                    Ok(client.ip()),
                    "the line names the client"
                );
                assert_eq!(
                    words[4].parse(),
                    Ok(client.port()),
                    "the line names the client"
                );
            }
        }
        // A stranger's first bytes are never taken for somebody else's.
        Ok(Beginning::Incomplete) => {
            assert!(bytes.iter().zip(b"PROXY ").all(|(a, b)| a == b) || bytes.starts_with(b"\r"))
        }
        Ok(Beginning::Other) | Err(_) => {}
    }
});
