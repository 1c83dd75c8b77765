//! Who wants to log in, as the first token of a SASL mechanism says in the clear: for log lines.
//! What follows the name, a password say, is stepped over.
//!
//! | mechanism | token | source |
//! |---|---|---|
//! | PLAIN | `[authzid] NUL authcid NUL password` | RFC 4616, section 2 |
//! | SCRAM-* | `n,[a=authzid],n=name,r=nonce` | RFC 5802, section 7 |
//!
//! The tokens of all others are opaque here.

use super::sasl::Mechanism;

/// The user name in a client's first `token`; `None` where there is none to be read. Any bytes, and
/// whatever the client claims. SCRAM's has `=2C` and `=3D` for a comma and an equals sign.
pub(crate) fn claimed(mechanism: Mechanism, token: &[u8]) -> Option<&[u8]> {
    match mechanism {
        Mechanism::Plain => {
            let mut fields = token.split(|byte| *byte == 0);
            let (_authzid, name) = (fields.next()?, fields.next()?);
            let _password = fields.next()?;
            Some(name)
        }
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
            let mut fields = token.split(|byte| *byte == b',');
            let binding = fields.next()?;
            let is_first = matches!(binding, b"n" | b"y") || binding.starts_with(b"p=");
            fields.next()?;
            fields.next()?.strip_prefix(b"n=").filter(|_| is_first)
        }
        Mechanism::OauthBearer | Mechanism::Gssapi | Mechanism::AwsMskIam | Mechanism::Other => {
            None
        }
    }
    .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stands_between_the_nuls_of_plain_and_behind_the_header_of_scram() {
        for (mechanism, token, name) in [
            (Mechanism::Plain, &b"\0alice\0secret"[..], "alice"),
            (Mechanism::Plain, b"root\0alice\0secret", "alice"),
            (Mechanism::ScramSha256, b"n,,n=alice,r=fyko", "alice"),
            (Mechanism::ScramSha512, b"n,a=root,n=a=2Cb,r=f", "a=2Cb"),
        ] {
            assert_eq!(claimed(mechanism, token), Some(name.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_a_first_token_names_nobody_and_no_password_is_taken_for_a_name() {
        for (mechanism, token) in [
            (Mechanism::Plain, &b"alice\0secret"[..]),
            (Mechanism::Plain, b"\0\0secret"),
            (Mechanism::Plain, b""),
            (Mechanism::ScramSha256, b"c=biws,r=fyko,p=v0X8"),
            (Mechanism::ScramSha256, b"n,,r=fyko"),
            (Mechanism::ScramSha512, b"\0alice\0secret"),
            (Mechanism::OauthBearer, b"n,,\x01auth=Bearer token\x01\x01"),
            (Mechanism::Gssapi, b"\0alice\0secret"),
        ] {
            assert_eq!(claimed(mechanism, token), None, "{mechanism:?} {token:?}");
        }
    }
}
