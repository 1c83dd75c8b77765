//! The source of Narrows as the house tests read it: code without comments and tests, and what it
//! imports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src`.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// The levels of its module: `session`, `context` for src/session/context.rs.
    pub(crate) levels: Vec<String>,
    /// The code without comments and without its tests.
    pub(crate) code: String,
}

impl Source {
    /// The room that it stands in: `session`; `main` and `lib` for the two roots.
    pub(crate) fn room(&self) -> &str {
        &self.levels[0]
    }

    /// Its module's path: `session::context`.
    pub(crate) fn module(&self) -> String {
        self.levels.join("::")
    }

    /// The rooms that it names: `crate::room`, `use crate::{room, …}`, and through `super`.
    pub(crate) fn rooms_named(&self) -> Vec<String> {
        let above = "super::".repeat(self.levels.len());
        let mut rooms = first_names(&self.code, "crate::");
        rooms.extend(first_names(&self.code, &above));
        rooms
    }

    /// The modules that it imports from, of those that there are. What it takes from the modules
    /// around itself is not counted: they hand on what others define.
    pub(crate) fn modules_named(&self, modules: &BTreeSet<String>) -> BTreeSet<String> {
        let own = self.module();
        let is_around = |module: &String| own == *module || own.starts_with(&format!("{module}::"));
        let paths = (0..=self.levels.len()).flat_map(|up| {
            let (root, prefix) = match up {
                0 => (&[][..], "crate::".to_owned()),
                _ => (&self.levels[..self.levels.len() - up], "super::".repeat(up)),
            };
            let paths = paths_behind(&self.code, &prefix);
            paths.into_iter().map(move |path| join(root, &path))
        });
        let deepest = paths.filter_map(|path| {
            let lengths = (1..=path.len()).rev();
            let mut prefixes = lengths.map(|length| path[..length].join("::"));
            prefixes.find(|module| modules.contains(module))
        });
        deepest.filter(|module| !is_around(module)).collect()
    }

    /// Whether the code has this word, or path, with nothing joined to its ends.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        has_word(&self.code, word)
    }

    /// Whether the code names the library: `name::…`, also inside braces, or `use name as …`.
    pub(crate) fn names_library(&self, name: &str) -> bool {
        let is_path = |at: usize| {
            let rest = &self.code[at + name.len()..];
            let before = self.code[..at].trim_end();
            let is_inner = before.ends_with("::") && !before.ends_with("use ::");
            !is_inner && (rest.starts_with("::") || before.ends_with("use"))
        };
        word_places(&self.code, name).any(is_path)
    }
}

/// Every file of `src`, unless it holds tests only.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(
        found.len() > 30,
        "only {} source files were found",
        found.len()
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            collect(root, &path, found);
            continue;
        }
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if is_rust && !is_test {
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let levels = relative
                .iter()
                .map(|level| level.to_string_lossy().into_owned())
                .filter(|level| level != "mod")
                .collect();
            found.push(Source {
                code: code_of(&fs::read_to_string(&path).unwrap()),
                levels,
                path,
            });
        }
    }
}

/// The code before the tests, without comments.
fn code_of(text: &str) -> String {
    let before_tests = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name behind each `prefix`: one, or each of a group in braces.
fn first_names(code: &str, prefix: &str) -> Vec<String> {
    let is_joined =
        |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
    let places = code.match_indices(prefix);
    let behind = places
        .filter(|(at, _)| !is_joined(&code[..*at]))
        .map(|(at, _)| &code[at + prefix.len()..]);
    behind
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group_items(group),
            None => vec![name(rest)],
        })
        .collect()
}

/// The whole path behind each `prefix`, or the paths of a group in braces.
fn paths_behind(code: &str, prefix: &str) -> Vec<Vec<String>> {
    let is_joined =
        |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
    let places = code.match_indices(prefix);
    let places = places.filter(|(at, _)| !is_joined(&code[..*at]));
    places
        .flat_map(|(at, _)| paths(&code[at + prefix.len()..]))
        .collect()
}

