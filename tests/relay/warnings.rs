//! A test fails on a warning or an error that Narrows logs and the test has not announced.
//!
//! Each test has a runtime of its own, and whatever Narrows spawns runs in it: lines are told apart
//! by runtime. A test that asks for the cause of an ended session, through
//! [`crate::client::Proxy`], announces the line that goes with it.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{Handle, Id};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What was logged in a runtime, and what may be.
#[derive(Default)]
struct Lines {
    logged: Vec<Line>,
    announced: Vec<String>,
    announced_causes: Vec<String>,
    watches: usize,
}

#[derive(Default)]
struct Line {
    /// Level, message and fields.
    text: String,
    /// The cause's code, of a session's last line.
    cause: Option<String>,
}

static LINES: LazyLock<Mutex<HashMap<Id, Lines>>> = LazyLock::new(|| {
    let collector = tracing_subscriber::registry()
        .with(LevelFilter::WARN)
        .with(Collector);
    tracing::subscriber::set_global_default(collector).unwrap();
    Mutex::default()
});

fn lines() -> MutexGuard<'static, HashMap<Id, Lines>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Collector;

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Outside of any runtime nothing of Narrows' runs.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut line = Line {
            text: event.metadata().level().to_string(),
            cause: None,
        };
        event.record(&mut line);
        lines().entry(runtime.id()).or_default().logged.push(line);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, " {value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "cause" {
            self.cause = Some(value.to_owned());
        }
        self.record_debug(field, &value);
    }
}

/// Held by each Narrows of a test; the last one to go looks at what was logged.
pub(crate) struct Watch(Id);

impl Watch {
    pub(crate) fn begin() -> Self {
        let runtime = Handle::current().id();
        lines().entry(runtime).or_default().watches += 1;
        Self(runtime)
    }

    /// Lines with this text are what the test is about.
    pub(crate) fn announce(&self, text: &str) {
        let mut lines = lines();
        let announced = &mut lines.entry(self.0).or_default().announced;
        announced.push(text.to_owned());
    }

    /// Sessions may end with this cause.
    pub(crate) fn announce_cause(&self, cause: &str) {
        let mut lines = lines();
        let announced = &mut lines.entry(self.0).or_default().announced_causes;
        announced.push(cause.to_owned());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = lines();
        let Some(here) = all.get_mut(&self.0) else {
            return;
        };
        here.watches -= 1;
        if here.watches > 0 {
            return;
        }
        let unannounced = here.unannounced();
        all.remove(&self.0);
        drop(all);
        assert!(
            unannounced.is_empty() || std::thread::panicking(),
            "Narrows warned of what this test has not announced:\n{}",
            unannounced.join("\n")
        );
    }
}

impl Lines {
    fn unannounced(&self) -> Vec<String> {
        let is_announced = |line: &Line| {
            let has_cause = |cause| self.announced_causes.contains(cause);
            line.cause.as_ref().is_some_and(has_cause)
                || self.announced.iter().any(|text| line.text.contains(text))
        };
        let lines = self.logged.iter().filter(|line| !is_announced(line));
        lines.map(|line| line.text.clone()).collect()
    }
}
