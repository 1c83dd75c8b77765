//! How a client with TLS gets to the brokers.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::brokers::{PASSWORD, USER, ports};
use crate::clients::Front;
use crate::fixture::{Fixture, is_direct};
use crate::names;
use crate::namespaces::{NODE_IDS, Side, broker_ip};
use crate::pki::Identity;

/// Where the shared Narrows listens for TLS. Brokers advertise it as well, for those whose TLS
/// Narrows only passes on.
pub(crate) const PORT: u16 = ports::PASSTHROUGH;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// TLS to Narrows, plaintext to the brokers.
    ToPlain,
    /// TLS with a client certificate to Narrows, TLS with Narrows' own to the brokers.
    ToMtls,
    /// TLS with a client certificate to the brokers, through Narrows.
    Passthrough,
    /// SASL inside TLS to Narrows, SASL in plaintext to the brokers.
    ToSasl,
}

/// What a client is given for its way.
#[derive(Clone, Debug)]
pub(crate) struct Road {
    pub(crate) front: Front,
    pub(crate) bootstrap: String,
    /// What metadata may show.
    pub(crate) brokers: BTreeMap<i64, (String, u16)>,
    pub(crate) options: Vec<String>,
}

impl Way {
    /// What comes of it, for the name of a trial that begins with a client's.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::ToPlain => "speaks_tls_to_narrows_and_gets_back_every_record_it_sent",
            Self::ToMtls => "shows_narrows_its_certificate_and_gets_back_every_record_it_sent",
            Self::Passthrough => {
                "shows_the_brokers_its_certificate_and_gets_back_every_record_it_sent"
            }
            Self::ToSasl => "logs_in_with_scram_inside_tls_and_gets_back_every_record_it_sent",
        }
    }

    /// Through the shared Narrows, or in direct mode to the brokers' own TLS.
    pub(crate) fn road(self, fixture: &Fixture) -> Result<Road> {
        if is_direct() {
            return Ok(self.past_narrows(fixture));
        }
        fixture.gateway()?;
        Ok(self.through(fixture, PORT))
    }

    /// Through a Narrows that serves this way at a port.
    pub(crate) fn through(self, fixture: &Fixture, port: u16) -> Road {
        let (domain, authority) = match self {
            Self::ToPlain => (names::TO_PLAIN, &fixture.pki.narrows),
            Self::ToMtls => (names::TO_MTLS, &fixture.pki.narrows),
            Self::Passthrough => (names::PASSTHROUGH, &fixture.pki.brokers),
            Self::ToSasl => (names::TO_SASL, &fixture.pki.narrows),
        };
        Road {
            front: Front {
                side: Side::Clients,
                ..fixture.front()
            },
            bootstrap: format!("{}:{port}", names::bootstrap(domain)),
            brokers: names::brokers(domain, port),
            options: self.options(fixture, authority.file.display().to_string()),
        }
    }

    fn past_narrows(self, fixture: &Fixture) -> Road {
        let port = match self {
            Self::ToPlain => ports::TLS,
            Self::ToMtls => ports::MTLS,
            Self::Passthrough => ports::PASSTHROUGH,
            Self::ToSasl => ports::SASL_TLS,
        };
        let brokers = NODE_IDS.map(|id| (i64::from(id), (broker_ip(id).to_string(), port)));
        let (bootstrap, brokers) = if self == Self::Passthrough {
            (
                names::bootstrap(names::PASSTHROUGH),
                names::brokers(names::PASSTHROUGH, port),
            )
        } else {
            (broker_ip(1).to_string(), brokers.into())
        };
        Road {
            front: fixture.front(),
            bootstrap: format!("{bootstrap}:{port}"),
            brokers,
            options: self.options(fixture, fixture.pki.brokers.file.display().to_string()),
        }
    }

    fn options(self, fixture: &Fixture, authority: String) -> Vec<String> {
        let mut options = vec![format!("cafile={authority}")];
        match self {
            Self::ToPlain => options.push("security=SSL".to_owned()),
            Self::ToMtls | Self::Passthrough => {
                options.push("security=SSL".to_owned());
                options.extend(showing(&fixture.pki.alice));
            }
            Self::ToSasl => options.extend([
                "security=SASL_SSL".to_owned(),
                "mechanism=SCRAM-SHA-256".to_owned(),
                format!("username={USER}"),
                format!("password={PASSWORD}"),
            ]),
        }
        options
    }
}

impl Road {
    /// The way's options and more.
    pub(crate) fn with(&self, more: &[String]) -> Vec<String> {
        [&self.options, more].concat()
    }
}

/// A client's options for a certificate that it shows.
pub(crate) fn showing(identity: &Identity) -> [String; 2] {
    [
        format!("certfile={}", identity.certificate.display()),
        format!("keyfile={}", identity.key.display()),
    ]
}
