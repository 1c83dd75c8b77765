//! Asks a broker, in Narrows' own name, who it is and who the others are.

use crate::net::stream::Stream;
use crate::protocol::own_requests;
use crate::protocol::rewrite::BrokerList;
use crate::protocol::wire::Malformed;
use crate::types::NodeId;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// An answer names every broker of the cluster: room for tens of thousands.
const ANSWER_BYTES_MAX: i32 = 4 * 1024 * 1024;

/// The beginning of a TLS alert, read as a length.
const TLS_ALERT: i32 = 0x1503_0000;

/// Why a broker's answer is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It closed when asked: listeners that demand SASL do so.
    #[error(
        "the broker closed the connection when asked for metadata, as it does where it demands SASL"
    )]
    Closed,
    /// No answer in time.
    #[error("the broker did not answer within {0:?} (probe_timeout)")]
    Timeout(Duration),
    /// It is not the broker or not the cluster that it was taken for (KIP-1242).
    #[error("the broker says that it is not the one it was dialled as")]
    WrongBroker,
    /// What came is no Kafka response.
    #[error("the answer is no Kafka response (length {0}): {hint}", hint = if .0 & !0xffff == TLS_ALERT { "the broker's listener speaks TLS" } else { "is this port a Kafka listener?" })]
    NotKafka(i32),
    /// The answer can't be read.
    #[error("the answer is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

impl ProbeError {
    /// A code for the metric: a closed set.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout(_) => "timeout",
            Self::WrongBroker => "wrong_broker",
            Self::NotKafka(_) | Self::Malformed(_) => "not_kafka",
            Self::Io(_) => "other",
        }
    }
}

/// Asks on a fresh connection, which the client can use afterwards. With `expected`, the broker is
/// also asked whether it is this node of this cluster, which it can tell from Kafka 4.4 on.
pub async fn ask(
    stream: &mut Stream,
    expected: Option<(&str, NodeId)>,
    timeout: Duration,
) -> Result<BrokerList, ProbeError> {
    tokio::time::timeout(timeout, converse(stream, expected))
        .await
        .map_err(|_| ProbeError::Timeout(timeout))?
}

async fn converse(
    stream: &mut Stream,
    expected: Option<(&str, NodeId)>,
) -> Result<BrokerList, ProbeError> {
    let identity =
        expected.map(|(cluster_id, node)| own_requests::identity_request(0, cluster_id, node));
    let mut requests = identity.clone().unwrap_or_default();
    requests.extend_from_slice(&own_requests::metadata_request(1));
    stream.write_all(&requests).await?;
    stream.flush().await?;
    if identity.is_some() && own_requests::is_wrong_broker(&read_frame(stream).await?) {
        return Err(ProbeError::WrongBroker);
    }
    Ok(own_requests::read_metadata(&read_frame(stream).await?)?)
}

/// Reads a frame with its length. The buffer grows with what arrives, not with what is announced.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProbeError> {
    let mut frame = Vec::new();
    read_some(stream, &mut frame, 4).await?;
    let length = frame
        .first_chunk()
        .map_or(0, |prefix| i32::from_be_bytes(*prefix));
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(ProbeError::NotKafka(length));
    }
    read_some(stream, &mut frame, u64::from(length.unsigned_abs())).await?;
    Ok(frame)
}

async fn read_some(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut Vec<u8>,
    bytes: u64,
) -> Result<(), ProbeError> {
    match stream.take(bytes).read_to_end(frame).await {
        Ok(read) if read as u64 == bytes => Ok(()),
        Ok(_) => Err(ProbeError::Closed),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ProbeError::Closed),
        Err(error) => Err(error.into()),
    }
}
