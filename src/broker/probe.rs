//! Asks a broker, in Narrows' own name, who it is, who the others are, and whether it demands a
//! login.

use super::exchange::{Exchange, ExchangeError};
use super::own_name::OwnName;
use crate::net::stream::Stream;
use crate::protocol::api_versions::Offers;
use crate::protocol::own_requests::{self, Handshake};
use crate::protocol::rewrite::BrokerList;
use crate::protocol::wire::Malformed;
use crate::types::NodeId;
use std::time::Duration;

/// Why a broker's answer is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// No response came.
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    /// It is not the broker or not the cluster that it was taken for (KIP-1242).
    #[error("the broker says that it is not the one it was dialled as")]
    WrongBroker,
    /// The answer can't be read.
    #[error("the answer is malformed: {0}")]
    Malformed(#[from] Malformed),
}

impl ProbeError {
    /// Whether the other side closed instead of answering.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Exchange(ExchangeError::Closed))
    }
}

/// Asks on a fresh connection, which the client can use afterwards. With `expected`, the broker is
/// also asked whether it is this node of this cluster, which it can tell from Kafka 4.4 on.
pub(crate) async fn ask(
    stream: &mut Stream,
    name: &OwnName,
    expected: Option<(&str, NodeId)>,
    timeout: Duration,
) -> Result<BrokerList, ProbeError> {
    let mut exchange = Exchange::begin(stream, timeout);
    let identity = expected.map(|(cluster_id, node)| {
        own_requests::identity_request(name.as_bytes(), cluster_id, node)
    });
    let mut requests = identity.clone().unwrap_or_default();
    requests.extend_from_slice(&own_requests::metadata_request(name.as_bytes(), 1));
    exchange.send(&requests).await?;
    if identity.is_some() && own_requests::is_wrong_broker(&exchange.receive().await?) {
        return Err(ProbeError::WrongBroker);
    }
    let metadata = exchange.receive_last().await?;
    Ok(own_requests::read_metadata(&metadata)?)
}

/// Asks a broker which API versions it offers, which it says before a login too; `None` if it does
/// not. A connection that has served for this is of no further use: where a login is demanded, it
/// could be asked once only.
pub(crate) async fn ask_offers(
    stream: &mut Stream,
    name: &OwnName,
    timeout: Duration,
) -> Result<Option<Offers>, ProbeError> {
    let mut exchange = Exchange::begin(stream, timeout);
    let request = own_requests::offers_request(name.as_bytes(), 1);
    exchange.send(&request).await?;
    Ok(own_requests::read_offers(&exchange.receive_last().await?))
}

/// Asks a broker that has closed over Metadata whether that is because it demands a login, with a
/// SaslHandshake for `mechanism`. A connection that has served for this is of no further use.
///
/// Only its answer counts. Proxies, port forwards and balancers in front of a broker that is away
/// accept and close just as a listener does that demands SASL.
pub(crate) async fn ask_for_login(
    stream: &mut Stream,
    name: &OwnName,
    mechanism: &str,
    timeout: Duration,
) -> Result<Handshake, ProbeError> {
    let mut exchange = Exchange::begin(stream, timeout);
    let request = own_requests::handshake_request(name.as_bytes(), 1, mechanism);
    exchange.send(&request).await?;
    Ok(own_requests::read_handshake(
        &exchange.receive_last().await?,
    )?)
}
