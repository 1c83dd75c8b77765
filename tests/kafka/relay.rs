//! A stand-in for a proxy that rewrites nothing: what the leak trap is there to catch.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

use crate::namespaces::{Entrance, NARROWS_FOR_CLIENTS, Namespaces, Side};

/// Relays every connection to a broker, byte for byte, and says where it listens. Ends with the
/// process.
pub(crate) fn start(namespaces: &Namespaces, broker: SocketAddr) -> Result<SocketAddr> {
    let listener = namespaces.inside(Side::Narrows, || {
        TcpListener::bind((NARROWS_FOR_CLIENTS, 0))
    })??;
    let address = listener.local_addr()?;
    let entrance = namespaces.entrance(Side::Narrows)?;
    serve(listener, entrance, broker);
    Ok(address)
}

/// Relays whatever comes to the listener to a broker as a namespace reaches it. Ends with the
/// process.
pub(crate) fn serve(listener: TcpListener, namespace: Entrance, broker: SocketAddr) {
    thread::spawn(move || {
        if namespace.enter().is_err() {
            return;
        }
        while let Ok((client, _)) = listener.accept() {
            // A connection that can't be relayed is closed, which its client will report.
            let _ = relay(client, broker);
        }
    });
}

fn relay(client: TcpStream, broker: SocketAddr) -> io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    for (from, to) in [(client.try_clone()?, broker.try_clone()?), (broker, client)] {
        thread::spawn(move || {
            let _ = io::copy(&mut &from, &mut &to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
