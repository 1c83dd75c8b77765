//! A session of which Narrows can't read a byte: TLS between a client and its broker.

use super::Session;
use super::cause::Cause;
use super::relay;
use super::tunnel::Tunnel;
use crate::net::buffer::Buffer;
use crate::net::stream::Stream;
use crate::types::BrokerAddress;
use tokio::net::TcpStream;

impl Session<'_> {
    /// TLS that is not for Narrows.
    pub(super) async fn tunnel(
        &mut self,
        client: TcpStream,
        hello: Buffer,
        port: Option<u16>,
    ) -> Cause {
        let entry = self.entry;
        let setup = &entry.setup;
        let is_own = |address: &BrokerAddress| {
            setup
                .scheme
                .sni()
                .is_some_and(|scheme| scheme.identify(address.host.as_bytes()).is_some())
        };
        let connection = match setup
            .cluster
            .connect_unseen(entry.target, port, is_own)
            .await
        {
            Ok(connection) => connection,
            Err(error) => return Cause::Connect(error),
        };
        self.record.broker = Some(connection.peer);
        let pools = entry.context.pools(&entry.setup.session);
        let metrics = entry.context.metrics();
        let timeout = entry.setup.session.half_close_timeout;
        let sides = (Stream::Plain(client), connection.stream);
        let mut tunnel = Tunnel::new(sides, hello, &pools, metrics, timeout);
        let stop = &entry.stop;
        let cause = loop {
            let quiet_at = tunnel.quiet_at();
            let quiet = async {
                stop.draining().await;
                tokio::time::sleep_until(quiet_at).await;
            };
            tokio::select! {
                biased;
                cause = tunnel.run() => break cause,
                () = stop.aborted() => break Cause::Aborted,
                () = connection.gone.cancelled() => break Cause::BrokerGone(entry.target),
                () = quiet => if tunnel.quiet_at() == quiet_at { break Cause::Drained },
            }
        };
        relay::linger(tunnel.into_client(), b"").await;
        cause
    }
}
