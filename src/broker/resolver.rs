//! Resolves the names of a cluster's brokers: one lookup for each name at a time, whose result all
//! get who want it, and only so many at once. Nothing is kept afterwards: pods move, and their
//! addresses are used again within seconds.
//!
//! The system's resolver has deadlines of its own (glibc asks again after five seconds, twice for
//! each server), and can't be stopped. So each lookup has a thread of its own, which holds its
//! place until the system has answered, also when all who waited have given up: a resolver that is
//! dead takes no more threads than there are places, and none that anybody else needs.

use crate::lifecycle;
use crate::types::BrokerAddress;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Lookups at once for one cluster.
pub(crate) const LOOKUPS_MAX: usize = 32;

/// From a name to its addresses, each with port 0. Takes its time.
pub(crate) type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Addresses, or the error's kind and text, since all who wait get the same.
type Answer = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

/// One cluster's lookups.
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    under_way: Arc<UnderWay>,
    places: Arc<Semaphore>,
}

/// The lookups that there are, by name.
type UnderWay = Mutex<HashMap<Arc<str>, watch::Receiver<Option<Answer>>>>;

impl Default for Resolver {
    /// By the system: its hosts file, its servers and its search domains.
    #[allow(
        clippy::disallowed_methods,
        reason = "on a thread of its own, which nobody waits for"
    )]
    fn default() -> Self {
        Self::by(Arc::new(|host| Ok((host, 0).to_socket_addrs()?.collect())))
    }
}

impl Resolver {
    /// By another way than the system's.
    pub(crate) fn by(lookup: Arc<Lookup>) -> Self {
        Self {
            lookup,
            under_way: Arc::default(),
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// Every socket address that a broker address stands for, in the resolver's order; at least
    /// one. Cancel-safe.
    pub(crate) async fn resolve(
        &self,
        address: &BrokerAddress,
        timeout: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = address.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, address.port)]);
        }
        let found = tokio::time::timeout(timeout, self.find(&address.host)).await;
        let mut found = found.map_err(|_| {
            let text = format!("the resolver did not answer within {timeout:?} (dns_timeout)");
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        found.iter_mut().for_each(|at| at.set_port(address.port));
        if found.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(found)
    }

    async fn find(&self, host: &Arc<str>) -> io::Result<Vec<SocketAddr>> {
        let gone = |_| io::Error::other("the lookup has ended without an answer");
        let known = lock(&self.under_way).get(host).cloned();
        let mut answer = match known {
            Some(answer) => answer,
            None => {
                let places = Arc::clone(&self.places);
                let place = places.acquire_owned().await.map_err(io::Error::other)?;
                self.begin(host, place)
            }
        };
        let answer = answer.wait_for(Option::is_some).await.map_err(gone)?;
        match answer.as_ref() {
            Some(Ok(found)) => Ok(found.clone()),
            Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
            None => Err(io::Error::other("the lookup has no answer")),
        }
    }

    /// Begins a lookup, unless somebody else has meanwhile.
    fn begin(
        &self,
        host: &Arc<str>,
        place: OwnedSemaphorePermit,
    ) -> watch::Receiver<Option<Answer>> {
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(host) {
            return answer.clone();
        }
        let (answered, answer) = watch::channel(None);
        under_way.insert(Arc::clone(host), answer.clone());
        drop(under_way);
        let entry = Entry {
            host: Arc::clone(host),
            under_way: Arc::clone(&self.under_way),
        };
        let lookup = Arc::clone(&self.lookup);
        // It runs on when its future is dropped. Where there is no thread to be had, everything in
        // here is dropped, which ends the entry and tells who waits.
        let _runs_on = lifecycle::detached("resolve", move || {
            let found = lookup(&entry.host);
            // Whoever asks from now on gets a lookup of his own.
            drop(entry);
            let found = found.map_err(|error| (error.kind(), error.to_string()));
            answered.send_replace(Some(found));
            drop(place);
        });
        answer
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// A lookup that is under way; when it is dropped, it is not any more.
struct Entry {
    host: Arc<str>,
    under_way: Arc<UnderWay>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.host);
    }
}

