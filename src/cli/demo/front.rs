//! Narrows in front of the brokers, on free ports of this host.

use super::brokers::Brokers;
use crate::app::{Narrows, StartError};
use crate::config::{Sources, load};
use anyhow::{anyhow, bail};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Tried first, so that the addresses are the same on most runs and easy to read.
const PORTS_WANTED: [u16; 4] = [19_092, 29_092, 39_092, 49_092];
/// Any port of the system's choice, with free ones behind it.
const PORTS_TRIES: usize = 50;
const MAP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a consumer's `fetch.wait.max.ms` of 500 by default.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);
const MAP_LOOK: Duration = Duration::from_millis(10);

/// A running Narrows.
pub(super) struct Front {
    narrows: Narrows,
    /// The one address that clients are told.
    pub(super) bootstrap: String,
    /// Where its status page is.
    pub(super) admin: String,
    /// The broker map, from Narrows' status.
    pub(super) map: Vec<Row>,
}

/// One broker in the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) node: i64,
    pub(super) advertised: String,
    pub(super) broker: String,
}

impl Front {
    /// Starts Narrows and waits until it knows every broker.
    pub(super) async fn start(brokers: &Brokers) -> anyhow::Result<Self> {
        let (narrows, bootstrap, admin) = start(brokers)?;
        let map = known(&narrows, brokers.nodes.len()).await?;
        Ok(Self {
            narrows,
            bootstrap,
            admin,
            map,
        })
    }

    /// Every address that a client may ever hear of.
    pub(super) fn addresses(&self) -> BTreeSet<String> {
        let advertised = self.map.iter().map(|row| row.advertised.clone());
        advertised.chain([self.bootstrap.clone()]).collect()
    }

    /// How many client connections Narrows has open now.
    pub(super) fn connections(&self) -> u64 {
        self.narrows.status()["listeners"][0]["connections"]
            .as_u64()
            .unwrap_or(0)
    }

    /// Lets the answers that are still due come, for a moment.
    pub(super) async fn stop(self) {
        if tokio::time::timeout(PARTING_TIMEOUT, self.narrows.drain())
            .await
            .is_err()
        {
            self.narrows.stop().await;
        }
    }
}

/// Narrows, and the addresses of its bootstrap port and of its admin port.
fn start(brokers: &Brokers) -> anyhow::Result<(Narrows, String, String)> {
    let node_ids: Vec<_> = brokers
        .nodes
        .iter()
        .map(|(node, _)| node.to_string())
        .collect();
    let wanted = PORTS_WANTED
        .into_iter()
        .map(Some)
        .chain(std::iter::repeat_n(None, PORTS_TRIES));
    for wanted in wanted {
        let Some(port) = free_run(wanted, node_ids.len() + 2) else {
            continue;
        };
        let bootstrap = format!("127.0.0.1:{port}");
        // Behind the brokers'.
        let admin = format!("127.0.0.1:{}", usize::from(port) + node_ids.len() + 1);
        let flags = [
            ("--bootstrap-servers", brokers.bootstrap_servers.clone()),
            ("--bind", bootstrap.clone()),
            ("--advertised-host", "127.0.0.1".to_owned()),
            ("--node-ids", node_ids.join(",")),
            ("--admin-bind", admin.clone()),
        ];
        let flags = flags
            .into_iter()
            .map(|(flag, value)| (flag.to_owned(), value))
            .collect();
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        let loaded = load(&sources).map_err(|problems| anyhow!("{problems}"))?;
        match Narrows::start(loaded.settings) {
            Ok(narrows) => return Ok((narrows, bootstrap, admin)),
            // Somebody was faster: the next ports.
            Err(StartError::Bind(_) | StartError::Admin { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!(
        "this host has no {} free ports in a row on 127.0.0.1",
        node_ids.len() + 2
    )
}

/// The first of `count` ports in a row that are free, at `wanted` or where the system has one.
fn free_run(wanted: Option<u16>, count: usize) -> Option<u16> {
    let first = TcpListener::bind(("127.0.0.1", wanted.unwrap_or(0))).ok()?;
    let port = first.local_addr().ok()?.port();
    let last = u16::try_from(usize::from(port) + count - 1).ok()?;
    let others: Result<Vec<_>, _> = (port + 1..=last)
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .collect();
    others.is_ok().then_some(port)
}

async fn known(narrows: &Narrows, brokers: usize) -> anyhow::Result<Vec<Row>> {
    let deadline = Instant::now() + MAP_TIMEOUT;
    loop {
        let map = rows(&narrows.status());
        if map.len() >= brokers {
            return Ok(map);
        }
        if Instant::now() > deadline {
            let refresh = narrows.status()["clusters"][0]["refresh"].to_string();
            bail!(
                "Narrows found {} of {brokers} brokers: {refresh}",
                map.len()
            );
        }
        tokio::time::sleep(MAP_LOOK).await;
    }
}

fn rows(status: &serde_json::Value) -> Vec<Row> {
    let brokers = status["listeners"][0]["brokers"].as_array();
    let row = |broker: &serde_json::Value| {
        Some(Row {
            node: broker["node_id"].as_i64()?,
            advertised: broker["advertised"].as_str()?.to_owned(),
            broker: broker["broker"].as_str()?.to_owned(),
        })
    };
    brokers.into_iter().flatten().filter_map(row).collect()
}
