//! The status page: what `/api/status` says, for people. Made here, on each request, from the same
//! value; no script, no framework, nothing from elsewhere.
//!
//! Much of what it shows came over the wire from strangers, so every text goes through [`escaped`],
//! and what a browser may do is said in [`CONTENT_SECURITY_POLICY`]: nothing but show it, in the
//! style of `/style.css`.

use serde_json::Value;
use std::fmt::{self, Write};

/// What a browser may do with the page.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The style sheet, with the page's two looks: light and dark.
pub(super) const STYLE: &str = include_str!("style.css");

/// A table of the page: a heading, where in the status its rows are, and its columns, each with a
/// heading and the name in a row.
struct Table {
    heading: &'static str,
    at: &'static str,
    columns: &'static [(&'static str, &'static str)],
    /// What is said when there is no row.
    empty: &'static str,
}

const BROKERS: &[(&str, &str)] = &[
    ("Node id", "node_id"),
    ("Clients are told", "advertised"),
    ("Broker", "broker"),
    ("Controller", "is_controller"),
    ("Connections", "connections"),
    ("Connect p50, ms", "connect_p50_ms"),
    ("Last problem", "last_problem"),
];

const CLUSTERS: Table = Table {
    heading: "Clusters",
    at: "clusters",
    columns: &[
        ("Cluster", "name"),
        ("Cluster id", "cluster_id"),
        ("Bootstrap servers", "bootstrap_servers"),
        ("Metadata", "refresh"),
        ("", "refresh_text"),
        ("TLS", "tls"),
    ],
    empty: "There is none.",
};

const TABLES: [Table; 5] = [
    Table {
        heading: "Problems",
        at: "problems",
        columns: &[
            ("Last at", "at"),
            ("Count", "count"),
            ("Listener", "listener"),
            ("Source", "source"),
            ("Cause", "cause"),
            ("What it is, and what to do", "last"),
        ],
        empty: "None since the start.",
    },
    Table {
        heading: "Certificates",
        at: "certificates",
        columns: &[
            ("Of", "owner"),
            ("Role", "role"),
            ("Names", "names"),
            ("State", "state"),
            ("Expires", "not_after"),
            ("Days left", "days_left"),
        ],
        empty: "Narrows has none: TLS is off, or passes through.",
    },
    Table {
        heading: "Limits",
        at: "limits",
        columns: &[("Limit", "limit"), ("In use", "in_use"), ("May be", "max")],
        empty: "",
    },
    Table {
        heading: "Memory that is set aside",
        at: "pools",
        columns: &[
            ("For", "pool"),
            ("May be", "max"),
            ("Bytes each", "bytes"),
            ("Why", "why"),
        ],
        empty: "",
    },
    Table {
        heading: "Configuration in effect",
        at: "configuration",
        columns: &[("Key", "key"), ("Value", "value"), ("From", "origin")],
        empty: "It was not read from a file, the environment or flags.",
    },
];

/// The page for a status.
pub(super) fn page(status: &Value) -> String {
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a String does not fail.
    let _ = write(&mut page, status);
    page
}

