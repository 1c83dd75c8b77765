//! The usual `process_*` metrics, from `/proc/self`. Where there is no such thing they are left
//! out.

use super::metrics::families::{Family, counter, gauge};
use std::fmt::Write;
use std::fs;

/// Ticks a second in `/proc/*/stat`: the kernel's USER_HZ, which is 100 on every architecture that
/// Rust's Linux targets have.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics, in the order in which [`render`] has their values.
pub(super) const FAMILIES: &[Family] = &[
    counter(
        "process_cpu_seconds_total",
        &[],
        "CPU time used, in seconds.",
    ),
    gauge("process_open_fds", &[], "Open file descriptors."),
    gauge(
        "process_max_fds",
        &[],
        "How many file descriptors may be open.",
    ),
    gauge(
        "process_resident_memory_bytes",
        &[],
        "Resident memory, in bytes.",
    ),
    gauge(
        "process_start_time_seconds",
        &[],
        "Start time, in seconds since the Unix epoch.",
    ),
    gauge("process_threads", &[], "Threads of the operating system."),
];

/// Appends what can be read, in the Prometheus text format.
pub(super) fn render(out: &mut String) {
    let stat = read("/proc/self/stat").and_then(|text| Stat::parse(&text));
    let status = read("/proc/self/status").unwrap_or_default();
    let limits = read("/proc/self/limits").unwrap_or_default();
    let boot_seconds =
        read("/proc/stat").and_then(|text| field(&text, "btime")?.parse::<f64>().ok());

    let cpu_seconds = stat.as_ref().map(|stat| stat.cpu_ticks / TICKS_PER_SECOND);
    let start_seconds = stat
        .as_ref()
        .zip(boot_seconds)
        .map(|(stat, boot)| boot + stat.start_ticks / TICKS_PER_SECOND);
    let resident_bytes = field(&status, "VmRSS:").and_then(kibibytes);
    let threads = field(&status, "Threads:").and_then(|text| text.parse().ok());
    let fds_max = field(&limits, "Max open files").and_then(first_number);

    let values = [
        cpu_seconds,
        open_fds(),
        fds_max,
        resident_bytes,
        start_seconds,
        threads,
    ];
    for (family, value) in FAMILIES.iter().zip(values) {
        let Some(value) = value else { continue };
        let Family { name, help, .. } = family;
        let kind = family.kind.word();
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Since Linux 6.2 the size of the directory is the number of descriptors. Before that it is 0, and
/// they are counted one by one, which takes milliseconds when there are ten thousand.
fn open_fds() -> Option<f64> {
    let counted = || {
        fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count())
    };
    let known = fs::metadata("/proc/self/fd")
        .ok()
        .and_then(|fds| usize::try_from(fds.len()).ok());
    let count = known.filter(|count| *count > 0).or_else(counted)?;
    u32::try_from(count).ok().map(f64::from)
}

/// What stands behind `name` on the line that begins with it.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn kibibytes(text: &str) -> Option<f64> {
    text.strip_suffix(" kB")?
        .parse::<f64>()
        .ok()
        .map(|kibibytes| kibibytes * 1024.0)
}

/// The soft limit stands first; `unlimited` is no number and gives none.
fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The part of `/proc/self/stat` that is wanted (proc_pid_stat(5): fields 14, 15 and 22).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// The command name, field 2, may hold spaces and parentheses itself; only the last one ends
    /// it.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: ticks(14)? + ticks(15)?,
            start_ticks: ticks(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 4200 \
                        1000 20 18446744073709551615";

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        assert_eq!(
            Stat::parse(STAT),
            Some(Stat {
                cpu_ticks: 200.0,
                start_ticks: 4200.0
            })
        );
    }

    #[test]
    fn a_stat_line_cut_anywhere_gives_nothing_or_the_truth_but_no_panic() {
        for end in 0..STAT.len() {
            let _ = Stat::parse(&STAT[..end]);
        }
        assert_eq!(Stat::parse("42 (narrows) S 1"), None);
    }

    #[test]
    fn units_are_bytes_and_unlimited_is_left_out() {
        assert_eq!(
            field("Threads:\t3\nVmRSS:\t    12 kB\n", "VmRSS:").and_then(kibibytes),
            Some(12288.0)
        );
        assert_eq!(
            field(
                "Max open files            1024       4096      files",
                "Max open files"
            )
            .and_then(first_number),
            Some(1024.0)
        );
        assert_eq!(first_number("unlimited unlimited files"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_described_in_plausible_numbers() {
        let _open = fs::File::open("/proc/self/stat").unwrap();
        let mut text = String::new();
        render(&mut text);
        let value =
            |name: &str| -> f64 { field(&text, &format!("{name} ")).unwrap().parse().unwrap() };
        assert!(
            (4.0..100_000.0).contains(&value("process_open_fds")),
            "{text}"
        );
        assert!(value("process_resident_memory_bytes") > 500_000.0, "{text}");
        assert!(value("process_threads") >= 1.0, "{text}");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age_seconds = now - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age_seconds), "{age_seconds}");
    }
}
