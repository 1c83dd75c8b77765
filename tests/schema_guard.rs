//! The schema guard: compares the API table with the message schemas inside the kafka-clients jar
//! of every Kafka release under test, so that an API, a version or an address that nobody looked at
//! fails a test on the day it ships.
//!
//! What it can't see: an address inside a free text, such as an error message or the value of a
//! configuration key.

#[path = "schema_guard/addresses.rs"]
mod addresses;
#[path = "schema_guard/schemas.rs"]
mod schemas;

use std::collections::BTreeSet;

use addresses::{ADDRESSES, Address, Class};
use anyhow::Result;
use narrows::protocol::table::{APIS, Api, Treatment, Versions};
use schemas::{Schema, jars, parse, read_jar, without_comments};

/// What in a name or a type says address. Better one too many: a harmless field costs one line in
/// the list.
const WORDS: [&str; 8] = [
    "host",
    "port",
    "endpoint",
    "listener",
    "address",
    "server",
    "bootstrap",
    "advertised",
];

#[test]
fn every_api_version_and_address_of_every_release_under_test_is_classified() -> Result<()> {
    let mut schemas = Vec::new();
    for jar in jars()? {
        schemas.extend(read_jar(&jar)?);
    }
    let problems = problems(&schemas, &APIS, ADDRESSES);
    assert!(problems.is_empty(), "\n  {}\n", problems.join("\n  "));
    Ok(())
}

/// What the table or the list of addresses doesn't know, or claims and no schema has.
fn problems(schemas: &[Schema], table: &[Api], addresses: &[Address]) -> Vec<String> {
    let mut problems = Vec::new();
    for schema in schemas {
        match table.iter().find(|api| api.key == schema.key) {
            None => problems.push(format!(
                "{}: api key {} is not in the table",
                schema.source, schema.key
            )),
            Some(api) => {
                check_versions(schema, api, &mut problems);
                check_listeners(schema, api, &mut problems);
                check_addresses(schema, api, addresses, &mut problems);
            }
        }
    }
    for api in table {
        check_row(schemas, api, addresses, &mut problems);
    }
    for entry in addresses {
        check_entry(schemas, entry, &mut problems);
    }
    problems
}

fn check_versions(schema: &Schema, api: &Api, problems: &mut Vec<String>) {
    let Some(valid) = schema.valid else { return };
    for version in (valid.min..=valid.max).filter(|version| !api.versions.contains(*version)) {
        problems.push(format!(
            "{}: version {version} is not in the table's {}",
            schema.source,
            show(api)
        ));
    }
    if schema.flexible_from != api.flexible_from {
        let schema_says = schema.flexible_from;
        let table_says = api.flexible_from;
        problems.push(format!(
            "{}: flexible from {schema_says:?}, in the table's {} from {table_says:?}",
            schema.source,
            show(api)
        ));
    }
}

/// An API that no broker listener serves is between nodes of the cluster.
fn check_listeners(schema: &Schema, api: &Api, problems: &mut Vec<String>) {
    let Some(listeners) = &schema.listeners else {
        return;
    };
    if !listeners.iter().any(|listener| listener == "broker") && api.treatment != Treatment::Refuse
    {
        problems.push(format!(
            "{}: only listeners {listeners:?} serve it, but the table's {} is not refused",
            schema.source,
            show(api)
        ));
    }
}

fn check_addresses(schema: &Schema, api: &Api, addresses: &[Address], problems: &mut Vec<String>) {
    if !schema.is_response {
        return;
    }
    for field in schema
        .fields
        .iter()
        .filter(|field| says_address(&field.path, &field.kind))
    {
        let at = format!(
            "{}: field {} ({}, versions {})",
            schema.source, field.path, field.kind, field.versions
        );
        let listed = addresses.iter().find(|entry| {
            (entry.key, entry.path, entry.versions) == (schema.key, &field.path, &field.versions)
        });
        let kept = match listed.map(|entry| entry.class) {
            None => {
                problems.push(format!(
                    "{at} says address and is not in tests/schema_guard/addresses.rs"
                ));
                continue;
            }
            Some(Class::BrokerRewritten | Class::ControllerRemoved) => api.rewrites(field.from),
            Some(Class::Refused) => api.treatment == Treatment::Refuse,
            Some(Class::OfApplication | Class::ClientsOwn | Class::NotAnAddress) => true,
        };
        if !kept {
            problems.push(format!(
                "{at} is listed as {:?}, but version {} of the table's {} is {:?}",
                listed.map(|entry| entry.class),
                field.from,
                show(api),
                api.treatment
            ));
        }
    }
}

