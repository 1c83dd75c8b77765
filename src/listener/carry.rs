//! Carries one client connection: lets it in or turns it away, opens it, hands it to a session, and
//! tells its end.

use super::binding::BindingState;
use super::connection::Connection;
use super::opening::Failed;
use crate::lifecycle::Stop;
use crate::net::stream::Stream;
use crate::session::{self, Cause};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Opens a client connection that was accepted on `binding`, and carries it. Returns when both
/// sides are closed; `None` when it was turned away, which costs no task. An aborted `stop` cuts it
/// off where it stands; it ends properly when its listener or its binding says so.
///
/// It counts as active from this call on, so that a drain waits for connections that have not had
/// their first turn yet.
pub(super) fn carry(
    client: TcpStream,
    peer: SocketAddr,
    binding: Arc<BindingState>,
    stop: Stop,
) -> Option<impl Future<Output = ()> + Send> {
    let mut connection = Connection::new(peer, binding);
    if let Err(cause) = connection.admit() {
        connection.end(&cause);
        return None;
    }
    Some(async move {
        let cause = tokio::select! {
            cause = opened(&mut connection, client) => cause,
            () = stop.aborted() => Cause::Aborted,
        };
        connection.end(&cause);
    })
}

async fn opened(connection: &mut Connection, client: TcpStream) -> Cause {
    match connection.open(client).await {
        Ok(incoming) => session::run(incoming, &mut connection.session).await,
        Err(Failed(cause, client)) => {
            if let Some(client) = client {
                session::linger(Stream::Plain(client), cause.final_bytes()).await;
            }
            cause
        }
    }
}
