//! The command as a user types it: what it prints, and which exit code it ends with.

use crate::kafka::Script;
use crate::peers;
use narrows::doctor::{CODES, markdown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

async fn narrows(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narrows"));
    command.args(args).env_clear();
    // The peers live on this thread.
    let ended = tokio::task::spawn_blocking(move || command.output());
    ended.await.unwrap().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn doctor_ends_with_0_where_a_client_can_work_and_with_1_where_not() {
    let healthy = Script::default().start().await.to_string();
    let output = narrows(&["doctor", "--bootstrap", &healthy]).await;
    let out = text(&output.stdout);
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), ""),
        "{out}"
    );
    assert!(out.contains("\n# Java\nbootstrap.servers="), "{out}");

    let nobody = peers::nobody().await.to_string();
    let output = narrows(&["doctor", "-b", &nobody, "-o", "short"]).await;
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(
        out.starts_with("FAIL connect_refused nobody listens at "),
        "{out}"
    );

    let output = narrows(&["doctor", "-b", &nobody, "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    let link = "config/doctor.md#connect_refused";
    assert_eq!(json["findings"][1]["link"], link);
}

/// What a terminal gets: `script` gives the command one.
async fn on_a_terminal(command: &str, environment: &[(&str, &str)]) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).env_clear();
    script
        .env("PATH", "/usr/bin:/bin")
        .envs(environment.iter().copied());
    let ended = tokio::task::spawn_blocking(move || script.stdin(Stdio::null()).output());
    text(&ended.await.unwrap().unwrap().stdout)
}

#[tokio::test]
async fn a_terminal_gets_colours_and_progress_unless_its_user_says_no() {
    let nobody = peers::nobody().await;
    let doctor = format!("{} doctor -b {nobody}", env!("CARGO_BIN_EXE_narrows"));
    let xterm = ("TERM", "xterm");
    let seen = on_a_terminal(&doctor, &[xterm]).await;
    let red = "\x1b[1;31m  FAIL \x1b[0m";
    assert!(seen.contains(red), "{seen:?}");
    assert!(
        seen.contains(&format!("connecting to {nobody}…")),
        "{seen:?}"
    );
    let plain = on_a_terminal(&doctor, &[xterm, ("NO_COLOR", "1")]).await;
    assert!(
        plain.contains("connecting to") && plain.contains("  FAIL connect"),
        "{plain:?}"
    );
    assert!(
        !plain.contains("\x1b[1;31m") && !plain.contains("\x1b[0m"),
        "{plain:?}"
    );
    let dumb = on_a_terminal(&doctor, &[("TERM", "dumb")]).await;
    assert!(
        !dumb.contains('\x1b') && dumb.contains("  FAIL connect"),
        "{dumb:?}"
    );
    let check = format!(
        "{} check --live --bootstrap-servers {nobody} --bind 127.0.0.1:1 \
                         --advertised-host localhost --first-port 2 --node-ids 1",
        env!("CARGO_BIN_EXE_narrows")
    );
    let seen = on_a_terminal(&check, &[xterm]).await;
    assert!(
        seen.contains(red) && seen.contains(&format!("asking {nobody}…")),
        "{seen:?}"
    );
    let piped = narrows(&["doctor", "-b", &nobody.to_string()]).await;
    let piped = [piped.stdout, piped.stderr].concat();
    assert!(!text(&piped).contains('\x1b') && !text(&piped).contains('…'));
}

#[tokio::test]
async fn doctor_ends_with_2_where_it_was_told_nonsense() {
    for (args, expected) in [
        (&["doctor"][..], "--bootstrap"),
        (&["doctor", "-b", "kafka"], "the port is missing"),
        (
            &["doctor", "-b", "kafka:1", "--ca", "no-such-file"],
            "--tls",
        ),
        (
            &["doctor", "-b", "kafka:1", "--tls", "--ca", "no-such-file"],
            "no-such-file",
        ),
        (
            &["doctor", "-b", "kafka:1", "--sasl", "gssapi", "--user", "a"],
            "SCRAM-SHA-256",
        ),
        (
            &["doctor", "-b", "kafka:1", "--sasl", "plain", "--user", "a"],
            "--password-file",
        ),
        (
            &["doctor", "-b", "kafka:1", "--timeout", "never"],
            "not a duration",
        ),
    ] {
        let output = narrows(args).await;
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn a_password_comes_from_a_file_and_is_never_printed() {
    let script = Script {
        login: Some((&["PLAIN"], "alice", "hunter2")),
        ..Script::default()
    };
    let address = script.start().await.to_string();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    for (password, code) in [("hunter2\n", 0), ("hunter3", 1)] {
        std::fs::write(&file, password).unwrap();
        let file = file.display().to_string();
        let args = [
            "doctor", "-b", &address, "--sasl", "plain", "--user", "alice",
        ];
        let output = narrows(&[&args[..], &["--password-file", &file, "-v"]].concat()).await;
        let all = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{all}");
        assert!(!all.contains("hunter"), "{all}");
    }
}

#[tokio::test]
async fn doctor_waits_until_a_broker_is_there() {
    let address = peers::nobody().await;
    let text_of = address.to_string();
    let waiting = tokio::spawn(async move {
        narrows(&["doctor", "-b", &text_of, "--wait", "1m"])
            .await
            .status
            .code()
    });
    // The port may be taken by now; then there is nothing to wait for.
    let Ok(listener) = tokio::net::TcpListener::bind(address).await else {
        return waiting.abort();
    };
    Script::default().start_on(listener);
    assert_eq!(waiting.await.unwrap(), Some(0));
}

#[tokio::test]
async fn explain_says_what_a_number_and_a_text_mean() {
    let output = narrows(&["doctor", "explain", "352518912"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("352518912 is the beginning of a TLS alert"));

    let line = ["doctor", "explain", "Local:", "Message", "timed", "out"];
    let output = narrows(&line).await;
    assert!(text(&output.stdout).contains("broker_unreachable"));

    let output = narrows(&["doctor", "explain", "-1"]).await;
    assert!(text(&output.stdout).contains("UNKNOWN_SERVER_ERROR"));

    let output = narrows(&["doctor", "explain", "what is this?"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("Nothing is known of `what is this?`"));
}

#[test]
fn the_page_of_codes_is_the_table_of_codes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/doctor.md");
    let committed = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        committed == markdown(),
        "write it anew: cargo run -- doctor --codes > config/doctor.md"
    );
    for row in CODES {
        assert!(committed.contains(&format!("\n### {}\n", row.word)));
    }
}
