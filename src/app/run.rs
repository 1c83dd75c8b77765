//! The life of a process: reads the settings, runs Narrows, reloads it when its files change or a
//! SIGHUP asks for it, has another process take its place at a SIGUSR2, and drains it at a SIGTERM
//! or SIGINT.
//!
//! Signals are heard from the first moment on, whatever else goes on. Files are read on a thread
//! that nobody joins ([`detached`]): one may be a FIFO that nobody writes to, or lie on a mount
//! that hangs, and the process must be able to end all the same.

use super::upgrade::{self, Upgrade};
use super::watch::Watch;
use super::{ConfiguredValue, Narrows, Settings, StartError};
use crate::lifecycle::{ServiceState, detached, notify, tell_predecessor};
use crate::net::passed::PassedSockets;
use crate::observe::logs::{self, LogError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

/// The same signal once more within this time is the same wish: GNU `timeout` sends SIGTERM to the
/// process and to its group, and so twice within a millisecond.
const SAME_SIGNAL_INTERVAL: Duration = Duration::from_secs(1);
/// A reading that takes longer is worth a line.
const SLOW_READING: Duration = Duration::from_secs(10);

/// What has been read.
#[derive(Debug)]
pub(crate) struct Reading<E> {
    /// The settings, or what is wrong with them.
    pub(crate) settings: Result<Settings, E>,
    /// Every file that was looked for.
    pub(crate) files: Vec<PathBuf>,
    /// Every value with its origin, for the status page.
    pub(crate) configured: Vec<ConfiguredValue>,
}

/// Why a process has not run, or has not ended because it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError<E: fmt::Display> {
    /// The settings can't be used.
    #[error("{0}")]
    Settings(E),
    /// The settings can't be read.
    #[error("the configuration can't be read: there is no thread for it, or the reader failed")]
    Reader,
    /// It was told to end before it had begun.
    #[error("{0} received while the configuration was being read")]
    Ended(&'static str),
    /// The log can't be written.
    #[error("{0}")]
    Log(LogError),
    /// A part can't be started.
    #[error("{0}")]
    Start(StartError),
    /// The system lets no signal through.
    #[error("can't listen for SIGTERM, SIGINT, SIGHUP and SIGUSR2: {0}")]
    Signals(io::Error),
    /// The process that this one was to replace has gone.
    #[error(
        "the process that this one was to replace has ended, or was told to, before this one was \
         ready ({0}): start Narrows anew"
    )]
    Predecessor(io::Error),
    /// A task that must live as long as the process has ended.
    #[error("{0} has ended by itself, which is a bug: Narrows has drained and ends")]
    TaskEnded(String),
}

/// Runs Narrows until a signal ends it: SIGTERM or SIGINT drains, a second one ends at once.
/// SIGHUP, or a change of the files that the settings come from, has everything read again by
/// `read`, which may block. SIGUSR2 starts the process that takes this one's place. `passed` is
/// what was passed to this one; `config_file` is only told.
///
/// Starts the process's log, by the settings that were read first.
pub(crate) async fn run<E: fmt::Display + Send + 'static>(
    config_file: Option<PathBuf>,
    mut passed: PassedSockets,
    read: impl Fn() -> Reading<E> + Send + Sync + 'static,
) -> Result<(), RunError<E>> {
    let (mut signals, requests) = Signals::new().map_err(RunError::Signals)?;
    let read = Arc::new(read);
    let reader = Arc::clone(&read);
    let first = detached("config-reader", move || read_first(&*reader));
    let Read {
        settings,
        configured,
        watch,
    } = tokio::select! {
        first = first => first.ok_or(RunError::Reader)?,
        name = signals.end() => return Err(RunError::Ended(name)),
    };
    let settings = settings.map_err(RunError::Settings)?;
    logs::init(&settings.log).map_err(RunError::Log)?;
    let file = config_file.map(|file| file.display().to_string());
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = file,
        admin = settings
            .admin
            .map(|admin| tracing::field::display(admin.bind)),
        "Narrows starts"
    );
    let narrows = Narrows::start_on(settings, &mut passed).map_err(RunError::Start)?;
    narrows.show_configured(&configured);
    if let Some(predecessor) = passed.take_predecessor() {
        tell_predecessor(&predecessor).map_err(RunError::Predecessor)?;
    }
    tell_manager(ServiceState::Ready);
    match live(&narrows, (&mut signals, requests), watch, read).await {
        Wish::Signal(name) => {
            tell_manager(ServiceState::Stopping);
            info!("{name} received");
            end(&narrows, narrows.drain(), &mut signals, Some(name)).await;
            Ok(())
        }
        Wish::HandedOver(successor) => {
            tell_manager(ServiceState::MainProcess(successor));
            info!(
                successor,
                "another process accepts connections now: this one ends when its own are answered"
            );
            end(&narrows, narrows.make_way(), &mut signals, None).await;
            Ok(())
        }
        Wish::TaskEnded(task) => {
            tell_manager(ServiceState::Stopping);
            error!(
                "{task} has ended by itself, which is a bug: draining, since Narrows can't do its \
                 work without it"
            );
            end(&narrows, narrows.drain(), &mut signals, None).await;
            Err(RunError::TaskEnded(task))
        }
    }
}

