//! Takes out of the file what doesn't belong there and says so: keys that nobody reads, and a plain
//! value where a section belongs. A key without a value counts as not set.

use super::file::File;
use super::keys::{self, KEYS};
use super::mistakes;
use super::problem::{Fault, Problem, shown};
use super::value::show_value;
use crate::types::likeness::nearest;
use figment::value::{Dict, Value};

/// A file's tree in the right shape, and what was wrong with it.
#[derive(Default)]
pub(super) struct Cleaned {
    /// Sections, names and known keys only.
    pub(super) dict: Dict,
    /// What was taken out, and why.
    pub(super) problems: Vec<Problem>,
    /// Keys whose absence needs no second complaint: a misspelt one was likely meant to be this, or
    /// it had a wrong shape.
    pub(super) told: Vec<String>,
}

/// Cleans the tree of `file`.
pub(super) fn clean(file: &File, dict: Dict) -> Cleaned {
    let mut cleaner = Cleaner {
        file,
        problems: Vec::new(),
        told: Vec::new(),
    };
    let dict = cleaner.clean(dict, &mut Vec::new(), &mut Vec::new());
    Cleaned {
        dict,
        problems: cleaner.problems,
        told: cleaner.told,
    }
}

struct Cleaner<'a> {
    file: &'a File,
    problems: Vec<Problem>,
    told: Vec<String>,
}

impl Cleaner<'_> {
    /// `path` is where `dict` stands, `pattern` the same with `*` for names.
    fn clean(
        &mut self,
        dict: Dict,
        path: &mut Vec<String>,
        pattern: &mut Vec<&'static str>,
    ) -> Dict {
        let allowed = keys::children(pattern);
        let mut clean = Dict::new();
        for (name, value) in dict {
            path.push(name.clone());
            let level = allowed
                .iter()
                .find(|level| **level == "*" || **level == name)
                .copied();
            match level {
                None => self.unknown(&name, &value, path, &allowed),
                Some("*") if !keys::is_name(&name) => self.bad_name(&name, path),
                Some(level) => {
                    pattern.push(level);
                    if let Some(value) = self.clean_value(value, path, pattern) {
                        clean.insert(name, value);
                    }
                    pattern.pop();
                }
            }
            path.pop();
        }
        clean
    }

    fn clean_value(
        &mut self,
        value: Value,
        path: &mut Vec<String>,
        pattern: &mut Vec<&'static str>,
    ) -> Option<Value> {
        let is_section = !keys::children(pattern).is_empty();
        match value {
            Value::Dict(_, dict) if is_section => Some(self.clean(dict, path, pattern).into()),
            // A name with nothing under it yet is a section all the same; any other key without a
            // value is not set.
            Value::Empty(..) if is_section && pattern.last() == Some(&"*") => {
                Some(Dict::new().into())
            }
            Value::Empty(..) => None,
            value if is_section => {
                let levels = keys::children(pattern);
                let reason = match pattern.last() {
                    Some(&"clusters" | &"listeners") => {
                        "names belong under this key, and keys under each name".to_owned()
                    }
                    _ => format!("keys belong under this one ({})", levels.join(", ")),
                };
                let cure = mistakes::of_section(pattern, &value).unwrap_or_else(|| {
                    "write its keys under it, indented, each with a value behind a colon".to_owned()
                });
                self.told.push(path.join("."));
                self.push(path, Some(&value), Fault::new(reason, cure));
                None
            }
            value => Some(value),
        }
    }

    fn unknown(&mut self, name: &str, value: &Value, path: &[String], allowed: &[&'static str]) {
        let parent = &path[..path.len() - 1];
        let place = if parent.is_empty() {
            "at the top".to_owned()
        } else {
            format!("under {}", parent.join("."))
        };
        let cure = if let Some(near) = nearest_in_any_case(name, allowed) {
            self.told
                .push([parent, &[near.to_owned()]].concat().join("."));
            format!("did you mean {near}?")
        } else if let Some(line) = without_blank(name, value, allowed) {
            format!("write `{line}`, with a blank behind the colon")
        } else if let Some(key) = home_of(name) {
            format!("it belongs under {}", key)
        } else {
            format!("remove it; the keys here are {}", allowed.join(", "))
        };
        self.push(
            path,
            Some(value),
            Fault::new(format!("there is no such key {place}"), cure),
        );
    }

    fn bad_name(&mut self, name: &str, path: &[String]) {
        let reason = format!("{} is not a name that can be used here", shown("", name));
        let cure = "use letters, digits, hyphens and single underscores, 63 at most, beginning \
                    with a letter or digit";
        self.push(path, None, Fault::new(reason, cure));
    }

    fn push(&mut self, path: &[String], value: Option<&Value>, fault: Fault) {
        let key = path.join(".");
        let value = value.map_or("the name".to_owned(), |value| show_value(&key, value));
        let found = Some(format!("{value} ({})", self.file.place(path)));
        self.problems.push(Problem {
            key,
            found,
            reason: fault.reason,
            cure: fault.cure,
        });
    }
}

fn nearest_in_any_case<'a>(name: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let same = allowed.iter().find(|key| key.eq_ignore_ascii_case(name));
    same.copied()
        .or_else(|| nearest(name, allowed.iter().copied()))
}

/// `bind:0.0.0.0:9092` is a name without a value to YAML: the line that was meant.
fn without_blank(name: &str, value: &Value, allowed: &[&str]) -> Option<String> {
    let (key, rest) = name.split_once(':')?;
    let is_meant = matches!(value, Value::Empty(..)) && allowed.contains(&key.trim());
    (is_meant && !rest.is_empty()).then(|| format!("{}: {}", key.trim(), rest.trim()))
}

/// The section where a key of this name is at home.
fn home_of(name: &str) -> Option<String> {
    let key = KEYS.iter().find(|key| key.levels().last() == Some(name))?;
    let (section, _) = key.path.rsplit_once('.')?;
    Some(section.replace('*', "NAME"))
}
