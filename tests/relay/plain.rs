//! Peers that are threads with plain sockets, so that all that is measured in the runtime is
//! Narrows'.

use crate::PATIENCE;
use crate::frames::{API_VERSIONS, OFFSET_COMMIT, answer_narrows, header, opaque, request};
use crate::single::{api_versions, asks_leaders, leaders_of};
use crate::single_logins::OFFERS;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// What is asked and answered again and again.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) request: Arc<[u8]>,
    pub(crate) response: Arc<[u8]>,
}

impl Load {
    pub(crate) fn new(request: Vec<u8>, response: Vec<u8>) -> Self {
        Self {
            request: request.into(),
            response: response.into(),
        }
    }

    /// What one round trip moves.
    pub(crate) fn bytes(&self) -> usize {
        self.request.len() + self.response.len()
    }
}

/// Starts a broker, node 0 of a cluster of its own, that leads partition 0, and answers everything
/// with the load's response.
pub(crate) fn serve(load: &Load) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let load = load.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let load = load.clone();
            std::thread::spawn(move || answer_all(stream, at, &load));
        }
    });
    at
}

fn answer_all(mut stream: TcpStream, at: SocketAddr, load: &Load) {
    stream.set_nodelay(true).unwrap();
    let nodes = BTreeMap::from([(0, at)]);
    let mut frame = Vec::new();
    while read_frame(&mut stream, &mut frame).is_some() {
        let written = if asks_leaders(&frame) {
            stream.write_all(&leaders_of(&frame, &[0]))
        } else if header(&frame).is_narrows {
            stream.write_all(&answer_narrows(&frame, &nodes, "the-cluster"))
        } else if header(&frame).key == API_VERSIONS {
            stream.write_all(&opaque(header(&frame).correlation_id, OFFERS))
        } else {
            assert!(frame == *load.request, "the request as it was sent");
            stream.write_all(&load.response)
        };
        if written.is_err() {
            return;
        }
    }
}

/// One connection that goes through a load, one request at a time.
pub(crate) struct Asker {
    stream: TcpStream,
    load: Load,
    answer: Vec<u8>,
}

impl Asker {
    pub(crate) fn new(stream: TcpStream, load: &Load) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            load: load.clone(),
            answer: vec![0; load.response.len()],
        }
    }

    /// The same, after a request that says that node 0 is meant.
    pub(crate) fn named(mut stream: TcpStream, load: &Load) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(&api_versions(1, "the-cluster", 0))
            .unwrap();
        read_frame(&mut stream, &mut Vec::new()).unwrap();
        Self::new(stream, load)
    }

    pub(crate) fn round_trips(&mut self, count: usize) {
        for _ in 0..count {
            self.stream.write_all(&self.load.request).unwrap();
            self.receive();
        }
    }

    /// One more, whose second half is sent when `other` has had a round trip through the same
    /// Narrows: by then the first half has been read, and is waited with.
    pub(crate) fn round_trip_in_halves(&mut self, other: &mut Self) {
        let request = Arc::clone(&self.load.request);
        let (first, second) = request.split_at(request.len() / 2);
        self.stream.write_all(first).unwrap();
        other.round_trips(1);
        self.stream.write_all(second).unwrap();
        self.receive();
    }

    fn receive(&mut self) {
        self.stream.read_exact(&mut self.answer).unwrap();
        assert!(
            self.answer == *self.load.response,
            "the response as it was sent"
        );
    }
}

/// A connection that has had one request answered.
pub(crate) fn round_trip(bootstrap: SocketAddr) -> TcpStream {
    let load = Load::new(request(OFFSET_COMMIT, 6, 7, b"body"), opaque(7, b"answer"));
    let mut asker = Asker::new(TcpStream::connect(bootstrap).unwrap(), &load);
    asker.round_trips(1);
    asker.stream
}

/// The next frame with its length, in the place of what is in `frame`; `None` at the end of the
/// stream.
pub(crate) fn read_frame(stream: &mut impl Read, frame: &mut Vec<u8>) -> Option<()> {
    frame.resize(4, 0);
    stream.read_exact(frame).ok()?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..]).ok()
}
