//! Collects the layers and merges them with figment: defaults < file < environment < flags.
//!
//! What is merged has the right shape already: the file is cleaned of keys that nobody reads
//! ([`super::clean`]), and the environment and the flags can only set keys of the table.

use super::environment::{self, Names};
use super::file::{self, File};
use super::keys::{Fallback, KEYS};
use super::origin::Origin;
use super::problem::{Fault, Problem, Problems, shown};
use super::{Sources, clean};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

/// Everything merged, and where it came from.
pub(super) struct Layers {
    /// The tree; each value's tag leads to its layer in `figment`.
    pub(super) root: Value,
    figment: Figment,
    origins: Vec<Origin>,
    /// The file, for the places of keys.
    pub(super) file: Option<File>,
    /// Keys whose absence needs no second complaint.
    pub(super) told: Vec<String>,
}

/// Reads all layers. `Err` when the file can't be read at all; other problems come along with what
/// is well.
pub(super) fn collect(sources: &Sources) -> Result<(Layers, Vec<Problem>), Problems> {
    let (
        file,
        clean::Cleaned {
            dict,
            mut problems,
            told,
        },
    ) = match &sources.file {
        None => (None, clean::Cleaned::default()),
        Some(path) => {
            let (file, dict) = file::read(path).map_err(|problem| Problems {
                list: vec![problem],
                files: vec![path.clone()],
            })?;
            let cleaned = clean::clean(&file, dict);
            (Some(file), cleaned)
        }
    };
    let file_dict = dict;
    let mut over_file = Vec::new();
    let mut names = Names {
        clusters: names_in(&file_dict, "clusters"),
        listeners: names_in(&file_dict, "listeners"),
        file: sources.file.clone(),
    };

    for (variable, value) in &sources.environment {
        match environment::path(variable, value, &names) {
            None => {}
            Some(Err(problem)) => problems.push(problem),
            Some(Ok(path)) => {
                over_file.push((Origin::Environment(variable.clone()), nest(&path, value)))
            }
        }
    }
    for (_, dict) in &over_file {
        add_names(&mut names, dict);
    }
    for (flag, value) in &sources.flags {
        match flag_path(flag, value, &names) {
            Err(problem) => problems.push(problem),
            Ok(path) => over_file.push((Origin::Flag(flag.clone()), nest(&path, value))),
        }
    }
    for (_, dict) in &over_file {
        add_names(&mut names, dict);
    }

    let file_name = file
        .as_ref()
        .map_or(String::new(), |file| file.name.clone());
    let bottom = [
        (Origin::Default(None), defaults(&names)),
        (Origin::File(file_name), file_dict),
    ];
    let mut figment = Figment::new();
    let mut origins = Vec::new();
    for (origin, dict) in bottom.into_iter().chain(over_file) {
        let name = origin.to_string();
        figment = figment.merge(Layer { name, dict });
        origins.push(origin);
    }
    let root = figment
        .find_value("")
        .unwrap_or_else(|_| Dict::new().into());
    Ok((
        Layers {
            root,
            figment,
            origins,
            file,
            told,
        },
        problems,
    ))
}

impl Layers {
    /// Where a value of the tree comes from. figment keeps a name with each, which is the origin's
    /// text.
    pub(super) fn origin(&self, value: &Value) -> Origin {
        let metadata = self.figment.get_metadata(value.tag());
        let origin = metadata.and_then(|metadata| {
            self.origins
                .iter()
                .find(|origin| origin.to_string() == metadata.name)
        });
        origin.cloned().unwrap_or(Origin::Default(None))
    }
}

/// One layer: a tree whose values all have the same origin, whose text is `name`.
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

fn names_in(dict: &Dict, section: &str) -> Vec<String> {
    dict.get(section)
        .and_then(Value::as_dict)
        .map(|named| named.keys().cloned().collect())
        .unwrap_or_default()
}

fn add_names(names: &mut Names, dict: &Dict) {
    for (section, list) in [
        ("clusters", &mut names.clusters),
        ("listeners", &mut names.listeners),
    ] {
        for name in names_in(dict, section) {
            if !list.contains(&name) {
                list.push(name);
            }
        }
    }
}

fn nest(path: &[String], value: &str) -> Dict {
    let mut value: Value = value.into();
    for level in path.iter().skip(1).rev() {
        value = Dict::from([(level.clone(), value)]).into();
    }
    path.first()
        .map(|first| Dict::from([(first.clone(), value)]))
        .unwrap_or_default()
}

/// The path that a flag sets; flags name no cluster and no listener, so there must be one only.
fn flag_path(flag: &str, value: &str, names: &Names) -> Result<Vec<String>, Problem> {
    let problem = |fault: Fault| Problem {
        key: flag.to_owned(),
        found: Some(format!("{} (flag {flag})", shown(flag, value))),
        reason: fault.reason,
        cure: fault.cure,
    };
    let Some(key) = KEYS.iter().find(|key| key.flag == Some(flag)) else {
        return Err(problem(Fault::new(
            "no key belongs to this flag",
            "see `narrows run --help`",
        )));
    };
    let what = key.path.split('.').next().unwrap_or_default();
    match names.of(key) {
        _ if !key.path.contains('*') => Ok(key.at("")),
        [] => Ok(key.at("default")),
        [name] => Ok(key.at(name)),
        several => {
            let path = key.at(&several[0]).join(".");
            let reason = format!(
                "a flag names none of the {what}, so it needs exactly one; there are {}: {}",
                several.len(),
                several.join(", ")
            );
            let cure = format!("set {path} in the file, or {}", key.variable(&several[0]));
            Err(problem(Fault::new(reason, cure)))
        }
    }
}

fn defaults(names: &Names) -> Dict {
    let mut root = Dict::new();
    for key in KEYS {
        let Fallback::Value(text) = key.fallback else {
            continue;
        };
        if key.path.contains('*') {
            names
                .of(key)
                .iter()
                .for_each(|name| insert(&mut root, &key.at(name), text));
        } else {
            insert(&mut root, &key.at(""), text);
        }
    }
    root
}

fn insert(dict: &mut Dict, path: &[String], text: &str) {
    match path {
        [] => {}
        [last] => {
            dict.insert(last.clone(), text.into());
        }
        [first, rest @ ..] => {
            let section = dict
                .entry(first.clone())
                .or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, section) = section {
                insert(section, rest, text);
            }
        }
    }
}
