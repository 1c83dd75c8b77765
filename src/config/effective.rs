//! The configuration as it holds after all layers, each value with its origin: what `narrows
//! config` prints. The print is YAML that loads again.

use super::origin::Origin;
use super::problem::is_secret;
use super::yaml;
use std::fmt;

/// Every value of a configuration, section by section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// In the order of the reference file.
    pub entries: Vec<Entry>,
}

/// One value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The levels of its key.
    pub(crate) path: Vec<String>,
    /// As it was written.
    pub value: Text,
    /// Which layer set it.
    pub origin: Origin,
}

/// A value in the words of the layer that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A plain value.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// Not set.
    Nothing,
}

impl Effective {
    /// The entry at a dotted path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.path.iter().map(String::as_str).eq(path.split('.')))
    }
}

impl Entry {
    /// The value for people, unless it is a secret.
    pub(crate) fn shown(&self) -> String {
        match self.path.last() {
            Some(key) if is_secret(key) => "(hidden)".to_owned(),
            _ => self.value.to_string(),
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: &[String] = &[];
        for entry in &self.entries {
            let Some((last, sections)) = entry.path.split_last() else {
                continue;
            };
            let shared = before
                .iter()
                .zip(sections)
                .take_while(|(a, b)| a == b)
                .count();
            for (depth, section) in sections.iter().enumerate().skip(shared) {
                writeln!(f, "{:indent$}{}:", "", quoted(section), indent = 2 * depth)?;
            }
            let line = format!(
                "{:indent$}{last}: {}",
                "",
                yaml_text(entry),
                indent = 2 * sections.len()
            );
            writeln!(f, "{line:<48}  # {}", entry.origin)?;
            before = sections;
        }
        Ok(())
    }
}

fn yaml_text(entry: &Entry) -> String {
    match &entry.value {
        _ if entry.path.last().is_some_and(|key| is_secret(key)) => quoted("(hidden)"),
        Text::Nothing => "null".to_owned(),
        Text::One(text) => quoted(text),
        Text::Many(items) => {
            format!(
                "[{}]",
                items
                    .iter()
                    .map(|item| quoted(item))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

impl fmt::Display for Text {
    /// For people: no quotes, lists with commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.write_str(text),
            Self::Many(items) => f.write_str(&items.join(", ")),
            Self::Nothing => Ok(()),
        }
    }
}

/// The text, in quotes where YAML would take it for something else. A JSON string is a YAML one.
fn quoted(text: &str) -> String {
    if yaml::is_plain(text) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
