//! What the commands print, and which exit code they end with.

use crate::given::{Given, ISSUE_EXAMPLE, certify, ingress};
use crate::pki::{Authority, Wish};
use narrows::config::keys::KEYS;
use rcgen::ExtendedKeyUsagePurpose;
use std::process::{Command, Output};

fn narrows(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narrows"))
        .args(args)
        .env_clear()
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_says_ok_in_one_line_and_ends_with_0() {
    let output = narrows(&["check", "--config", "config/examples/clusters.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "OK: 2 clusters (billing; orders); 3 listeners (billing on 0.0.0.0:18092, \
                    brokers on 18093-18101; \
        orders-internal on 0.0.0.0:29092, brokers on 29093-29098; orders-partners on 0.0.0.0:19092, brokers on \
        19093-19098); admin port 127.0.0.1:9190\n";
    assert_eq!(text(&output.stdout), expected);
    assert!(output.stderr.is_empty());
}

/// What check says of the text, with the listener's certificate for these names and days; without
/// the folder.
fn checked(file: &str, names: &[&str], days: (i64, i64)) -> (Option<i32>, String, String) {
    let given = Given::file(file);
    certify(given.etc.path(), names, days);
    let output = narrows(&["check", "--config", given.path()]);
    let bare = |bytes: &[u8]| text(bytes).replace(&given.etc.path().display().to_string(), "ETC");
    (
        output.status.code(),
        bare(&output.stdout),
        bare(&output.stderr),
    )
}

#[test]
fn check_says_of_every_certificate_whom_it_is_for_and_how_long() {
    let (code, out, err) = checked(
        &ingress(),
        &["kafka.example.com", "*.kafka.example.com"],
        (-1, 90),
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<_> = out.lines().collect();
    let authority = "CN=Example CA: ";
    assert_eq!(
        lines[0],
        "OK: 1 cluster (orders); 1 listener (external on 0.0.0.0:9443, bootstrap \
         kafka.example.com, \
        brokers broker-{node_id}.kafka.example.com, TLS ends here); admin port 0.0.0.0:9190"
    );
    assert!(
        lines[1].starts_with(&format!("cluster orders trusts {authority}")),
        "{out}"
    );
    assert!(
        lines[1].ends_with(" days left (ETC/cluster-ca/ca.crt)"),
        "{out}"
    );
    assert_eq!(
        lines[2],
        "cluster orders shows CN=narrows,O=Example\\, Inc. for no name: 89 days left \
         (ETC/user/user.crt)"
    );
    assert_eq!(
        lines[3],
        "listener external shows CN=kafka,O=Example\\, Inc. for kafka.example.com, \
        *.kafka.example.com: 89 days left (ETC/tls/tls.crt)"
    );
    assert!(
        lines[4].starts_with(&format!("listener external trusts {authority}")),
        "{out}"
    );
}

#[test]
fn check_refuses_certificates_that_are_not_valid_now_and_warns_of_those_that_end_soon() {
    let names = ["kafka.example.com", "*.kafka.example.com"];
    let check = |days| checked(&ingress(), &names, days);
    let (code, out, err) = check((-90, -3));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let expired = |owner: &str, subject: &str, file: &str| {
        format!(
            "\n{owner}.tls.certificate\n  found:  ETC/{file}\n  reason: the certificate of \
             CN={subject},O=Example\\, Inc.: expired 3 days ago\n  \
             cure:   renew it; Narrows takes in the new file while it runs\n"
        )
    };
    let both = expired("clusters.orders", "narrows", "user/user.crt")
        + &expired("listeners.external", "kafka", "tls/tls.crt");
    assert_eq!(err, format!("The configuration has 2 problems.\n{both}"));

    let (code, _, err) = check((3, 90));
    assert!(
        code == Some(2) && err.contains("valid only in 2 days"),
        "{err}"
    );

    let (code, out, err) = check((-90, 13));
    assert!(
        code == Some(0) && out.starts_with("OK but for 2 warnings: "),
        "{out}"
    );
    let expected = "warning: listener external: the certificate of CN=kafka,O=Example\\, Inc.: 12 \
                    days left: renew it; \
        Narrows takes in the new file while it runs";
    assert!(err.lines().any(|line| line == expected), "{err}");
    assert_eq!(check((-90, 15)).2, "");
}

#[test]
fn check_refuses_a_certificate_whose_extended_key_usage_is_for_the_other_side() {
    let given = Given::file(&ingress());
    let etc = given.etc.path();
    let check = |usages: &[ExtendedKeyUsagePurpose]| {
        let authority = Authority::new("Example CA");
        let names = &["kafka.example.com", "*.kafka.example.com"];
        let wish = Wish {
            names,
            usages,
            ..Wish::default()
        };
        authority.issue(&wish).write(&etc.join("tls"), "tls");
        let output = narrows(&["check", "--config", given.path()]);
        (output.status.code(), text(&output.stderr))
    };
    let (client, server) = (
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let (code, err) = check(std::slice::from_ref(&client));
    assert_eq!(code, Some(2));
    assert!(
        err.contains("is not for servers (its extended key usage lacks serverAuth)"),
        "{err}"
    );
    let (code, err) = check(&[client, server]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn check_refuses_a_certificate_that_is_not_good_for_what_clients_are_told() {
    let reason = |text: &str, names: &[&str]| {
        let (code, _, err) = checked(text, names, (-1, 90));
        let line = |field: &str| {
            err.lines()
                .find_map(|line| line.strip_prefix(field))
                .unwrap_or_default()
                .to_owned()
        };
        (code, line("  reason: "), line("  cure:   "))
    };
    let both = "issue it with the subject alternative names kafka.example.com, \
                *.kafka.example.com; a wildcard stands for \
        one label only";
    let missing =
        |names: &str| format!("no certificate is good for {names}, which clients are told to dial");
    let brokers =
        "broker-0.kafka.example.com, broker-1.kafka.example.com, broker-1000000.kafka.example.com";
    let only_bootstrap = reason(&ingress(), &["kafka.example.com"]);
    assert_eq!(only_bootstrap, (Some(2), missing(brokers), both.to_owned()));
    // It has the right end, and one label more.
    let too_high = reason(&ingress(), &["kafka.example.com", "*.example.com"]);
    assert_eq!(too_high, (Some(2), missing(brokers), both.to_owned()));
    assert_eq!(
        reason(&ingress(), &["*.kafka.example.com"]).1,
        missing("kafka.example.com")
    );

    let listed = ingress().replace("scheme: sni", "scheme: sni\n      node_ids: [1-9]");
    let seven: Vec<String> = (1..8)
        .map(|node| format!("broker-{node}.kafka.example.com"))
        .collect();
    let names: Vec<&str> = seven
        .iter()
        .map(String::as_str)
        .chain(["kafka.example.com"])
        .collect();
    assert_eq!(
        reason(&listed, &names).1,
        missing("broker-8.kafka.example.com, broker-9.kafka.example.com")
    );

    let deep = ingress().replace("broker-{node_id}.kafka", "kafka.broker-{node_id}");
    let cure = reason(&deep, &["kafka.example.com", "*.example.com"]).2;
    assert!(
        cure.starts_with("no wildcard is good for kafka.broker-{node_id}.example.com"),
        "{cure}"
    );

    let beside = ingress().replace("bootstrap_host: kafka", "bootstrap_host: bootstrap.kafka");
    let cure = reason(&beside, &[]).2;
    assert_eq!(
        cure,
        "issue it with the subject alternative names *.kafka.example.com; a wildcard stands for \
         one label only; the \
         common name does not count"
    );

    let port = "    bind: 0.0.0.0:9443\n    address:\n      advertised_host: kafka.example.com\n";
    let tls = "    tls: {certificate: /etc/narrows/tls/tls.crt, key: /etc/narrows/tls/tls.key}\n";
    let by_port = format!(
        "clusters:\n  orders:\n    bootstrap_servers: [kafka-0:9092]\nlisteners:\n  \
         external:\n{port}{tls}"
    );
    assert_eq!(reason(&by_port, &["kafka.example.com"]).0, Some(0));
    let (code, told, cure) = reason(&by_port, &["*.kafka.example.com"]);
    assert_eq!((code, told), (Some(2), missing("kafka.example.com")));
    assert_eq!(
        cure,
        "issue it with the subject alternative name kafka.example.com"
    );
}

#[test]
fn check_warns_where_brokers_are_not_verified() {
    let text = ISSUE_EXAMPLE.replacen("listeners:", "    tls: {verify: off}\nlisteners:", 1);
    let (code, _, err) = checked(&text, &[], (-1, 90));
    assert_eq!(code, Some(0));
    assert!(
        err.starts_with("warning: cluster orders: brokers are not verified (tls.verify: off)"),
        "{err}"
    );
}

#[test]
fn check_warns_where_clients_or_narrows_itself_would_be_led_astray() {
    let warnings = |from: &str, to: &str| {
        let (code, out, err) = checked(&ISSUE_EXAMPLE.replacen(from, to, 1), &[], (-1, 90));
        let verdict = if err.is_empty() {
            "OK: "
        } else {
            "OK but for 1 warning: "
        };
        assert!(
            code == Some(0) && out.starts_with(verdict),
            "{to}: {out}{err}"
        );
        err
    };
    assert_eq!(warnings("orders:", "orders:"), "");
    assert_eq!(
        warnings("kafka.example.com", "localhost"),
        "warning: listener external: bind 0.0.0.0:19092 takes clients of other machines, whom \
         advertised_host localhost leads to their own: advertise a name or an address that leads \
         here, or bind 127.0.0.1:19092\n"
    );
    assert_eq!(
        warnings("first_port: 19093", "first_port: 39093"),
        "warning: listener external: ports 39093 to 39098 are in the range that Linux takes for \
         outgoing connections (32768-60999), one of which may stand in the way of a start: bind \
         ports below, or reserve these (net.ipv4.ip_local_reserved_ports)\n"
    );
    assert_eq!(
        warnings("10.77.0.11:9092", "kafka.example.com:19093"),
        "warning: listener external: bootstrap server kafka.example.com:19093 of cluster orders \
         has the name and the port that clients dial here; where that name leads to Narrows, it \
         dials itself: name the brokers' own addresses\n"
    );
    assert_eq!(
        warnings("10.77.0.11:9092", "0.0.0.0:9092"),
        "warning: cluster orders: 0.0.0.0:9092 is where brokers listen, and dialled it is this \
         machine: name the brokers' hosts, or localhost\n"
    );
    // A balancer takes clients at another port than this machine.
    let offset = ISSUE_EXAMPLE
        .replace(
            "first_port:",
            "advertised_port_offset: -10000\n      first_port:",
        )
        .replace("10.77.0.11:9092", "kafka.example.com:9092");
    let (_, _, err) = checked(&offset, &[], (-1, 90));
    assert!(
        err.contains("bootstrap server kafka.example.com:9092"),
        "{err}"
    );
    let local = ISSUE_EXAMPLE
        .replace("0.0.0.0:19092", "127.0.0.1:19092")
        .replace("kafka.example.com", "localhost");
    assert_eq!(checked(&local, &[], (-1, 90)).2, "");
}

#[test]
fn check_takes_the_file_by_a_flag_or_by_itself() {
    let file = "config/examples/clusters.yaml";
    for args in [
        &["check", file][..],
        &["check", "-c", file],
        &["check", "--config", file],
    ] {
        let output = narrows(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            text(&output.stdout).starts_with("OK: 2 clusters"),
            "{args:?}"
        );
    }
    assert_eq!(narrows(&["check", file, "-c", file]).status.code(), Some(2));
}

#[test]
fn check_leaves_certificates_unread_when_told_to_and_still_checks_the_rest() {
    let file = "config/examples/ingress.yaml";
    assert_eq!(narrows(&["check", file]).status.code(), Some(2));
    let output = narrows(&["check", "--no-files", file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(
        out.ends_with("certificates and keys were not read (--no-files)\n"),
        "{out}"
    );
    let without_key = ingress().replace("      key: /etc/narrows/tls/tls.key\n", "");
    let given = Given::file(&without_key);
    let output = narrows(&["check", "--no-files", given.path()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("listeners.external.tls.key"));
}

#[test]
fn strimzi_is_told_to_advertise_the_names_that_tls_passes_through_by() {
    let given = Given::example("config/examples/passthrough.yaml");
    let printed = |given: &Given| narrows(&["config", "--strimzi", "--config", given.path()]);
    let output = printed(&given);
    assert_eq!(output.status.code(), Some(0));
    let head = "\
# Narrows' listener external: add this to spec.kafka.listeners of the Kafka resource behind cluster orders,
# with the authentication that clients need.
- name: external
  port: 9094
  type: cluster-ip
  tls: true
  configuration:
    bootstrap:
      alternativeNames:
        - \"kafka.example.com\"
";
    let template =
        "    # Strimzi 1.0.0 and newer; with an older one, list node_ids and print this again.
    advertisedHostTemplate: \"broker-{nodeId}.kafka.example.com\"
    advertisedPortTemplate: \"443\"
";
    assert_eq!(text(&output.stdout), format!("{head}{template}"));

    let listed = given.variable("NARROWS_LISTENERS__EXTERNAL__ADDRESS__NODE_IDS", "3, 1000");
    let path = listed.file.path().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .args(["config", "--strimzi", "--config"])
        .arg(path)
        .env_clear()
        .envs(listed.sources.environment.iter().cloned())
        .output()
        .unwrap();
    let broker = |node| {
        format!(
            "      - broker: {node}\n        advertisedHost: \
             \"broker-{node}.kafka.example.com\"\n        advertisedPort: 443\n"
        )
    };
    assert_eq!(
        text(&output.stdout),
        format!("{head}    brokers:\n{}{}", broker(3), broker(1000))
    );
}

#[test]
fn strimzi_needs_nothing_where_no_tls_passes_through() {
    let output = narrows(&["config", "--strimzi", "--config", "config/narrows.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no listener has tls.mode passthrough"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_configuration_ends_every_command_with_2_and_its_problems() {
    let file = "tests/config/invalid/unknown-key.yaml";
    for command in ["run", "check", "config"] {
        let output = narrows(&[command, "--config", file]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(
            text(&output.stderr),
            std::fs::read_to_string(file.replace("yaml", "txt")).unwrap()
        );
        assert!(output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    assert_eq!(
        narrows(&["run", "--bootstrap-server", "kafka-0:9092"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(narrows(&["rnu"]).status.code(), Some(2));
    assert_eq!(narrows(&[]).status.code(), Some(2));
}

#[test]
fn config_prints_every_value_with_its_origin() {
    let output = narrows(&[
        "config",
        "--config",
        "config/examples/sidecar.yaml",
        "--log-level",
        "debug",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output.stdout);
    for (line, origin) in [
        (
            "    bind: 127.0.0.1:9092",
            "file config/examples/sidecar.yaml",
        ),
        ("      first_port: 9093", "default: the port of bind + 1"),
        ("    cluster_id: null", "default: any cluster"),
        ("  frame_bytes_max: 100MiB", "default"),
        ("  level: debug", "flag --log-level"),
    ] {
        assert!(
            printed.contains(&format!("{line:<48}  # {origin}\n")),
            "no {line:?} in:\n{printed}"
        );
    }
}

#[test]
fn config_lists_every_key() {
    let printed = text(&narrows(&["config", "--keys"]).stdout);
    let rows = printed.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), KEYS.len());
    let row = "| `drain.timeout` | duration, 0s to 1h | `30s` |";
    assert!(printed.contains(row), "{printed}");
}

#[test]
fn config_prints_the_schema_of_the_file() {
    let printed = narrows(&["config", "--schema"]);
    assert_eq!(printed.status.code(), Some(0));
    assert_eq!(text(&printed.stdout), narrows::config::schema::text());
}

#[test]
fn version_and_help_say_what_narrows_is() {
    let version = concat!("narrows ", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&narrows(&["-V"]).stdout), format!("{version}\n"));
    let long = text(&narrows(&["--version"]).stdout);
    assert!(long.starts_with(&format!("{version} (commit ")), "{long}");
    assert!(long.trim_end().ends_with("linux-gnu)"), "{long}");
    let help = text(&narrows(&["--help"]).stdout);
    assert!(
        help.contains("Examples:") && help.contains("narrows run --config narrows.yaml"),
        "{help}"
    );
}

#[test]
fn shells_and_manuals_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = narrows(&["completions", shell]);
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(
            script.contains("doctor") && script.contains("password-file"),
            "{shell}"
        );
    }
    let manual = text(&narrows(&["man"]).stdout);
    assert!(manual.starts_with(".ie"), "{}", &manual[..80]);
    for page in [".TH narrows 1", ".TH narrows-doctor 1", ".TH narrows-run 1"] {
        assert!(manual.contains(page), "no {page}");
    }
}

#[test]
#[cfg(not(feature = "demo"))]
fn a_build_without_the_demo_says_how_to_get_it() {
    let output = narrows(&["demo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cargo run --release --features demo -- demo"));
}
