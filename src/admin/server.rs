//! The HTTP server around the pages, bounded in every direction.
//!
//! A place on this port must always be had by a kubelet's probe, whoever else sits on it: when all
//! places are taken, the newcomer gets that of the oldest connection, and likewise when there is no
//! file descriptor left. Refusing the newcomer would let a few idle connections fail the probes,
//! and so have Narrows killed.

use super::pages::Pages;
use crate::lifecycle::Tasks;
use crate::observe::throttle::Throttle;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many connections there may be at once.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a request's header may take to arrive, and so how long an idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection serves requests, however slowly its peer reads.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long a response that is on its way when its connection must end may still take.
pub const PARTING_TIMEOUT: Duration = Duration::from_secs(2);

/// Room for the request line and all headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// After a failed accept: the usual cause, no file descriptor left, lasts until something else
/// closes one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// When a connection was just evicted for it: as long as that takes to close.
const EVICTION_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Serves `pages` until `shutdown` is ready. Then the port closes, and connections end: idle ones
/// at once, the others when their response is out, in [`PARTING_TIMEOUT`] at the latest (await
/// `tasks` for that).
pub async fn serve(
    listener: Arc<TcpListener>,
    pages: Arc<Pages>,
    tasks: Tasks,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let closing = CancellationToken::new();
    // Also when this future is dropped before its end.
    let _close_all = closing.clone().drop_guard();
    let mut places = Places::default();
    let mut failures = Throttle::every(ACCEPT_LOG_INTERVAL);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.as_mut() => return,
        };
        match accepted {
            Ok((stream, _peer)) => {
                let evicted = places.take();
                tasks.spawn(converse(
                    stream,
                    Arc::clone(&pages),
                    closing.clone(),
                    evicted,
                ));
            }
            Err(error) => {
                if let Some(suppressed) = failures.admit(Instant::now()) {
                    tracing::warn!(%error, suppressed, "the admin port can't accept a connection");
                }
                let pause = if places.evict_oldest() {
                    EVICTION_PAUSE
                } else {
                    ACCEPT_PAUSE
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shutdown.as_mut() => return,
                }
            }
        }
    }
}

/// Serves one connection to its end, which comes within [`CONNECTION_LIFE`] and
/// [`PARTING_TIMEOUT`], or when it is evicted.
async fn converse(
    stream: TcpStream,
    pages: Arc<Pages>,
    closing: CancellationToken,
    evicted: Evicted,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let service = service_fn(|request| ready(Ok::<_, Infallible>(pages.answer(&request))));
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));

    let served = async {
        tokio::select! {
            result = connection.as_mut() => return log_end(result),
            () = closing.cancelled() => {}
            () = sleep(CONNECTION_LIFE) => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(result) = timeout(PARTING_TIMEOUT, connection).await {
            log_end(result);
        }
    };
    tokio::select! {
        () = served => {}
        () = evicted.wait() => {}
    }
}

/// A peer that speaks no HTTP, goes away or is silent is its own business.
fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Places {
    taken: VecDeque<oneshot::Sender<Eviction>>,
}

struct Eviction;

impl Places {
    /// Takes a place for a new connection; if there is none, that of the oldest.
    fn take(&mut self) -> Evicted {
        self.forget_ended();
        if self.taken.len() >= CONNECTIONS_MAX {
            self.evict_oldest();
        }
        let (place, evicted) = oneshot::channel();
        self.taken.push_back(place);
        Evicted(evicted)
    }

    /// Ends the oldest connection; false if there is none.
    fn evict_oldest(&mut self) -> bool {
        self.forget_ended();
        // It may have ended this very moment, which is as good.
        self.taken
            .pop_front()
            .map(|oldest| oldest.send(Eviction))
            .is_some()
    }

    fn forget_ended(&mut self) {
        // The other half lives as long as the connection's task.
        self.taken.retain(|place| !place.is_closed());
    }
}

/// A connection's half of its place.
struct Evicted(oneshot::Receiver<Eviction>);

impl Evicted {
    /// Ready when the place is needed by another; never when the server has gone, which says it
    /// differently.
    async fn wait(self) {
        if self.0.await.is_err() {
            pending::<()>().await;
        }
    }
}