/// Whether the last name of a path or the type of the field says address.
fn says_address(path: &str, kind: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    let text = format!("{name} {kind}").to_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// A row claims what the schemas have, not more: a version that no release has can't have been
/// looked at, and a rewrite begins where the first address does.
fn check_row(schemas: &[Schema], api: &Api, addresses: &[Address], problems: &mut Vec<String>) {
    let own = || schemas.iter().filter(|schema| schema.key == api.key);
    let of_releases = own()
        .filter_map(|schema| schema.valid)
        .reduce(|a, b| Versions {
            min: a.min.min(b.min),
            max: a.max.max(b.max),
        });
    if of_releases != Some(api.versions) {
        problems.push(format!(
            "table: {}, but the releases under test have {of_releases:?}",
            show(api)
        ));
    }
    let names: BTreeSet<_> = own().map(|schema| schema.api.as_str()).collect();
    if !names.contains(api.name) {
        problems.push(format!(
            "table: {}, but the releases under test call it {names:?}",
            show(api)
        ));
    }
    let first_address = own()
        .filter(|schema| schema.is_response)
        .flat_map(|schema| &schema.fields)
        .filter(|field| {
            addresses.iter().any(|entry| {
                entry.key == api.key
                    && entry.path == field.path
                    && matches!(
                        entry.class,
                        Class::BrokerRewritten | Class::ControllerRemoved
                    )
            })
        })
        .map(|field| field.from)
        .min();
    let rewritten_from = match api.treatment {
        Treatment::Rewrite { from, .. } => Some(from),
        _ => None,
    };
    if rewritten_from != first_address {
        problems.push(format!(
            "table: {} is rewritten from version {rewritten_from:?}, but its first address is in \
             {first_address:?}",
            show(api)
        ));
    }
}

fn check_entry(schemas: &[Schema], entry: &Address, problems: &mut Vec<String>) {
    let exists = schemas.iter().any(|schema| {
        (schema.key, schema.is_response) == (entry.key, true)
            && schema
                .fields
                .iter()
                .any(|field| (&*field.path, &*field.versions) == (entry.path, entry.versions))
    });
    if !exists {
        problems.push(format!("addresses.rs: no release under test has {entry:?}"));
    }
}

fn show(api: &Api) -> String {
    format!(
        "{} (key {}) {}-{}",
        api.name, api.key, api.versions.min, api.versions.max
    )
}

/// A row of Heartbeat's kind, and schemas that fit it.
mod given {
    use super::*;

    pub(crate) fn row() -> Api {
        APIS[12]
    }

    /// A rewrite by any schema: the guard looks at the version alone.
    pub(crate) fn rewrite(from: i16) -> Treatment {
        match APIS[3].treatment {
            Treatment::Rewrite { schema, .. } => Treatment::Rewrite { from, schema },
            other => other,
        }
    }

    pub(crate) fn request(change: &str, to: &str) -> Schema {
        schema(
            r#"{ "apiKey": 12, "type": "request", "name": "HeartbeatRequest", "listeners": ["broker"],
                 "validVersions": "0-4", "flexibleVersions": "4+", "fields": [] }"#,
            change,
            to,
        )
    }

    pub(crate) fn response(change: &str, to: &str) -> Schema {
        schema(
            r#"{ "apiKey": 12, "type": "response", "name": "HeartbeatResponse",
                 "validVersions": "0-4", "flexibleVersions": "4+",
                 "fields": [ { "name": "ErrorCode", "type": "int16", "versions": "0+" } ] }"#,
            change,
            to,
        )
    }

    /// A response with one more field.
    pub(crate) fn response_with(field: &str) -> Schema {
        response(r#""fields": ["#, &format!(r#""fields": [ {field},"#))
    }

    fn schema(text: &str, change: &str, to: &str) -> Schema {
        assert!(text.contains(change), "{change}");
        parse("Some.json", &text.replacen(change, to, 1))
            .expect("a schema")
            .expect("a message")
    }
}

/// What the guard says about a request and a response of Heartbeat.
fn said(request: Schema, response: Schema) -> String {
    problems(&[request, response], &[given::row()], &[]).join("\n")
}

#[test]
fn schemas_that_the_table_knows_pass() {
    assert_eq!(said(given::request("", ""), given::response("", "")), "");
}

#[test]
fn a_new_api_is_found() {
    let unknown = given::request("12", "95");
    let problems = problems(
        &[given::request("", ""), given::response("", ""), unknown],
        &[given::row()],
        &[],
    );
    assert_eq!(problems, ["Some.json: api key 95 is not in the table"]);
}

#[test]
fn a_new_version_of_a_request_or_a_response_is_found() {
    let expected = "Some.json: version 5 is not in the table's Heartbeat (key 12) 0-4";
    assert!(said(given::request("0-4", "0-5"), given::response("", "")).contains(expected));
    assert!(said(given::request("", ""), given::response("0-4", "0-5")).contains(expected));
}

#[test]
fn a_version_in_the_table_that_no_release_has_is_found() {
    let said = said(given::request("0-4", "1-4"), given::response("0-4", "1-4"));
    assert!(
        said.contains("the releases under test have Some(Versions { min: 1, max: 4 })"),
        "{said}"
    );
}

