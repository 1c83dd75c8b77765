//! Scheme `single` while leaders and coordinators move: what Narrows has learnt of them may be
//! wrong by now, and the client may ask who they are where Narrows does not see it.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{header, opaque, request};
use crate::single::{answer_leaders, begun, partitions_of, produce, produced, refused, single};

/// Three brokers, nodes 0 to 2, behind one address; Narrows has learnt that node 1 leads partition
/// 0, and node 0 partition 1.
async fn three() -> ([Broker; 3], Proxy) {
    let mut zero = Broker::alone(0).await;
    let mut one = Broker::member(1, &zero.cluster).await;
    let two = Broker::member(2, &zero.cluster).await;
    let proxy = single(&zero).await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[1, 0]).await;
    assert_eq!(one.next().await.first, produce(2, &[0]));
    ([zero, one, two], proxy)
}

/// A broker goes away.
async fn leave(proxy: &Proxy, broker: Broker) {
    broker.stop_accepting().await;
    drop(broker);
    proxy.announce("can't be reached");
}

#[tokio::test]
async fn a_leader_that_cant_be_reached_is_asked_for_again_before_another_one_answers() {
    let ([mut zero, one, mut two], proxy) = three().await;
    leave(&proxy, one).await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0])).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[2, 0]).await;
    assert_eq!(two.next().await.first, produce(2, &[0]));
}

#[tokio::test]
async fn so_is_one_of_a_request_that_is_split() {
    let ([mut zero, one, mut two], proxy) = three().await;
    leave(&proxy, one).await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0, 1])).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[2, 0]).await;
    assert_eq!(partitions_of(&two.next().await.first), [0]);
    assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [1]);
}

#[tokio::test]
async fn where_nobody_knows_a_successor_the_broker_at_hand_answers_for_its_part() {
    let ([mut zero, one, _two], proxy) = three().await;
    leave(&proxy, one).await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0, 1])).await;
    let asked = at_zero.frame().await.unwrap();
    // The cluster has not seen yet that it is away.
    answer_leaders(&mut at_zero, &asked, &[1, 0]).await;
    let mut pieces = Vec::new();
    for _ in 0..2 {
        pieces.push(partitions_of(&at_zero.frame().await.unwrap()));
    }
    assert_eq!(pieces, [[0], [1]]);
}

/// A client whose Produce has gone to node 1, which says that it is not the leader.
async fn refused_by_one(proxy: &Proxy, zero: &mut Broker, one: &mut Broker) -> (Client, Arrival) {
    let (mut client, _at_zero) = begun(proxy, zero).await;
    client.send(&produce(2, &[0])).await;
    let mut at_one = one.next().await;
    at_one.send(&refused(2, &[0])).await;
    assert_eq!(client.frame().await, Some(refused(2, &[0])));
    (client, at_one)
}

#[tokio::test]
async fn a_leader_that_says_that_it_is_none_is_asked_who_is() {
    let ([mut zero, mut one, mut two], proxy) = three().await;
    let (mut client, mut at_one) = refused_by_one(&proxy, &mut zero, &mut one).await;
    client.send(&produce(3, &[0])).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[2, 0]).await;
    assert_eq!(two.next().await.first, produce(3, &[0]));
}

#[tokio::test]
async fn so_is_one_that_says_it_as_a_part_of_an_answer() {
    let ([mut zero, mut one, mut two], proxy) = three().await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&produce(2, &[0, 1])).await;
    at_zero.frame().await.unwrap();
    let mut at_one = one.next().await;
    at_one.send(&refused(2, &[0])).await;
    at_zero.send(&produced(2, &[1], 7)).await;
    client.frame().await.unwrap();
    client.send(&produce(3, &[0])).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[2, 0]).await;
    assert_eq!(two.next().await.first, produce(3, &[0]));
}

const FIND_COORDINATOR: i16 = 10;
const HEARTBEAT: i16 = 12;

/// A Heartbeat v0 of a member of the group `g`.
fn heartbeat(correlation_id: i32) -> Vec<u8> {
    let body = [&[0, 1, b'g'][..], &[0, 0, 0, 1], &[0, 1, b'm']].concat();
    request(HEARTBEAT, 0, correlation_id, &body)
}

/// Answers Narrows' question who coordinates `g`.
async fn answer_coordinator(arrival: &mut Arrival, frame: &[u8], node: i32) {
    let asked = header(frame);
    assert!(asked.is_narrows, "Narrows asks who coordinates");
    assert_eq!((asked.key, asked.version), (FIND_COORDINATOR, 3));
    let header_tags_throttle_error_and_message = [0, 0, 0, 0, 0, 0, 0, 0];
    let mut body = header_tags_throttle_error_and_message.to_vec();
    body.extend(node.to_be_bytes());
    let host_port_and_tags = [2, b'h', 0, 0, 0x23, 0x84, 0];
    body.extend(host_port_and_tags);
    arrival.send(&opaque(asked.correlation_id, &body)).await;
}

#[tokio::test]
async fn a_coordinator_that_says_that_it_is_none_is_asked_who_is() {
    let ([mut zero, mut one, mut two], proxy) = three().await;
    let (mut client, mut at_zero) = begun(&proxy, &mut zero).await;
    client.send(&heartbeat(2)).await;
    let asked = at_zero.frame().await.unwrap();
    answer_coordinator(&mut at_zero, &asked, 1).await;
    let mut at_one = one.next().await;
    assert_eq!(at_one.first, heartbeat(2));
    // NOT_COORDINATOR
    at_one.send(&opaque(2, &[0, 16])).await;
    client.frame().await.unwrap();
    client.send(&heartbeat(3)).await;
    let asked = at_one.frame().await.unwrap();
    answer_coordinator(&mut at_one, &asked, 2).await;
    assert_eq!(two.next().await.first, heartbeat(3));
}
