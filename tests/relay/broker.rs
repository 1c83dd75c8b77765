//! Scripted brokers on loopback: they answer Narrows' own questions, and hand each client's
//! connection to the test.

use crate::frames::{API_VERSIONS, SASL_HANDSHAKE, answer_narrows, header, opaque};
use crate::within;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What the brokers of a cluster say about it.
#[derive(Debug, Default)]
pub(crate) struct ClusterState {
    pub(crate) cluster_id: String,
    pub(crate) nodes: BTreeMap<i32, SocketAddr>,
    /// The body of each one's answer to ApiVersions v0; another does not say what it offers.
    pub(crate) offers: BTreeMap<SocketAddr, Vec<u8>>,
    /// Close when Narrows asks before anybody has authenticated, and name the mechanisms when it
    /// asks for them.
    pub(crate) demands_sasl: bool,
}

/// What a listener answers to a SaslHandshake that speaks SASL, and what one that doesn't.
const MECHANISMS: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
const ILLEGAL_SASL_STATE: &[u8] = &[0, 34, 0, 0, 0, 0];

/// One scripted broker.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) cluster: Arc<Mutex<ClusterState>>,
    /// Every TCP connection, Narrows' own included.
    pub(crate) accepted: Arc<AtomicUsize>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    accepting: JoinHandle<()>,
}

/// A client's connection at its broker, from the first frame that is not Narrows'.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    /// What came first, with its length.
    pub(crate) first: Vec<u8>,
}

impl Broker {
    /// Starts a broker that is node `id` of a cluster of its own.
    pub(crate) async fn alone(id: i32) -> Self {
        let cluster = ClusterState {
            cluster_id: "the-cluster".into(),
            ..ClusterState::default()
        };
        Self::member(id, &Arc::new(Mutex::new(cluster))).await
    }

    /// Starts one more broker that says what the others say, and says it of itself too.
    pub(crate) async fn member(id: i32, cluster: &Arc<Mutex<ClusterState>>) -> Self {
        let broker = Self::unlisted(cluster).await;
        cluster.lock().unwrap().nodes.insert(id, broker.address);
        broker
    }

    /// Starts a broker that nobody has in a list.
    pub(crate) async fn unlisted(cluster: &Arc<Mutex<ClusterState>>) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap(), cluster)
    }

    pub(crate) fn listening(listener: TcpListener, cluster: &Arc<Mutex<ClusterState>>) -> Self {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (sender, arrivals) = mpsc::unbounded_channel();
        let shared_state = cluster.clone();
        let count = accepted.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                count.fetch_add(1, Relaxed);
                tokio::spawn(serve_probes(stream, shared_state.clone(), sender.clone()));
            }
        });
        Self {
            address,
            cluster: cluster.clone(),
            accepted,
            arrivals,
            accepting,
        }
    }

    /// The next client's connection.
    pub(crate) async fn next(&mut self) -> Arrival {
        within("a connection at the broker", self.arrivals.recv())
            .await
            .unwrap()
    }

    /// Whether a client's connection has come that nobody has taken.
    pub(crate) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Gives up the address. Connections that are there stay.
    pub(crate) async fn stop_accepting(&self) {
        self.accepting.abort();
    }

    /// How many TCP connections came.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }

    /// Answers every request of every connection from now on.
    pub(crate) fn answer_all(
        mut self,
        answer: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static,
    ) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(arrival) = self.arrivals.recv().await {
                tokio::spawn(arrival.answer_all(answer.clone()));
            }
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers Narrows until a client's frame comes.
async fn serve_probes(
    mut stream: TcpStream,
    cluster: Arc<Mutex<ClusterState>>,
    arrivals: mpsc::UnboundedSender<Arrival>,
) {
    stream.set_nodelay(true).unwrap();
    let address = stream.local_addr().unwrap();
    while let Some(frame) = read_frame(&mut stream).await {
        if frame.len() < 12 || !header(&frame).is_narrows {
            let _ = arrivals.send(Arrival {
                stream,
                first: frame,
            });
            return;
        }
        let answer = {
            let cluster = cluster.lock().unwrap();
            let offers = cluster.offers.get(&address);
            match (header(&frame).key, cluster.demands_sasl) {
                // Also before a login.
                (API_VERSIONS, _) if header(&frame).version == 0 && offers.is_some() => {
                    opaque(header(&frame).correlation_id, offers.unwrap())
                }
                (SASL_HANDSHAKE, true) => opaque(header(&frame).correlation_id, MECHANISMS),
                (_, true) => return,
                (SASL_HANDSHAKE, false) => {
                    opaque(header(&frame).correlation_id, ILLEGAL_SASL_STATE)
                }
                (_, false) => answer_narrows(&frame, &cluster.nodes, &cluster.cluster_id),
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// A frame with its length; `None` at the end of the stream.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await.ok()?;
    let length = usize::try_from(i32::from_be_bytes(frame[..4].try_into().unwrap())).unwrap();
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

impl Arrival {
    /// The next frame, whoever's it is; `None` when Narrows has closed.
    pub(crate) async fn frame(&mut self) -> Option<Vec<u8>> {
        within("a request at the broker", read_frame(&mut self.stream)).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("Narrows to take a response", self.stream.write_all(bytes))
            .await
            .unwrap();
    }

    /// Writes until nobody takes any more: the buffers on the way are full, and Narrows has stopped
    /// reading. How much went out.
    pub(crate) async fn fill(&mut self, bytes: &[u8]) -> usize {
        /// Whoever reads at all has made room long before.
        const FULL: Duration = Duration::from_millis(100);
        let mut written = 0;
        while written < bytes.len() {
            if timeout(FULL, self.stream.writable()).await.is_err() {
                break;
            }
            match self.stream.try_write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // The session has ended meanwhile: such a socket stays writable for ever.
                Err(_) => break,
            }
        }
        written
    }

    /// As [`fill`](Self::fill), with more than fits.
    pub(crate) async fn fill_to_the_brim(&mut self, bytes: &[u8]) -> usize {
        let written = self.fill(bytes).await;
        let all = bytes.len();
        assert!(written < all, "back-pressure: {written} of {all} bytes");
        written
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = within("Narrows to close", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    async fn answer_all(mut self, answer: impl Fn(&[u8]) -> Vec<u8>) {
        let mut frame = Some(self.first);
        while let Some(request) = frame {
            if self.stream.write_all(&answer(&request)).await.is_err() {
                return;
            }
            frame = read_frame(&mut self.stream).await;
        }
    }
}
