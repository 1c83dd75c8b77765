//! The matrix as `config/single.md` shows it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Cell, ROWS, Row, USES, Use};
use crate::single::Hosts;

const BEGINS: &str = "<!-- Written by UPDATE=1 cargo test --test kafka -- page -->\n";
const ENDS: &str = "<!-- The end of what is written. -->\n";

/// Prints the matrix, and compares it with the page; with `UPDATE` in the environment it writes the
/// page anew.
pub(super) fn compare() -> Result<()> {
    let table = table()?;
    println!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/single.md");
    let page = std::fs::read_to_string(&path)?;
    let (head, rest) = page
        .split_once(BEGINS)
        .context("config/single.md has no place for the matrix")?;
    let (shown, tail) = rest
        .split_once(ENDS)
        .context("the matrix in config/single.md has no end")?;
    if shown == table {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some() {
        return Ok(std::fs::write(
            &path,
            format!("{head}{BEGINS}{table}{ENDS}{tail}"),
        )?);
    }
    bail!(
        "config/single.md shows another matrix than the one that is tried; write it anew: UPDATE=1 \
         cargo test --test kafka -- page"
    )
}

fn table() -> Result<String> {
    let mut notes = Vec::new();
    let mut text = "\n| client | addresses |".to_owned();
    USES.iter()
        .try_for_each(|column| write!(text, " {} |", heading(*column)))?;
    write!(text, "\n|---|---|{}\n", "---|".repeat(USES.len()))?;
    for row in ROWS {
        for (hosts, name) in [(Hosts::Equal, "one for all"), (Hosts::Named, "a name each")] {
            let label = if hosts == Hosts::Equal { row.label } else { "" };
            let cells = USES.map(|column| shown(row, column, hosts, &mut notes));
            writeln!(text, "| {label} | {name} | {} |", cells.join(" | "))?;
        }
    }
    text.push('\n');
    for (number, note) in (1..).zip(notes) {
        writeln!(text, "{number}. {note}")?;
    }
    text.push('\n');
    Ok(text)
}

fn shown(row: &Row, column: Use, hosts: Hosts, notes: &mut Vec<&'static str>) -> String {
    match row.cell(column, hosts) {
        Cell::Tried => "yes".to_owned(),
        Cell::Lacks => "–".to_owned(),
        Cell::Untried => String::new(),
        Cell::Names(why) | Cell::No(why) => {
            let at = notes
                .iter()
                .position(|note| *note == why)
                .unwrap_or_else(|| {
                    notes.push(why);
                    notes.len() - 1
                });
            format!("no ({})", at + 1)
        }
    }
}

fn heading(column: Use) -> &'static str {
    match column {
        Use::List => "list",
        Use::Produce => "produce",
        Use::Group => "classic group",
        Use::Idempotent => "idempotent",
        Use::Transactions => "transactions",
        Use::NoAcks => "acks=0",
        Use::Kip848 => "KIP-848 group",
        Use::Static => "static member",
        Use::Share => "share group",
        Use::Streams => "streams group",
        Use::Settings => "settings of a broker",
        Use::LogDirs => "log directories of a broker",
        Use::Rack => "fetch by rack",
    }
}
