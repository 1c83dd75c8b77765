//! The configuration file: read within bounds, with what is wrong with it as a whole.

use super::problem::{Fault, Problem};
use super::yaml::{self, Lines, YamlError};
use crate::sys::read_file;
use figment::value::Dict;
use std::path::Path;

/// No configuration of a proxy is larger; a device or a wrong file may be.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The configuration file.
pub(super) struct File {
    /// As the user wrote its path.
    pub(super) name: String,
    /// Where its keys stand.
    lines: Lines,
}

impl File {
    /// Where in the file a key stands.
    pub(super) fn place(&self, path: &[String]) -> String {
        match self.lines.get(path) {
            Some(line) => format!("file {}, line {line}", self.name),
            None => format!("file {}", self.name),
        }
    }
}

/// The file and its sections.
pub(super) fn read(path: &Path) -> Result<(File, Dict), Problem> {
    let name = path.display().to_string();
    let problem = |key: String, fault: Fault| Problem {
        key,
        found: None,
        reason: fault.reason,
        cure: fault.cure,
    };
    let text = read_text(path).map_err(|fault| problem(name.clone(), fault))?;
    let (dict, lines) = yaml::parse(&text).map_err(|error| {
        let (line, column) = error.place;
        let place = format!("{name}, line {line}, column {column}");
        problem(place, fault(error, &text))
    })?;
    if let Some(fault) = manifest(&dict) {
        return Err(problem(name, fault));
    }
    Ok((File { name, lines }, dict))
}

fn read_text(path: &Path) -> Result<String, Fault> {
    let cure = "name a YAML file that this user may read: --config FILE";
    let fault =
        |error: std::io::Error| Fault::new(format!("the file can't be read: {error}"), cure);
    let bytes = read_file(path, FILE_BYTES_MAX).map_err(fault)?;
    let too_large = || {
        Fault::new(
            format!(
                "the file is larger than {} MiB, as no configuration is",
                FILE_BYTES_MAX >> 20
            ),
            "name the file of Narrows' configuration: --config FILE",
        )
    };
    text(bytes.ok_or_else(too_large)?)
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    let is_utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if is_utf16 || bytes.iter().take(16).any(|byte| *byte == 0) {
        let what = if is_utf16 { "UTF-16 text" } else { "not text" };
        return Err(Fault::new(
            format!("the file is {what}"),
            "save it as UTF-8 (in PowerShell: `Set-Content -Encoding utf8`)",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Fault::new(
            format!("the file is not UTF-8 text: line {line} has another encoding"),
            "save it as UTF-8, or write that line with ASCII letters only",
        )
    })?;
    // A byte order mark is legal in front of YAML, and some editors write one.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn fault(error: YamlError, text: &str) -> Fault {
    let line = text.lines().nth(error.place.0 - 1).unwrap_or_default();
    if is_template(line) {
        return unfilled();
    }
    let cure = if let Some(cure) = error.cure {
        cure
    } else if line.contains('\t') {
        "indent with spaces: YAML takes no tabs"
    } else if line.contains(": [::") || line.contains("- [::") {
        "put an address that begins with a bracket in quotes: \"[::]:9092\""
    } else {
        "look here and one line before for open brackets and quotes, and for the \
         indentation"
    };
    Fault::new(error.reason, cure)
}

/// Whether a template (Helm, Jinja) stands in the text: `{{ .Values.host }}`, `{{- x }}`.
pub(super) fn is_template(text: &str) -> bool {
    ["{{ ", "{{.", "{{-"]
        .iter()
        .any(|begin| text.contains(begin))
}

/// A template that came here as it was written.
pub(super) fn unfilled() -> Fault {
    Fault::new(
        "a template stands here that nobody has filled in: `{{ ... }}`",
        "render it first (`helm template`), or write the value itself",
    )
}

/// What a whole Kubernetes manifest is told, in place of a complaint about each of its keys.
fn manifest(dict: &Dict) -> Option<Fault> {
    let kind = dict.get("kind")?.as_str()?;
    dict.get("apiVersion")?;
    let kind: String = kind.chars().take(63).flat_map(char::escape_debug).collect();
    let cure = match &*kind {
        "ConfigMap" | "Secret" => {
            "write only what stands under `data: narrows.yaml: |` in this file, and apply the \
             manifest with kubectl: the pod mounts it as a volume, whose file --config names"
        }
        _ => "name the file of Narrows' configuration: --config FILE",
    };
    Some(Fault::new(
        format!("this is a Kubernetes manifest ({kind}), not Narrows' configuration"),
        cure,
    ))
}
