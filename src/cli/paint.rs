//! Colour for people: of verdicts, so that an eye finds what is wrong in a long table. Only on a
//! terminal, and where its user has not said no (`NO_COLOR`, `TERM=dumb`). Remote text can't paint:
//! its control characters are escaped before it gets here.

use crate::observe::logs;
use std::io::IsTerminal;

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[1;31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// A table of `doctor` or `check --live`, for standard output.
pub(super) fn table(text: String) -> String {
    if std::io::stdout().is_terminal() && logs::colours_wanted() {
        painted(&text)
    } else {
        text
    }
}

fn painted(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    for (mark, colour) in [("  ok ", GREEN), ("  warn ", YELLOW), ("  FAIL ", RED)] {
        if let Some(rest) = line.strip_prefix(mark) {
            return format!("{colour}{mark}{RESET}{rest}");
        }
    }
    let bare = line.trim_end();
    let colour = match bare {
        "All is well." => GREEN,
        _ if bare.starts_with("Clients can work;") => YELLOW,
        _ if bare.ends_with(" to mend.") || bare.contains(" to mend, ") => RED,
        _ if bare.trim_start().starts_with("(config/doctor.md#") => DIM,
        _ => return line.to_owned(),
    };
    format!("{colour}{bare}{RESET}{}", &line[bare.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_colours_and_nothing_else_changes() {
        let table = "kafka:9092\n  ok   connect  x\n  warn tls      y\n  FAIL broker   z\n        \
                     (config/doctor.md#tls_expired)\n\n# Java\na=1 to mend\n\n1 to mend, 1 to look \
                     at.\nAll is well.\nClients can work; 1 to look at.\n";
        let painted = painted(table);
        for (colour, text) in [
            (GREEN, "  ok "),
            (YELLOW, "  warn "),
            (RED, "  FAIL "),
            (DIM, "        (config/doctor.md#tls_expired)"),
            (RED, "1 to mend, 1 to look at."),
            (GREEN, "All is well."),
            (YELLOW, "Clients can work; 1 to look at."),
        ] {
            let expected = format!("{colour}{text}{RESET}");
            assert!(painted.contains(&expected), "{text} in {painted:?}");
        }
        let colours = [GREEN, YELLOW, RED, DIM, RESET];
        let plain = colours
            .iter()
            .fold(painted, |text, colour| text.replace(colour, ""));
        assert_eq!(plain, table);
    }
}
