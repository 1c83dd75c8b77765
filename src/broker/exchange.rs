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

/// Room for one read: the answers of a cluster of a few brokers.
const READ_BYTES: usize = 1024;

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
    /// More came than was asked for.
    #[error("{0} bytes came that nobody had asked for")]
    NotAsked(usize),
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
    /// What has come and has not been received.
    arrived: Vec<u8>,
}

impl<'a> Exchange<'a> {
    /// Begins a conversation that must be over within `timeout`.
    pub(crate) fn begin(stream: &'a mut Stream, timeout: Duration) -> Self {
        Self {
            stream,
            timeout,
            ends_at: Instant::now() + timeout,
            arrived: Vec::new(),
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
        let received = tokio::time::timeout_at(self.ends_at, self.read_frame()).await;
        received.map_err(|_| ExchangeError::Timeout(self.timeout))?
    }

    /// The last response, behind which nothing may come.
    pub(crate) async fn receive_last(mut self) -> Result<Vec<u8>, ExchangeError> {
        let response = self.receive().await?;
        self.end()?;
        Ok(response)
    }

    /// Leaves the connection to somebody else. What has come besides the responses would be lost.
    pub(crate) fn end(self) -> Result<(), ExchangeError> {
        match self.arrived.len() {
            0 => Ok(()),
            bytes => Err(ExchangeError::NotAsked(bytes)),
        }
    }

    /// Reads as much as has come: responses that were asked for together come together. The buffer
    /// grows with what arrives, not with what is announced.
    async fn read_frame(&mut self) -> Result<Vec<u8>, ExchangeError> {
        loop {
            if let Some(prefix) = self.arrived.first_chunk() {
                let length = i32::from_be_bytes(*prefix);
                if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
                    return Err(ExchangeError::NotKafka(length));
                }
                let bytes = prefix.len() + length.unsigned_abs() as usize;
                if self.arrived.len() >= bytes {
                    let behind = self.arrived.split_off(bytes);
                    return Ok(std::mem::replace(&mut self.arrived, behind));
                }
            }
            self.arrived.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.arrived).await? == 0 {
                return Err(ExchangeError::Closed);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    /// An exchange with somebody who says these pieces, one after the other.
    async fn with_peer<T>(pieces: &[&[u8]], talk: impl AsyncFnOnce(Exchange<'_>) -> T) -> T {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut peer, _) = accepted.unwrap();
        let mut stream = Stream::Plain(tcp.unwrap());
        let says = async {
            for piece in pieces {
                peer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(peer);
        };
        let exchange = Exchange::begin(&mut stream, Duration::from_secs(20));
        tokio::join!(talk(exchange), says).0
    }

    const TWO: &[u8] = b"\0\0\0\x05first\0\0\0\x06second";

    #[tokio::test]
    async fn responses_are_told_apart_however_they_come() {
        let bytes: Vec<_> = TWO.chunks(1).collect();
        for pieces in [&[TWO][..], &[&TWO[..11], &TWO[11..]], &bytes] {
            let received = with_peer(pieces, async |mut exchange| {
                let first = exchange.receive().await.unwrap();
                (first, exchange.receive_last().await.unwrap())
            });
            let (first, second) = received.await;
            assert_eq!([first, second].concat(), TWO);
        }
    }

    #[tokio::test]
    async fn what_nobody_has_asked_for_is_an_error_and_not_lost() {
        let received = with_peer(&[TWO], async |exchange| exchange.receive_last().await);
        let error = received.await.unwrap_err();
        assert!(matches!(error, ExchangeError::NotAsked(10)), "{error}");
    }

    #[tokio::test]
    async fn half_a_response_is_none() {
        let half = [&TWO[..8]];
        let received = with_peer(&half, async |mut exchange| exchange.receive().await);
        let error = received.await.unwrap_err();
        assert!(matches!(error, ExchangeError::Closed), "{error}");
    }
}
