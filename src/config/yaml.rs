//! Reads YAML into plain values, and finds the line of a key again.
//!
//! A key that stands twice is an error here (the second would silently win). The parser is
//! serde_yaml, which figment brings; nothing outside this file knows it.

use figment::value::{Dict, Value};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// Why a text is no YAML that a configuration can be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line and column, counted from 1, if they are known.
    pub(super) place: Option<(usize, usize)>,
    /// What is wrong there.
    pub(super) reason: String,
}

/// The sections of a file; an empty one has none.
pub(super) fn parse(text: &str) -> Result<Dict, YamlError> {
    let value = Node
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| split(&error))?;
    match value {
        Value::Dict(_, dict) => Ok(dict),
        Value::Empty(..) => Ok(Dict::new()),
        _ => Err(YamlError {
            place: Some((1, 1)),
            reason: "the file holds no sections, only a value".into(),
        }),
    }
}

/// The line of the key at `path`, counted from 1.
pub(super) fn line(text: &str, path: &[String]) -> Option<usize> {
    // serde_yaml tells places in errors only: the search ends with one, raised at the key.
    let error = Find(path)
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    Some(error.location()?.line())
}

/// Whether `text` may stand without quotes, by itself and in a list: it then reads as the same
/// text, or as the number that it says.
pub(super) fn is_plain(text: &str) -> bool {
    let is_same = |value: &Value| match value {
        Value::String(_, read) => read == text,
        Value::Num(_, num) => super::clean::num_text(*num) == text,
        _ => false,
    };
    let read = |yaml: String| parse(&yaml).ok()?.remove("x");
    let alone = read(format!("x: {text}"));
    let listed = read(format!("x: [{text}]"));
    alone.is_some_and(|value| is_same(&value))
        && listed.is_some_and(|list| matches!(list.as_array(), Some([value]) if is_same(value)))
}

fn split(error: &serde_yaml::Error) -> YamlError {
    let place = error.location().map(|place| (place.line(), place.column()));
    let mut reason = error.to_string();
    if let Some((line, column)) = place {
        reason = reason.replacen(&format!(" at line {line} column {column}"), "", 1);
    }
    YamlError { place, reason }
}

struct Node;

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section, a list or a plain value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(figment::value::Empty::None.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(figment::value::Empty::Unit.into())
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _tagged: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("a tag (!name) has no meaning here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut dict = Dict::new();
        while let Some(key) = entries.next_key_seed(Name {
            taken: &|name| dict.contains_key(name),
        })? {
            dict.insert(key, entries.next_value_seed(Node)?);
        }
        Ok(dict.into())
    }
}

/// A key: a text, or a number that serves as one.
struct Name<'a> {
    taken: &'a dyn Fn(&str) -> bool,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<String, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if (self.taken)(name) {
            Err(E::custom(format!("the key `{name}` stands here twice")))
        } else {
            Ok(name.into())
        }
    }
}

/// Walks down to the key at this path and stops there with an error.
struct Find<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(());
        };
        let is_last = rest.is_empty();
        while let Some(key) = entries.next_key_seed(Name {
            taken: &|name| is_last && name == first,
        })? {
            if key == *first {
                entries.next_value_seed(Find(rest))?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_key_is_found_again_at_its_line() {
        let text = "# first\na:\n  b: 1\n  c:\n    - b\n    - x\nd: {e: 1, f: {g: 2}}\n";
        assert_eq!(line(text, &path("a.b")), Some(3));
        assert_eq!(line(text, &path("a.c")), Some(4));
        assert_eq!(line(text, &path("d.f.g")), Some(7));
        assert_eq!(line(text, &path("a.z")), None);
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_at_the_second() {
        let error = parse("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
        assert_eq!(error.place, Some((4, 3)));
        assert!(
            error.reason.contains("the key `b` stands here twice"),
            "{}",
            error.reason
        );
    }

    #[test]
    fn a_file_without_content_has_no_sections() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "null\n"] {
            assert_eq!(parse(text), Ok(Dict::new()), "{text:?}");
        }
    }

    #[test]
    fn a_file_with_only_a_value_is_refused() {
        assert!(parse("just words").is_err());
        assert!(parse("[1, 2]").is_err());
    }

    #[test]
    fn a_text_is_plain_when_it_reads_back_as_itself() {
        for text in ["info", "10.0.0.1:9092", "1-3", "7", "100MiB", "info;x=y"] {
            assert!(is_plain(text), "{text}");
        }
        for text in [
            "",
            "null",
            "~",
            "1e5",
            "0x1f",
            "1.10",
            "a, b",
            "[::]:1",
            "a #b",
            "a: b",
            "*a",
            " a",
            "x]\ny: [z",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn a_syntax_error_names_its_place() {
        assert_eq!(parse("a:\n\tb: 1\n").unwrap_err().place, Some((2, 1)));
        assert!(parse("a: [1, 2\nb: 3\n").unwrap_err().place.is_some());
    }
}
