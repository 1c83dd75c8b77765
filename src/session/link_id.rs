//! The name of a broker's connection within its session: by it answers find their turn.

/// One of a session's connections to brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkId(pub(super) u16);

impl LinkId {
    /// The connection that a session begins with.
    pub(super) const FIRST: Self = Self(0);
}
