//! What a forwarded frame costs, as far as it does not depend on the machine: no allocation, so
//! many data system calls, so many bytes copied.

use crate::alloc::{self, Tally};
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, opaque, request};
use crate::plain::{Asker, Load, serve};
use crate::samples::{FETCH, PRODUCE, Shape, pattern, response, str_bytes};
use crate::single;
use crate::trace::{
    BulkTransfers, Cost, connection, connections, cost, named_cost, pinned_cost, single_connection,
};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_response::{ProduceResponse, TopicProduceResponse};
use kafka_protocol::protocol::Encodable;
use std::net::TcpStream;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// 200 bytes each way.
fn small() -> Load {
    Load::new(
        request(OFFSET_COMMIT, 6, 7, &[b'q'; 178]),
        opaque(7, &[b'a'; 192]),
    )
}

/// A Produce v12 with records of this size. Its response names nobody.
fn produce(records_bytes: usize) -> Load {
    // No transaction, acks=-1, a timeout; what follows is not looked at.
    let body = [
        &[0, 0xff, 0xff, 0, 0, 0x75, 0x30][..],
        &pattern(records_bytes),
    ]
    .concat();
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(str_bytes("orders")))
        .with_partition_responses(vec![Default::default()]);
    let mut answer = vec![0];
    ProduceResponse::default()
        .with_responses(vec![topic])
        .encode(&mut answer, 12)
        .unwrap();
    Load::new(request(PRODUCE, 12, 7, &body), opaque(7, &answer))
}

/// A Fetch v17 whose response has records of this size.
fn fetch(records_bytes: usize) -> Load {
    let shape = Shape {
        filling: records_bytes,
        ..Shape::default()
    };
    Load::new(
        request(FETCH, 17, 7, &[0; 40]),
        response(FETCH, 17, 7, &shape),
    )
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

/// How often Narrows allocates in so many round trips of a connection that has had some.
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
    let connect = || Asker::new(TcpStream::connect(proxy.bootstrap()).unwrap(), load);
    let (mut asker, mut other) = (connect(), connect());
    assert!(
        tally.allocations() > 0,
        "to start takes allocations, and they are counted"
    );
    // The first ones pay for buffers and pipes, and the first that is waited for pays for the
    // timer of its connection.
    other.round_trips(50);
    asker.round_trips(50);
    other.round_trip_in_halves(&mut asker);
    asker.round_trip_in_halves(&mut other);
    let warm = tally.allocations();
    asker.round_trips(count);
    asker.round_trip_in_halves(&mut other);
    tally.allocations() - warm
}

#[test]
fn a_small_round_trip_takes_four_system_calls() {
    let _shared = alloc::shared_blocking();
    const COUNT: usize = 500;
    let load = small();
    let Cost { calls, .. } = cost(&load, COUNT, "auto");
    // In and out of the request, in and out of the response; no call that finds nothing. Only at
    // the beginning of a connection may a second event come for the same bytes, and each of the two
    // that are compared has two sides.
    assert!(calls.made.abs_diff(4 * COUNT) <= 2, "{calls:?}");
    assert_eq!(calls.copied_bytes, 2 * COUNT * load.bytes());
}

#[test]
fn a_connection_that_has_named_its_broker_takes_the_calls_of_one_that_came_by_a_port() {
    let _shared = alloc::shared_blocking();
    const COUNT: usize = 300;
    for load in [small(), produce(100)] {
        let port = cost(&load, COUNT, "auto").calls;
        let single = named_cost(&load, COUNT).calls;
        println!("{port:?}, {single:?}");
        assert_eq!(single.copied_bytes, port.copied_bytes);
        // As above, each of the four connections may have one call of its own.
        let difference = single.made.abs_diff(port.made);
        assert!(difference <= 4, "{port:?}, {single:?}");
        assert!(single.made.abs_diff(4 * COUNT) <= 2, "{single:?}");
    }
}

