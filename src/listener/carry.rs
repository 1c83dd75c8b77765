//! Carries one client connection: lets it in or turns it away, opens it, hands it to a session, and
//! tells its end.

use super::binding::BindingState;
use super::connection::Connection;
use super::opening::Failed;
use crate::lifecycle::{Stop, Tasks, quiet};
use crate::net::stream::Stream;
use crate::session::{self, Cause};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tracing::{Instrument, debug_span};

/// Opens a client connection that was accepted on `binding`, and carries it, in one of the tasks
/// `sessions`, until both sides are closed. To turn it away costs no task. An aborted `stop` cuts
/// it off where it stands; it ends properly when its listener or its binding says so.
///
/// It counts as active from this call on, so that a drain waits for connections that have not had
/// their first turn yet.
pub(super) fn carry(
    client: TcpStream,
    peer: SocketAddr,
    binding: Arc<BindingState>,
    (sessions, stop): (&Tasks, Stop),
) {
    let mut connection = Connection::new(peer, binding);
    if let Err(cause) = connection.admit() {
        return connection.end(&cause);
    }
    let id = connection.id;
    let span = debug_span!(target: "narrows::session", "session", connection = id, %peer);
    let carried = async move {
        let cause = tokio::select! {
            cause = opened(&mut connection, client) => cause,
            () = quiet(stop.aborted()) => Cause::Aborted,
        };
        connection.end(&cause);
    };
    // At INFO nothing is said inside a session: then no span is entered at each turn, and none
    // takes room in an idle connection.
    if span.is_disabled() {
        sessions.spawn(carried);
    } else {
        sessions.spawn(carried.instrument(span));
    }
}

async fn opened(connection: &mut Connection, client: TcpStream) -> Cause {
    let incoming = match connection.open(client).await {
        Ok(incoming) => incoming,
        Err(Failed(cause, client)) => {
            if let Some(client) = client {
                session::linger(Stream::Plain(client), cause.final_bytes()).await;
            }
            return cause;
        }
    };
    session::run(incoming, &mut connection.session).await
}
