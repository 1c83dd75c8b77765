//! Runs one test in a process of its own: the limit of open files belongs to a process, and a shell
//! can set it.

use std::process::Command;

const CHILD: &str = "NARROWS_TEST_CHILD";

/// Whether this is the process that [`in_child`] started.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of this name under a limit of open files (as the shell reads it), and gives back
/// what it said.
pub(crate) fn in_child(name: &str, descriptor_limit: &str) -> String {
    let script = format!("ulimit -n {descriptor_limit} && exec \"$0\" --exact \"$1\" --nocapture");
    let program = std::env::current_exe().unwrap();
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .arg(name)
        .env(CHILD, "1")
        .output();
    let output = child.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
    said
}
