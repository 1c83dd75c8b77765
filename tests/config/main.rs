//! What the configuration promises: layers, origins, every problem at once, and files that work as
//! they stand.

// Clippy's exception for tests does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod commands;
mod given;
mod mistakes;
#[path = "../pki/mod.rs"]
mod pki;
mod schema;

use given::{Given, ISSUE_EXAMPLE, certify, ingress, no_file};
use narrows::address::{NodeIdRanges, PortScheme, Scheme, SniScheme};
use narrows::admin::AdminSettings;
use narrows::app::{ReloadSettings, Settings};
use narrows::broker::DialSettings;
use narrows::cluster::{BrokerAddressRule, ClusterSettings};
use narrows::config::keys::{Fallback, KEYS};
use narrows::config::kind::Kind;
use narrows::config::{Origin, Sources, load};
use narrows::lifecycle::DrainSettings;
use narrows::listener::ListenerSettings;
use narrows::listener::{LimitsSettings, ProxyProtocol};
use narrows::net::tls::{Authorities, ClientAuth, ClientTls, Identity, ServerTls, Verify};
use narrows::observe::{LogFilter, LogFormat, LogSettings};
use narrows::session::{ConfigAddresses, ListenerTls, SessionSettings, Splice, Unvetted};
use narrows::types::{ClusterName, ListenerName};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn port_scheme(bind: &str, first_port: u16, node_ids: &str, host: &str) -> Scheme {
    let node_ids = NodeIdRanges::parse(node_ids.split(',')).unwrap();
    Scheme::Port(
        PortScheme::new(bind.parse().unwrap(), first_port, node_ids, host.into(), 0).unwrap(),
    )
}

fn cluster(name: &str, servers: &[&str]) -> ClusterSettings {
    ClusterSettings {
        name: ClusterName(name.into()),
        bootstrap_servers: servers
            .iter()
            .map(|server| server.parse().unwrap())
            .collect(),
        cluster_id: None,
        broker_address: None,
        metadata_refresh_interval: Duration::from_secs(60),
        dial: DialSettings {
            dns_timeout: Duration::from_secs(12),
            connect_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(10),
        },
        tls: None,
    }
}

fn settings(clusters: Vec<ClusterSettings>, listeners: Vec<ListenerSettings>) -> Settings {
    Settings {
        clusters,
        listeners,
        admin: None,
        limits: LimitsSettings::default(),
        session: SessionSettings {
            frame_bytes_max: 104_857_600,
            sasl_frame_bytes_max: 524_288,
            held_response_bytes_max: 4_194_304,
            in_flight_requests_max: 10_000,
            tls_handshake_timeout: Duration::from_secs(10),
            first_frame_timeout: Duration::from_secs(600),
            frame_progress_timeout: Duration::from_secs(60),
            half_close_timeout: Duration::from_secs(10),
            connection_age_max: None,
            drain_spread: Duration::from_secs(15),
            unvetted: Unvetted::Hide,
            config_addresses: ConfigAddresses::Mask,
            splice: Splice::Auto,
        },
        reload: ReloadSettings {
            interval: Duration::from_secs(1),
        },
        drain: DrainSettings {
            delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
        },
        log: LogSettings {
            level: LogFilter::parse("info").unwrap(),
            format: LogFormat::Auto,
        },
    }
}

#[test]
fn the_example_of_the_readme_works_as_it_stands() {
    let loaded = Given::file(ISSUE_EXAMPLE).load().unwrap();
    let listener = ListenerSettings {
        connections_max: None,
        name: ListenerName("external".into()),
        cluster: ClusterName("orders".into()),
        scheme: port_scheme("0.0.0.0:19092", 19093, "1-3,1000-1002", "kafka.example.com"),
        proxy_protocol: ProxyProtocol::default(),
        tls: None,
    };
    let clusters = vec![cluster("orders", &["10.77.0.11:9092", "10.77.0.12:9092"])];
    let admin = Some(AdminSettings {
        bind: "127.0.0.1:9190".parse().unwrap(),
    });
    assert_eq!(
        loaded.settings,
        Settings {
            admin,
            ..settings(clusters, vec![listener])
        }
    );
}

