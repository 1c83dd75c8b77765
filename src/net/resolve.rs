//! Names are resolved at every dial and never kept: pods move, and their addresses are used again
//! within seconds.

use crate::types::BrokerAddress;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Every socket address that a broker address stands for, in the resolver's order; at least one.
pub(crate) async fn resolve(
    address: &BrokerAddress,
    timeout: Duration,
) -> io::Result<Vec<SocketAddr>> {
    let lookup = tokio::net::lookup_host((&*address.host, address.port));
    let found: Vec<_> = tokio::time::timeout(timeout, lookup).await??.collect();
    if found.is_empty() {
        Err(io::ErrorKind::NotFound.into())
    } else {
        Ok(found)
    }
}
