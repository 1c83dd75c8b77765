//! Storms: connections that come, ask once and go, as after a restart of many clients.

use crate::frames;
use crate::load::{Outcome, STALL, Watch};
use crate::sys::{self, Epoll};
use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const WIDTH: usize = 64;

/// Connections that come, ask for ApiVersions and go with a reset, 64 at a time. Returns how many went in `measure`.
pub fn run(
    address: SocketAddr,
    warm_up: Duration,
    measure: Duration,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let request = frames::api_versions_request()?;
    let epoll = Epoll::new()?;
    let mut slots: Vec<Option<(TcpStream, usize, Instant)>> = (0..WIDTH).map(|_| None).collect();
    let connect = |token: usize| -> Result<(TcpStream, usize, Instant)> {
        let since = Instant::now();
        let stream = sys::connect(address)?;
        sys::reset_on_close(&stream)?;
        sys::send(stream.as_raw_fd(), &request, false)?;
        epoll.add(stream.as_raw_fd(), token as u64, true, false)?;
        Ok((stream, 0, since))
    };
    for (token, slot) in slots.iter_mut().enumerate() {
        *slot = Some(connect(token)?);
    }
    let mut outcome = Outcome::default();
    let (mut begun, mut ready, mut buffer) = (None, Vec::new(), [0; 1024]);
    let (start, mut heard) = (Instant::now(), Instant::now());
    loop {
        let now = Instant::now();
        if begun.is_none() && now >= start + warm_up {
            outcome = Outcome::default();
            watch.begin();
            begun = Some(Instant::now());
        }
        if let Some(begun) = begun
            && now >= begun + measure
        {
            outcome.seconds = begun.elapsed().as_secs_f64();
            watch.end();
            outcome.latencies.sort_unstable();
            return Ok(outcome);
        }
        ensure!(now < heard + STALL, "no answer in a storm for {STALL:?}");
        epoll.wait(&mut ready, Duration::from_millis(20))?;
        for event in &ready {
            let token = event.token as usize;
            let Some((stream, got, since)) = slots[token].as_mut() else { continue };
            match sys::recv(stream.as_raw_fd(), &mut buffer[*got..]) {
                Ok(0) => anyhow::bail!("the relay closed a new connection"),
                Ok(count) => *got += count,
                Err(error) if sys::is_later(&error) => continue,
                Err(error) => return Err(error).context("the relay reset a new connection"),
            }
            let length = buffer.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
            // Every answer comes whole: it is a hundred bytes, sent at once.
            ensure!(*got == 4 + length, "an answer of {got} bytes that says {length}");
            heard = Instant::now();
            outcome.round_trips += 1;
            outcome.latencies.push(since.elapsed().as_nanos() as u64);
            slots[token] = None;
            slots[token] = Some(connect(token)?);
        }
    }
}