#[test]
fn where_brokers_are_dialled_is_a_template_or_a_table_in_every_layer() {
    let rule = |items: &[&str]| Some(BrokerAddressRule::parse(items).unwrap());
    let read = |given: Given| {
        let loaded = given.load().unwrap_or_else(|e| panic!("{e}"));
        // What `narrows config` prints reads back as the same.
        let printed = Given::file(&loaded.effective.to_string()).load().unwrap();
        assert_eq!(printed.settings, loaded.settings);
        loaded.settings.clusters[0].broker_address.clone()
    };
    let file = |value: &str| {
        let lines = format!("    broker_address: {value}\nlisteners:");
        Given::file(&ISSUE_EXAMPLE.replacen("listeners:", &lines, 1))
    };
    let template = rule(&["kafka-{node_id-1}.svc:9092"]);
    let table = rule(&["1=a:9092", "1000=b:9093"]);
    assert_eq!(read(file("kafka-{node_id-1}.svc:9092")), template);
    assert_eq!(read(file("{1: a:9092, 1000: b:9093}")), table);
    assert_eq!(read(file("[1=a:9092, 1000=b:9093]")), table);
    assert_eq!(read(file("null")), None);
    let variable = "NARROWS_CLUSTERS__ORDERS__BROKER_ADDRESS";
    let over_file = file("{1: c:1}").variable(variable, "1=a:9092,1000=b:9093");
    assert_eq!(read(over_file), table);
    let shared = Given::example("config/examples/shared-name.yaml");
    assert_eq!(read(shared), rule(&["kafka-{node_id}.kafka-svc:9092"]));
}

#[test]
fn one_tls_port_for_everything_has_names_certificates_and_authorities() {
    let given = Given::example("config/examples/ingress.yaml");
    let settings = given.load().unwrap_or_else(|e| panic!("{e}")).settings;
    let bind = "0.0.0.0:9443".parse().unwrap();
    let names = SniScheme::new(
        bind,
        "kafka.example.com",
        "broker-{node_id}.kafka.example.com",
        443,
        None,
    )
    .unwrap();
    let read =
        |certificate: &str, key| Identity::read(&given.etc(certificate), &given.etc(key)).unwrap();
    let ca = |path| Authorities::read(&given.etc(path)).unwrap();
    let server = ServerTls::new(
        vec![read("tls/tls.crt", "tls/tls.key")],
        ClientAuth::Required(ca("clients-ca/ca.crt")),
    );
    let client = ClientTls::new(ca("cluster-ca/ca.crt"), None, None, Verify::Full).unwrap();
    assert_eq!(settings.listeners[0].scheme, Scheme::Sni(names));
    assert_eq!(
        settings.listeners[0].tls,
        Some(ListenerTls::Terminate(server.unwrap()))
    );
    assert_eq!(settings.clusters[0].tls, Some(client));
}

#[test]
fn tls_that_goes_on_to_the_brokers_needs_no_file() {
    let loaded = Given::example("config/examples/passthrough.yaml")
        .load()
        .unwrap();
    let expected = ListenerTls::Passthrough {
        broker_port: Some(9094),
    };
    assert_eq!(loaded.settings.listeners[0].tls, Some(expected));
    assert_eq!(loaded.files.len(), 1);
}

#[test]
fn tls_is_spoken_with_brokers_as_soon_as_anything_is_said_of_it() {
    let tls = |lines: &str| {
        let text =
            ISSUE_EXAMPLE.replacen("listeners:", &format!("    tls: {lines}\nlisteners:"), 1);
        Given::file(&text)
            .load()
            .unwrap_or_else(|e| panic!("{e}"))
            .settings
            .clusters[0]
            .tls
            .clone()
    };
    assert_eq!(tls("{}"), None);
    assert_eq!(tls("{mode: off, verify: full}"), None);
    assert_eq!(tls("{verify: off}").unwrap().verify(), Verify::Off);
    assert_eq!(
        tls("{server_name: kafka.example.com}")
            .unwrap()
            .server_name(),
        Some("kafka.example.com")
    );
    let platform = tls("{mode: on}").unwrap();
    assert_eq!(
        (platform.verify(), platform.authorities()),
        (Verify::Full, &Authorities::platform())
    );
}