fn write(out: &mut String, status: &Value) -> fmt::Result {
    let verdict = &status["verdict"];
    let state = text(&verdict["state"]);
    out.push_str(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"15\">\n<title>Narrows: ",
    );
    writeln!(
        out,
        "{state}</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n<header>\
         <h1>Narrows</h1><p>{} · up {} · {} sessions</p></header>\n<main>",
        text(&status["version"]),
        duration(&status["uptime_seconds"]),
        text(&status["sessions"]),
    )?;
    writeln!(
        out,
        "<section class=\"verdict {}\">",
        class(&verdict["state"])
    )?;
    writeln!(out, "<h2>{}</h2>", text(&verdict["text"]))?;
    if let Some(reasons) = verdict["reasons"].as_array().filter(|all| !all.is_empty()) {
        out.push_str("<ul>\n");
        for reason in reasons {
            writeln!(out, "<li>{}</li>", text(reason))?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    for listener in status["listeners"].as_array().into_iter().flatten() {
        write_listener(out, listener)?;
    }
    write_table(out, &CLUSTERS, &status[CLUSTERS.at])?;
    for table in &TABLES {
        write_table(out, table, &status[table.at])?;
    }
    writeln!(
        out,
        "<p class=\"note\">{}</p>\n</main>\n<footer><a href=\"api/status\">As JSON</a> · \
         <a href=\"metrics\">Metrics</a> · <a href=\"readyz\">Readiness</a></footer>\n</body>\n\
         </html>",
        configuration(status) + &reload(&status["reload"]),
    )
}

fn write_listener(out: &mut String, listener: &Value) -> fmt::Result {
    writeln!(
        out,
        "<section>\n<h2>Listener {}</h2>\n<p>{} on {}, {} connections; clients bootstrap at \
         <code>{}</code>; TLS: {}; brokers: {}.</p>",
        text(&listener["name"]),
        text(&listener["scheme"]),
        text(&listener["bind"]),
        text(&listener["connections"]),
        text(&listener["bootstrap"]),
        text(&listener["tls"]),
        text(&listener["broker_addresses"]),
    )?;
    write_rows(
        out,
        BROKERS,
        &listener["brokers"],
        "No broker is known yet.",
    )?;
    out.push_str("</section>\n");
    Ok(())
}

fn write_table(out: &mut String, table: &Table, rows: &Value) -> fmt::Result {
    writeln!(out, "<section>\n<h2>{}</h2>", table.heading)?;
    write_rows(out, table.columns, rows, table.empty)?;
    out.push_str("</section>\n");
    Ok(())
}

fn write_rows(
    out: &mut String,
    columns: &[(&str, &str)],
    rows: &Value,
    empty: &str,
) -> fmt::Result {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return writeln!(out, "<p>{empty}</p>");
    }
    out.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (heading, _) in columns {
        write!(out, "<th>{heading}</th>")?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (heading, name) in columns {
            let cell = &row[*name];
            let number = if cell.is_number() {
                " class=\"number\""
            } else {
                ""
            };
            write!(out, "<td{number} data-of=\"{heading}\">{}</td>", text(cell))?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// By its hash two processes can be compared.
fn configuration(status: &Value) -> String {
    match &status["configuration_hash"] {
        Value::Null => String::new(),
        hash => format!(
            "Configuration {}, in effect since {}. ",
            text(hash),
            text(&status["configuration_since"])
        ),
    }
}

fn reload(reload: &Value) -> String {
    if reload.is_null() {
        return "Not reloaded since the start.".to_owned();
    }
    let problem = match &reload["problem"] {
        Value::Null => String::new(),
        problem => format!(": {}", text(problem)),
    };
    format!(
        "Last reload: {} at {}{problem}",
        text(&reload["state"]),
        text(&reload["at"])
    )
}

/// A state's word as a class of the style sheet; anything else is none.
fn class(state: &Value) -> &'static str {
    match state.as_str() {
        Some("well") => "well",
        Some("attention") => "attention",
        _ => "draining",
    }
}

fn duration(seconds: &Value) -> String {
    let seconds = seconds.as_u64().unwrap_or(0);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A value for people, safe in HTML.
fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => escaped(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => escaped(&other.to_string()),
    }
}

/// The text where HTML, in an element or a quoted attribute, would take some of it for its own.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A status in which every text is `text`.
    fn status(text: &str) -> Value {
        let row = |names: &[(&str, &str)]| {
            let cells = names
                .iter()
                .map(|(_, name)| ((*name).to_owned(), json!(text)));
            Value::Object(cells.collect())
        };
        let mut listener = json!({
            "name": text, "scheme": text, "bind": text, "bootstrap": text, "tls": text,
            "broker_addresses": [text, text], "connections": 3,
        });
        listener["brokers"] = json!([row(BROKERS)]);
        let mut status = json!({
            "version": text,
            "uptime_seconds": 90_061,
            "verdict": { "state": text, "text": text, "reasons": [text] },
            "listeners": [listener],
            "reload": { "state": text, "at": text, "problem": text },
            "configuration_hash": text,
            "configuration_since": text,
        });
        for table in TABLES.iter().chain([&CLUSTERS]) {
            status[table.at] = json!([row(table.columns), row(table.columns)]);
        }
        status
    }

    #[test]
    fn nothing_that_the_status_says_becomes_markup() {
        let hostile = "\"><script>alert('x')</script>&amp;";
        let plain = page(&status("plain"));
        let page = page(&status(hostile));
        assert!(!page.contains("<script") && !page.contains("alert('x')"));
        for mark in ['<', '>', '"'] {
            let count = |page: &str| page.matches(mark).count();
            assert_eq!(count(&page), count(&plain), "{mark}");
        }
        assert!(
            page.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;")
        );
    }

    #[test]
    fn every_text_of_the_status_is_on_the_page() {
        let page = page(&status("seen"));
        let cells: usize = TABLES.iter().map(|table| 2 * table.columns.len()).sum();
        let rest = 2 * CLUSTERS.columns.len() + BROKERS.len();
        assert!(page.matches(">seen</td>").count() == cells + rest, "{page}");
        assert!(page.contains("up 1 d 1 h"));
        assert!(page.contains("Configuration seen, in effect since seen. Last reload: seen"));
    }

    #[test]
    fn a_status_that_lacks_everything_is_still_a_page() {
        let page = page(&Value::Null);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn what_comes_from_the_program_is_below_50_kb() {
        assert!(page(&Value::Null).len() + STYLE.len() < 20_000);
    }
}