fn lock(
    under_way: &UnderWay,
) -> MutexGuard<'_, HashMap<Arc<str>, watch::Receiver<Option<Answer>>>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(30);

    fn address(host: &str) -> BrokerAddress {
        BrokerAddress {
            host: host.into(),
            port: 9092,
        }
    }

    /// A resolver whose lookups count themselves, and wait for a word each. Names that begin with
    /// `dead` never get one.
    fn slow() -> (Resolver, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let (go, word) = mpsc::channel();
        let word = Mutex::new(word);
        let count = Arc::new(AtomicUsize::new(0));
        let begun = Arc::clone(&count);
        let lookup = move |host: &str| {
            begun.fetch_add(1, SeqCst);
            while host.starts_with("dead") {
                std::thread::park();
            }
            let _ = word.lock().unwrap().recv();
            Ok(vec!["10.0.0.1:0".parse().unwrap()])
        };
        (Resolver::by(Arc::new(lookup)), count, go)
    }

    async fn until(mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn all_who_want_one_name_wait_for_one_lookup_and_the_next_one_asks_anew() {
        let (resolver, count, go) = slow();
        let kafka = address("kafka");
        let one = || resolver.resolve(&kafka, LONG);
        let answer = async {
            until(|| count.load(SeqCst) == 1).await;
            go.send(()).unwrap();
        };
        let (a, b, c, ()) = tokio::join!(one(), one(), one(), answer);
        let expected: Vec<SocketAddr> = vec!["10.0.0.1:9092".parse().unwrap()];
        for found in [a, b, c] {
            assert_eq!(found.unwrap(), expected);
        }
        assert_eq!(count.load(SeqCst), 1);
        go.send(()).unwrap();
        one().await.unwrap();
        assert_eq!(count.load(SeqCst), 2, "nothing is kept");
    }

    #[tokio::test]
    async fn a_dead_name_takes_one_place_however_many_wait_for_it_and_others_go_on() {
        let (resolver, count, go) = slow();
        let dead = address("dead");
        for _ in 0..1_500 {
            let error = resolver.resolve(&dead, Duration::from_micros(1)).await;
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        go.send(()).unwrap();
        resolver.resolve(&address("kafka"), LONG).await.unwrap();
        assert!(count.load(SeqCst) <= 2, "{count:?}");
    }

    #[tokio::test]
    async fn no_more_lookups_run_at_once_than_there_are_places() {
        let (resolver, count, go) = slow();
        let names: Vec<_> = (0..2 * LOOKUPS_MAX)
            .map(|number| address(&format!("dead-{number}")))
            .collect();
        for name in &names {
            let short = Duration::from_millis(1);
            assert!(resolver.resolve(name, short).await.is_err());
        }
        until(|| count.load(SeqCst) == LOOKUPS_MAX).await;
        assert_eq!(resolver.places.available_permits(), 0);
        drop(go);
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        let (resolver, count, _go) = slow();
        for (host, expected) in [("10.0.0.2", "10.0.0.2:9092"), ("::1", "[::1]:9092")] {
            let found = resolver.resolve(&address(host), LONG).await.unwrap();
            assert_eq!(found, [expected.parse().unwrap()]);
        }
        assert_eq!(count.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn an_error_is_everybodys_and_over_with_its_lookup() {
        let lookup = |_: &str| Err(io::Error::other("no such host"));
        let resolver = Resolver::by(Arc::new(lookup));
        for _ in 0..2 {
            let error = resolver.resolve(&address("kafka"), LONG).await;
            assert_eq!(error.unwrap_err().to_string(), "no such host");
        }
        assert!(lock(&resolver.under_way).is_empty());
    }
}
