//! Dials one cluster's brokers for many clients at once: it remembers what was dead a moment ago,
//! and lets only so many wait for a broker that does not answer.

use super::dial::{DialError, DialSettings, Security, connect_any, failed};
use super::resolver::Resolver;
use crate::broker::dial::DialFailure;
use crate::net::own_sockets::OwnSockets;
use crate::net::stream::Stream;
use crate::types::BrokerAddress;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How long an address that could not be reached comes after the others of its name.
const DEAD: Duration = Duration::from_secs(30);

/// How long all who come for a broker are told that it was just refused: as long as a client that
/// can't be served is held, so that those who come again find it dialled anew.
const REFUSED: Duration = Duration::from_secs(1);

/// Connections that are being made to one broker for clients, and to all of a cluster. Who comes
/// later waits: when the first ones fail, so does he.
const DIALS_OF_BROKER_MAX: usize = 64;
const DIALS_MAX: usize = 512;

/// More addresses than this are not remembered.
const ENTRIES_MAX: usize = 1_000;

/// Dials one cluster's brokers.
#[derive(Debug)]
pub(crate) struct Dialler {
    resolver: Resolver,
    own: Arc<OwnSockets>,
    places: Semaphore,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    dead_until: HashMap<SocketAddr, Instant>,
    refused: HashMap<BrokerAddress, (Instant, Arc<DialError>)>,
    places: HashMap<BrokerAddress, Weak<Semaphore>>,
}

