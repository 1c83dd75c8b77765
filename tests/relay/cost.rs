//! What a forwarded frame costs, as far as it does not depend on the machine: no allocation.

use crate::alloc::{self, Tally};
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, opaque, request};
use crate::plain::{Asker, Load, serve};
use crate::samples::{FETCH, PRODUCE, Shape, pattern, response, str_bytes};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_response::{ProduceResponse, TopicProduceResponse};
use kafka_protocol::protocol::Encodable;
use std::net::TcpStream;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// 200 bytes each way.
fn small() -> Load {
    Load::new(request(OFFSET_COMMIT, 6, 7, &[b'q'; 178]), opaque(7, &[b'a'; 192]))
}

/// A Produce v12 with records of this size. Its response names nobody.
fn produce(records_bytes: usize) -> Load {
    // No transaction, acks=-1, a timeout; what follows is not looked at.
    let body = [&[0, 0xff, 0xff, 0, 0, 0x75, 0x30][..], &pattern(records_bytes)].concat();
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(str_bytes("orders")))
        .with_partition_responses(vec![Default::default()]);
    let mut answer = vec![0];
    ProduceResponse::default().with_responses(vec![topic]).encode(&mut answer, 12).unwrap();
    Load::new(request(PRODUCE, 12, 7, &body), opaque(7, &answer))
}

/// A Fetch v17 whose response has records of this size.
fn fetch(records_bytes: usize) -> Load {
    let shape = Shape { filling: records_bytes, ..Shape::default() };
    Load::new(request(FETCH, 17, 7, &[0; 40]), response(FETCH, 17, 7, &shape))
}

#[test]
fn a_frame_on_its_way_through_allocates_nothing() {
    let _shared = alloc::shared_blocking();
    let loads = [
        ("200 bytes", small(), 2000),
        ("a small Produce", produce(100), 2000),
        ("a Produce of 64 KiB", produce(64 * KIB), 2000),
        ("a Produce of 1 MiB", produce(MIB), 300),
        ("a Fetch of 64 KiB", fetch(64 * KIB), 2000),
        ("a Fetch of 1 MiB", fetch(MIB), 300),
    ];
    for (name, load, count) in loads {
        let allocations = allocations(&load, count);
        println!("{name}: {allocations} allocations in {count} round trips");
        assert_eq!(allocations, 0, "{name}: in {count} round trips");
    }
}

/// How often Klamm allocates in so many round trips of a connection that has had some.
fn allocations(load: &Load, count: usize) -> usize {
    let tally = Tally::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || tally.count_this_thread())
        .enable_all()
        .build()
        .unwrap();
    let broker = serve(load);
    let proxy = runtime.block_on(async { Proxy::begin(&[broker], |_| {}) });
    runtime.block_on(proxy.until_refreshed());
    let mut asker = Asker::new(TcpStream::connect(proxy.bootstrap()).unwrap(), load);
    assert!(tally.allocations() > 0, "to start takes allocations, and they are counted");
    // The first ones pay for buffers and pipes.
    asker.round_trips(50);
    let warm = tally.allocations();
    asker.round_trips(count);
    tally.allocations() - warm
}
