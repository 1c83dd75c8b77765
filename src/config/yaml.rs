//! Reads YAML into a tree of texts, and remembers the line of each key.
//!
//! A plain value stays the text that was written: whether `1e5`, `off` or `010` is a number, a
//! boolean or a word differs between YAML 1.1 and 1.2, and is for the key to say. A key that stands
//! twice is an error (the second would silently win), as are merge keys, tags and a second
//! document.
//!
//! The parser gives events, which are bounded as they come: 100 kB of brackets end at the 33rd, and
//! aliases count with everything that they stand for. Nothing outside this file knows the parser.

use figment::value::{Dict, Empty, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// No key of Narrows is deeper than 6 levels.
const NESTING_MAX: usize = 32;

/// Values, aliases counted with all that they stand for: a thousand listeners have 40,000.
const NODES_MAX: usize = 200_000;

/// The line of each key, counted from 1, by the levels of its path.
pub(super) type Lines = BTreeMap<Vec<String>, usize>;

/// Why a text is not YAML that a configuration can be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line and column, counted from 1.
    pub(super) place: (usize, usize),
    /// What is wrong there.
    pub(super) reason: String,
    /// What to do, where this is known from the error alone.
    pub(super) cure: Option<&'static str>,
}

/// The sections of a file, and where their keys stand; an empty file has none.
pub(super) fn parse(text: &str) -> Result<(Dict, Lines), YamlError> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    match reader.document()? {
        None | Some(Node::Nothing) => Ok((Dict::new(), Lines::new())),
        Some(Node::Section(entries)) => {
            let mut lines = Lines::new();
            let dict = dict(entries, &mut Vec::new(), &mut lines);
            Ok((dict, lines))
        }
        Some(_) => Err(YamlError {
            place: (1, 1),
            reason: "the file holds no sections, only a value".into(),
            cure: Some(
                "begin with `clusters:` and `listeners:`, as `narrows config --keys` has them",
            ),
        }),
    }
}

/// Whether `text` may stand without quotes, by itself and in a list: it then reads as the same
/// text.
pub(super) fn is_plain(text: &str) -> bool {
    let read = |yaml: String| parse(&yaml).ok()?.0.remove("x");
    let alone = read(format!("x: {text}"));
    let listed = read(format!("x: [{text}]"));
    alone.as_ref().and_then(Value::as_str) == Some(text)
        && listed.is_some_and(
            |list| matches!(list.as_array(), Some([value]) if value.as_str() == Some(text)),
        )
}

#[derive(Clone)]
enum Node {
    Text(String),
    Nothing,
    List(Vec<Node>),
    Section(Vec<Entry>),
}

#[derive(Clone)]
struct Entry {
    name: String,
    line: usize,
    node: Node,
}

