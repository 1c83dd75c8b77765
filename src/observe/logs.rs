//! Logs on standard error: text on a terminal, JSON otherwise.
//!
//! A JSON line is one flat object: `timestamp` (UTC), `level`, `message`, `target` (the module) and
//! the event's own fields. An event must not name a field like one of these.
//!
//! Lines go through a [queue](LineQueue): whoever logs never waits for standard error, and what it
//! does not take is counted. A panic is a line as well, since the standard hook would write to
//! standard error from the thread that panics.

use super::filter::LogFilter;
use super::queue::LineQueue;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, reload};

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What is logged: `info`, or `info,narrows::session=debug`.
    pub level: LogFilter,
    /// The shape of a line.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there will be no logs as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// Another logger stands already in this process.
    #[error("logging was started twice in this process")]
    AlreadyStarted,
    /// There is no thread or descriptor for it.
    #[error("the log can't be written to standard error: {0}")]
    NoWriter(io::Error),
}

/// Changes what the process's log takes.
type SetFilter = Box<dyn Fn(&LogFilter) + Send + Sync>;

static FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Where lines go: those that may be very many are bounded.
struct Lines(LineQueue);

/// What takes one line.
struct Line<'q> {
    queue: &'q LineQueue,
    is_bounded: bool,
}

impl<'q> MakeWriter<'q> for Lines {
    type Writer = Line<'q>;

    fn make_writer(&'q self) -> Line<'q> {
        Line {
            queue: &self.0,
            is_bounded: false,
        }
    }

    fn make_writer_for(&'q self, metadata: &Metadata<'_>) -> Line<'q> {
        Line {
            queue: &self.0,
            is_bounded: *metadata.level() > Level::WARN,
        }
    }
}

/// As a log line arrives from `tracing-subscriber`: whole, in one call. It never fails, since
/// whoever logs could only wait or panic.
impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.is_bounded {
            self.queue.push_bounded(line, Instant::now());
        } else {
            self.queue.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The one queue in front of standard error, once something has been written. Logging belongs to a
/// process, as standard error does.
static QUEUE: OnceLock<LineQueue> = OnceLock::new();

/// Starts logging for the whole process, to standard error. Once; a second call is
/// `Err(AlreadyStarted)`.
pub(crate) fn init(settings: &LogSettings) -> Result<(), LogError> {
    let terminal = io::stderr().is_terminal();
    let queue = queue().map_err(LogError::NoWriter)?;
    let (subscriber, set_filter) = subscriber(settings, terminal, Lines(queue));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
    // Nobody else has got so far.
    let _ = FILTER.set(set_filter);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// From now on these lines are wanted. Nothing happens where [`init`] has not been.
pub(crate) fn set_filter(filter: &LogFilter) {
    if let Some(set_filter) = FILTER.get() {
        set_filter(filter);
    }
}

/// Puts a text on standard error as it is, behind the lines that were logged before it, without
/// waiting. For what is said before logging starts.
pub(crate) fn tell(text: &str) {
    if let Ok(queue) = queue() {
        queue.push(text.as_bytes());
    }
}

/// Waits until every line has been written, but not for longer than `timeout`: for the end of the
/// process.
pub(crate) fn flush(timeout: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(timeout);
    }
}

/// How many lines standard error has not taken.
pub(crate) fn lines_lost() -> u64 {
    QUEUE.get().map_or(0, LineQueue::lost)
}

fn queue() -> io::Result<LineQueue> {
    if let Some(queue) = QUEUE.get() {
        return Ok(queue.clone());
    }
    // Not `io::stderr()`: the lock that it takes would be held for as long as nobody reads.
    let device = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let queue = LineQueue::default();
    queue.write_to(device)?;
    // Two at once would each have a writer, which is harmless.
    Ok(QUEUE.get_or_init(|| queue).clone())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = panic
        .location()
        .map_or_else(String::new, ToString::to_string);
    // Only with RUST_BACKTRACE.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name(),
        backtrace = backtrace.as_ref().map(tracing::field::display),
        "panicked at {place}: {message}: this is a bug in Narrows"
    );
}

fn subscriber<W>(
    settings: &LogSettings,
    terminal: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(settings.level.to_env_filter())
        // They would go to standard error by `eprintln!`, which waits and panics.
        .log_internal_errors(false)
        .with_writer(writer);
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        // The list of spans would repeat the current one: there is one span a session.
        let lines = lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter_reloading();
        let handle = lines.reload_handle();
        return (Box::new(lines.finish()), setting(handle));
    }
    let lines = lines
        .with_ansi(terminal && colours_wanted())
        .with_filter_reloading();
    let handle = lines.reload_handle();
    (Box::new(lines.finish()), setting(handle))
}

fn setting<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> SetFilter {
    Box::new(move |filter| {
        // It fails only where the subscriber has gone, and this one lives as long as the process.
        let _ = handle.reload(filter.to_env_filter());
    })
}

/// Whether people want colours on a terminal: the convention of no-color.org.
pub(crate) fn colours_wanted() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && !is_dumb_terminal()
}

/// Whether the terminal knows no control sequences.
pub(crate) fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    fn settings(level: &str, format: LogFormat) -> LogSettings {
        LogSettings {
            level: LogFilter::parse(level).unwrap(),
            format,
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `act` logs, as text.
    fn logged(settings: &LogSettings, terminal: bool, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _) = subscriber(settings, terminal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_flat_object_with_the_session_it_belongs_to() {
        let text = logged(&settings("info", LogFormat::Auto), false, || {
            let session = tracing::info_span!("session", listener = "external");
            session.in_scope(|| tracing::info!(node = 3, "unmapped\nnode"));
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "unmapped\nnode");
        assert_eq!(line["node"], 3);
        assert_eq!(line["span"]["listener"], "external");
    }

    #[test]
    fn a_terminal_gets_text_and_a_setting_overrules_that() {
        let hello = || tracing::warn!(port = 9092, "hello");
        assert!(logged(&settings("info", LogFormat::Auto), true, hello).contains("hello"));
        assert!(!logged(&settings("info", LogFormat::Auto), true, hello).starts_with('{'));
        assert!(logged(&settings("info", LogFormat::Json), true, hello).starts_with('{'));
        let piped = logged(&settings("info", LogFormat::Text), false, hello);
        assert!(
            piped.contains("WARN") && piped.contains("port=9092"),
            "{piped}"
        );
        assert!(
            !piped.contains('\u{1b}'),
            "no colours where there is no terminal: {piped:?}"
        );
    }

    #[test]
    fn the_level_decides_what_is_logged() {
        let act = || {
            tracing::info!("seen");
            tracing::debug!("unseen");
            tracing::debug!(target: "narrows::session", "asked for");
        };
        let text = logged(
            &settings("info,narrows::session=debug", LogFormat::Text),
            false,
            act,
        );
        assert!(
            text.contains("seen") && text.contains("asked for") && !text.contains("unseen"),
            "{text}"
        );
        assert_eq!(logged(&settings("off", LogFormat::Text), false, act), "");
    }
}
