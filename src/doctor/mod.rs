//! `narrows doctor`: why a client can't use a Kafka, in one sentence.
//!
//! It does what a client does, on any machine and against anything: [`examine`](examine::examine)
//! goes from the bootstrap name to every advertised broker and back with a record, and stops where
//! a client would. Each thing that is wrong has a stable [`Code`] with its cure. What answers is
//! never trusted: every wait has a deadline, every length a bound, every text is escaped.
//!
//! [`reach`] opens one connection, [`diagnosis`] says why there is none, and [`identify`] finds out
//! what speaks where Kafka does not; [`explain`] says what a number or a text in a client's log
//! means; [`clients`] writes the configuration that a client needs. [`live()`] asks the same of
//! what Narrows is configured for, from where it runs (`narrows check --live`), and of its
//! [`host`].

mod brokers;
pub(crate) mod clients;
mod code;
mod diagnosis;
pub mod errors;
mod examine;
pub(crate) mod explain;
mod host;
mod identify;
mod live;
mod login;
mod reach;
mod record;
mod report;
mod round_trip;
mod steps;

pub(crate) use code::Code;
pub use code::{CODES, markdown};
pub use examine::examine;
pub use live::live;
pub use report::{Report, Verdict};
pub(crate) use report::{Stage, tables};

use crate::auth::Credentials;
use crate::net::tls::ClientTls;
use crate::types::BrokerAddress;
use std::time::Duration;

/// What to examine, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where a client would begin.
    pub bootstrap: BrokerAddress,
    /// TLS, unless it is to be plaintext.
    pub tls: Option<ClientTls>,
    /// Whom to log in as, if anybody.
    pub credentials: Option<Credentials>,
    /// Where to write one record and read it again, if that is wanted.
    pub topic: Option<String>,
    /// How long each step may take.
    pub timeout: Duration,
}

/// Something that is wrong: a code, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Which of the known troubles it is; its cure is there.
    pub(crate) code: Code,
    /// What was seen, as the beginning of a sentence.
    pub(crate) fact: String,
}

impl Trouble {
    fn new(code: Code, fact: impl Into<String>) -> Self {
        let fact = fact.into();
        Self { code, fact }
    }

    /// The whole sentence: what was seen, and what to do.
    pub(crate) fn sentence(&self) -> String {
        format!("{}: {}", self.fact, self.code.cure())
    }
}