/// What an alias stands for, with what it adds to the bounds.
struct Anchored {
    node: Node,
    height: usize,
    nodes: usize,
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The only document; `None` when there is none.
    fn document(&mut self) -> Result<Option<Node>, YamlError> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document),
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) if document.is_some() => {
                    return Err(YamlError {
                        place: place(span.start),
                        reason: "a second document begins here (`---`)".into(),
                        cure: Some("keep one document, without `---` between its sections"),
                    });
                }
                Event::DocumentStart(_) => {}
                event => document = Some(self.node(event, span, 0)?.0),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(malformed(&error)),
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    /// The node that begins with `event`, below `depth` others, and how many levels it has.
    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
    ) -> Result<(Node, usize), YamlError> {
        self.count(1, depth, span)?;
        let before = self.nodes;
        let (node, height, anchor) = match event {
            Event::Alias(id) => return self.alias(id, depth, span),
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                (scalar(text, style, tag.is_some()), 1, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                let (node, height) = self.list(depth)?;
                (node, height + 1, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                let (node, height) = self.section(depth)?;
                (node, height + 1, anchor)
            }
            _ => return Err(error(span, "a value is missing here", None)),
        };
        // The parser counts anchors from 1.
        if anchor > 0 {
            let anchored = Anchored {
                node: node.clone(),
                height,
                nodes: self.nodes - before + 1,
            };
            self.anchors.insert(anchor, anchored);
        }
        Ok((node, height))
    }

    fn alias(&mut self, id: usize, depth: usize, span: Span) -> Result<(Node, usize), YamlError> {
        let Some(anchored) = self.anchors.get(&id) else {
            let reason = "an alias stands inside what it is an alias of";
            return Err(error(span, reason, Some("write the keys out")));
        };
        let (nodes, height) = (anchored.nodes, anchored.height);
        self.count(nodes, depth + height, span)?;
        let node = self
            .anchors
            .get(&id)
            .map_or(Node::Nothing, |anchored| anchored.node.clone());
        Ok((node, height))
    }

    fn list(&mut self, depth: usize) -> Result<(Node, usize), YamlError> {
        let mut items = Vec::new();
        let mut height = 0;
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((Node::List(items), height));
            }
            let (item, levels) = self.node(event, span, depth + 1)?;
            height = height.max(levels);
            items.push(item);
        }
    }

    fn section(&mut self, depth: usize) -> Result<(Node, usize), YamlError> {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let mut height = 0;
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => {
                    let entries = entries.into_values().collect();
                    return Ok((Node::Section(entries), height));
                }
                Event::Scalar(text, style, _, tag) => {
                    check_tag(tag.as_deref(), span)?;
                    key(text, style, span)?
                }
                _ => {
                    let reason = "a section or a list can't be the name of a key";
                    return Err(error(span, reason, None));
                }
            };
            if entries.contains_key(&name) {
                let reason = format!("the key `{name}` stands here twice");
                return Err(error(span, &reason, Some("keep one of the two")));
            }
            let (event, value) = self.next()?;
            let (node, levels) = self.node(event, value, depth + 1)?;
            height = height.max(levels);
            let line = span.start.line();
            entries.insert(name.clone(), Entry { name, line, node });
        }
    }

    fn count(&mut self, nodes: usize, depth: usize, span: Span) -> Result<(), YamlError> {
        self.nodes += nodes;
        if depth > NESTING_MAX {
            let reason = format!("more than {NESTING_MAX} levels are nested here");
            return Err(error(span, &reason, None));
        }
        if self.nodes > NODES_MAX {
            let reason = format!("the file has more than {NODES_MAX} values");
            return Err(error(span, &reason, None));
        }
        Ok(())
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, is_tagged: bool) -> Node {
    let is_plain = style == ScalarStyle::Plain && !is_tagged;
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" if is_plain => Node::Nothing,
        _ => Node::Text(text.into_owned()),
    }
}

fn key(text: Cow<'_, str>, style: ScalarStyle, span: Span) -> Result<String, YamlError> {
    match &*text {
        "<<" if style == ScalarStyle::Plain => Err(error(
            span,
            "merge keys (`<<`) are not read",
            Some("write the keys out; an alias may stand for a whole section: `tls: *shared`"),
        )),
        "" => Err(error(span, "a key without a name stands here", None)),
        _ => Ok(text.into_owned()),
    }
}

/// Only the tags that every YAML has (`!!str`), which change nothing here.
fn check_tag(tag: Option<&Tag>, span: Span) -> Result<(), YamlError> {
    const KNOWN: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && KNOWN.contains(&&*tag.suffix)) => Err(error(
            span,
            "a tag (!name) has no meaning here",
            Some(
                "remove the tag and write the value; variables are NARROWS_..., see `narrows \
                 --help`",
            ),
        )),
        _ => Ok(()),
    }
}

fn place(marker: Marker) -> (usize, usize) {
    (marker.line(), marker.col() + 1)
}

fn error(span: Span, reason: &str, cure: Option<&'static str>) -> YamlError {
    YamlError {
        place: place(span.start),
        reason: reason.to_owned(),
        cure,
    }
}

fn malformed(error: &ScanError) -> YamlError {
    YamlError {
        place: place(*error.marker()),
        reason: format!("not YAML: {}", error.info()),
        cure: None,
    }
}

