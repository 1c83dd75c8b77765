//! `narrows doctor explain`: what a number or a text in the log of a client or broker means.
//!
//! Clients take whatever they are sent for the length of a response, and print that: the alert of a
//! TLS listener becomes `Invalid response size 352518912`. And each client has words of its own for
//! the same cause; [`texts`] has them.

mod texts;

use super::errors;
use crate::observe::text::Shown;
use crate::protocol::table;
use std::collections::BTreeSet;

/// Longer logs are cut: one line is enough.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// How many meanings are told.
const TOLD_MAX: usize = 4;

/// What the text may mean, the likeliest first; empty when nothing of it is known.
pub(crate) fn explain(text: &str) -> Vec<String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return self::number(number);
    }
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let found = magic_in(text)
        .chain(texts::causes(text))
        .chain(errors_in(text));
    let mut seen = BTreeSet::new();
    found
        .filter(|meaning| seen.insert(meaning.clone()))
        .take(TOLD_MAX)
        .collect()
}

/// What a number alone may be.
fn number(number: i64) -> Vec<String> {
    let error = i16::try_from(number).ok().and_then(errors::meaning);
    let api = i16::try_from(number).ok().and_then(table::api);
    let api = api.map(|api| format!("As an API key, {number} is {}.", api.name));
    magic(number).into_iter().chain(error).chain(api).collect()
}

/// A number that is the first four bytes of another protocol, read as a length.
fn magic(number: i64) -> Option<String> {
    let bytes = i32::try_from(number).ok()?.to_be_bytes();
    let what = match &bytes {
        [0x15, 0x03, ..] => {
            "the beginning of a TLS alert: the other side speaks TLS and was spoken to in \
             plaintext. Set security.protocol to SSL or SASL_SSL (config/doctor.md#speaks_tls)"
        }
        [0x16, 0x03, ..] => {
            "the beginning of a TLS hello: a client speaks TLS to a plaintext listener. Set its \
             security.protocol to PLAINTEXT or SASL_PLAINTEXT, or dial the TLS listener \
             (config/doctor.md#speaks_plaintext)"
        }
        b"HTTP" => {
            "`HTTP`, the beginning of a web server's answer: the client has dialled a web server, \
             an ingress or an admin port (config/doctor.md#speaks_http)"
        }
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => {
            "the beginning of an HTTP request: a browser, a health check or a scraper has dialled \
             a Kafka port. Point it at an HTTP port; Narrows has /livez, /readyz and /metrics on \
             admin.bind"
        }
        b"PRI " => {
            "the beginning of HTTP/2, as gRPC clients send it: one of them has dialled a Kafka port"
        }
        b"PROX" | b"\r\n\r\n" => {
            "the beginning of a PROXY protocol header (v1 or v2): a load balancer puts it in \
             front, and the listener does not expect it. Switch it off there, or set \
             proxy_protocol.mode in Narrows"
        }
        b"SSH-" => "`SSH-`, the beginning of SSH (config/doctor.md#speaks_ssh)",
        text if text
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ') =>
        {
            let text = String::from_utf8_lossy(text);
            return Some(format!(
                "{number} is the text `{text}` read as a length: what was sent is not Kafka \
                 (config/doctor.md#speaks_other)."
            ));
        }
        _ => return None,
    };
    Some(format!("{number} is {what}."))
}

/// The numbers in a text that are the beginning of another protocol.
fn magic_in(text: &str) -> impl Iterator<Item = String> + '_ {
    /// Those of other protocols have nine at least, and so have no offsets of young topics.
    const DIGITS_MIN: usize = 9;
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() >= DIGITS_MIN)
        .filter_map(|digits| digits.parse().ok())
        .filter_map(magic)
}

/// The names of Kafka's errors in a text.
fn errors_in(text: &str) -> impl Iterator<Item = String> + '_ {
    /// No error has one word alone but NONE.
    const CHARS_MIN: usize = 12;
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.len() >= CHARS_MIN)
        .filter_map(errors::by_name)
        .filter_map(errors::meaning)
}

/// What is said of a text that is not known.
pub(crate) fn unknown(text: &str) -> String {
    format!(
        "Nothing is known of `{}`. Have a look with `narrows doctor --bootstrap HOST:PORT`.",
        Shown::name(text)
    )
}

#[cfg(test)]
mod tests;