/// Tells systemd, or whoever started the process in its manner.
fn tell_manager(state: ServiceState) {
    if let Err(error) = notify(state) {
        warn!("the service manager can't be told {state:?} at NOTIFY_SOCKET: {error}");
    }
}

/// The signals that ask for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they are heard, and so are those that ask for something else.
    fn new() -> io::Result<(Self, Requests)> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let requests = Requests {
            reload: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        };
        let ends = Self {
            terminate,
            interrupt,
        };
        Ok((ends, requests))
    }

    /// Waits for a signal to end. Cancel-safe.
    async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The signals that ask for something else: SIGHUP and SIGUSR2.
struct Requests {
    reload: Signal,
    upgrade: Signal,
}

/// Why a life ends.
enum Wish {
    Signal(&'static str),
    /// The process with this id has taken its place.
    HandedOver(u32),
    TaskEnded(String),
}

/// Files that are being read.
struct UnderWay<E> {
    result: Pin<Box<dyn Future<Output = Option<Read<E>>> + Send>>,
    /// When it is slow, unless that has been said.
    slow_at: Option<Instant>,
}

/// What has been read, and the look at the files that goes with it.
struct Read<E> {
    settings: Result<Settings, E>,
    configured: Vec<ConfiguredValue>,
    watch: Watch,
}

impl<E> Read<E> {
    fn new(reading: Reading<E>, watch: Watch) -> Self {
        Self {
            settings: reading.settings,
            configured: reading.configured,
            watch,
        }
    }
}

/// Reloads whenever it is asked to, until it has to end. At most one reading is under way; a SIGHUP
/// meanwhile has everything read once more behind it.
async fn live<E: fmt::Display + Send + 'static>(
    narrows: &Narrows,
    (signals, mut requests): (&mut Signals, Requests),
    mut watch: Watch,
    read: Arc<impl Fn() -> Reading<E> + Send + Sync + 'static>,
) -> Wish {
    let begin = |files: &[PathBuf]| {
        let (read, files) = (Arc::clone(&read), files.to_vec());
        UnderWay {
            result: Box::pin(detached("config-reader", move || {
                read_watched(&*read, files)
            })),
            slow_at: Some(Instant::now() + SLOW_READING),
        }
    };
    let mut reading = None;
    let mut is_wanted_again = false;
    let mut upgrade = None;
    loop {
        let interval = narrows.settings().reload.interval;
        let is_reading = reading.is_some();
        tokio::select! {
            name = signals.end() => return Wish::Signal(name),
            task = narrows.vital_ended() => return Wish::TaskEnded(task),
            _ = requests.upgrade.recv(), if upgrade.is_none() => upgrade = Upgrade::begin(narrows),
            successor = upgrade::finished(&mut upgrade) => {
                upgrade = None;
                if let Some(successor) = successor {
                    return Wish::HandedOver(successor);
                }
            }
            _ = requests.reload.recv() => {
                info!("SIGHUP received: reloading");
                is_wanted_again |= is_reading;
                reading.get_or_insert_with(|| begin(watch.files()));
            }
            () = watch.changed(interval), if !is_reading => {
                info!("files have changed: reloading");
                reading = Some(begin(watch.files()));
            }
            read = finished(&mut reading) => {
                reading = None;
                if let Some(read) = read {
                    watch = read.watch;
                    if narrows.take(read.settings) {
                        narrows.show_configured(&read.configured);
                    }
                }
                if std::mem::take(&mut is_wanted_again) {
                    reading = Some(begin(watch.files()));
                }
            }
        }
    }
}