fn dict(entries: Vec<Entry>, path: &mut Vec<String>, lines: &mut Lines) -> Dict {
    let mut dict = Dict::new();
    for Entry { name, line, node } in entries {
        path.push(name.clone());
        lines.insert(path.clone(), line);
        dict.insert(name, value(node, path, lines));
        path.pop();
    }
    dict
}

/// Keys inside of lists are never looked for, so that their lines are not kept.
fn value(node: Node, path: &mut Vec<String>, lines: &mut Lines) -> Value {
    match node {
        Node::Text(text) => text.into(),
        Node::Nothing => Empty::Unit.into(),
        Node::Section(entries) => dict(entries, path, lines).into(),
        Node::List(items) => items
            .into_iter()
            .map(|item| value(item, path, &mut Lines::new()))
            .collect::<Vec<_>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, path: &str) -> Option<usize> {
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        parse(text).unwrap().1.get(&path).copied()
    }

    #[test]
    fn every_key_has_its_line() {
        let text = "# first\na:\n  b: 1\n  c:\n    - b\n    - x\nd: {e: 1, f: {g: 2}}\n";
        assert_eq!(line(text, "a.b"), Some(3));
        assert_eq!(line(text, "a.c"), Some(4));
        assert_eq!(line(text, "d.f.g"), Some(7));
        assert_eq!(line(text, "a.z"), None);
    }

    #[test]
    fn a_value_stays_as_it_was_written() {
        let (dict, _) = parse("a: [1e5, 0x1f, 1.10, off, 010, '']\n").unwrap();
        let items: Vec<_> = dict["a"].as_array().unwrap().iter().collect();
        let texts: Vec<_> = items.iter().map(|item| item.as_str().unwrap()).collect();
        assert_eq!(texts, ["1e5", "0x1f", "1.10", "off", "010", ""]);
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_at_the_second() {
        let error = parse("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
        assert_eq!(error.place, (4, 3));
        assert_eq!(error.reason, "the key `b` stands here twice");
    }

    #[test]
    fn a_file_without_content_has_no_sections() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "null\n"] {
            assert_eq!(parse(text), Ok((Dict::new(), Lines::new())), "{text:?}");
        }
    }

    #[test]
    fn a_file_with_only_a_value_is_refused() {
        assert!(parse("just words").is_err());
        assert!(parse("[1, 2]").is_err());
    }

    #[test]
    fn an_alias_stands_for_what_its_anchor_names() {
        let (dict, lines) = parse("a: &x {b: 1}\nc: *x\n").unwrap();
        assert_eq!(dict["c"].as_dict().unwrap()["b"].as_str(), Some("1"));
        assert_eq!(lines[&vec!["c".to_owned(), "b".to_owned()]], 1);
    }

    #[test]
    fn nesting_and_aliases_are_bounded() {
        let reason = |text: &str| parse(text).unwrap_err().reason;
        for text in ["[", "{", "- ", "? ", "{a: ", "[[]"] {
            let deep = format!("a: {}", text.repeat(100_000));
            let flat = text.repeat(100_000);
            assert!(parse(&deep).is_err() && parse(&flat).is_err(), "{text}");
        }
        assert_eq!(
            reason(&format!("a: {}", "[".repeat(40))),
            "more than 32 levels are nested here"
        );
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert_eq!(reason(&laughs), "the file has more than 200000 values");
        let mut tower = "a0: &a0 [x]\n".to_owned();
        for level in 1..5_000 {
            tower += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert_eq!(reason(&tower), "more than 32 levels are nested here");
        assert!(reason("a: &a [*a]\n").contains("inside what it is an alias of"));
    }

    #[test]
    fn a_text_is_plain_when_it_reads_back_as_itself() {
        for text in [
            "info",
            "10.0.0.1:9092",
            "1-3",
            "7",
            "100MiB",
            "info;x=y",
            "1e5",
        ] {
            assert!(is_plain(text), "{text}");
        }
        for text in [
            "",
            "null",
            "~",
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
        assert_eq!(parse("a:\n\tb: 1\n").unwrap_err().place.0, 2);
        assert!(parse("a: [1, 2\nb: 3\n").is_err());
    }
}