#[test]
fn certificates_and_keys_are_paired_by_position() {
    let lists = |keys: &str| {
        let text = ingress()
            .replace(
                "/etc/narrows/tls/tls.crt",
                "[/etc/narrows/user/user.crt, /etc/narrows/tls/tls.crt]",
            )
            .replace("/etc/narrows/tls/tls.key", keys);
        Given::file(&text).load()
    };
    let loaded = lists("[/etc/narrows/user/user.key, /etc/narrows/tls/tls.key]").unwrap();
    let Some(ListenerTls::Terminate(server)) = &loaded.settings.listeners[0].tls else {
        panic!("no TLS")
    };
    let subjects: Vec<_> = server
        .certificates()
        .map(|shown| shown.subject.as_str())
        .collect();
    assert_eq!(
        subjects,
        ["CN=narrows,O=Example\\, Inc.", "CN=kafka,O=Example\\, Inc."]
    );

    let problems = lists("/etc/narrows/tls/tls.key, /etc/narrows/user/user.key")
        .unwrap_err()
        .list;
    let keys: Vec<_> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(keys, ["listeners.external.tls.key"; 2]);
    assert!(
        problems[0]
            .reason
            .contains("the key is not that of the certificate in"),
        "{}",
        problems[0]
    );
}

#[test]
fn names_tell_apart_the_listeners_of_one_port() {
    let second = "  partners:
    bind: 0.0.0.0:9443
    address:
      scheme: sni
      bootstrap_host: partners.example.com
      broker_host: broker-{node_id}.partners.example.com
    tls:
      mode: passthrough
admin:";
    let loaded = Given::file(&ingress().replace("admin:", second))
        .load()
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.settings.listeners.len(), 2);
}

#[test]
fn every_file_that_is_named_is_known_also_when_it_can_not_be_read() {
    let paths = [
        "user/user.crt",
        "user/user.key",
        "cluster-ca/ca.crt",
        "clients-ca/ca.crt",
        "tls/tls.crt",
        "tls/tls.key",
    ];
    let known = |given: &Given, mut files: Vec<PathBuf>| {
        let own = std::iter::once(given.file.path().to_owned());
        let mut expected: Vec<_> = own.chain(paths.map(|path| given.etc(path))).collect();
        files.sort();
        expected.sort();
        assert_eq!(files, expected);
    };
    let given = Given::file(&ingress());
    known(&given, given.load().unwrap().files);
    std::fs::write(given.etc("tls/tls.crt"), "half of a certificate").unwrap();
    std::fs::remove_file(given.etc("clients-ca/ca.crt")).unwrap();
    let problems = given.load().unwrap_err();
    assert_eq!(problems.list.len(), 2, "{problems}");
    known(&given, problems.files);
    let missing = Sources {
        file: Some("no/such/narrows.yaml".into()),
        ..Sources::default()
    };
    assert_eq!(
        load(&missing).unwrap_err().files,
        [PathBuf::from("no/such/narrows.yaml")]
    );
}

#[test]
fn settings_differ_when_a_file_holds_something_else() {
    let given = Given::file(&ingress());
    let before = given.load().unwrap().settings;
    assert_eq!(given.load().unwrap().settings, before);
    certify(given.etc.path(), &["kafka.example.com"], (-1, 90));
    assert_ne!(given.load().unwrap().settings, before);
}

#[test]
fn three_flags_are_a_configuration() {
    let flags = [
        ("--bootstrap-servers", "kafka-0:9092"),
        ("--bind", "0.0.0.0:9092"),
        ("--advertised-host", "localhost"),
    ];
    let loaded = no_file(&[], &flags).unwrap();
    let listener = ListenerSettings {
        connections_max: None,
        name: ListenerName("default".into()),
        cluster: ClusterName("default".into()),
        scheme: port_scheme("0.0.0.0:9092", 9093, "0-19", "localhost"),
        proxy_protocol: ProxyProtocol::default(),
        tls: None,
    };
    assert_eq!(
        loaded.settings,
        settings(vec![cluster("default", &["kafka-0:9092"])], vec![listener])
    );
}

