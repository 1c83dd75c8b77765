//! Tells the program which commit it is built from, for `narrows --version`.
//!
//! `NARROWS_COMMIT` says it, or git where there is one; a tarball has neither, and then it is
//! unknown. Builds for development don't ask, or each commit would have them compiled anew.

use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_release = variable("PROFILE").is_some_and(|profile| profile == "release");
    let commit = variable("NARROWS_COMMIT")
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| is_release))
        .unwrap_or_else(|| "unknown".to_owned());
    let kind = if is_release { "release" } else { "development" };
    let target = variable("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=NARROWS_COMMIT={commit}");
    println!("cargo::rustc-env=NARROWS_BUILD={kind}, {target}");
    println!("cargo::rerun-if-env-changed=NARROWS_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    if is_release && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
