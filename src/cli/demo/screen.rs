//! What the demo puts on the screen, except its report.

use super::brokers::{Brokers, Topic};
use super::front::Front;
use crate::cli::DemoArgs;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

const MEGABYTE: f64 = 1_000_000.0;
/// On a terminal the bar moves; in a file or a pipe there is a line now and then.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Prints. Not `println!`, which panics when the reader (`head`) is gone.
pub(super) fn say(text: String) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub(super) fn title(args: &DemoArgs) -> String {
    format!(
        "Narrows {}: {} records of {} bytes through one address\n",
        env!("CARGO_PKG_VERSION"),
        HumanCount(args.records),
        HumanCount(args.record_bytes.into())
    )
}

/// Who is where: the broker map as Narrows' status has it.
pub(super) fn map(brokers: &Brokers, front: &Front) -> String {
    let width = front
        .map
        .iter()
        .map(|row| row.advertised.len())
        .max()
        .unwrap_or(0)
        .max(16);
    let place = if brokers.is_mock() {
        "inside this process"
    } else {
        "at --bootstrap-servers"
    };
    let mut text = format!(
        "  brokers   {} {place}\n  Narrows   {}, all that the producer and the consumer are \
         told\n  status    http://{}/\n\n",
        front.map.len(),
        front.bootstrap,
        front.admin
    );
    text += &format!(
        "  node id   {:width$}   the broker itself\n",
        "clients are told"
    );
    for row in &front.map {
        let _ = writeln!(
            text,
            "  {:7}   {:width$}   {}",
            row.node, row.advertised, row.broker
        );
    }
    text
}

/// What to try while it keeps running.
pub(super) fn invitation(front: &Front, topic: &Topic) -> String {
    let name = &topic.name;
    let Front {
        bootstrap, admin, ..
    } = front;
    format!(
        "Still running until Ctrl-C. In another terminal, try:\n\n  \
         kcat -b {bootstrap} -L\n  \
         echo hello | kcat -b {bootstrap} -t {name} -P\n  \
         kcat -b {bootstrap} -t {name} -C -o -1 -e -f '%p %o: key %k, %S bytes\\n'\n  \
         curl http://{admin}/api/status        # or open http://{admin}/ in a browser\n"
    )
}

pub(super) fn megabytes_per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64().max(0.001) / MEGABYTE
}

/// How far the records have come.
pub(super) struct Progress {
    records: u64,
    record_bytes: u64,
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    last_line: Cell<Duration>,
}

impl Progress {
    pub(super) fn new(args: &DemoArgs) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| bar(args.records));
        let record_bytes = args.record_bytes.into();
        Self {
            records: args.records,
            record_bytes,
            bar,
            last_line: Cell::default(),
        }
    }

    /// Shows that `arrived` records have arrived in `took`.
    pub(super) fn show(&self, arrived: u64, took: Duration) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.rate(arrived, took));
                bar.set_position(arrived);
            }
            None if took >= self.last_line.get() + LINE_INTERVAL => self.line(arrived, took),
            None => {}
        }
    }

    /// The last word.
    pub(super) fn end(&self, arrived: u64, took: Duration) {
        match &self.bar {
            Some(bar) => {
                self.show(arrived, took);
                bar.abandon();
                say(String::new());
            }
            None => {
                self.line(arrived, took);
                say(String::new());
            }
        }
    }

    fn line(&self, arrived: u64, took: Duration) {
        self.last_line.set(took);
        let percent = arrived as f64 * 100.0 / self.records as f64;
        let rate = self.rate(arrived, took);
        say(format!(
            "  {percent:3.0} %  {} of {} records  {rate}",
            HumanCount(arrived),
            HumanCount(self.records)
        ));
    }

    fn rate(&self, arrived: u64, took: Duration) -> String {
        format!(
            "{:.0} MB/s",
            megabytes_per_second(arrived * self.record_bytes, took)
        )
    }
}

fn bar(records: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(records), ProgressDrawTarget::stdout());
    let style =
        ProgressStyle::with_template("  {bar:36.green} {human_pos} of {human_len} records  {msg}");
    // A template that is wrong leaves the default bar.
    bar.set_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("█▉▊▋▌▍▎▏░"),
    );
    bar
}
