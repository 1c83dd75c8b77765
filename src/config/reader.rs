//! Reads single values out of the merged tree: gives them a type, remembers every problem and every
//! value's origin.

use super::Loaded;
use super::effective::{Effective, Entry, Text};
use super::keys::{Fallback, Key};
use super::kind::Kind;
use super::layers::Layers;
use super::mistakes;
use super::origin::Origin;
use super::parse;
use super::problem::{Fault, Problem, Problems, shown};
use super::value::{item, line, scalar, show_value};
use crate::app::Settings;
use figment::value::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The merged tree, and what has been read of it so far.
pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
    entries: Vec<Entry>,
    files: Vec<PathBuf>,
    reads_files: bool,
}

impl Reader {
    /// Begins with the `problems` that the layers had, and the `files` that they were read from.
    pub(super) fn new(layers: Layers, problems: Vec<Problem>, files: Vec<PathBuf>) -> Self {
        Self {
            layers,
            problems,
            entries: Vec::new(),
            files,
            reads_files: true,
        }
    }

    /// Leaves certificates and keys unread.
    pub(super) fn leave_files(&mut self) {
        self.reads_files = false;
    }

    /// Whether certificates and keys are read.
    pub(super) fn reads_files(&self) -> bool {
        self.reads_files
    }

    /// Remembers a file that a value names, whether or not it can be read.
    pub(super) fn watch(&mut self, file: &Path) {
        if !self.files.iter().any(|watched| watched == file) {
            self.files.push(file.to_owned());
        }
    }

    /// The names of clusters or listeners, in order.
    pub(super) fn names(&self, section: &str) -> Vec<String> {
        let named = self.find(&[section.to_owned()]).and_then(Value::as_dict);
        named
            .map(|named| named.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// A value that has a default, or must be there: `None` means that a problem has been noted.
    pub(super) fn one<T>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match self.read(key, name, parse) {
            Read::Value(value) => Some(value),
            Read::Wrong => None,
            Read::Absent => self.missing(key, name),
        }
    }

    /// A duration within the key's bounds.
    pub(super) fn duration(&mut self, key: &Key, name: &str) -> Option<Duration> {
        self.one(key, name, parse::duration(key.kind.durations()))
    }

    /// An integer within the key's bounds.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self, key: &Key, name: &str) -> Option<T> {
        self.one(key, name, parse::integer(key.kind.integers()))
    }

    /// A size within the key's bounds, in bytes.
    pub(super) fn bytes(&mut self, key: &Key, name: &str) -> Option<usize> {
        self.one(key, name, parse::bytes(key.kind.bytes()))
    }

