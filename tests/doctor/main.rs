//! `narrows doctor` against peers that fail for real: each test provokes what goes wrong in the
//! field, and expects the code and the sentence that name it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod brokers;
mod commands;
mod hostile;
mod kafka;
mod live;
mod logins;
mod peers;
#[path = "../pki/mod.rs"]
mod pki;
mod tls;
mod way;

use narrows::doctor::{Report, Target, examine};
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than any step takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
/// For peers that never answer: what is waited for does not come.
const IMPATIENT: Duration = Duration::from_millis(200);

/// A client without TLS, login or topic.
fn target(bootstrap: SocketAddr) -> Target {
    Target {
        bootstrap: bootstrap.to_string().parse().unwrap(),
        tls: None,
        credentials: None,
        topic: None,
        timeout: PATIENT,
    }
}

async fn report(target: &Target) -> Report {
    let examined = tokio::time::timeout(PATIENT * 3, examine(target, &|_| {}));
    examined.await.expect("doctor hangs")
}

/// What the only problem is: its code, and the sentence.
fn only_problem(report: &Report) -> (&'static str, String) {
    let problems: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict == narrows::doctor::Verdict::Problem)
        .collect();
    assert_eq!(problems.len(), 1, "{}", report.table(false));
    assert!(report.clients.is_empty(), "configurations for what fails");
    let code = problems[0].code.expect("a problem without a code");
    assert!(
        problems[0].text.ends_with(code.cure()),
        "{}",
        problems[0].text
    );
    (code.word(), problems[0].text.clone())
}

/// Examines, and expects one problem with this code, whose sentence says all of `words`.
async fn expect(target: &Target, code: &str, words: &[&str]) {
    let report = report(target).await;
    let (found, sentence) = only_problem(&report);
    assert_eq!(found, code, "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "no {word} in: {sentence}");
    }
}
