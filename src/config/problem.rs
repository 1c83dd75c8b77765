//! What is wrong with a configuration, in the words an operator needs: which key, what was found,
//! where, why, the cure.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, or what stands in its place: a file, a variable, a flag.
    pub key: String,
    /// The value and its origin, as they are printed; `None` when nothing is there.
    pub found: Option<String>,
    /// Why it can't be.
    pub reason: String,
    /// What to do.
    pub cure: String,
}

/// Every problem of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// At least one.
    pub list: Vec<Problem>,
    /// The files that were looked at: when one of them changes, it may be well.
    pub files: Vec<PathBuf>,
}

/// Why one text is no value of its key, before anybody knows which key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) cure: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            cure: cure.into(),
        }
    }

    /// From an error of a lower layer. Those say `reason: cure` in one sentence, or only the
    /// reason; then `cure` is used.
    pub(super) fn from_error(error: &impl fmt::Display, cure: &str) -> Self {
        let text = error.to_string();
        match text.rsplit_once(": ") {
            Some((reason, cure)) => Self::new(reason, cure),
            None => Self::new(text, cure),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.key)?;
        if let Some(found) = &self.found {
            writeln!(f, "  found:  {found}")?;
        }
        writeln!(f, "  reason: {}", self.reason)?;
        writeln!(f, "  cure:   {}", self.cure)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.len() {
            1 => writeln!(f, "The configuration has a problem.")?,
            count => writeln!(f, "The configuration has {count} problems.")?,
        }
        self.list
            .iter()
            .try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for Problems {}

/// A value as it may be shown: whatever looks like a secret is not.
pub(super) fn shown(key: &str, value: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    if is_secret(key) || value.contains("PRIVATE KEY") || has_password(value) {
        return "(hidden)".to_owned();
    }
    let mut text: String = value
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().nth(SHOWN_CHARS_MAX).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

/// Whether a password stands in front of a host: `user:password@host`.
fn has_password(value: &str) -> bool {
    let in_front = value.rsplit_once('@').map(|(user, _)| user);
    let user = in_front.map(|user| user.rsplit_once("://").map_or(user, |(_, user)| user));
    user.is_some_and(|user| user.contains(':'))
}

/// Whether values under this key may hold a secret itself; a path to a file with one is none.
pub(super) fn is_secret(key: &str) -> bool {
    const MARKS: [&str; 7] = [
        "password",
        "passwd",
        "secret",
        "token",
        "credential",
        "jaas",
        "_key",
    ];
    let key = key.to_ascii_lowercase();
    !key.ends_with("_file") && MARKS.iter().any(|mark| key.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_whose_key_looks_like_a_secret_is_never_shown() {
        assert_eq!(shown("sasl.password", "hunter2"), "(hidden)");
        assert_eq!(shown("NARROWS_SASL__CLIENT_SECRET", "hunter2"), "(hidden)");
        assert_eq!(
            shown("sasl.password_file", "/run/secrets/p"),
            "`/run/secrets/p`"
        );
        assert_eq!(
            shown("tls.key", "-----BEGIN EC PRIVATE KEY-----\nMHcC"),
            "(hidden)"
        );
    }

    #[test]
    fn a_shown_value_is_short_and_has_no_control_characters() {
        assert_eq!(shown("key", "a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\nb`");
        assert_eq!(shown("key", &"x".repeat(500)).chars().count(), 83);
    }
}
