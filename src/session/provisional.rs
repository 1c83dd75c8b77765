//! Whether a session's broker is the one that was meant.
//!
//! Where brokers demand a login, Narrows may not ask them who they are, and the broker map comes
//! from the clients' own conversations. A connection for a broker that is not known yet then gets a
//! provisional one, a bootstrap server:
//!
//! ```text
//! Provisional ── the client has logged in, and stands between two requests: ask ──> Asking
//! Asking      ── the answer has come, and the map has learnt from it ────────────> Answered
//! Provisional, Asking, Answered ── the map has the broker that was meant ────────> Confirmed,
//!                                               or the session ends between two requests
//! ```
//!
//! A client that does not log in stays on a provisional broker only until the map is known by
//! whatever way: a Produce that it sent there would be refused by a broker that is not the leader,
//! for as long as the connection lives.

use crate::protocol::sasl::Sasl;

/// Whether the broker of a link is the one that was meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BrokerIdentity {
    /// It is, or any broker was meant.
    #[default]
    Confirmed,
    /// It may be another one.
    Provisional,
    /// Narrows has asked who the brokers are; the client's next request waits.
    Asking,
    /// They have said it; the session looks whether it has the right one.
    Answered,
}

impl BrokerIdentity {
    /// That of a new connection.
    pub(super) fn new(is_provisional: bool) -> Self {
        if is_provisional {
            Self::Provisional
        } else {
            Self::Confirmed
        }
    }

    /// Whether Narrows' own question comes next. Before the login a broker would close over it.
    pub(super) fn must_ask(self, sasl: &Sasl) -> bool {
        self == Self::Provisional && sasl.has_succeeded()
    }

    /// Whether the map may say by now that it is another one.
    pub(super) fn is_in_doubt(self) -> bool {
        matches!(self, Self::Provisional | Self::Answered)
    }

    /// Whether the client's requests wait: they may be for another broker.
    pub(super) fn holds_requests(self) -> bool {
        matches!(self, Self::Asking | Self::Answered)
    }

    /// The question is on its way.
    pub(super) fn asked(&mut self) {
        *self = Self::Asking;
    }

    /// The answer has come.
    pub(super) fn answered(&mut self) {
        if *self == Self::Asking {
            *self = Self::Answered;
        }
    }

    /// It has been looked at: the right broker, or the session ends.
    pub(super) fn settled(&mut self) {
        *self = Self::Confirmed;
    }
}