/// The paths that a text begins with: `a::b`, or `a::{b, c::d}` as two.
fn paths(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        return split_group(group)
            .iter()
            .flat_map(|item| paths(item))
            .collect();
    }
    let first = name(text);
    if first.is_empty() {
        return Vec::new();
    }
    let first = [first];
    match text[first[0].len()..].strip_prefix("::") {
        Some(rest) => match paths(rest) {
            behind if behind.is_empty() => vec![first.to_vec()],
            behind => behind.iter().map(|path| join(&first, path)).collect(),
        },
        None => vec![first.to_vec()],
    }
}

fn join(front: &[String], back: &[String]) -> Vec<String> {
    [front, back].concat()
}

/// The first name of each item of a group, whose opening brace has been read.
fn group_items(group: &str) -> Vec<String> {
    let names = split_group(group).into_iter().map(|item| name(&item));
    names.filter(|name| !name.is_empty()).collect()
}

/// The items of a group, whose opening brace has been read.
fn split_group(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => {}
        }
        if let Some(item) = items.last_mut().filter(|_| c != ',') {
            item.push(c);
        }
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn has_word(code: &str, word: &str) -> bool {
    word_places(code, word).next().is_some()
}

fn word_places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let places = code.match_indices(word).map(|(at, _)| at);
    places.filter(move |at| {
        !is_part(code[..*at].chars().next_back())
            && !is_part(code[at + word.len()..].chars().next())
    })
}

#[test]
fn every_way_to_import_from_a_module_is_seen() {
    let modules = [
        "session",
        "session::lane",
        "session::relay",
        "net::tls",
        "app",
    ];
    let modules = modules.map(str::to_owned).into();
    let source = |code: &str| Source {
        path: PathBuf::new(),
        levels: ["session", "relay"].map(str::to_owned).to_vec(),
        code: code.to_owned(),
    };
    for (code, named) in [
        ("use super::lane::{Lane, Pools};", &["session::lane"][..]),
        ("use super::{Cause, lane};", &["session::lane"]),
        ("use super::super::app;", &["app"]),
        ("let x = crate::session::lane::new();", &["session::lane"]),
        (
            "use crate::{app::{self, X}, net::tls::Y};",
            &["app", "net::tls"],
        ),
        (
            "use super::Cause; use crate::session::X; fn relay() {}",
            &[],
        ),
    ] {
        let found = source(code).modules_named(&modules);
        assert_eq!(found.iter().collect::<Vec<_>>(), named, "{code}");
    }
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let source = |levels: &[&str], code: &str| Source {
        path: PathBuf::new(),
        levels: levels.iter().map(|level| (*level).to_owned()).collect(),
        code: code.to_owned(),
    };
    let deep = ["session", "relay"];
    for (levels, code, rooms) in [
        (&deep[..], "use crate::app::Settings;", &["app"][..]),
        (
            &deep,
            "use crate::{app, cli::run, net::{tls, pipe}};",
            &["app", "cli", "net"],
        ),
        (
            &deep,
            "use crate::{\n    app::{self, Settings},\n    cli,\n};",
            &["app", "cli"],
        ),
        (
            &deep,
            "let x = crate::app::run(&crate::cli::X);",
            &["app", "cli"],
        ),
        (&deep, "pub(in crate::session) fn x() {}", &["session"]),
        (&deep, "use super::super::app;", &["app"]),
        (&deep, "use super::lane;", &[]),
        (&["types"], "use super::app;", &["app"]),
        (&deep, "use narrows_crate::app; mycrate::app();", &[]),
    ] {
        assert_eq!(source(levels, code).rooms_named(), rooms, "{code}");
    }
    let is_named = |code: &str| source(&deep, code).names_library("hyper");
    for code in [
        "use hyper::body;",
        "use {std::io, hyper::body};",
        "hyper::x()",
        "use hyper as h;",
    ] {
        assert!(is_named(code), "{code}");
    }
    for code in ["use hyper_util::rt;", "self.hyper = 1", "other::hyper::x()"] {
        assert!(!is_named(code), "{code}");
    }
}
