//! The way to a broker: resolve its name, dial it, speak TLS with it, ask it who it is.

pub mod dial;
mod dialler;
pub mod exchange;
pub mod login;
pub mod own_name;
pub mod probe;
mod race;
pub mod resolver;

pub use dial::{DialError, DialSettings, Security, dial};
pub use dialler::Dialler;
pub use exchange::{Exchange, ExchangeError};
pub use login::{LoginError, log_in};
pub use own_name::OwnName;
pub use probe::{ProbeError, ask, ask_for_login, ask_offers};
pub use resolver::Resolver;
