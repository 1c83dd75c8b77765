//! Decides which requests are admitted, and so which versions are offered: one rule for both.

use super::header::RequestHeader;
use super::table::{Api, Treatment, Versions};

/// What to do with API keys and versions that are newer than Narrows' table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unvetted {
    /// Cut them out of ApiVersions, refuse them when used: what nobody has looked at may carry an
    /// address.
    Hide,
    /// Let them through unread, except in APIs whose responses carry broker addresses.
    Pass,
}

/// What to do with addresses of nodes among the values that DescribeConfigs shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigAddresses {
    /// Their bytes become asterisks.
    Mask,
    /// They pass, for operators who administer brokers through Narrows.
    Pass,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Request and response pass; the response is looked at if the table says so.
    Forward,
    /// ApiVersions in a version that Narrows does not know: the broker is asked in one that it does
    /// not know either, so that it answers in the form of v0.
    Downgrade,
    /// Refused as a broker refuses what it did not offer: the connection ends.
    Close,
}

/// The versions of an API that clients may use; `None` if they may not use it at all.
pub fn admitted(api: &Api, unvetted: Unvetted) -> Option<Versions> {
    match (api.treatment, unvetted) {
        (Treatment::Refuse, _) => None,
        (Treatment::Opaque, Unvetted::Pass) => Some(Versions {
            min: 0,
            max: i16::MAX,
        }),
        _ => Some(api.versions),
    }
}

/// Decides on a request by its api key and version.
pub(crate) fn admit(header: &RequestHeader<'_>, unvetted: Unvetted) -> Admission {
    let version = header.version;
    let Some(api) = header.api else {
        let is_passed = unvetted == Unvetted::Pass && header.api_key >= 0;
        return if is_passed {
            Admission::Forward
        } else {
            Admission::Close
        };
    };
    match admitted(api, unvetted) {
        Some(versions) if versions.contains(version) => Admission::Forward,
        Some(versions) if api.treatment == Treatment::Negotiate && version > versions.max => {
            Admission::Downgrade
        }
        _ => Admission::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(api_key: i16, version: i16, unvetted: Unvetted) -> Admission {
        super::admit(&RequestHeader::of(api_key, version), unvetted)
    }

    #[test]
    fn what_is_newer_than_the_table_is_closed_or_passed_as_configured() {
        let cases = [
            // (key, version, hide, pass)
            (3, 13, Admission::Forward, Admission::Forward),
            (3, 14, Admission::Close, Admission::Close), // Metadata carries addresses
            (8, 99, Admission::Close, Admission::Forward),
            (95, 0, Admission::Close, Admission::Forward),
            (-1, 0, Admission::Close, Admission::Close),
            (18, 5, Admission::Forward, Admission::Forward),
            (18, 6, Admission::Downgrade, Admission::Downgrade),
            (18, -1, Admission::Close, Admission::Close),
            (4, 0, Admission::Close, Admission::Close), // LeaderAndIsr is for brokers
        ];
        for (key, version, hide, pass) in cases {
            assert_eq!(
                admit(key, version, Unvetted::Hide),
                hide,
                "key {key} v{version} hide"
            );
            assert_eq!(
                admit(key, version, Unvetted::Pass),
                pass,
                "key {key} v{version} pass"
            );
        }
    }
}
