//! The one way to wait for the bytes that come first: a PROXY protocol header, a TLS hello, the
//! first request.

use super::cause::Cause;
use crate::net::buffer::{BUFFER_BYTES, Buffer, BufferPool};
use crate::net::stream::ReadReady;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// Reads until `look`, which is shown all that has arrived whenever there is more of it, finds what
/// it waits for. `look` may take bytes off the front. `arrived` is what was there before.
///
/// Who sends nothing holds no buffer, and who stops in the middle of up to `parked_bytes_max`
/// bytes holds just so many: strangers may wait here for as long as the caller's deadline lets
/// them. Not cancel-safe: what has arrived is dropped.
pub(crate) async fn read_until<T>(
    client: &mut impl ReadReady,
    arrived: Option<Buffer>,
    buffers: &BufferPool,
    parked_bytes_max: usize,
    mut look: impl FnMut(&mut Buffer) -> Result<Option<T>, Cause>,
) -> Result<(Buffer, T), Cause> {
    let mut arrived = arrived.filter(|buffer| !buffer.is_empty());
    loop {
        if let Some(mut buffer) = arrived.take() {
            if let Some(found) = look(&mut buffer)? {
                return Ok((buffer, found));
            }
            buffer.park(parked_bytes_max);
            arrived = Some(buffer);
        }
        let had_bytes = arrived.as_ref().is_some_and(|buffer| !buffer.is_empty());
        let read =
            |cx: &mut Context<'_>| poll_more(cx, client, &mut arrived, buffers, parked_bytes_max);
        match std::future::poll_fn(read).await {
            Ok(Some(0)) if !had_bytes => return Err(Cause::Empty),
            Ok(Some(0)) => return Err(Cause::ClientClosed),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Cause::RequestHeaderTooLarge(BUFFER_BYTES)),
            Err(error) => return Err(Cause::ClientFailed(error)),
        }
    }
}

/// Reads once: how many bytes, 0 at the end; `None` when the buffer is full.
fn poll_more(
    cx: &mut Context<'_>,
    client: &mut impl ReadReady,
    arrived: &mut Option<Buffer>,
    buffers: &BufferPool,
    parked_bytes_max: usize,
) -> Poll<io::Result<Option<usize>>> {
    ready!(client.poll_read_ready(cx))?;
    let buffer = arrived.get_or_insert_with(|| buffers.borrow());
    let Some(spare) = buffer.spare(BUFFER_BYTES) else {
        return Poll::Ready(Ok(None));
    };
    let mut into = ReadBuf::new(spare);
    match Pin::new(client).poll_read(cx, &mut into) {
        Poll::Ready(Ok(())) => {
            let count = into.filled().len();
            buffer.add(count);
            Poll::Ready(Ok(Some(count)))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        // The socket only seemed to have something, or a part of a TLS record has come.
        Poll::Pending => {
            buffer.park(parked_bytes_max);
            Poll::Pending
        }
    }
}