/// A Produce for partition 0 with records of this size, and a Fetch of as many, as clients send
/// them that Narrows has to find the leader for.
fn to_leader(records_bytes: usize) -> [(&'static str, Load); 2] {
    let records = single::produce_of(7, vec![(0, pattern(records_bytes))]);
    let shape = Shape {
        filling: records_bytes,
        ..Shape::default()
    };
    let fetched = response(FETCH, single::FETCH_VERSION, 7, &shape);
    [
        ("Produce", Load::new(records, single::produced(7, &[0], 0))),
        ("Fetch", Load::new(single::fetch(7, (0, 0), &[0]), fetched)),
    ]
}

#[test]
fn a_connection_whose_first_request_said_its_broker_takes_the_calls_of_one_that_came_by_a_port() {
    let _shared = alloc::shared_blocking();
    const COUNT: usize = 300;
    for (name, load) in to_leader(100) {
        let port = cost(&load, COUNT, "auto").calls;
        let pinned = pinned_cost(&load, COUNT).calls;
        println!("{name}: {port:?}, {pinned:?}");
        assert_eq!(pinned.copied_bytes, port.copied_bytes, "{name}");
        let difference = pinned.made.abs_diff(port.made);
        assert!(difference <= 4, "{name}: {port:?}, {pinned:?}");
    }
}

/// To accept takes two calls with the one that finds nobody else, to register a socket, to take it
/// out again and to close it three on each side, to dial three, to tune what was dialled six, and
/// the round trip four; the client's first bytes may not be there when they are looked for, and its
/// end is read.
const CONNECTION_CALLS_MAX: usize = 2 + 2 * 3 + 3 + 6 + 4 + 2;

#[test]
fn a_connection_beside_another_one_asks_nobody_who_he_is_and_says_nothing_twice() {
    let _shared = alloc::shared_blocking();
    const COUNT: usize = 100;
    let calls = connections(&small(), COUNT);
    println!("{calls} calls for {COUNT} connections");
    // A refresh of Narrows' own may come in between.
    assert!(calls <= CONNECTION_CALLS_MAX * COUNT + 50, "{calls}");
}

/// What enters and leaves the process for a round trip with a large frame: its header, which is
/// peeked at, the small frame of the other way, and now and then a large one's last bytes, which
/// have to be read. Measured: 1.1 to 1.5 KiB.
const COPIED_BYTES_MAX: usize = 3 * KIB;

/// The first large frame comes unexpected: a buffer of it is read and written.
const FIRST_BYTES_MAX: usize = 2 * 128 * KIB;

/// The first frame of a connection that has yet to say its broker is read and written whole.
const fn unknown_bytes_max(bytes: usize) -> usize {
    FIRST_BYTES_MAX + 2 * bytes
}

/// A large frame's size, how many of them, and the calls that a round trip may take: two in and two
/// out for the small frame, a peek, and splices. All of a frame goes into a pipe of 1 MiB at once
/// when it has arrived; Narrows is woken at every 256 KiB, and the other side takes it in as few
/// pieces. Measured: 6 to 7 and 7 to 8.2; by copying, 1 MiB takes 20.
const LARGE: [(usize, usize, usize); 2] = [(64 * KIB, 300, 9), (MIB, 100, 12)];

#[test]
fn a_large_frame_takes_few_system_calls_and_stays_outside_but_for_its_header() {
    // Pipes of 1 MiB are rationed by user, and there is a test that takes them all.
    let _alone = alloc::alone_blocking();
    for (bytes, count, calls_max) in LARGE {
        let by_a_port =
            [("Produce", produce(bytes)), ("Fetch", fetch(bytes))].map(|(api, load)| {
                let cost = connection(&load, count, "auto");
                (format!("{api} by a port"), cost, load, FIRST_BYTES_MAX)
            });
        let to_leader = to_leader(bytes).map(|(api, load)| {
            let cost = single_connection(&load, count, Asker::new);
            let what = format!("{api} to its leader");
            (what, cost, load, unknown_bytes_max(bytes))
        });
        for (what, Cost { calls, runs }, load, first_bytes_max) in
            by_a_port.into_iter().chain(to_leader)
        {
            let name = format!("{count} times {what}, of {bytes} bytes");
            println!("{name}: {calls:?}, {runs:?}");
            assert!(calls.made <= calls_max * count, "{name}: {calls:?}");
            assert!(
                calls.copied_bytes <= COPIED_BYTES_MAX * count + first_bytes_max,
                "{name}: {calls:?}"
            );
            let moved = calls.copied_bytes + calls.spliced_bytes;
            assert!(
                moved >= 2 * count * load.bytes(),
                "the trace has every byte: {name}: {calls:?}"
            );
            // The first frame of each of the two connections counts if it has not been read at
            // once, as it is to find the leader; after that, the second is the first large one.
            assert!(
                (count - 2..=count + 1).contains(&runs.spliced),
                "{name}: {runs:?}"
            );
            assert_eq!(
                (runs.copied_off, runs.copied_no_pipe),
                (0, 0),
                "{name}: {runs:?}"
            );
        }
    }
}

#[test]
fn where_splicing_is_off_every_byte_is_copied_and_counted_so() {
    let _shared = alloc::shared_blocking();
    const COUNT: usize = 50;
    for load in [produce(MIB), fetch(MIB)] {
        let Cost { calls, runs } = cost(&load, COUNT, "off");
        assert_eq!(
            (calls.copied_bytes, calls.spliced_bytes),
            (2 * COUNT * load.bytes(), 0)
        );
        assert_eq!(
            runs,
            BulkTransfers {
                copied_off: COUNT,
                ..BulkTransfers::default()
            }
        );
    }
}