#[test]
fn an_api_that_a_release_removed_passes_as_long_as_another_has_it() {
    let removed = r#"{ "apiKey": 12, "type": "request", "name": "HeartbeatRequest", "validVersions": "none" }"#;
    let removed = parse("Removed.json", removed).unwrap().unwrap();
    let schemas = [removed, given::request("", ""), given::response("", "")];
    assert_eq!(problems(&schemas, &[given::row()], &[]), [""; 0]);
}

#[test]
fn flexible_versions_that_differ_are_found() {
    for changed in ["5+", "none"] {
        let said = said(given::request("4+", changed), given::response("", ""));
        assert!(
            said.contains("in the table's Heartbeat (key 12) 0-4 from Some(4)"),
            "{said}"
        );
    }
}

#[test]
fn an_api_of_the_controller_listener_that_is_not_refused_is_found() {
    let said = said(
        given::request(r#"["broker"]"#, r#"["controller"]"#),
        given::response("", ""),
    );
    assert!(said.contains("is not refused"), "{said}");
}

#[test]
fn an_address_is_found_at_any_depth_tagged_or_in_a_common_struct() {
    let host = r#"{ "name": "BrokerHost", "type": "string", "versions": "2+" }"#;
    let at_top = given::response_with(host);
    let nested = given::response_with(&format!(
        r#"{{ "name": "A", "type": "[]B", "versions": "0+", "fields": [ {host} ] }}"#
    ));
    let tagged =
        given::response_with(&host.replace("}", r#", "tag": 0, "taggedVersions": "2+" }"#));
    let common = given::response(
        r#""fields": ["#,
        &format!(
            r#""commonStructs": [ {{ "name": "B", "versions": "0+", "fields": [ {host} ] }} ],
               "fields": [ {{ "name": "A", "type": "B", "versions": "0+" }},"#
        ),
    );
    for (response, path) in [(at_top, ""), (nested, "A."), (tagged, ""), (common, "A.")] {
        let said = said(given::request("", ""), response);
        let expected =
            format!("Some.json: field {path}BrokerHost (string, versions 2+) says address");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn an_address_is_found_by_the_type_of_its_field_too() {
    let field = r#"{ "name": "Where", "type": "[]Endpoint", "versions": "0+" }"#;
    let said = said(given::request("", ""), given::response_with(field));
    assert!(
        said.contains("field Where ([]Endpoint, versions 0+) says address"),
        "{said}"
    );
}

#[test]
fn a_field_that_only_removed_versions_have_is_no_address() {
    let field = r#"{ "name": "Host", "type": "string", "versions": "7+" }"#;
    assert_eq!(
        said(given::request("", ""), given::response_with(field)),
        ""
    );
}

#[test]
fn a_row_that_rewrites_too_late_too_early_or_not_at_all_is_found() {
    let port = r#"{ "name": "Port", "type": "int32", "versions": "2+" }"#;
    let schemas = [given::request("", ""), given::response_with(port)];
    let listed = Address {
        key: 12,
        path: "Port",
        versions: "2+",
        class: Class::BrokerRewritten,
    };
    let said = |treatment| {
        problems(
            &schemas,
            &[Api {
                treatment,
                ..given::row()
            }],
            &[listed],
        )
        .join("\n")
    };
    assert_eq!(said(given::rewrite(2)), "");
    for wrong in [given::rewrite(3), given::rewrite(1), Treatment::Opaque] {
        assert!(
            said(wrong).contains("its first address is in Some(2)"),
            "{wrong:?}"
        );
    }
}

fn of_a_port_from_v2_listed_as(versions: &'static str, class: Class) -> String {
    let port = r#"{ "name": "Port", "type": "int32", "versions": "2+" }"#;
    let schemas = [given::request("", ""), given::response_with(port)];
    let listed = Address {
        key: 12,
        path: "Port",
        versions,
        class,
    };
    problems(&schemas, &[given::row()], &[listed]).join("\n")
}

#[test]
fn an_address_listed_as_refused_in_an_api_that_is_served_is_found() {
    let said = of_a_port_from_v2_listed_as("2+", Class::Refused);
    assert!(said.contains("is listed as Some(Refused)"), "{said}");
}

#[test]
fn a_listed_address_whose_versions_have_changed_or_that_is_gone_is_found() {
    let said = of_a_port_from_v2_listed_as("0+", Class::ClientsOwn);
    assert!(said.contains("says address and is not in"), "{said}");
    assert!(said.contains("no release under test has"), "{said}");
}

#[test]
fn comments_end_with_their_line_and_strings_keep_their_slashes() {
    let text = "{ // a \"comment\"\n \"about\": \"see https://x \\\" // y\" } // end";
    assert_eq!(
        without_comments(text),
        "{ \n \"about\": \"see https://x \\\" // y\" } "
    );
}
