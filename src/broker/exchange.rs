//! Requests of Narrows' own and their responses, on a connection that nobody else uses meanwhile.
//!
//! All that is sent and received belongs to one deadline: a broker that answers slowly but steadily
//! does not hold whoever waits for longer than one that does not answer.

use crate::net::stream::Stream;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// An answer names every broker of the cluster: room for tens of thousands.
const RESPONSE_BYTES_MAX: i32 = 4 * 1024 * 1024;

/// The beginning of a TLS alert, read as a length.
const TLS_ALERT: i32 = 0x1503_0000;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The other side closed before its response was whole. That alone says nothing about why: a
    /// broker that demands a login does so, and so does every proxy whose own broker is away.
    #[error("the connection was closed before an answer came")]
    Closed,
    /// No response in time.
    #[error("the broker did not answer within {0:?} (probe_timeout)")]
    Timeout(Duration),
    /// What came is no Kafka response.
    #[error("the answer is not a Kafka response (length {0}): {hint}", hint = guess(*.0))]
    NotKafka(i32),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// What stands there instead, by what was read as a length.
fn guess(length: i32) -> &'static str {
    if length & !0xffff == TLS_ALERT {
        "the broker's listener speaks TLS"
    } else {
        "is this port a Kafka listener?"
    }
}

/// One conversation of Narrows' own.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    stream: &'a mut Stream,
    timeout: Duration,
    ends_at: Instant,
}

impl<'a> Exchange<'a> {
    /// Begins a conversation that must be over within `timeout`.
    pub(crate) fn begin(stream: &'a mut Stream, timeout: Duration) -> Self {
        Self {
            stream,
            timeout,
            ends_at: Instant::now() + timeout,
        }
    }

    /// Sends one or several requests, each with its length in front.
    pub(crate) async fn send(&mut self, requests: &[u8]) -> Result<(), ExchangeError> {
        let sending = async {
            self.stream.write_all(requests).await?;
            self.stream.flush().await
        };
        let sent = tokio::time::timeout_at(self.ends_at, sending).await;
        sent.map_err(|_| ExchangeError::Timeout(self.timeout))?
            .map_err(ExchangeError::from)
    }

    /// The next response, with its length in front.
    pub(crate) async fn receive(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let received = tokio::time::timeout_at(self.ends_at, read_frame(self.stream)).await;
        received.map_err(|_| ExchangeError::Timeout(self.timeout))?
    }
}

/// A reset is a close: which of the two comes depends on what was still unread on the other side.
impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
        match error.kind() {
            BrokenPipe | ConnectionReset | NotConnected => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Reads a frame with its length. The buffer grows with what arrives, not with what is announced.
async fn read_frame(stream: &mut Stream) -> Result<Vec<u8>, ExchangeError> {
    let mut frame = Vec::new();
    read_some(stream, &mut frame, 4).await?;
    let length = frame
        .first_chunk()
        .map_or(0, |prefix| i32::from_be_bytes(*prefix));
    if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
        return Err(ExchangeError::NotKafka(length));
    }
    read_some(stream, &mut frame, u64::from(length.unsigned_abs())).await?;
    Ok(frame)
}

async fn read_some(
    stream: &mut Stream,
    frame: &mut Vec<u8>,
    bytes: u64,
) -> Result<(), ExchangeError> {
    let read = stream.take(bytes).read_to_end(frame).await?;
    if read as u64 == bytes {
        Ok(())
    } else {
        Err(ExchangeError::Closed)
    }
}
