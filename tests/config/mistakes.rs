//! Likely mistakes get the line to write instead: one row each.

use crate::given::{Given, ISSUE_EXAMPLE, no_file};
use narrows::config::{Problem, Sources, load};
use std::io::Write;

/// The only problem of the example when `from` is replaced by `to`.
fn only_problem(from: &str, to: &str) -> Problem {
    assert!(ISSUE_EXAMPLE.contains(from), "{from}");
    let given = Given::file(&ISSUE_EXAMPLE.replacen(from, to, 1));
    let problems = given.load().err();
    let problems = problems.unwrap_or_else(|| panic!("{to} is valid"));
    let [problem] = problems.list.as_slice() else {
        panic!("{to}:\n{problems}");
    };
    problem.clone()
}

const SERVERS: &str = "[10.77.0.11:9092, 10.77.0.12:9092]";

#[test]
fn servers_as_other_programs_write_them_get_the_list_to_write() {
    for (written, reason, cure) in [
        (
            "[http://10.0.0.1:9092]",
            "a server has no protocol in front of it",
            "write [10.0.0.1:9092]",
        ),
        (
            "PLAINTEXT://kafka-0:9092,PLAINTEXT://kafka-1:9092",
            "a server has no protocol in front of it",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "[SASL_SSL://kafka-0:9093]",
            "a server has no protocol in front of it",
            "write [kafka-0:9093], and `tls: {mode: on}` beside it",
        ),
        (
            "kafka-0:9092 kafka-1:9092",
            "servers are separated by commas, not by blanks or semicolons",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "kafka-0:9092; kafka-1:9092",
            "servers are separated by commas, not by blanks or semicolons",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "'kafka-0:9092,'",
            "nothing stands between two commas, or behind the last one",
            "write [kafka-0:9092]",
        ),
        (
            "[kafka-0: 9092]",
            "the blank behind the colon makes a key of `kafka-0`",
            "write kafka-0:9092, without the blank",
        ),
        (
            "{kafka-0: 9092}",
            "the blank behind the colon makes a key of `kafka-0`",
            "write kafka-0:9092, without the blank",
        ),
        (
            "','",
            "the list is empty",
            "write host:port, or [address]:port for IPv6; several as a list or with commas",
        ),
        (
            "['{{ .Values.kafka }}']",
            "a template stands here that nobody has filled in: `{{ ... }}`",
            "render it first (`helm template`), or write the value itself",
        ),
        (
            "[kafka-0:9092/, kafka-1:9092/kafka]",
            "a server has no path behind its port",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "['user:hunter2@kafka-0:9092']",
            "no user stands in front of a server: clients log in through Narrows",
            "write [kafka-0:9092]",
        ),
        (
            "['kafka-0: 9092']",
            "a blank stands in front of a port",
            "write [kafka-0:9092]",
        ),
        (
            "'\"kafka-0:9092,kafka-1:9092\"'",
            "quotes are a part of the value",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "[“kafka-0:9092”]",
            "quotes are a part of the value",
            "write [kafka-0:9092]",
        ),
        (
            "'[kafka-0:9092, kafka-1:9092]'",
            "brackets and quotes are a part of the value",
            "write [kafka-0:9092, kafka-1:9092]",
        ),
        (
            "'[\"kafka-0:9092\", \"[fd00::1]:9092\"]'",
            "brackets and quotes are a part of the value",
            "write [kafka-0:9092, [fd00::1]:9092]",
        ),
        (
            "[{host: kafka-0, port: 9092}]",
            "keys stand in a list of plain values",
            "write kafka-0:9092",
        ),
        (
            "['${KAFKA}:9092']",
            "a variable stands here that nobody has filled in, and Narrows fills in none",
            "write the value itself, or leave the key out and set its own variable (NARROWS_..., \
             see narrows config --keys)",
        ),
        (
            "['[fd00::1]']",
            "`[fd00::1]`: the port is missing",
            "write host:port, or [address]:port for IPv6; several as a list or with commas",
        ),
        (
            "[kafka-0:+9092]",
            "`kafka-0:+9092`: the port must be a number from 1 to 65535",
            "write host:port, or [address]:port for IPv6; several as a list or with commas",
        ),
        (
            "[fd00::1:9092]",
            "`fd00::1:9092`: an IPv6 address needs brackets",
            "write host:port, or [address]:port for IPv6; several as a list or with commas",
        ),
    ] {
        let problem = only_problem(SERVERS, written);
        assert_eq!(
            problem.key, "clusters.orders.bootstrap_servers",
            "{written}"
        );
        assert_eq!(
            (problem.reason.as_str(), problem.cure.as_str()),
            (reason, cure)
        );
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

#[test]
fn words_of_other_programs_get_the_word_to_write() {
    for (keys, key, cure) in [
        ("log: {format: JSON}", "log.format", "write `format: json`"),
        (
            "drain: {timeout: 30}",
            "drain.timeout",
            "write 30s for seconds, 30ms for milliseconds",
        ),
        (
            "relay: {splice: yes}",
            "relay.splice",
            "write `splice: auto`",
        ),
        ("relay: {splice: no}", "relay.splice", "write `splice: off`"),
        (
            "log: {level: infos}",
            "log.level",
            "did you mean info? write one of off, error, warn, info, debug, trace",
        ),
        ("log: debug", "log", "write `log: {level: debug}`"),
        ("drain: 30s", "drain", "write `drain: {delay: 30s}`"),
        ("reload: 0s", "reload", "write `reload: {interval: 0s}`"),
        ("drain: {timeout: 30 Seconds}", "drain.timeout", "write 30s"),
        ("drain: {timeout: 500msec}", "drain.timeout", "write 500ms"),
        ("drain: {timeout: PT1M}", "drain.timeout", "write 1m"),
        ("drain: {timeout: 1.5s}", "drain.timeout", "write 1500ms"),
        ("drain: {timeout: 1m30s}", "drain.timeout", "write 90s"),
        ("drain: {timeout: 1s500ms}", "drain.timeout", "write 1500ms"),
        (
            "drain: {timeout: '\"30s\"'}",
            "drain.timeout",
            "write 30s, without these quotes",
        ),
        (
            "drain: {timeout: $(TIMEOUT)}",
            "drain.timeout",
            "write the value itself, or leave the key out and set its own variable (NARROWS_..., \
             see narrows config --keys)",
        ),
        (
            "limits: {connections_max: 10k}",
            "limits.connections_max",
            "write 10000",
        ),
        (
            "limits: {connections_max: '1,000'}",
            "limits.connections_max",
            "write 1000",
        ),
        (
            "limits: {frame_bytes_max: 1_000_000}",
            "limits.frame_bytes_max",
            "write 1000000",
        ),
        (
            "protocol: {unvetted: yes}",
            "protocol.unvetted",
            "write `unvetted: pass`",
        ),
        (
            "protocol: {unvetted: no}",
            "protocol.unvetted",
            "write `unvetted: hide`",
        ),
        ("log: {level: true}", "log.level", "write `level: info`"),
        (
            "log: {level:debug}",
            "log.level:debug",
            "write `level: debug`, with a blank behind the colon",
        ),
        ("LOG: {level: debug}", "LOG", "did you mean log?"),
        ("drain: {timeout: 0.5 min}", "drain.timeout", "write 30s"),
        (
            "drain: {timeout: 1.0001s}",
            "drain.timeout",
            "write an integer and a unit (ms, s, m, h), from 0s to 1h",
        ),
        (
            "drain: {timeout: 9999999 hours}",
            "drain.timeout",
            "write an integer and a unit (ms, s, m, h), from 0s to 1h",
        ),
        (
            "limits: {frame_bytes_max: 100MB}",
            "limits.frame_bytes_max",
            "write 100MiB",
        ),
        (
            "limits: {frame_bytes_max: 64k}",
            "limits.frame_bytes_max",
            "write 64KiB",
        ),
    ] {
        let problem = only_problem("admin:", &format!("{keys}\nadmin:"));
        assert_eq!(
            (problem.key.as_str(), problem.cure.as_str()),
            (key, cure),
            "{keys}"
        );
    }
    for (keys, key, cure) in [
        ("tls: true", "tls", "write `tls: {mode: on}`"),
        ("tls: {mode: yes}", "tls.mode", "write `mode: on`"),
        ("tls: {verify: none}", "tls.verify", "write `verify: off`"),
        ("tls: {verify: true}", "tls.verify", "write `verify: full`"),
    ] {
        let problem = only_problem("listeners:", &format!("    {keys}\nlisteners:"));
        let key = format!("clusters.orders.{key}");
        assert_eq!(
            (problem.key.as_str(), problem.cure.as_str()),
            (&*key, cure),
            "{keys}"
        );
    }
    for (keys, key, cure) in [
        (
            "tls: true",
            "tls",
            "write `tls: {certificate: tls.crt, key: tls.key}` with the files' paths, or `tls: \
             {mode: passthrough}`",
        ),
        ("tls: off", "tls", "write `tls: {mode: off}`"),
        (
            "tls: {client_auth: required}",
            "tls.client_auth",
            "write `client_auth: {mode: required}`",
        ),
        (
            "tls: {mode: true}",
            "tls.mode",
            "write `mode: terminate` with tls.certificate and tls.key, or `mode: passthrough`",
        ),
        (
            "proxy_protocol: true",
            "proxy_protocol",
            "write `proxy_protocol: {mode: required, trusted: [10.0.0.0/8]}` with the networks of \
             the load balancers",
        ),
    ] {
        let problem = only_problem("    address:", &format!("    {keys}\n    address:"));
        let key = format!("listeners.external.{key}");
        assert_eq!(
            (problem.key.as_str(), problem.cure.as_str()),
            (&*key, cure),
            "{keys}"
        );
    }
}

#[test]
fn a_section_as_one_value_gets_the_section_to_write() {
    let address = &ISSUE_EXAMPLE[ISSUE_EXAMPLE.find("    address:").unwrap()..];
    let address = &address[..address.find("\nadmin:").unwrap()];
    for (from, to, key, cure) in [
        (
            address,
            "    address: single\n",
            "listeners.external.address",
            "write `address: {scheme: single}`",
        ),
        (
            address,
            "    address: kafka.example.com\n",
            "listeners.external.address",
            "write `address: {advertised_host: kafka.example.com}`",
        ),
    ] {
        let text = ISSUE_EXAMPLE.replacen(from, to, 1);
        let problems = Given::file(&text).load().unwrap_err();
        let problem = problems.list.iter().find(|problem| problem.key == key);
        assert_eq!(problem.unwrap().cure, cure, "{problems}");
    }
    for (admin, cure) in [
        ("9190", "write `admin: {bind: 127.0.0.1:9190}`"),
        ("true", "write `admin: {bind: 127.0.0.1:9190}`"),
        ("off", "remove `admin`: without it there is none"),
        ("{bind: off}", "remove `admin`: without it there is none"),
        ("{bind: 0.0.0.0}", "write 0.0.0.0:9190"),
        ("{bind: '[::]'}", "write [::]:9190"),
    ] {
        let text = ISSUE_EXAMPLE.split("\nadmin:").next().unwrap();
        let text = format!("{text}\nadmin: {admin}\n");
        let problems = Given::file(&text).load().unwrap_err();
        assert_eq!(problems.list[0].cure, cure, "{admin}");
    }
}

#[test]
fn levels_of_other_programs_get_the_level_to_write() {
    for (level, cure) in [
        ("warning", "write `level: warn`"),
        ("fatal", "write `level: error`"),
        ("verbose", "write `level: debug`"),
        ("none", "write `level: off`"),
    ] {
        let problem = only_problem("admin:", &format!("log: {{level: {level}}}\nadmin:"));
        assert_eq!(problem.reason, format!("unknown level `{level}`"));
        assert_eq!(problem.cure, cure);
    }
}

#[test]
fn a_list_of_names_gets_the_section_to_write() {
    let listed = "listeners:\n  - name: external\n    bind: 0.0.0.0:1\nadmin:";
    let text = ISSUE_EXAMPLE.split("listeners:").next().unwrap().to_owned() + listed;
    let problems = Given::file(&text).load().unwrap_err();
    assert_eq!(problems.list.len(), 1, "{problems}");
    assert_eq!(
        problems.list[0].cure,
        "write `external:` in the place of `- name: external`, and its other keys under it"
    );
}

#[test]
fn a_file_that_is_something_else_is_told_what_it_is() {
    let utf16: Vec<u8> = "\u{feff}clusters:\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let map = "apiVersion: v1\nkind: ConfigMap\ndata:\n  narrows.yaml: |\n    clusters: {}\n";
    for (bytes, reason) in [
        (utf16.as_slice(), "the file is UTF-16 text"),
        (
            b"clusters:\n  # f\xfcr\n",
            "the file is not UTF-8 text: line 2 has another encoding",
        ),
        (
            map.as_bytes(),
            "this is a Kubernetes manifest (ConfigMap), not Narrows' configuration",
        ),
        (
            b"a: &a {b: c}\nd: {<<: *a}\n",
            "merge keys (`<<`) are not read",
        ),
        (
            b"clusters: {{ .Values.clusters }}\n",
            "a template stands here that nobody has filled in: `{{ ... }}`",
        ),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        };
        let problems = load(&sources).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert_eq!(problems.list[0].reason, reason);
    }
}

#[test]
fn a_byte_order_mark_in_front_of_the_file_changes_nothing() {
    let with_mark = Given::file(&format!("\u{feff}{ISSUE_EXAMPLE}"));
    let without = Given::file(ISSUE_EXAMPLE);
    let settings = |given: &Given| given.load().unwrap_or_else(|e| panic!("{e}")).settings;
    assert_eq!(settings(&with_mark), settings(&without));
}

#[test]
fn a_variable_without_levels_gets_the_one_to_write() {
    let cure = |variable: &str, value: &str| {
        let problems = no_file(&[(variable, value)], &[]).unwrap_err();
        let of_variable = problems.list.iter().find(|problem| problem.key == variable);
        of_variable.map(|problem| problem.cure.clone())
    };
    for (variable, instead) in [
        ("NARROWS_BIND", "NARROWS_LISTENERS__NAME__BIND"),
        (
            "NARROWS_BOOTSTRAP_SERVERS",
            "NARROWS_CLUSTERS__NAME__BOOTSTRAP_SERVERS",
        ),
        (
            "NARROWS_ADVERTISED_HOST",
            "NARROWS_LISTENERS__NAME__ADDRESS__ADVERTISED_HOST",
        ),
        ("NARROWS_LOG", "NARROWS_LOG__LEVEL"),
    ] {
        let expected = format!("write {instead}: levels are joined by two underscores");
        assert_eq!(cure(variable, "x").as_deref(), Some(&*expected));
    }
    assert_eq!(
        cure("NARROWS_CONFIG", "/etc/narrows.yaml").as_deref(),
        Some("use the flag: --config /etc/narrows.yaml")
    );
    // A script's own variable, whose value has come here by the flag.
    let given = Given::file(ISSUE_EXAMPLE);
    let path = given.path().to_owned();
    assert!(given.variable("NARROWS_CONFIG", &path).load().is_ok());
}