#[test]
fn the_environment_alone_is_a_configuration() {
    let environment = [
        (
            "NARROWS_CLUSTERS__ORDERS__BOOTSTRAP_SERVERS",
            "kafka-0:9092, kafka-1:9092",
        ),
        ("NARROWS_LISTENERS__APP__BIND", "127.0.0.1:9092"),
        (
            "NARROWS_LISTENERS__APP__ADDRESS__ADVERTISED_HOST",
            "localhost",
        ),
        ("NARROWS_LISTENERS__APP__ADDRESS__NODE_IDS", "0-2,100"),
        ("NARROWS_SERVICE_HOST", "10.96.0.17"),
        ("PATH", "/usr/bin"),
    ];
    let loaded = no_file(&environment, &[]).unwrap();
    let listener = ListenerSettings {
        connections_max: None,
        name: ListenerName("app".into()),
        cluster: ClusterName("orders".into()),
        scheme: port_scheme("127.0.0.1:9092", 9093, "0-2,100", "localhost"),
        proxy_protocol: ProxyProtocol::default(),
        tls: None,
    };
    let clusters = vec![cluster("orders", &["kafka-0:9092", "kafka-1:9092"])];
    assert_eq!(loaded.settings, settings(clusters, vec![listener]));
}

#[test]
fn flags_stand_above_the_environment_above_the_file_above_the_defaults() {
    let given = || Given::file(&format!("{ISSUE_EXAMPLE}log:\n  level: warn\n"));
    let level = |given: Given| {
        let loaded = given.load().unwrap();
        let origin = loaded
            .effective
            .get("log.level")
            .unwrap()
            .origin
            .to_string()
            .replace(&given.origin_in_file(), "file");
        (loaded.settings.log.level.to_string(), origin)
    };
    let variable = |given: Given| given.variable("NARROWS_LOG__LEVEL", "debug");
    assert_eq!(
        level(Given::file(ISSUE_EXAMPLE)),
        ("info".into(), "default".into())
    );
    assert_eq!(level(given()), ("warn".into(), "file".into()));
    assert_eq!(
        level(variable(given())),
        ("debug".into(), "environment NARROWS_LOG__LEVEL".into())
    );
    assert_eq!(
        level(variable(given()).flag("--log-level", "trace")),
        ("trace".into(), "flag --log-level".into())
    );
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    for key in KEYS {
        let name = if key.path.starts_with("clusters") {
            "orders"
        } else {
            "external"
        };
        let last = key.path.rsplit('.').next().unwrap();
        let given = match last {
            "broker_port" => Given::example("config/examples/passthrough.yaml"),
            "bootstrap_host" | "broker_host" | "advertised_port" => Given::file(&ingress()),
            _ if key.path.contains(".tls.") => Given::file(&ingress()),
            _ => Given::file(ISSUE_EXAMPLE),
        };
        let file = |path: &str| given.etc(path).display().to_string();
        let value = match (last, key.path.split('.').next().unwrap()) {
            ("bootstrap_servers", _) => "kafka-7:9092".to_owned(),
            ("cluster_id", _) => "4L6g3nShT-eMCtK--X86sw".to_owned(),
            ("broker_address", _) => "kafka-{node_id}:9092".to_owned(),
            ("cluster", _) => "orders".to_owned(),
            ("first_port" | "advertised_port" | "broker_port", _) => "29093".to_owned(),
            ("node_ids", _) => "0-2, 7".to_owned(),
            ("trusted", _) => "10.0.0.0/8, fd00::/8".to_owned(),
            ("advertised_host" | "bootstrap_host" | "server_name", _) => {
                "other.example.com".to_owned()
            }
            ("broker_host", _) => "b{node_id}.other.example.com".to_owned(),
            ("mode", "clusters") => "on".to_owned(),
            ("mode", _) if key.path.contains("client_auth") => "requested".to_owned(),
            ("mode", _) if key.path.contains("tls") => "terminate".to_owned(),
            ("certificate", "clusters") => file("user/user.crt"),
            ("key", "clusters") => file("user/user.key"),
            ("certificate", _) => file("tls/tls.crt"),
            ("key", _) => file("tls/tls.key"),
            ("ca", _) => file("cluster-ca/ca.crt"),
            _ => match (key.fallback, key.kind) {
                (Fallback::Value(text), _) => text.to_owned(),
                (_, Kind::Integer { .. }) => "5000".to_owned(),
                _ => "127.0.0.1:9999".to_owned(),
            },
        };
        let variable = key.variable(name);
        let loaded = given
            .variable(&variable, &value)
            .load()
            .unwrap_or_else(|e| panic!("{e}"));
        let entry = loaded.effective.get(&key.at(name).join(".")).unwrap();
        assert_eq!(entry.origin, Origin::Environment(variable));
    }
}

