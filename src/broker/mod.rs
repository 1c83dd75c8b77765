//! The way to a broker: resolve its name, dial it, speak TLS with it, ask it who it is.

pub(crate) mod dial;
mod dialler;
pub(crate) mod exchange;
pub(crate) mod login;
pub(crate) mod own_name;
pub(crate) mod probe;
mod race;
pub(crate) mod resolver;

pub use dial::DialSettings;
pub(crate) use dial::{DialError, Security, dial};
pub(crate) use dialler::Dialler;
pub(crate) use exchange::{Exchange, ExchangeError};
pub(crate) use login::log_in;
pub(crate) use own_name::OwnName;
pub(crate) use probe::{ProbeError, ask, ask_for_login, ask_offers};
pub(crate) use resolver::Resolver;
