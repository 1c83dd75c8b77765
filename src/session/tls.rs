//! What a listener does with TLS.

use crate::net::tls::ServerTls;

/// What happens to the TLS of a listener's connections; a listener without it speaks plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// It ends here: Klamm shows a certificate, and reads and rewrites what is inside.
    Terminate(ServerTls),
    /// It passes unread to the broker that its hello names; brokers have to advertise the listener's names themselves.
    Passthrough {
        /// The TLS port of all brokers, where it isn't the one in the broker map.
        broker_port: Option<u16>,
    },
}
