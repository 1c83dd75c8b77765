//! Peers that are no Kafka: what they say and do with whatever is sent to them.

use std::future::Future;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens on loopback and hands every connection to `serve`.
pub(crate) async fn peer<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    accept(listener, serve);
    address
}

/// Hands every connection to `serve`.
pub(crate) fn accept<F, S>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
}

/// Says this as soon as it has been sent something, and closes.
pub(crate) async fn says(words: &'static [u8]) -> SocketAddr {
    peer(move |mut tcp| async move {
        let mut sent = [0; 1_024];
        if tcp.read(&mut sent).await.is_ok() {
            let _ = tcp.write_all(words).await;
        }
    })
    .await
}

/// A web server that answers once a whole line has come, as many do.
pub(crate) async fn web_server_that_waits_for_a_line() -> SocketAddr {
    peer(|mut tcp| async move {
        let mut sent = Vec::new();
        while !sent.contains(&b'\n') {
            match tcp.read_buf(&mut sent).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await
}

/// Takes everything and never says a word.
pub(crate) async fn says_nothing() -> SocketAddr {
    peer(|mut tcp| async move {
        let mut sent = [0; 1_024];
        while matches!(tcp.read(&mut sent).await, Ok(1..)) {}
    })
    .await
}

/// Accepts and closes.
pub(crate) async fn closes() -> SocketAddr {
    peer(|tcp| async move { drop(tcp) }).await
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
