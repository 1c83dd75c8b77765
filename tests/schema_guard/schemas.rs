//! Kafka's message schemas: `common/message/*.json` of a kafka-clients jar, JSON with `//`
//! comments.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use narrows::protocol::table::Versions;
use serde_json::Value;

/// Structs of today's schemas nest five deep; a schema that refers to itself must not hang the
/// test.
const DEPTH_MAX: usize = 16;

/// The schema of a request or of a response.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    /// Where it comes from: `kafka-clients-4.4.0.jar: FetchResponse.json`.
    pub(crate) source: String,
    /// The api key.
    pub(crate) key: i16,
    /// Kafka's name of the API: `Fetch`.
    pub(crate) api: String,
    /// Whether it is the response.
    pub(crate) is_response: bool,
    /// The listeners that serve it: `broker`, `controller`, `zkBroker`. Only requests say so.
    pub(crate) listeners: Option<Vec<String>>,
    /// `validVersions`, `None` where the API is gone from the release.
    pub(crate) valid: Option<Versions>,
    /// The first of `flexibleVersions`.
    pub(crate) flexible_from: Option<i16>,
    /// Every field at any depth.
    pub(crate) fields: Vec<Field>,
}

/// A field of a schema.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Names from the top, joined by dots.
    pub(crate) path: String,
    /// Its type as written: `[]NodeEndpoint`.
    pub(crate) kind: String,
    /// Its `versions` as written.
    pub(crate) versions: String,
    /// The first valid version of the message that has it.
    pub(crate) from: i16,
}

/// The jars to read: those of `NARROWS_KAFKA_CLIENTS` (colon-separated), else those that
/// `tests/oracle/fetch` or `tests/run` put under `target`.
pub(crate) fn jars() -> Result<Vec<PathBuf>> {
    if let Some(list) = std::env::var_os("NARROWS_KAFKA_CLIENTS") {
        return Ok(std::env::split_paths(&list).collect());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    for folder in ["oracle", "kafka"] {
        let jars = kafka_clients_below(&target.join(folder));
        if !jars.is_empty() {
            return Ok(jars);
        }
    }
    bail!(
        "no kafka-clients jar in target/oracle/*/ or target/kafka/*/: run tests/run, or \
         tests/oracle/fetch, which fetches \
         only these jars; or name them in NARROWS_KAFKA_CLIENTS, separated by colons"
    )
}

fn kafka_clients_below(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect()
    };
    let is_jar = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "jar")
            && name(path).starts_with("kafka-clients-")
    };
    let mut jars: Vec<_> = entries(folder)
        .iter()
        .flat_map(|version| entries(version))
        .filter(is_jar)
        .collect();
    jars.sort();
    jars
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The requests and responses of a jar.
pub(crate) fn read_jar(path: &Path) -> Result<Vec<Schema>> {
    let open = || -> Result<_> { Ok(zip::ZipArchive::new(File::open(path)?)?) };
    let mut jar = open().with_context(|| format!("{} can't be read", path.display()))?;
    let mut schemas = Vec::new();
    for index in 0..jar.len() {
        let mut entry = jar.by_index(index)?;
        let Some(file) = entry
            .name()
            .strip_prefix("common/message/")
            .map(String::from)
        else {
            continue;
        };
        if !file.ends_with(".json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        schemas.extend(parse(&format!("{}: {file}", name(path)), &text)?);
    }
    ensure!(
        !schemas.is_empty(),
        "{} has no schemas in common/message",
        path.display()
    );
    Ok(schemas)
}

/// The schema in a file; `None` if it is neither a request nor a response.
pub(crate) fn parse(source: &str, text: &str) -> Result<Option<Schema>> {
    let json: Value =
        serde_json::from_str(&without_comments(text)).with_context(|| source.to_owned())?;
    message(source, &json).with_context(|| source.to_owned())
}

fn message(source: &str, json: &Value) -> Result<Option<Schema>> {
    let (is_response, ending) = match text(json, "type")? {
        "request" => (false, "Request"),
        "response" => (true, "Response"),
        _ => return Ok(None),
    };
    let valid = range(text(json, "validVersions")?)?;
    // A removed API has a file with `validVersions: none` and nothing else.
    let flexible_from = match json.get("flexibleVersions") {
        Some(_) => range(text(json, "flexibleVersions")?)?.map(|versions| versions.min),
        None => None,
    };
    let listeners = json
        .get("listeners")
        .and_then(Value::as_array)
        .map(|listeners| {
            listeners
                .iter()
                .map(|listener| listener.as_str().unwrap_or_default().to_owned())
                .collect()
        });
    let mut fields = Vec::new();
    if let Some(valid) = valid {
        collect(
            list(json, "fields"),
            "",
            valid,
            list(json, "commonStructs"),
            0,
            &mut fields,
        )?;
    }
    Ok(Some(Schema {
        source: source.to_owned(),
        key: json
            .get("apiKey")
            .and_then(Value::as_i64)
            .context("no apiKey")?
            .try_into()?,
        api: text(json, "name")?.trim_end_matches(ending).to_owned(),
        is_response,
        listeners,
        valid,
        flexible_from,
        fields,
    }))
}

/// Adds the fields that exist in some version within `valid`, and what is inside them.
fn collect(
    fields: &[Value],
    above: &str,
    valid: Versions,
    structs: &[Value],
    depth: usize,
    into: &mut Vec<Field>,
) -> Result<()> {
    ensure!(
        depth < DEPTH_MAX,
        "structs nest deeper than {DEPTH_MAX} at {above}"
    );
    for field in fields {
        let name = text(field, "name")?;
        let kind = text(field, "type")?;
        let versions = text(field, "versions")?;
        let Some(exists) = range(versions)?.and_then(|versions| versions.intersection(valid))
        else {
            continue;
        };
        let path = if above.is_empty() {
            name.to_owned()
        } else {
            format!("{above}.{name}")
        };
        let own = list(field, "fields");
        let inside = if own.is_empty() {
            common(structs, kind.trim_start_matches("[]"))
        } else {
            own
        };
        collect(inside, &path, exists, structs, depth + 1, into)?;
        into.push(Field {
            path,
            kind: kind.to_owned(),
            versions: versions.to_owned(),
            from: exists.min,
        });
    }
    Ok(())
}

fn common<'a>(structs: &'a [Value], name: &str) -> &'a [Value] {
    structs
        .iter()
        .find(|item| item["name"] == name)
        .map_or(&[], |item| list(item, "fields"))
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(json: &'a Value, key: &str) -> Result<&'a str> {
    json.get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("no {key} in {:.80}", json.to_string()))
}

/// `none`, `3`, `3+` or `3-13`.
fn range(text: &str) -> Result<Option<Versions>> {
    let number = |text: &str| {
        text.parse::<i16>()
            .with_context(|| format!("{text:?} is no version"))
    };
    Ok(match (text, text.strip_suffix('+'), text.split_once('-')) {
        ("none", ..) => None,
        (_, Some(min), _) => Some(Versions {
            min: number(min)?,
            max: i16::MAX,
        }),
        (_, _, Some((min, max))) => Some(Versions {
            min: number(min)?,
            max: number(max)?,
        }),
        (only, ..) => Some(Versions {
            min: number(only)?,
            max: number(only)?,
        }),
    })
}

/// Takes out `//` up to the end of its line, but not inside a string.
pub(crate) fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '/' if !in_string && rest.starts_with("//") => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '"' => {
                in_string = !in_string;
                1
            }
            _ => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}
