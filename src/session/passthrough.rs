//! A session of which Narrows can't read a byte: TLS between a client and its broker.

use super::cause::Cause;
use super::close;
use super::tunnel::Tunnel;
use super::watch::{self, Limits};
use super::{Newcomer, Session};
use crate::lifecycle::quiet;
use crate::net::buffer::Buffer;
use crate::net::stream::Stream;
use crate::types::{BrokerAddress, Target};
use tokio::net::TcpStream;

impl Session<'_> {
    /// TLS that is not for Narrows.
    pub(super) async fn tunnel(
        &mut self,
        client: TcpStream,
        hello: Buffer,
        port: Option<u16>,
    ) -> Cause {
        // Its hello is all that can be seen of a first request.
        self.newcomer.iter_mut().for_each(Newcomer::has_asked);
        let entry = self.entry;
        let setup = &entry.setup;
        let Some(_carried) = entry.context.hellos().carry(hello.filled()) else {
            close::close(Stream::Plain(client), Vec::new(), b"").await;
            return Cause::RoutingLoop;
        };
        let is_own = |address: &BrokerAddress| {
            setup
                .scheme
                .sni()
                .is_some_and(|scheme| scheme.identify(address.host.as_bytes()).is_some())
        };
        let client = Stream::Plain(client);
        let half_close = setup.session.half_close_timeout;
        let connection = tokio::select! {
            biased;
            connection = setup.cluster.connect_unseen(entry.target, port, is_own) => {
                connection.map_err(Cause::Connect)
            }
            () = entry.stop.draining() => Err(Cause::Drained),
            () = watch::gone(&client, half_close) => Err(Cause::ClientClosed),
        };
        self.newcomer = None;
        let connection = match connection {
            Ok(connection) => connection,
            Err(cause) => return close::refuse(client, cause, &entry.stop).await,
        };
        self.record.broker = Some(connection.peer());
        match entry.target {
            Target::Bootstrap => entry.context.brokers_told(),
            Target::Broker(_) => entry.context.broker_reached(),
        }
        let pools = entry.context.pools(&entry.setup.session);
        let metrics = entry.context.metrics();
        let limits = Limits {
            frame_progress: setup.session.frame_progress_timeout,
            half_close,
        };
        let sides = (client, connection.stream);
        let mut tunnel = Tunnel::new(sides, hello, &pools, metrics, limits);
        let stop = &entry.stop;
        let cause = loop {
            let quiet_at = tunnel.quiet_at();
            let drained = quiet(async {
                stop.draining().await;
                tokio::time::sleep_until(quiet_at).await;
            });
            tokio::select! {
                biased;
                cause = tunnel.run() => break cause,
                () = quiet(stop.aborted()) => break Cause::Aborted,
                () = quiet(connection.gone.cancelled()) => break Cause::BrokerGone(entry.target),
                () = drained => if tunnel.quiet_at() == quiet_at { break Cause::Drained },
            }
        };
        self.record.traffic = Some(Box::new(tunnel.traffic()));
        close::close(tunnel.into_client(), Vec::new(), b"").await;
        cause
    }
}
