//! What a listener does with TLS.

use crate::net::tls::{ClientAuth, ServerTls};
use std::fmt;

/// What a listener does with the TLS that its clients speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// It ends here: Narrows has the certificate.
    Terminate(ServerTls),
    /// It passes through to the broker that its server name says, unread.
    Passthrough {
        /// The brokers' TLS port, where it is another than the one in the broker map.
        broker_port: Option<u16>,
    },
}

impl fmt::Display for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passthrough { .. } => f.write_str("passthrough"),
            Self::Terminate(tls) => f.write_str(match tls.client_auth() {
                ClientAuth::None => "terminate",
                ClientAuth::Requested(_) => "terminate, client certificates requested",
                ClientAuth::Required(_) => "terminate, client certificates required",
            }),
        }
    }
}
