//! Bootstrap servers as other programs write them, and the list to write instead.

use super::super::file::{is_template, unfilled};
use super::super::problem::Fault;
use super::{is_variable, unset};
use crate::types::BrokerAddress;

/// Why these are not bootstrap servers, and the line that they make when each stands for itself,
/// without what came along; `None` when that doesn't help.
pub(in crate::config) fn of_servers(items: &[&str]) -> Option<Fault> {
    let mut seen = Seen::default();
    let mut servers = Vec::new();
    for item in items {
        if is_template(item) {
            return Some(unfilled());
        }
        if is_variable(item) {
            return Some(unset());
        }
        if item.trim().is_empty() {
            seen.because("nothing stands between two commas, or behind the last one");
        }
        let item = joined(item, &mut seen);
        let parts = item.split(|c: char| matches!(c, ';' | '|') || c.is_whitespace());
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if parts.len() > 1 {
            seen.because("servers are separated by commas, not by blanks or semicolons");
        }
        for part in parts {
            let bare = bare(part, &mut seen);
            servers.push(bare.parse::<BrokerAddress>().ok()?.to_string());
        }
    }
    let reason = seen.reason.filter(|_| !servers.is_empty())?;
    let tls = if seen.is_tls {
        ", and `tls: {mode: on}` beside it"
    } else {
        ""
    };
    let cure = format!("write [{}]{tls}", servers.join(", "));
    Some(Fault::new(reason, cure))
}

/// What has been found on the way.
#[derive(Default)]
struct Seen {
    /// The first reason.
    reason: Option<&'static str>,
    is_tls: bool,
}

impl Seen {
    fn because(&mut self, reason: &'static str) {
        self.reason.get_or_insert(reason);
    }
}

/// `kafka-0: 9092` in one text becomes one word.
fn joined(item: &str, seen: &mut Seen) -> String {
    let mut words = item.split_whitespace().peekable();
    let mut text = String::new();
    while let Some(word) = words.next() {
        let is_port = |next: &&str| next.bytes().all(|byte| byte.is_ascii_digit());
        text.push_str(word);
        if word.ends_with(':') && words.peek().is_some_and(is_port) {
            seen.because("a blank stands in front of a port");
        } else {
            text.push(' ');
        }
    }
    text
}

/// A server without what stands around it.
fn bare<'a>(part: &'a str, seen: &mut Seen) -> &'a str {
    let mut bare = unquoted(part);
    if let Some(server) = without_list(part) {
        seen.because("brackets and quotes are a part of the value");
        bare = server;
    } else if bare.len() < part.len() {
        seen.because("quotes are a part of the value");
    }
    if let Some((protocol, rest)) = bare.split_once("://") {
        seen.because("a server has no protocol in front of it");
        let protocol = protocol.to_ascii_lowercase();
        seen.is_tls |= matches!(&*protocol, "ssl" | "sasl_ssl" | "https" | "tls");
        bare = rest;
    }
    if let Some((server, _)) = bare.split_once('/') {
        seen.because("a server has no path behind its port");
        bare = server;
    }
    if let Some((_, server)) = bare.rsplit_once('@') {
        seen.because("no user stands in front of a server: clients log in through Narrows");
        bare = server;
    }
    bare
}

/// A piece of a list in the manner of JSON, as variables get it; an IPv6 address has brackets of
/// its own.
fn without_list(part: &str) -> Option<&str> {
    let opened = part.strip_prefix('[').unwrap_or(part);
    let pieces = [
        opened.strip_suffix(']').unwrap_or(opened),
        opened,
        part.strip_suffix(']').unwrap_or(part),
    ];
    let is_server = |text: &&str| text.parse::<BrokerAddress>().is_ok();
    let server = pieces.into_iter().map(unquoted).find(is_server)?;
    (server.len() < unquoted(part).len()).then_some(server)
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', '“', '”', '‘', '’', '`'])
}
