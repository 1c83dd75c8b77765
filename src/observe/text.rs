//! Names that came over the wire (client ids, software names, server names, hosts in a response) on
//! their way into a log line, an error or the status page: they can't start a new line, colour a
//! terminal, hide text or fill a disk.

use std::fmt;

/// As much of one name as a log line needs to bear.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Shows `text` with everything escaped that does not print, in at most `bytes_max` bytes; when
/// there is more, `…` and the whole length in bytes follow: `consumer-aaa…(65536 bytes)`.
///
/// Takes what there is: `&str`, `&[u8]`, `String`, `Bytes`. A byte that is not UTF-8 is shown as
/// `\xff`, a control character, a text direction mark or any other that takes no visible place as
/// `\u{202e}`, and a backslash twice, so that nothing can pretend to have been escaped.
pub(crate) fn shown<T: AsRef<[u8]> + ?Sized>(text: &T, bytes_max: usize) -> Shown<'_> {
    Shown {
        text: text.as_ref(),
        bytes_max,
    }
}

/// `value` as indented JSON that is safe to print and reads back as the same value: JSON alone
/// escapes what is below U+0020, and leaves the delete key, the terminal controls from U+0080 and
/// text directions as they are.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let text = format!("{value:#}");
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let prints = matches!(character, '\n' | ' '..='~') || character.escape_debug().len() == 1;
        if prints {
            safe.push(character);
        } else {
            // Outside of strings JSON is ASCII that prints, so that this is within one.
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe += &format!("\\u{unit:04x}");
            }
        }
    }
    safe
}

/// A name from the wire that is safe to print; made by [`shown`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    text: &'a [u8],
    bytes_max: usize,
}

impl<'a> Shown<'a> {
    /// Shows a name in at most [`NAME_BYTES_MAX`] bytes.
    pub(crate) fn name<T: AsRef<[u8]> + ?Sized>(text: &'a T) -> Self {
        shown(text, NAME_BYTES_MAX)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Bounded {
            out: f,
            bytes_left: self.bytes_max,
        };
        match line.put_all(self.text)? {
            Outcome::Whole => Ok(()),
            Outcome::Full => write!(f, "…({} bytes)", self.text.len()),
        }
    }
}

/// Whether everything found a place.
enum Outcome {
    Whole,
    Full,
}

/// A line that takes pieces until one does not fit; no piece is ever cut in two.
struct Bounded<'f, 'a> {
    out: &'f mut fmt::Formatter<'a>,
    bytes_left: usize,
}

impl Bounded<'_, '_> {
    fn put_all(&mut self, text: &[u8]) -> Result<Outcome, fmt::Error> {
        for chunk in text.utf8_chunks() {
            for character in chunk.valid().chars() {
                if let Outcome::Full = self.put_character(character)? {
                    return Ok(Outcome::Full);
                }
            }
            for byte in chunk.invalid() {
                if let Outcome::Full = self.put(format_args!("\\x{byte:02x}"), 4)? {
                    return Ok(Outcome::Full);
                }
            }
        }
        Ok(Outcome::Whole)
    }

    fn put_character(&mut self, character: char) -> Result<Outcome, fmt::Error> {
        // Quotes stay as they are: they are harmless, and doubled backslashes would only be harder
        // to read.
        if matches!(character, '"' | '\'') {
            return self.put(format_args!("{character}"), 1);
        }
        let escaped = character.escape_debug();
        let bytes = escaped.clone().map(char::len_utf8).sum();
        self.put(format_args!("{escaped}"), bytes)
    }

    fn put(&mut self, piece: fmt::Arguments<'_>, bytes: usize) -> Result<Outcome, fmt::Error> {
        let Some(bytes_left) = self.bytes_left.checked_sub(bytes) else {
            return Ok(Outcome::Full);
        };
        self.bytes_left = bytes_left;
        self.out.write_fmt(piece)?;
        Ok(Outcome::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &(impl AsRef<[u8]> + ?Sized)) -> String {
        Shown::name(text).to_string()
    }

    #[test]
    fn an_ordinary_name_is_shown_as_it_is() {
        for text in [
            "",
            "console-consumer",
            "Kafka 4.3.1 (x86)",
            "café-日本",
            "it's \"quoted\"",
        ] {
            assert_eq!(name(text), text);
        }
    }

    proptest! {
        #[test]
        fn json_prints_on_one_screen_and_reads_back_as_it_was(name: String, odd in odd()) {
            let value = serde_json::json!({ &name: [odd, 1.5], "none": null });
            let text = json(&value);
            let prints = |c: char| c == '\n' || c.escape_debug().len() == 1 || c.is_ascii_graphic();
            prop_assert!(text.chars().all(prints), "{text:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    fn odd() -> impl Strategy<Value = String> {
        const ODD: &[char] = &[
            '\x7f',
            '\u{9b}',
            '\u{202e}',
            '\u{feff}',
            '\u{e0001}',
            '\x1b',
            '"',
            '\\',
            '日',
        ];
        prop::collection::vec(prop::sample::select(ODD), 0..8)
            .prop_map(|characters| characters.into_iter().collect())
    }

    #[test]
    fn json_steers_no_terminal() {
        let value = serde_json::json!("\u{7f}\u{9b}31m \u{202e} \u{e0001} 日本 \"\\\n");
        let text = r#""\u007f\u009b31m \u202e \udb40\udc01 日本 \"\\\n""#;
        assert_eq!(json(&value), text);
    }

    #[test]
    fn what_could_forge_a_line_or_steer_a_terminal_is_escaped() {
        assert_eq!(name("a\r\nERROR all lost"), "a\\r\\nERROR all lost");
        assert_eq!(name("\x1b[31mred\x07"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(
            name("\u{202e}txt.exe"),
            "\\u{202e}txt.exe",
            "text direction"
        );
        assert_eq!(
            name("a\u{200b}b\u{a0}c\u{2028}"),
            "a\\u{200b}b\\u{a0}c\\u{2028}",
            "invisible and odd spaces"
        );
        assert_eq!(name("\\n"), "\\\\n", "a backslash is no escape of ours");
        assert_eq!(name("nul\0"), "nul\\0");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_as_numbers() {
        assert_eq!(name(b"ok\xff\xc3("), "ok\\xff\\xc3(");
    }

    #[test]
    fn a_long_name_is_cut_and_tells_its_length() {
        assert_eq!(
            name(&"a".repeat(NAME_BYTES_MAX)),
            "a".repeat(NAME_BYTES_MAX),
            "just fits"
        );
        let cut = format!("{}…(65536 bytes)", "a".repeat(NAME_BYTES_MAX));
        assert_eq!(name(&"a".repeat(65536)), cut);
        assert_eq!(shown("abc", 0).to_string(), "…(3 bytes)");
    }

    #[test]
    fn the_bound_holds_for_the_escapes_too_and_cuts_none_of_them_in_two() {
        assert_eq!(shown("\x01\x02", 9).to_string(), "\\u{1}…(2 bytes)");
        assert_eq!(shown("日本", 5).to_string(), "日…(6 bytes)");
        assert_eq!(shown(b"\xff\xff", 7).to_string(), "\\xff…(2 bytes)");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_prints_on_one_line(
            text in proptest::collection::vec(any::<u8>(), 0..600),
            bytes_max in 0usize..200,
        ) {
            let shown = shown(&text, bytes_max).to_string();
            let mark = format!("…({} bytes)", text.len());
            let body = shown.strip_suffix(&mark).unwrap_or(&shown);
            prop_assert!(body.len() <= bytes_max);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
