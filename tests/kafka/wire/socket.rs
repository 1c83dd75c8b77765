//! A bare Kafka connection: one request, one answer, and the bytes of the answer to search for what
//! must not be there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use crate::namespaces::{Namespaces, Side};

const TIMEOUT: Duration = Duration::from_secs(10);
/// What the brokers' network looks like in an answer: their addresses, and the listener that
/// controllers name.
const BROKERS_OWN: [&[u8]; 2] = [b"10.77.", b"CONTROLLER"];

/// A connection from a side to an address.
pub(super) struct Socket {
    stream: TcpStream,
    correlation_id: i32,
    /// Whether an answer may carry the brokers' own addresses.
    is_direct: bool,
}

impl Socket {
    pub(super) fn dial(namespaces: &Namespaces, side: Side, address: SocketAddr) -> Result<Self> {
        let stream =
            namespaces.inside(side, || TcpStream::connect_timeout(&address, TIMEOUT))??;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            correlation_id: 0,
            is_direct: side != Side::Clients,
        })
    }

    /// Asks and decodes the answer.
    ///
    /// # Errors
    /// Also when an answer to a client has a broker's own address in it, wherever it may stand.
    pub(super) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.send(version, request)?;
        let answer = self
            .receive()
            .with_context(|| format!("api key {} v{version}", R::KEY))?;
        self.read_answer::<R>(version, answer)
    }

    /// Sends a request, to be answered by a [`Self::receive`].
    pub(super) fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("wire-test")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        self.send_frame(&frame)
    }

    /// Sends a frame as it is, behind its length.
    pub(super) fn send_frame(&mut self, frame: &[u8]) -> Result<()> {
        let length = u32::try_from(frame.len())?;
        // In one piece, as clients do.
        self.stream
            .write_all(&[&length.to_be_bytes(), frame].concat())?;
        Ok(())
    }

    /// The next frame, without its length.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn receive(&mut self) -> Result<Bytes> {
        let answer = self.read_frame().context("no answer")?;
        for own in BROKERS_OWN {
            let leaks = answer.windows(own.len()).any(|window| window == own);
            ensure!(
                self.is_direct || !leaks,
                "{:?} is in the answer, which is the brokers' own",
                String::from_utf8_lossy(own)
            );
        }
        Ok(answer)
    }

    /// Reads the answer to the request sent last.
    pub(super) fn read_answer<R: Request>(
        &self,
        version: i16,
        mut answer: Bytes,
    ) -> Result<R::Response> {
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
        ensure!(
            header.correlation_id == self.correlation_id,
            "an answer to another request"
        );
        let body = R::Response::decode(&mut answer, version)?;
        ensure!(
            answer.is_empty(),
            "api key {} v{version}: {} bytes behind the answer's end",
            R::KEY,
            answer.len()
        );
        Ok(body)
    }

    /// # Errors
    /// When the other side says one more byte, or does not close in time.
    pub(super) fn ensure_closed(&mut self) -> Result<()> {
        let length = self
            .stream
            .read(&mut [0])
            .context("the connection should be closed")?;
        ensure!(
            length == 0,
            "the connection should be closed, and there is an answer"
        );
        Ok(())
    }

    /// The versions of an API that this side is offered and the oracle knows.
    pub(super) fn versions<R: Request>(&mut self) -> Result<std::ops::RangeInclusive<i16>> {
        let offer = self.ask(0, &ApiVersionsRequest::default())?;
        let offer = offer.api_keys.iter().find(|api| api.api_key == R::KEY);
        let offer = offer.with_context(|| format!("api key {} is not offered", R::KEY))?;
        let known = <R as Message>::VERSIONS;
        Ok(offer.min_version.max(known.min)..=offer.max_version.min(known.max))
    }

    fn read_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}
