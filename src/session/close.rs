//! The one way in which both sides of a session end.
//!
//! Every exit comes here, also the ones without a broker. A connection that is just dropped can
//! take back what was sent on it: the system resets a socket that is closed with unread bytes, and
//! the receiver of a reset may forget what it has not read yet. And who speaks TLS must be told
//! that this was all, or takes it for an attack.

use super::cause::Cause;
use crate::lifecycle::Stop;
use crate::net::stream::Stream;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// How long a client may take to close after Narrows has; it may still be reading its last
/// responses.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client that can't be served is held before its connection is closed, on average. A
/// client library takes a connection that stands for a success: kafka-python tries again at once
/// when one closes, without its reconnect back-off, 33 times a second.
const HOLD: Duration = Duration::from_secs(1);

/// What is read at once of what nobody needs any more.
const DISCARDED_BYTES: usize = 4 * 1024;

/// Ends a session's connections, each as its side needs it. The client is told `final_bytes`.
pub(super) async fn close(client: Stream, brokers: Vec<Stream>, final_bytes: &[u8]) {
    tokio::join!(linger(client, final_bytes), close_brokers(brokers));
}

/// Ends the connections to brokers.
///
/// A broker in TLS is told that this was all. To close over what it may still send, a session
/// ticket for one, would take back what it has not read yet. Without TLS nothing comes that was not
/// asked for.
pub(super) async fn close_brokers(mut brokers: Vec<Stream>) {
    brokers.retain(|broker| matches!(broker, Stream::Tls(_)));
    let mut endings: Vec<_> = brokers
        .into_iter()
        .map(|broker| Box::pin(linger(broker, b"")))
        .collect();
    poll_fn(|cx| {
        endings.retain_mut(|ending| ending.as_mut().poll(cx).is_pending());
        if endings.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Ends the connection of a client for whom there is no broker: when none could be reached, not
/// before a moment has passed.
pub(super) async fn refuse(mut client: Stream, cause: Cause, stop: &Stop) -> Cause {
    if matches!(cause, Cause::Connect(_)) {
        hold(&mut client, stop).await;
    }
    close(client, Vec::new(), cause.final_bytes()).await;
    cause
}

/// Ends a connection with `final_bytes`, if there are any, so that what has been sent is not lost.
pub(crate) async fn linger(mut stream: Stream, final_bytes: &[u8]) {
    let end = async {
        stream.write_all(final_bytes).await?;
        stream.shutdown().await?;
        discard(&mut stream).await
    };
    // Whether the other side closed in time changes nothing any more.
    let _ = tokio::time::timeout(LINGER, end).await;
}

/// Holds a client that can't be served for a moment: until it closes, a drain begins, or a time
/// that differs from client to client, so that many who came at once don't come back at once.
async fn hold(client: &mut Stream, stop: &Stop) {
    let time = HOLD.mul_f64(0.75 + 0.5 * fastrand::f64());
    tokio::select! {
        _ = discard(client) => {}
        () = stop.draining() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Reads to the end of the stream.
async fn discard(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|cx| poll_discard(stream, cx)).await
}

/// Many sessions can end at once, and each may wait here for a while: so the bytes go to the stack,
/// and nothing is held while there are none.
fn poll_discard(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut nowhere = [0; DISCARDED_BYTES];
    loop {
        let mut into = ReadBuf::new(&mut nowhere);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut into))?;
        if into.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}
