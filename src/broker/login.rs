//! Says a client's login once more, to a broker that it was not said to: the client's own frames,
//! one after the other, on a connection on which nothing else has been said.

use super::exchange::{Exchange, ExchangeError};
use crate::net::stream::Stream;
use crate::protocol::rewrite::PREFIX_BYTES;
use crate::protocol::table::Treatment;
use crate::protocol::{header, sasl};
use std::time::Duration;

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// No answer, or none that is Kafka's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The broker has refused it.
    #[error("the broker refused the login with Kafka error {0}")]
    Refused(i16),
    /// What the broker has answered can't be read.
    #[error("the broker's answer to the login can't be read")]
    Malformed,
}

/// Sends a SaslHandshake and a SaslAuthenticate, each with its length in front, and waits for the
/// answer to each. All of it has one deadline.
pub(crate) async fn log_in<'a>(
    stream: &mut Stream,
    requests: impl Iterator<Item = &'a [u8]>,
    timeout: Duration,
) -> Result<(), LoginError> {
    let mut exchange = Exchange::begin(stream, timeout);
    for request in requests {
        exchange.send(request).await?;
        let response = exchange.receive().await?;
        let error = error_code(request, &response).ok_or(LoginError::Malformed)?;
        if error != 0 {
            return Err(LoginError::Refused(error));
        }
    }
    Ok(exchange.end()?)
}

fn error_code(request: &[u8], response: &[u8]) -> Option<i16> {
    let frame = request.get(4..)?;
    let header = header::read(frame, frame.len()).ok()?;
    let api = header.api?;
    let body = response.get(PREFIX_BYTES..)?;
    if api.treatment == Treatment::Handshake {
        return sasl::read_error(body).ok();
    }
    let is_flexible = api.is_flexible(header.version);
    sasl::read_answer(body, is_flexible)
        .ok()
        .map(|(error, _)| error)
}
