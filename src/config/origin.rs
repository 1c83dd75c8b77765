//! Where a value comes from.

use std::fmt;

/// The layer that a value comes from, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody has set it; how it follows from others, or what its absence means.
    Default(Option<&'static str>),
    /// The file, as its path was given.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The flag: `--bind`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(None) => f.write_str("default"),
            Self::Default(Some(how)) => write!(f, "default: {how}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}