/// Waits for the reading that is under way, for ever if there is none; says so once when it is
/// slow. Cancel-safe.
async fn finished<E>(reading: &mut Option<UnderWay<E>>) -> Option<Read<E>> {
    let Some(UnderWay { result, slow_at }) = reading else {
        return std::future::pending().await;
    };
    if let Some(at) = *slow_at {
        tokio::select! {
            read = &mut *result => return read,
            () = sleep_until(at) => *slow_at = None,
        }
        warn!(
            "the configuration and the files that it names are still being read after \
             {SLOW_READING:?}: is one of them on a file system that does not answer, or a pipe?"
        );
    }
    result.await
}

/// Waits for the drain; a second signal ends at once.
async fn end(
    narrows: &Narrows,
    drain: impl Future<Output = bool>,
    signals: &mut Signals,
    first: Option<&'static str>,
) {
    let began = Instant::now();
    let mut drained = pin!(drain);
    loop {
        tokio::select! {
            _ = &mut drained => break,
            name = signals.end() => {
                if first == Some(name) && began.elapsed() < SAME_SIGNAL_INTERVAL {
                    continue;
                }
                info!("a second signal ({name}): ending at once");
                narrows.stop().await;
                break;
            }
        }
    }
    info!("stopped");
}

/// Reads for the first time, and once more behind the first look at the files, so that no change
/// falls between the two. A pipe can be read only once: what it held is what holds.
fn read_first<E>(read: &impl Fn() -> Reading<E>) -> Read<E> {
    let first = read();
    let is_pipe = |file: &PathBuf| file.metadata().is_ok_and(|file| !file.is_file());
    let watch = Watch::over(first.files.clone());
    if first.settings.is_err() || watch.files().iter().any(is_pipe) {
        return Read::new(first, watch);
    }
    let again = read();
    Read::new(if again.settings.is_ok() { again } else { first }, watch)
}

/// Reads, with a look at the files from before: whatever changes while they are read is noticed
/// later.
fn read_watched<E>(read: &impl Fn() -> Reading<E>, files: Vec<PathBuf>) -> Read<E> {
    let watch = Watch::over(files);
    let reading = read();
    if reading.files == watch.files() {
        return Read::new(reading, watch);
    }
    let watch = Watch::over(reading.files);
    Read::new(read(), watch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::AdminSettings;
    use crate::app::ReloadSettings;
    use crate::lifecycle::{DrainSettings, Stop};
    use crate::listener::LimitsSettings;
    use crate::observe::{LogFilter, LogFormat, LogSettings};
    use crate::protocol::admission::{ConfigAddresses, Unvetted};
    use crate::session::{SessionSettings, Splice};

    /// A Narrows that does nothing.
    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            clusters: Vec::new(),
            listeners: Vec::new(),
            admin: None::<AdminSettings>,
            limits: LimitsSettings::default(),
            session: SessionSettings {
                frame_bytes_max: 1024,
                sasl_frame_bytes_max: 1024,
                held_response_bytes_max: 1024,
                in_flight_requests_max: 1,
                first_frame_timeout: second,
                frame_progress_timeout: second,
                tls_handshake_timeout: second,
                half_close_timeout: second,
                connection_age_max: None,
                drain_spread: Duration::ZERO,
                unvetted: Unvetted::Hide,
                config_addresses: ConfigAddresses::Mask,
                splice: Splice::Off,
            },
            drain: DrainSettings {
                delay: Duration::ZERO,
                timeout: second,
            },
            reload: ReloadSettings {
                interval: Duration::ZERO,
            },
            log: LogSettings {
                level: LogFilter::level(tracing::Level::INFO),
                format: LogFormat::Text,
            },
        }
    }

    #[tokio::test]
    async fn a_life_ends_when_a_task_ends_that_must_live_as_long() {
        let narrows = Narrows::start(settings()).unwrap();
        let (mut signals, requests) = Signals::new().unwrap();
        let read = || -> Reading<String> { unreachable!("nothing is read again") };
        let life = live(
            &narrows,
            (&mut signals, requests),
            Watch::over(Vec::new()),
            Arc::new(read),
        );
        let mut life = pin!(life);
        let stop = Stop::default();
        let tasks = &narrows.runtime.tasks;
        tasks.spawn_vital("a refresh", &stop, std::future::pending());
        let lives = tokio::time::timeout(Duration::from_millis(50), &mut life).await;
        assert!(lives.is_err(), "nothing has ended");
        tasks.spawn_vital("an accept loop", &stop, async {});
        match tokio::time::timeout(Duration::from_secs(20), life).await {
            Ok(Wish::TaskEnded(name)) => assert_eq!(name, "an accept loop"),
            Ok(_) => panic!("another wish"),
            Err(_) => panic!("it lives on"),
        }
    }
}
