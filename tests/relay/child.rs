//! Runs a test's body in a process of its own: the limit of open files and the default subscriber
//! of log lines belong to a process, and a measurement must have one for itself.

use std::future::Future;
use std::process::Command;
use tokio::runtime::{Builder, Runtime};

const CHILD: &str = "NARROWS_TEST_CHILD";

/// As many open files as the machine allows; the shell reads it.
pub(crate) const ALL_FILES: &str = "\"$(ulimit -Hn)\"";

/// Everything on the thread of the test.
pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The test on its own thread, Narrows on another.
pub(crate) fn one_worker() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// What the process is like, and which of its lines are shown.
pub(crate) struct OwnProcess {
    /// The limit of open files.
    pub(crate) files: &'static str,
    pub(crate) runtime: fn() -> Runtime,
    /// Lines with these words, a measurement's, are shown on; empty: none.
    pub(crate) shown: &'static str,
}

impl OwnProcess {
    /// Everything on one thread, nothing shown.
    pub(crate) const PLAIN: Self = Self {
        files: ALL_FILES,
        runtime: one_thread,
        shown: "",
    };
}

/// Runs `body` in a child that is started as this test alone. `here` is the path of a function
/// inside the test: [`in_own_process`] gives it.
pub(crate) fn run<F: Future<Output = ()>>(
    here: &str,
    child: &OwnProcess,
    body: impl FnOnce() -> F,
) {
    if std::env::var_os(CHILD).is_some() {
        return (child.runtime)().block_on(body());
    }
    // What crowds the machine on purpose waits until this has measured.
    let _shared = crate::alloc::shared_blocking();
    // `relay::module::test::here`: libtest knows the middle.
    let test = here.split_once("::").unwrap().1;
    let test = test.strip_suffix("::here").unwrap();
    let files = child.files;
    let script = format!("ulimit -n {files} && exec \"$0\" --exact \"$1\" --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
    let is_shown = |line: &&str| !child.shown.is_empty() && line.contains(child.shown);
    said.lines()
        .filter(is_shown)
        .for_each(|line| println!("{line}"));
}

/// `in_own_process!(OwnProcess { .. }, body)`: the whole of a `#[test]` whose body, an async
/// function without arguments, runs in a process of its own.
macro_rules! in_own_process {
    ($child:expr, $body:expr) => {{
        fn here() {}
        let here = std::any::type_name_of_val(&here);
        $crate::child::run(here, &$child, $body)
    }};
}
pub(crate) use in_own_process;
