//! What networks and machines do to connections, under clients with the no-loss oracle and a
//! control arm: a broker that stands still, connections that are reset; and thousands of
//! connections of every kind, after which nothing is left.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use socket2::SockRef;

use crate::arms::Arms;
use crate::fixture::{Fixture, LazyFixture, alone, is_direct, sharing};
use crate::namespaces::{Side, broker_ip};
use crate::narrows::Narrows;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "faults::thousands_of_connections_of_every_kind_leave_nothing_behind",
            crowd,
        ),
        alone(
            fixture,
            "faults::nothing_is_lost_when_the_leader_stands_still_and_goes_on",
            freeze_the_leader,
        ),
        alone(
            fixture,
            "faults::nothing_is_lost_when_connections_to_the_leader_are_reset",
            reset_connections,
        ),
    ]
}

/// Less than it takes the cluster to give up a broker (`broker.session.timeout.ms`, 9 s) and a
/// client a request.
const STANDSTILL: Duration = Duration::from_secs(3);
const CLIENT: &str = "confluent";
const BETWEEN: usize = 200;

/// No deadline of Narrows' is shorter than a client's own: nobody is cut off.
fn freeze_the_leader(fixture: &Fixture) -> Result<()> {
    let arms = Arms::start(fixture, CLIENT, fixture.front(), "2,3,1")?;
    arms.await_more(BETWEEN)?;
    let closed = "narrows_connections_closed_total";
    let by_anybody = || fixture.narrows()?.metric(&fixture.namespaces, closed, "");
    let before = by_anybody()?;
    fixture.cluster.freeze(2)?;
    thread::sleep(STANDSTILL);
    fixture.cluster.thaw(2)?;
    arms.await_more(BETWEEN)?;
    let after = by_anybody()?;
    ensure!(
        before.to_bits() == after.to_bits(),
        "{} sessions ended while a broker stood still",
        after - before
    );
    arms.finish(fixture).map(drop)
}

/// On Narrows' side, where the control arm's client is too.
fn reset_connections(fixture: &Fixture) -> Result<()> {
    fixture.announce(&["cause\":\"broker_reset"]);
    let arms = Arms::start(fixture, CLIENT, fixture.front(), "2,3,1")?;
    let address = broker_ip(2).to_string();
    for _ in 0..3 {
        arms.await_more(BETWEEN)?;
        let mut ss = fixture.namespaces.command(Side::Narrows, "ss");
        let killed = ss
            .args(["--no-header", "--tcp", "--kill", "dst", &address])
            .output()?;
        let killed = String::from_utf8_lossy(&killed.stdout).into_owned();
        ensure!(
            killed.lines().count() > 1,
            "no connection could be reset (it takes CONFIG_INET_DIAG_DESTROY): {killed:?}"
        );
    }
    arms.await_more(BETWEEN)?;
    arms.finish(fixture).map(drop)
}

/// Connections of each kind.
const OF_EACH: usize = 500;
/// Issue 12: back at the idle baseline within half a minute.
const CALM: Duration = Duration::from_secs(30);
/// What an allocator keeps of a crowd, in bytes.
const KEPT_BYTES_MAX: f64 = 24.0 * 1024.0 * 1024.0;

/// Idle ones, ones that stop inside a header, ones that don't read what they asked for, ones that
/// reset inside a large request, and health checks.
fn crowd(fixture: &Fixture) -> Result<()> {
    // Each connection takes one here.
    ::narrows::net::descriptors::raise_limit();
    let narrows = fixture.own_narrows()?;
    narrows.announce(&["first_frame_timeout", "client_reset"]);
    let at: SocketAddr = narrows.front().plain.parse()?;
    let dial = || -> Result<TcpStream> {
        let dialled = fixture
            .namespaces
            .inside(Side::Clients, || TcpStream::connect(at))?;
        dialled.context("no connection")
    };
    // What is made once and stays is there.
    drop(dial()?);
    let baseline = Account::of(fixture, &narrows)?;
    let mut open = Vec::new();
    for _ in 0..OF_EACH {
        let (idle, mut half, mut deaf, mut torn) = (dial()?, dial()?, dial()?, dial()?);
        half.write_all(&METADATA[..9])?;
        for _ in 0..50 {
            deaf.write_all(&METADATA)?;
        }
        torn.write_all(&LARGE_PRODUCE)?;
        torn.write_all(&[0; 40_000])?;
        // Closing is a reset then.
        SockRef::from(&torn).set_linger(Some(Duration::ZERO))?;
        drop(torn);
        drop(dial()?);
        open.extend([idle, half, deaf]);
    }
    let expected = baseline.descriptors + f64::from(u32::try_from(open.len())?);
    let is_there = |now: &Account| now.descriptors >= expected;
    Account::until(fixture, &narrows, is_there).context("no crowd")?;
    drop(open);
    let is_calm = |now: &Account| now.is_at(&baseline);
    Account::until(fixture, &narrows, is_calm).with_context(|| format!("{baseline:?} before"))?;
    narrows.ensure_sound()
}

/// Metadata v4 for all topics, correlation id 1, without a client id.
const METADATA: [u8; 19] = [
    0, 0, 0, 15, 0, 3, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,
];
/// The beginning of a Produce v3 of 10 MB.
const LARGE_PRODUCE: [u8; 14] = [0, 0x98, 0x96, 0x80, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff];

/// What Narrows has of everything.
#[derive(Debug)]
struct Account {
    sessions: f64,
    descriptors: f64,
    bytes: f64,
}

impl Account {
    fn of(fixture: &Fixture, narrows: &Narrows) -> Result<Self> {
        let metric = |name| narrows.metric(&fixture.namespaces, name, "");
        Ok(Self {
            sessions: metric("narrows_connections_active{")?,
            descriptors: metric("process_open_fds ")?,
            bytes: metric("process_resident_memory_bytes ")?,
        })
    }

    /// # Errors
    /// When it is not so within [`CALM`].
    fn until(fixture: &Fixture, narrows: &Narrows, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            let now = Self::of(fixture, narrows)?;
            if is_so(&now) {
                return Ok(());
            }
            ensure!(began.elapsed() < CALM, "{now:?} after {CALM:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A refresh may have a connection to a broker, and the pools keep their pipes.
    fn is_at(&self, baseline: &Self) -> bool {
        self.sessions < 0.5
            && self.descriptors <= baseline.descriptors + POOLED_FILES
            && self.bytes <= baseline.bytes + KEPT_BYTES_MAX
    }
}

/// Of a refresh, and of pipes that wait for the next large transfer.
const POOLED_FILES: f64 = 4.0;
