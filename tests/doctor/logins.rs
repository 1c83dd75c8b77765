//! SASL: demanded, refused, not there, and as it should be.

use crate::kafka::Script;
use crate::{expect, only_problem, report, target};
use narrows::auth::{Credentials, Mechanism, Secret};
use narrows::doctor::Target;

fn demanding(mechanisms: &'static [&'static str]) -> Script {
    Script {
        login: Some((mechanisms, "alice", "hunter2")),
        ..Script::default()
    }
}

pub(crate) fn alice(target: Target, mechanism: Mechanism, password: &str) -> Target {
    Target {
        credentials: Some(Credentials {
            mechanism,
            user: "alice".to_owned(),
            password: Secret::new(password.to_owned()),
        }),
        ..target
    }
}

#[tokio::test]
async fn a_listener_that_demands_a_login_is_told_with_its_mechanisms() {
    let target = target(demanding(&["SCRAM-SHA-512", "PLAIN"]).start().await);
    let words = ["demands a login, by SCRAM-SHA-512, PLAIN"];
    expect(&target, "sasl_required", &words).await;
}

/// A listener without SASL takes it for an attempt to log in, and Narrows warns of that.
#[tokio::test]
async fn a_listener_that_answers_is_not_asked_for_a_login() {
    let script = Script::default();
    let asked = script.asked.clone();
    let report = report(&target(script.start().await)).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let asked = asked.lock().unwrap();
    assert!(asked.contains(&3) && !asked.contains(&17), "{asked:?}");
}

#[tokio::test]
async fn the_right_password_opens_every_broker() {
    let target = target(demanding(&["PLAIN"]).start().await);
    let target = alice(target, Mechanism::Plain, "hunter2");
    let report = report(&target).await;
    assert!(report.is_fine(), "{}", report.table(false));
    let shown = report.table(true) + &report.json_text() + &format!("{target:?}");
    assert!(shown.contains("logged in as alice by PLAIN"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_wrong_password() {
    let target = target(demanding(&["PLAIN"]).start().await);
    let target = alice(target, Mechanism::Plain, "wrong");
    let words = [
        "refuses user alice by PLAIN",
        "Invalid username or password",
    ];
    expect(&target, "sasl_login_failed", &words).await;
}

#[tokio::test]
async fn a_broker_that_says_the_password_again_does_not_have_it_printed() {
    let script = Script {
        refusal: "no user for token \0alice\0tr0ub4dor&3",
        ..demanding(&["PLAIN"])
    };
    let target = target(script.start().await);
    let target = alice(target, Mechanism::Plain, "tr0ub4dor&3");
    let report = report(&target).await;
    let (code, sentence) = only_problem(&report);
    assert_eq!(code, "sasl_login_failed");
    assert!(sentence.contains("no user for token"), "{sentence}");
    let shown = report.table(true) + &report.json_text() + &report.short();
    assert!(!shown.contains("tr0ub4dor"), "{shown}");
}

#[tokio::test]
async fn a_mechanism_that_the_listener_does_not_have() {
    let target = target(demanding(&["PLAIN"]).start().await);
    let target = alice(target, Mechanism::ScramSha256, "hunter2");
    let words = ["does not offer SCRAM-SHA-256 but PLAIN"];
    expect(&target, "sasl_mechanism_not_offered", &words).await;
}

#[tokio::test]
async fn a_login_at_a_listener_without_sasl() {
    let target = target(Script::default().start().await);
    let target = alice(target, Mechanism::Plain, "hunter2");
    expect(&target, "sasl_not_offered", &["has no SASL"]).await;
}
