//! What a session shows of the client's login (SASL). A broker says in the clear why it refuses
//! one, or just closes; without a look at that every failed login would end as "the broker closed
//! the connection".

use super::cause::Cause;
use super::in_flight::{Expected, Recipient, Response};
use crate::observe::text::Shown;
use crate::protocol::table::Treatment;
use crate::protocol::wire::Reader;

/// Kafka's error code ILLEGAL_SASL_STATE: the listener takes no login.
const ILLEGAL_SASL_STATE: i16 = 34;
/// A broker has a handful of mechanisms.
const MECHANISMS_TOLD_MAX: usize = 8;

/// What has been seen of a client's login.
#[derive(Debug, Default)]
pub(super) struct Login {
    refusal: Option<Refusal>,
    /// The broker has answered ApiVersions.
    is_negotiated: bool,
    /// The client has begun a login.
    is_begun: bool,
    /// The broker has answered something that it answers only to whom it lets in.
    is_served: bool,
}

#[derive(Debug)]
enum Refusal {
    /// The broker does not have the mechanism; what it has instead.
    Mechanism(String),
    /// The broker's listener takes no login.
    NotExpected,
    /// The credentials were refused, with this error code.
    Credentials(i16),
}

impl Login {
    /// The broker has begun to answer a request of the client.
    pub(super) fn answered(&mut self, response: &Response) {
        match response.api.map(|api| api.treatment) {
            Some(Treatment::Negotiate) => self.is_negotiated = true,
            Some(Treatment::Handshake | Treatment::Authenticate) => self.is_begun = true,
            _ => self.is_served = true,
        }
    }

    /// The broker has answered a SaslHandshake with `body`, which begins with the error code.
    pub(super) fn handshake_answered(&mut self, error: i16, body: &[u8]) {
        self.refusal = match error {
            0 => None,
            ILLEGAL_SASL_STATE => Some(Refusal::NotExpected),
            _ => Some(Refusal::Mechanism(mechanisms(body))),
        };
    }

    /// The broker has answered a SaslAuthenticate.
    pub(super) fn token_answered(&mut self, error: i16) {
        self.refusal = (error != 0).then_some(Refusal::Credentials(error));
    }

    /// Why a session really ended that one side has closed. `oldest` is what the broker has not
    /// answered; `is_under_way` says that a login had begun and not ended.
    pub(super) fn explain(
        &mut self,
        ended: Cause,
        oldest: Option<Expected>,
        is_under_way: bool,
    ) -> Cause {
        let is_broker = matches!(ended, Cause::BrokerClosed | Cause::BrokerFailed(_));
        if !is_broker && !matches!(ended, Cause::ClientClosed | Cause::ClientFailed(_)) {
            return ended;
        }
        match self.refusal.take() {
            Some(Refusal::Mechanism(offered)) => Cause::SaslMechanismUnsupported { offered },
            Some(Refusal::NotExpected) => Cause::SaslNotExpected,
            Some(Refusal::Credentials(error)) => Cause::SaslFailed { error },
            None if is_broker && is_under_way => Cause::SaslCutOff,
            None if is_broker && self.lacks_login(oldest) => Cause::LoginMissing,
            None => ended,
        }
    }

    /// Brokers that demand a login answer ApiVersions and then close at the first request that is
    /// not part of one.
    fn lacks_login(&self, oldest: Option<Expected>) -> bool {
        let is_refused = match oldest {
            Some(Expected::Response(response)) => {
                let treatment = response.api.map(|api| api.treatment);
                response.to == Recipient::Client && treatment != Some(Treatment::Negotiate)
            }
            Some(Expected::RawToken) | None => false,
        };
        is_refused && self.is_negotiated && !self.is_begun && !self.is_served
    }
}

/// The mechanisms that a SaslHandshake response lists behind its error code (v0 and v1 alike), safe
/// to print.
fn mechanisms(body: &[u8]) -> String {
    let mut reader = Reader::whole(body);
    let mut read = || {
        reader.int16().ok()?;
        let count = usize::try_from(reader.int32().ok()?).ok()?;
        let mut names = Vec::new();
        for _ in 0..count.min(MECHANISMS_TOLD_MAX) {
            names.push(Shown::name(reader.string().ok()??).to_string());
        }
        Some(names)
    };
    match read() {
        Some(names) if !names.is_empty() => names.join(", "),
        _ => "no mechanism".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanisms_of_a_broker_are_listed_and_garbage_is_none() {
        let mut body = vec![0, 33, 0, 0, 0, 2];
        for name in ["PLAIN", "SCRAM-SHA-512"] {
            body.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            body.extend(name.as_bytes());
        }
        assert_eq!(mechanisms(&body), "PLAIN, SCRAM-SHA-512");
        for cut in 0..body.len() {
            assert_eq!(mechanisms(&body[..cut]), "no mechanism");
        }
        let mut many = vec![0, 33, 0x7f, 0xff, 0xff, 0xff];
        many.extend([0, 1, b'x'].repeat(20));
        assert_eq!(mechanisms(&many), ["x"; MECHANISMS_TOLD_MAX].join(", "));
    }
}