#[test]
fn flags_override_the_only_cluster_and_the_only_listener_of_a_file() {
    let given = Given::file(ISSUE_EXAMPLE)
        .flag("--bootstrap-servers", "other:9092")
        .flag("--bind", "127.0.0.1:29092")
        .flag("--first-port", "29093")
        .flag("--node-ids", "7")
        .flag("--advertised-host", "localhost")
        .flag("--admin-bind", "127.0.0.1:29190");
    let settings = given.load().unwrap().settings;
    assert_eq!(settings.clusters, vec![cluster("orders", &["other:9092"])]);
    assert_eq!(
        settings.listeners[0].scheme,
        port_scheme("127.0.0.1:29092", 29093, "7", "localhost")
    );
    assert_eq!(settings.admin.unwrap().bind.port(), 29190);
}

#[test]
fn a_flag_that_could_mean_several_listeners_is_refused_with_their_names() {
    let second = "  internal:\n    bind: 127.0.0.1:29092\n    address:\n      advertised_host: \
                  localhost\nadmin:";
    let given = Given::file(&ISSUE_EXAMPLE.replace("admin:", second)).flag("--bind", "127.0.0.1:1");
    let problems = given.load().unwrap_err().list;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "--bind");
    assert!(
        problems[0].reason.contains("external, internal"),
        "{}",
        problems[0]
    );
    assert!(
        problems[0]
            .cure
            .contains("NARROWS_LISTENERS__EXTERNAL__BIND"),
        "{}",
        problems[0]
    );
}

#[test]
fn problems_of_all_layers_are_told_at_once_with_their_origins() {
    let given = Given::file(&format!("{ISSUE_EXAMPLE}drain:\n  delay: soon\n"))
        .variable("NARROWS_LOG__FORMAT", "xml")
        .variable("NARROWS_LOG_LEVEL", "debug")
        .flag("--node-ids", "3-1");
    let problems = given.load().unwrap_err();
    let found: Vec<_> = problems
        .list
        .iter()
        .map(|problem| problem.found.clone().unwrap())
        .collect();
    let in_file = format!("`soon` ({}, line 17)", given.origin_in_file());
    let expected = [
        "`debug` (environment NARROWS_LOG_LEVEL)",
        "`3-1` (flag --node-ids)",
        in_file.as_str(),
        "`xml` (environment NARROWS_LOG__FORMAT)",
    ];
    assert_eq!(found, expected, "{problems}");
}

