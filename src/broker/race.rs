//! Connects to the first of several addresses that answers, as RFC 8305 ("happy eyeballs") has it:
//! the next one is tried when the one before has failed, or has not answered within
//! [`STAGGER`]; all that have been begun go on until one is connected.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The "Connection Attempt Delay" that RFC 8305, section 5, recommends.
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried; no broker has more.
pub(super) const ADDRESSES_MAX: usize = 64;

/// Connects to addresses.
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt>,
    next_at: Instant,
    timeout: Duration,
}

struct Attempt {
    peer: SocketAddr,
    began: Instant,
    connect: Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>,
}

/// How one attempt ended.
pub(super) type Finish = (SocketAddr, io::Result<TcpStream>);

impl Race {
    /// To these addresses in this order, `timeout` for each.
    pub(super) fn new(peers: Vec<SocketAddr>, timeout: Duration) -> Self {
        Self {
            waiting: peers.into_iter().take(ADDRESSES_MAX).collect(),
            running: Vec::new(),
            next_at: Instant::now(),
            timeout,
        }
    }

    /// The next that is connected or has failed; `None` when there is none left.
    pub(super) async fn next(&mut self) -> Option<Finish> {
        loop {
            if self.running.is_empty() && !self.start() {
                return None;
            }
            let next_at = self.next_at;
            let has_more = !self.waiting.is_empty();
            tokio::select! {
                biased;
                finish = std::future::poll_fn(|cx| self.poll_running(cx)) => {
                    if finish.1.is_err() {
                        self.start();
                    }
                    return Some(finish);
                }
                () = tokio::time::sleep_until(next_at), if has_more => {
                    self.start();
                }
            }
        }
    }

    /// Those that others have overtaken by a stagger or more.
    pub(super) fn overtaken(&self) -> impl Iterator<Item = SocketAddr> {
        let now = Instant::now();
        let is_late = move |attempt: &&Attempt| now - attempt.began >= STAGGER;
        self.running
            .iter()
            .filter(is_late)
            .map(|attempt| attempt.peer)
    }

    fn start(&mut self) -> bool {
        let Some(peer) = self.waiting.pop_front() else {
            return false;
        };
        let began = Instant::now();
        self.next_at = began + STAGGER;
        let timeout = self.timeout;
        let connect = Box::pin(async move {
            let connected = tokio::time::timeout(timeout, TcpStream::connect(peer)).await;
            connected.map_err(io::Error::from)?
        });
        self.running.push(Attempt {
            peer,
            began,
            connect,
        });
        true
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        for at in 0..self.running.len() {
            if let Poll::Ready(connected) = self.running[at].connect.as_mut().poll(cx) {
                let Attempt { peer, .. } = self.running.remove(at);
                return Poll::Ready((peer, connected));
            }
        }
        Poll::Pending
    }
}

/// Addresses in the order of the resolver, but of both families in turn (RFC 8305, section 4), and
/// those that `is_dead` last.
pub(super) fn in_order(
    found: Vec<SocketAddr>,
    is_dead: impl Fn(SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let is_first_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (VecDeque<_>, VecDeque<_>) = found
        .into_iter()
        .partition(|peer| peer.is_ipv6() == is_first_v6);
    let (mut first, mut other) = (first, other);
    let mut ordered = Vec::new();
    while !first.is_empty() || !other.is_empty() {
        ordered.extend(first.pop_front());
        ordered.extend(other.pop_front());
    }
    // Stable.
    ordered.sort_by_key(|peer| is_dead(*peer));
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_dead_come_last() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found = at(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let dead = at(&["[::1]:1"]);
        assert_eq!(
            in_order(found.clone(), |_| false),
            at(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"])
        );
        assert_eq!(
            in_order(found, |peer| dead.contains(&peer)),
            at(&["1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1", "[::1]:1"])
        );
    }
}