    /// A value whose absence means something: `None` is a problem that has been noted, `Some(None)`
    /// is absence.
    pub(super) fn optional<T>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        match self.read(key, name, parse) {
            Read::Value(value) => Some(Some(value)),
            Read::Wrong => None,
            Read::Absent => {
                self.note_absent(key, name);
                Some(None)
            }
        }
    }

    /// A value that follows from others when nobody sets it. Where those are in doubt (`derived` is
    /// `None`), so is it.
    pub(super) fn derived<T: ToString>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
        derived: Option<T>,
    ) -> Option<T> {
        match self.read(key, name, parse) {
            Read::Value(value) => Some(value),
            Read::Wrong => None,
            Read::Absent => {
                let value = derived?;
                let Fallback::Derived(how) = key.fallback else {
                    return Some(value);
                };
                self.note(
                    key,
                    name,
                    Text::One(value.to_string()),
                    Origin::Default(Some(how)),
                );
                Some(value)
            }
        }
    }

    /// A list, or one text with commas between the items.
    pub(super) fn many<T>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&[&str]) -> Result<T, Fault>,
    ) -> Option<T> {
        let path = key.at(name);
        let Some(value) = self.find(&path).cloned() else {
            return self.missing(key, name);
        };
        let items = match &value {
            Value::Array(_, items) => items.iter().map(item).collect::<Result<Vec<_>, _>>(),
            Value::Dict(_, table) if key.kind == Kind::BrokerAddresses => {
                table.iter().map(line).collect()
            }
            // `kafka-0: 9092`
            Value::Dict(..) if key.kind == Kind::HostPorts => item(&value).map(|text| vec![text]),
            value => scalar(value)
                .map(|text| text.split(',').map(|item| item.trim().to_owned()).collect()),
        };
        let parsed = items.and_then(|items| {
            let texts: Vec<&str> = items.iter().map(String::as_str).collect();
            let parsed = parse(&texts).map_err(|fault| {
                let is_servers = key.kind == Kind::HostPorts;
                let mistake = is_servers.then(|| mistakes::of_servers(&texts)).flatten();
                mistake.unwrap_or(fault)
            })?;
            Ok((parsed, items))
        });
        match parsed {
            Ok((parsed, items)) => {
                self.note(key, name, Text::Many(items), self.layers.origin(&value));
                Some(parsed)
            }
            Err(fault) => {
                self.wrong(key, name, fault);
                None
            }
        }
    }

    /// A list whose absence means something: see [`optional`](Self::optional).
    pub(super) fn optional_many<T>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&[&str]) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        if self.is_set(key, name) {
            return self.many(key, name, parse).map(Some);
        }
        self.note_absent(key, name);
        Some(None)
    }

    /// Notes that the value of `key` can't be.
    pub(super) fn wrong(&mut self, key: &Key, name: &str, fault: Fault) {
        let path = key.at(name);
        let text = path.join(".");
        let found = match self.find(&path) {
            Some(value) => Some(format!(
                "{} ({})",
                show_value(&text, value),
                self.place(value, &path)
            )),
            None => self
                .entries
                .iter()
                .find(|entry| entry.path == path)
                .map(|entry| match &entry.value {
                    Text::One(value) => format!("{} ({})", shown(&text, value), entry.origin),
                    _ => entry.origin.to_string(),
                }),
        };
        self.problems.push(Problem {
            key: text,
            found,
            reason: fault.reason,
            cure: fault.cure,
        });
    }

    /// Notes that a whole section is not there.
    pub(super) fn absent(&mut self, section: &str, fault: Fault) {
        self.problems.push(Problem {
            key: section.to_owned(),
            found: None,
            reason: fault.reason,
            cure: fault.cure,
        });
    }

    /// A key that has no meaning here, as told in `why`: noted as not set, unless somebody sets it.
    pub(super) fn foreign(&mut self, key: &Key, name: &str, why: &str, cure: &str) -> Option<()> {
        if self.is_set(key, name) {
            self.wrong(key, name, Fault::new(why, cure));
            return None;
        }
        self.note(key, name, Text::Nothing, Origin::Default(Some("not set")));
        Some(())
    }

    /// Notes what a list is that nobody has set.
    pub(super) fn note_derived(
        &mut self,
        key: &Key,
        name: &str,
        items: Vec<String>,
        how: &'static str,
    ) {
        self.note(key, name, Text::Many(items), Origin::Default(Some(how)));
    }

    /// How many items the value has that has been read for the key.
    pub(super) fn items(&self, key: &Key, name: &str) -> usize {
        let path = key.at(name);
        let entry = self.entries.iter().find(|entry| entry.path == path);
        entry.map_or(0, |entry| match &entry.value {
            Text::Many(items) => items.len(),
            Text::One(_) => 1,
            Text::Nothing => 0,
        })
    }

    /// Whether anybody sets the key: a default does not.
    pub(super) fn is_set(&self, key: &Key, name: &str) -> bool {
        self.find(&key.at(name))
            .is_some_and(|value| !matches!(self.layers.origin(value), Origin::Default(_)))
    }

    /// Whether enough has been said about the key at `path`, so that its absence is no news.
    pub(super) fn is_told(&self, path: &str) -> bool {
        self.layers.told.iter().any(|told| told == path)
    }

    /// The settings, unless there was a problem anywhere.
    pub(super) fn finish(self, settings: Option<Settings>) -> Result<Loaded, Problems> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(Loaded {
                settings,
                effective: Effective {
                    entries: self.entries,
                },
                files: self.files,
            }),
            _ => Err(Problems {
                list: self.problems,
                files: self.files,
            }),
        }
    }

    fn read<T>(
        &mut self,
        key: &Key,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Read<T> {
        let Some(value) = self.find(&key.at(name)).cloned() else {
            return Read::Absent;
        };
        let read = |text: String| match parse(&text) {
            Ok(parsed) => Ok((parsed, text)),
            Err(fault) => Err(mistakes::of_value(key, &text).unwrap_or(fault)),
        };
        match scalar(&value).and_then(read) {
            Ok((parsed, text)) => {
                self.note(key, name, Text::One(text), self.layers.origin(&value));
                Read::Value(parsed)
            }
            Err(fault) => {
                self.wrong(key, name, fault);
                Read::Wrong
            }
        }
    }

    fn missing<T>(&mut self, key: &Key, name: &str) -> Option<T> {
        let path = key.at(name).join(".");
        if !self.is_told(&path) {
            let flag = key
                .flag
                .map(|flag| format!(", or the flag {flag}"))
                .unwrap_or_default();
            let cure = format!(
                "set it in the file, or the variable {}{flag}",
                key.variable(name)
            );
            self.wrong(
                key,
                name,
                Fault::new(format!("it is missing. {}", key.meaning), cure),
            );
        }
        None
    }

    fn note_absent(&mut self, key: &Key, name: &str) {
        let meaning = if let Fallback::Nothing(meaning) = key.fallback {
            meaning
        } else {
            "not set"
        };
        self.note(key, name, Text::Nothing, Origin::Default(Some(meaning)));
    }

    fn note(&mut self, key: &Key, name: &str, value: Text, origin: Origin) {
        self.entries.push(Entry {
            path: key.at(name),
            value,
            origin,
        });
    }

    fn find(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.layers.root, |value, level| {
            value.as_dict()?.get(level)
        })
    }

    fn place(&self, value: &Value, path: &[String]) -> String {
        match (self.layers.origin(value), &self.layers.file) {
            (Origin::File(_), Some(file)) => file.place(path),
            (origin, _) => origin.to_string(),
        }
    }
}

enum Read<T> {
    Value(T),
    Absent,
    Wrong,
}