#[test]
fn a_broker_on_the_same_host_is_not_taken_for_narrows_itself() {
    for (server, bind) in [
        ("localhost:9092", "0.0.0.0:19092"),
        ("127.0.0.1:9092", "10.0.0.1:9092"),
    ] {
        let text = ISSUE_EXAMPLE
            .replace("10.77.0.11:9092", server)
            .replace("0.0.0.0:19092", bind);
        Given::file(&text)
            .load()
            .unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources {
        file: Some(PathBuf::from("no/such/narrows.yaml")),
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err();
    assert_eq!(problems.list[0].key, "no/such/narrows.yaml");
    assert!(
        problems.list[0].reason.contains("No such file"),
        "{problems}"
    );
}

#[test]
fn a_file_that_can_not_be_a_configuration_is_refused_and_not_read_whole() {
    for path in ["/dev/zero", "/", "/dev/null/narrows.yaml"] {
        let problems = load(&Sources {
            file: Some(path.into()),
            ..Sources::default()
        })
        .unwrap_err();
        assert_eq!(problems.list[0].key, path, "{problems}");
    }
}

#[test]
fn a_value_under_a_key_that_looks_like_a_secret_is_not_shown() {
    let given = Given::file(&format!(
        "{ISSUE_EXAMPLE}sasl:\n  password: hunter2\npassword: [hunter2]\n"
    ))
    .variable("NARROWS_CLUSTERS__ORDERS__SASL_PASSWORD", "hunter2");
    let problems = given.load().unwrap_err();
    assert_eq!(problems.list.len(), 3);
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn the_effective_configuration_loads_again_as_the_same() {
    for path in files_under("config") {
        let given = Given::example(path);
        let loaded = given.load().unwrap();
        let again = Given::file(&loaded.effective.to_string())
            .load()
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.settings, loaded.settings);
    }
}

#[test]
fn a_value_that_yaml_would_take_for_something_else_is_printed_in_quotes() {
    for id in ["null", "1e5", "0x1f", "a,b", "-", "true"] {
        let given = Given::file(&ISSUE_EXAMPLE.replace("0.0.0.0:19092", "'[::]:19092'"))
            .variable("NARROWS_CLUSTERS__ORDERS__CLUSTER_ID", id);
        let loaded = given.load().unwrap_or_else(|e| panic!("{e}"));
        let again = Given::file(&loaded.effective.to_string())
            .load()
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.settings, loaded.settings, "{id}");
    }
}

#[test]
fn every_file_in_config_is_valid() {
    let files = files_under("config");
    assert!(files.len() > 1);
    for path in files {
        if let Err(problems) = Given::example(&path).load() {
            panic!("{}: {problems}", path.display());
        }
    }
}

#[test]
fn the_reference_file_sets_every_key_that_there_is_and_to_its_default() {
    let sources = Sources {
        file: Some("config/narrows.yaml".into()),
        ..Sources::default()
    };
    let effective = load(&sources).unwrap().effective;
    let reference = Origin::File("config/narrows.yaml".to_owned());
    let text = std::fs::read_to_string("config/narrows.yaml").unwrap();
    for key in KEYS {
        let name = if key.path.starts_with("clusters") {
            "orders"
        } else {
            "external"
        };
        let entry = effective
            .get(&key.at(name).join("."))
            .unwrap_or_else(|| panic!("{} is not read", key.path));
        let last = key.levels().last().unwrap();
        assert!(
            text.contains(&format!(" {last}: ")),
            "{} is not in the reference file",
            key.path
        );
        match key.fallback {
            Fallback::Value(default) => {
                assert_eq!(entry.value.to_string(), default, "{}", key.path);
                assert_eq!(entry.origin, reference, "{}", key.path);
            }
            Fallback::RequiredWith("sni") => {}
            Fallback::Derived(_) if key.path.ends_with(".advertised_port") => {}
            Fallback::Derived(_) | Fallback::Required | Fallback::RequiredWith(_) => {
                assert_eq!(entry.origin, reference);
            }
            Fallback::Nothing(_) => {}
        }
    }
    assert_eq!(
        effective.entries.len(),
        KEYS.len(),
        "a key is read that is not in the table"
    );
}

#[test]
fn every_invalid_file_gets_its_message() {
    let files = files_under("tests/config/invalid");
    assert!(files.len() > 15);
    for path in files {
        let Err(problems) = load(&Sources {
            file: Some(path.clone()),
            ..Sources::default()
        }) else {
            panic!("{} is valid", path.display());
        };
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        assert!(
            problems.to_string() == expected,
            "{}:\n{problems}\nexpected:\n{expected}",
            path.display()
        );
    }
}

/// The YAML files under a folder, however deep.
fn files_under(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_value_makes_a_load_panic(key in 0..KEYS.len(), value in "\\PC{0,20}|[0-9]{1,25}|[-0-9,:.\\[\\]a-z]{0,20}") {
        let variable = KEYS[key].variable("external");
        let given = Given::file(ISSUE_EXAMPLE).variable(&variable, &value);
        if let Err(problems) = given.load() {
            prop_assert!(!problems.list.is_empty());
        }
    }

    #[test]
    fn no_file_makes_a_load_panic(cut in 0..ISSUE_EXAMPLE.len(), noise in "[\\PC\\t\\n]{0,12}|[-:\\[\\]{}&*!|>'\"%@`#?, \\n]{1,6}") {
        let at = (cut..).find(|at| ISSUE_EXAMPLE.is_char_boundary(*at)).unwrap();
        let (head, tail) = ISSUE_EXAMPLE.split_at(at);
        if let Err(problems) = Given::file(&format!("{head}{noise}{tail}")).load() {
            prop_assert!(!problems.list.is_empty());
        }
    }
}

#[test]
fn a_name_that_a_variable_and_a_file_share_is_one_cluster() {
    let given = Given::file(&ISSUE_EXAMPLE.replace("orders", "Orders-EU"))
        .variable("NARROWS_CLUSTERS__ORDERS_EU__DNS_TIMEOUT", "1s");
    let names: BTreeSet<_> = given
        .load()
        .unwrap()
        .settings
        .clusters
        .iter()
        .map(|c| c.name.to_string())
        .collect();
    assert_eq!(names, BTreeSet::from(["Orders-EU".to_owned()]));
}