/// The right to dial for a client.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    _of_broker: Option<OwnedSemaphorePermit>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl Dialler {
    /// Dials nothing that leads back to `own` sockets.
    pub(crate) fn new(resolver: Resolver, own: Arc<OwnSockets>) -> Self {
        Self {
            resolver,
            own,
            places: Semaphore::new(DIALS_MAX),
            memory: Mutex::default(),
        }
    }

    /// Resolves names.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Waits for a place among those who dial for clients; `Err` when others have just failed at
    /// this address. Cancel-safe.
    pub(crate) async fn place(&self, address: &BrokerAddress) -> Result<Place<'_>, Arc<DialError>> {
        self.was_refused(address)?;
        let of_broker = Arc::clone(&self.places_of(address));
        // They are never closed.
        let place = Place {
            _of_broker: of_broker.acquire_owned().await.ok(),
            _of_all: self.places.acquire().await.ok(),
        };
        self.was_refused(address)?;
        Ok(place)
    }

    /// Dials any address of the name but those in `but`, at once; on Narrows' own account, or for a
    /// client that has a [place](Self::place). Cancel-safe.
    pub(crate) async fn dial(
        &self,
        address: &BrokerAddress,
        settings: &DialSettings,
        security: &Security,
        but: &[SocketAddr],
    ) -> Result<(Stream, SocketAddr), Arc<DialError>> {
        let resolved = self.resolver.resolve(address, settings.dns_timeout).await;
        let resolved = resolved.map_err(|error| failed(address, DialFailure::Resolve(error)));
        let mut found = resolved.map_err(Arc::new)?;
        found.retain(|peer| !but.contains(peer));
        let now = Instant::now();
        let dead_until = self.lock().dead_until.clone();
        let is_dead = |peer| dead_until.get(&peer).is_some_and(|until| now < *until);
        let mut dead = Vec::new();
        let dialled = connect_any(
            address, found, is_dead, settings, security, &self.own, &mut dead,
        )
        .await;
        let dialled = dialled.map_err(Arc::new);
        self.note(address, &dialled, &dead, but.is_empty());
        dialled
    }

    fn was_refused(&self, address: &BrokerAddress) -> Result<(), Arc<DialError>> {
        match self.lock().refused.get(address) {
            Some((until, error)) if Instant::now() < *until => Err(Arc::clone(error)),
            _ => Ok(()),
        }
    }

    fn note(
        &self,
        address: &BrokerAddress,
        dialled: &Result<(Stream, SocketAddr), Arc<DialError>>,
        dead: &[SocketAddr],
        is_whole: bool,
    ) {
        let now = Instant::now();
        let mut memory = self.lock();
        if dead.is_empty() && memory.is_empty() {
            return;
        }
        memory.make_room(now);
        let until = now + DEAD;
        memory
            .dead_until
            .extend(dead.iter().map(|peer| (*peer, until)));
        match dialled {
            Ok((_, peer)) => {
                memory.dead_until.remove(peer);
                memory.refused.remove(address);
            }
            Err(error) if is_whole => {
                let entry = (now + REFUSED, Arc::clone(error));
                memory.refused.insert(address.clone(), entry);
            }
            Err(_) => {}
        }
    }

    fn places_of(&self, address: &BrokerAddress) -> Arc<Semaphore> {
        let mut memory = self.lock();
        if let Some(places) = memory.places.get(address).and_then(Weak::upgrade) {
            return places;
        }
        memory.places.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(DIALS_OF_BROKER_MAX));
        let entry = Arc::downgrade(&places);
        memory.places.insert(address.clone(), entry);
        places
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn is_empty(&self) -> bool {
        self.dead_until.is_empty() && self.refused.is_empty()
    }

    fn make_room(&mut self, now: Instant) {
        self.dead_until.retain(|_, until| now < *until);
        self.refused.retain(|_, (until, _)| now < *until);
        if self.dead_until.len() >= ENTRIES_MAX {
            self.dead_until.clear();
        }
        if self.refused.len() >= ENTRIES_MAX {
            self.refused.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::net::TcpListener;

    const SETTINGS: DialSettings = DialSettings {
        dns_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(5),
    };

    /// A dialler for which `kafka` stands for these addresses, and its lookups so far.
    fn dialler(found: Vec<SocketAddr>) -> (Dialler, Arc<AtomicUsize>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lookups);
        let resolver = Resolver::by(Arc::new(move |_: &str| {
            count.fetch_add(1, SeqCst);
            Ok(found.clone())
        }));
        (Dialler::new(resolver, Arc::default()), lookups)
    }

    fn kafka(port: u16) -> BrokerAddress {
        BrokerAddress {
            host: "kafka".into(),
            port,
        }
    }

    async fn dial(
        dialler: &Dialler,
        port: u16,
        but: &[SocketAddr],
    ) -> Result<SocketAddr, Arc<DialError>> {
        let security = Security::default();
        let kafka = kafka(port);
        let _place = dialler.place(&kafka).await?;
        let dialled = dialler.dial(&kafka, &SETTINGS, &security, but);
        dialled.await.map(|(_, peer)| peer)
    }

    /// Addresses of which only the last one answers, all on one port. TEST-NET (RFC 5737) swallows
    /// or refuses, by the machine.
    async fn one_alive() -> (TcpListener, Vec<SocketAddr>) {
        let alive = TcpListener::bind("127.0.0.9:0").await.unwrap();
        let port = alive.local_addr().unwrap().port();
        let mut all: Vec<SocketAddr> = ["127.0.0.7", "127.0.0.8", "127.0.0.9"]
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
            .collect();
        all.iter_mut().for_each(|at| at.set_port(port));
        (alive, all)
    }

    #[tokio::test]
    async fn addresses_that_are_dead_are_remembered_and_put_last() {
        let (alive, all) = one_alive().await;
        let (dialler, _) = dialler(all.clone());
        let port = all[0].port();
        assert_eq!(dial(&dialler, port, &[]).await.unwrap(), all[2]);
        let dead: Vec<_> = dialler.lock().dead_until.keys().copied().collect();
        assert_eq!(dead.len(), 2);
        assert!(!dead.contains(&all[2]));
        // When the one that answered is down too, all are tried again.
        drop(alive);
        let error = dial(&dialler, port, &[]).await.unwrap_err();
        let order: Vec<_> = error.peers().collect();
        assert_eq!(order, [all[2], all[0], all[1]]);
    }

    #[tokio::test]
    async fn a_refused_dial_is_everybodys_answer_for_a_moment_and_then_tried_anew() {
        let (alive, all) = one_alive().await;
        drop(alive);
        let (dialler, lookups) = dialler(all.clone());
        let port = all[0].port();
        let first = dial(&dialler, port, &[]).await.unwrap_err();
        for _ in 0..100 {
            let error = dial(&dialler, port, &[]).await.unwrap_err();
            assert!(Arc::ptr_eq(&error, &first));
        }
        assert_eq!(lookups.load(SeqCst), 1);
        tokio::time::pause();
        tokio::time::advance(REFUSED).await;
        tokio::time::resume();
        let second = dial(&dialler, port, &[]).await.unwrap_err();
        assert!(!Arc::ptr_eq(&second, &first));
        // Narrows' own dial finds out at once that it is up, and tells.
        let _alive = TcpListener::bind(all[2]).await.unwrap();
        let security = Security::default();
        let kafka = kafka(port);
        let own = dialler.dial(&kafka, &SETTINGS, &security, &[]);
        assert!(own.await.is_ok());
        assert_eq!(dial(&dialler, port, &[]).await.unwrap(), all[2]);
    }

    #[tokio::test]
    async fn an_address_that_led_to_the_wrong_broker_is_left_out() {
        let (_alive, all) = one_alive().await;
        let other = TcpListener::bind(all[0]).await.unwrap();
        let (dialler, _) = dialler(all.clone());
        let port = all[0].port();
        assert_eq!(dial(&dialler, port, &[]).await.unwrap(), all[0]);
        assert_eq!(dial(&dialler, port, &[all[0]]).await.unwrap(), all[2]);
        let error = dial(&dialler, port, &all).await.unwrap_err();
        assert_eq!(error.peers().count(), 0);
        assert_eq!(
            dial(&dialler, port, &[]).await.unwrap(),
            all[0],
            "no refusal"
        );
        drop(other);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_delays_the_next_one_by_a_stagger_only() {
        // A full backlog answers nothing, as a host that is gone.
        let silent =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let alive = TcpListener::bind("127.0.0.9:0").await.unwrap();
        let port = alive.local_addr().unwrap().port();
        let at: SocketAddr = format!("127.0.0.7:{port}").parse().unwrap();
        silent.bind(&at.into()).unwrap();
        silent.listen(0).unwrap();
        let _fill: Vec<_> = (0..3)
            .map(|_| {
                let filler = std::net::TcpStream::connect_timeout(&at, Duration::from_millis(50));
                filler.map_err(|error: io::Error| error.kind())
            })
            .collect();
        let (dialler, _) = dialler(vec![at, alive.local_addr().unwrap()]);
        // It would be waited for in vain for an hour.
        let settings = DialSettings {
            connect_timeout: Duration::from_secs(3_600),
            ..SETTINGS
        };
        let kafka = kafka(port);
        let security = Security::default();
        let dialled = dialler.dial(&kafka, &settings, &security, &[]);
        let dialled = tokio::time::timeout(Duration::from_secs(60), dialled).await;
        let (_, peer) = dialled.expect("the next address is tried").unwrap();
        assert_eq!(peer, alive.local_addr().unwrap());
        let is_dead = dialler.lock().dead_until.contains_key(&at);
        assert!(is_dead, "who was overtaken comes last the next time");
    }

    #[tokio::test]
    async fn no_more_wait_for_a_broker_than_there_are_places() {
        let (dialler, _) = dialler(Vec::new());
        let places = dialler.places_of(&kafka(1));
        assert_eq!(places.available_permits(), DIALS_OF_BROKER_MAX);
        let same = dialler.places_of(&kafka(1));
        assert!(Arc::ptr_eq(&places, &same));
        let all = u32::try_from(DIALS_OF_BROKER_MAX).unwrap();
        let _taken = same.acquire_many(all).await.unwrap();
        let waits = dial(&dialler, 1, &[]);
        // Without waiting it would be over as soon as the lookup has found nothing.
        let waited = tokio::time::timeout(Duration::from_millis(300), waits).await;
        assert!(waited.is_err(), "it waits for its turn");
        let other = dial(&dialler, 2, &[]).await;
        assert_eq!(other.unwrap_err().code(), "dns", "another broker's is free");
    }
}
