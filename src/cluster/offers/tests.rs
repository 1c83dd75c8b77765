//! What brokers offer, over times that a test makes up.

use super::*;

/// A broker with Produce up to `max` and, if so, ListOffsets.
fn offers(max: i16, has_list_offsets: bool) -> Offers {
    let mut apis = vec![(0, 3, max), (18, 0, 4)];
    if has_list_offsets {
        apis.push((2, 1, 9));
    }
    let mut body = vec![0, 0];
    body.extend((apis.len() as i32).to_be_bytes());
    for (key, min, max) in apis {
        for number in [key, min, max] {
            body.extend(i16::to_be_bytes(number));
        }
    }
    Offers::read(&body, 0).unwrap()
}

fn common(offered: &Offered) -> Option<Offers> {
    offered.common.load().as_deref().cloned()
}

fn look(offered: &Offered, nodes: &[NodeId], now: Instant) -> (bool, bool) {
    let Look { is_awaited, is_due } = offered.look(nodes, now);
    (is_awaited, is_due)
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

#[test]
fn what_all_brokers_offer_is_known_through_an_upgrade_and_a_downgrade() {
    let offered = Offered::default();
    let now = Instant::now();
    assert_eq!(common(&offered), None);
    assert_eq!(offered.note(ONE, offers(11, true), now), None);
    assert_eq!(common(&offered), Some(offers(11, true)));
    assert_eq!(offered.note(TWO, offers(11, true), now), None);
    assert_eq!(offered.note(ONE, offers(13, false), now), Some(true));
    assert_eq!(common(&offered), Some(offers(11, false)));
    assert_eq!(offered.note(TWO, offers(13, false), now), Some(false));
    assert_eq!(common(&offered), Some(offers(13, false)));
    assert_eq!(offered.note(ONE, offers(11, true), now), Some(true));
    assert_eq!(common(&offered), Some(offers(11, false)));
}

#[test]
fn clients_wait_for_a_broker_that_is_asked_for_the_first_time_but_not_for_long() {
    let offered = Offered::default();
    let now = Instant::now();
    let nodes = [ONE, TWO];
    offered.note(TWO, offers(11, true), now);
    assert_eq!(look(&offered, &nodes, now), (true, true));
    assert_eq!(offered.take_due(&nodes, now), [ONE]);
    assert_eq!(look(&offered, &nodes, now), (true, false));
    assert_eq!(look(&offered, &nodes, now + PATIENCE), (false, false));
    offered.failed(ONE, now);
    assert_eq!(look(&offered, &nodes, now), (false, false));
    assert_eq!(look(&offered, &nodes, now + RETRY), (false, true));
    assert_eq!(common(&offered), Some(offers(11, true)));
}

#[test]
fn a_broker_whose_connection_has_broken_is_asked_at_once_and_counts_with_what_it_last_said() {
    let offered = Offered::default();
    let now = Instant::now();
    offered.note(ONE, offers(11, true), now);
    assert_eq!(look(&offered, &[ONE], now), (false, false));
    assert_eq!(look(&offered, &[ONE], now + AGAIN), (false, true));
    offered.doubt(ONE);
    assert_eq!(look(&offered, &[ONE], now), (true, true));
    assert_eq!(common(&offered), Some(offers(11, true)));
    offered.note(ONE, offers(13, true), now);
    assert_eq!(look(&offered, &[ONE], now), (false, false));
    assert_eq!(common(&offered), Some(offers(13, true)));
}

#[test]
fn a_broker_that_has_left_counts_for_some_time() {
    let offered = Offered::default();
    let now = Instant::now();
    offered.note(ONE, offers(11, true), now);
    offered.note(TWO, offers(13, true), now);
    assert_eq!(offered.prune(&[TWO], now), None);
    assert_eq!(common(&offered), Some(offers(11, true)));
    assert_eq!(offered.prune(&[TWO], now + DEPARTED), Some(false));
    assert_eq!(common(&offered), Some(offers(13, true)));
}

#[test]
fn a_broker_that_was_missing_from_the_map_is_asked_when_it_is_back() {
    let offered = Offered::default();
    let now = Instant::now();
    offered.note(ONE, offers(11, true), now);
    offered.note(TWO, offers(11, true), now);
    offered.left_but(&[ONE, TWO].into());
    assert_eq!(look(&offered, &[ONE, TWO], now), (false, false));
    offered.left_but(&[TWO].into());
    assert_eq!(look(&offered, &[TWO], now), (false, false));
    assert_eq!(look(&offered, &[ONE, TWO], now), (true, true));
    assert_eq!(offered.take_due(&[ONE, TWO], now), [ONE]);
}

#[test]
fn so_many_are_asked_at_once_and_the_others_next() {
    let offered = Offered::default();
    let now = Instant::now();
    let nodes: Vec<_> = (0..20).map(NodeId).collect();
    assert_eq!(offered.take_due(&nodes, now), nodes[..AT_ONCE]);
    assert_eq!(offered.take_due(&nodes, now), nodes[AT_ONCE..]);
    assert_eq!(offered.take_due(&nodes, now), []);
}
