//! What the broker map believes, and when.

use super::*;

fn sighting(cluster: &str, brokers: &[(i32, &str)]) -> BrokerList {
    let controller = brokers.last().map(|(node, _)| NodeId(*node));
    let brokers = brokers.iter().map(|(node, host)| ListedBroker {
        node: NodeId(*node),
        host: (*host).to_owned(),
        port: 9092,
    });
    BrokerList {
        cluster_id: Some(cluster.to_owned()),
        controller,
        brokers: brokers.collect(),
        is_complete: true,
    }
}

fn ids(view: &View) -> Vec<i32> {
    view.brokers().iter().map(|(node, _)| node.0).collect()
}

#[test]
fn the_controller_is_who_narrows_itself_was_told_last() {
    let view = View::new(None);
    let now = Instant::now();
    assert_eq!(view.controller(), None);
    view.learn(&sighting("a", &[(1, "x"), (2, "y")]), Source::Own, now);
    assert_eq!(view.controller(), Some(NodeId(2)));
    // With KRaft each answer names another one: what clients are told would flicker.
    view.learn(&sighting("a", &[(2, "y"), (1, "x")]), Source::Passing, now);
    assert_eq!(view.controller(), Some(NodeId(2)));
}

#[test]
fn a_broker_that_is_missing_once_is_kept_and_one_that_stays_missing_is_dropped() {
    let view = View::new(None);
    let start = Instant::now();
    view.learn(&sighting("c", &[(1, "a"), (2, "b")]), Source::Own, start);
    let gone = view.locate(NodeId(2)).unwrap().gone;
    let without = sighting("c", &[(1, "a")]);
    assert_eq!(
        view.learn(&without, Source::Passing, start),
        Learned::Suspicion
    );
    assert_eq!((ids(&view), gone.is_cancelled()), (vec![1, 2], false));
    assert_eq!(
        view.learn(&without, Source::Passing, start + ABSENCE),
        Learned::Changed
    );
    assert_eq!((ids(&view), gone.is_cancelled()), (vec![1], true));
}

#[test]
fn a_broker_that_is_seen_in_between_is_not_dropped() {
    let view = View::new(None);
    let start = Instant::now();
    let with = sighting("c", &[(1, "a"), (2, "b")]);
    let without = sighting("c", &[(1, "a")]);
    view.learn(&with, Source::Own, start);
    view.learn(&without, Source::Passing, start);
    view.learn(&with, Source::Passing, start + ABSENCE / 2);
    assert_eq!(
        view.learn(&without, Source::Passing, start + ABSENCE),
        Learned::Suspicion
    );
    assert_eq!(ids(&view), [1, 2]);
}

/// What a list says of broker 1, and who answers at the known and at the claimed address.
fn claim(view: &View, host: &str, answers: (Answer, Answer), now: Instant) -> bool {
    let list = sighting("c", &[(1, host)]);
    view.learn(&list, Source::Passing, now);
    let due = view.due_claims(10, now);
    let [due] = due.as_slice() else {
        panic!("{due:?}")
    };
    view.settle(due, answers.0, answers.1, now)
}

#[test]
fn a_broker_that_is_at_another_address_ends_the_connections_to_the_old_one() {
    let view = View::new(None);
    let now = Instant::now();
    view.learn(&sighting("c", &[(1, "old")]), Source::Own, now);
    let old = view.locate(NodeId(1)).unwrap();
    assert!(claim(&view, "new", (Answer::Nobody, Answer::Broker), now));
    assert!(old.gone.is_cancelled());
    let new = view.locate(NodeId(1)).unwrap();
    assert_eq!(
        (&*new.address.host, new.gone.is_cancelled()),
        ("new", false)
    );
}

#[test]
fn one_list_that_lags_behind_moves_nobody() {
    let view = View::new(None);
    let now = Instant::now();
    let true_list = sighting("c", &[(1, "here")]);
    view.learn(&true_list, Source::Own, now);
    let here = view.locate(NodeId(1)).unwrap();
    assert!(!claim(
        &view,
        "stale",
        (Answer::Broker, Answer::Nobody),
        now
    ));
    for _ in 0..100 {
        let stale = sighting("c", &[(1, "stale")]);
        assert_eq!(view.learn(&stale, Source::Passing, now), Learned::Nothing);
        assert_eq!(view.learn(&true_list, Source::Own, now), Learned::Nothing);
    }
    assert_eq!(view.due_claims(10, now), [], "looked into lately");
    assert!(!here.gone.is_cancelled());
    assert_eq!(&*view.locate(NodeId(1)).unwrap().address.host, "here");
}

#[test]
fn of_a_broker_that_stands_in_a_list_twice_the_known_address_counts() {
    let view = View::new(None);
    let now = Instant::now();
    let twice = sighting("c", &[(1, "a"), (1, "b")]);
    assert_eq!(view.learn(&twice, Source::Own, now), Learned::Changed);
    assert_eq!(&*view.locate(NodeId(1)).unwrap().address.host, "a");
    let turned = sighting("c", &[(1, "b"), (1, "a")]);
    for list in [&twice, &turned] {
        assert_eq!(view.learn(list, Source::Own, now), Learned::Nothing);
    }
    assert_eq!(view.due_claims(10, now), []);
}

#[test]
fn another_cluster_is_not_believed_until_own_refreshes_insist_for_long() {
    let other = sighting("other", &[(7, "x")]);
    for (is_unanimous, patience) in [(true, STRANGER_UNANIMOUS), (false, STRANGER)] {
        let view = View::new(None);
        let start = Instant::now();
        let ours = sighting("ours", &[(1, "a")]);
        view.learn(&ours, Source::Own, start);
        for source in [Source::Passing, Source::Own] {
            let refused = Learned::WrongCluster {
                expected: "ours".into(),
                seen: "other".into(),
            };
            assert_eq!(view.learn(&other, source, start), refused);
        }
        let insist = |after| view.insist(&other, is_unanimous, start + after);
        let tick = patience / STRANGE_REFRESHES_MIN;
        for round in 0..STRANGE_REFRESHES_MIN {
            assert!(!insist(tick * round), "{round}");
        }
        // One refresh that hears of the old cluster, and all begins anew.
        view.learn(&ours, Source::Own, start);
        assert!(!insist(patience));
        for round in 1..STRANGE_REFRESHES_MIN {
            assert!(!insist(patience + tick * round));
        }
        assert!(insist(patience * 2));
        assert_eq!(ids(&view), [7]);
    }
}

#[test]
fn a_pinned_cluster_id_is_never_given_up() {
    let view = View::new(Some("ours".into()));
    let mut now = Instant::now();
    for _ in 0..10 {
        let lesson = view.learn(&sighting("other", &[(7, "x")]), Source::Own, now);
        assert!(matches!(lesson, Learned::WrongCluster { .. }));
        now += STRANGER;
        assert!(!view.insist(&sighting("other", &[(7, "x")]), true, now));
    }
    assert!(view.brokers().is_empty());
}

#[test]
fn a_list_of_a_hundred_thousand_brokers_is_believed_up_to_the_bound() {
    let view = View::new(None);
    let began = Instant::now();
    let all: Vec<_> = (0..100_000).map(|node| (node, "k")).collect();
    view.learn(&sighting("c", &all), Source::Own, began);
    view.learn(&sighting("c", &all), Source::Passing, began);
    assert_eq!(view.brokers().len(), BROKERS_MAX);
}

#[test]
fn only_brokers_without_an_address_of_their_own_share_the_advertised_one() {
    let view = View::new(None);
    let list = [(0, "svc"), (1, "svc"), (2, "svc"), (3, "other")];
    view.learn(&sighting("c", &list), Source::Own, Instant::now());
    let shared = |view: &View| {
        let sharing = view.sharing();
        let all = sharing.iter().map(|one| {
            let nodes: Vec<_> = one.nodes.iter().map(|node| node.0).collect();
            (one.address.to_string(), nodes, one.count)
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(shared(&view), [("svc:9092".to_owned(), vec![0, 1, 2], 3)]);
    let moved = view.locate(NodeId(1)).unwrap().gone;
    let stays = view.locate(NodeId(0)).unwrap().gone;
    let rule = |lines: &[&str]| Some(BrokerAddressRule::parse(lines).unwrap());
    assert!(view.change_rule(rule(&["0=svc:9092", "1=b:9092"])));
    assert_eq!(shared(&view), [("svc:9092".to_owned(), vec![2], 3)]);
    assert_eq!((moved.is_cancelled(), stays.is_cancelled()), (true, false));
    view.change_rule(rule(&["k-{node_id}:9092"]));
    assert_eq!(shared(&view), []);
    assert_eq!(&*view.locate(NodeId(2)).unwrap().address.host, "k-2");
    view.change_rule(None);
    assert_eq!(shared(&view).len(), 1);
}

#[test]
fn a_broker_that_takes_the_place_of_one_that_is_gone_shares_nothing_with_it() {
    let view = View::new(None);
    let now = Instant::now();
    view.learn(&sighting("c", &[(0, "a"), (1, "b")]), Source::Own, now);
    view.learn(&sighting("c", &[(0, "a"), (4, "b")]), Source::Own, now);
    assert_eq!(view.sharing(), []);
    let all = sighting("c", &[(0, "a"), (1, "b"), (4, "b")]);
    view.learn(&all, Source::Own, now);
    assert_eq!(view.sharing()[0].nodes, [NodeId(1), NodeId(4)]);
}

#[test]
fn a_broker_that_was_dialled_by_the_rule_alone_is_the_same_once_a_list_has_it() {
    let view = View::new(None);
    let now = Instant::now();
    assert!(view.presumed(NodeId(1)).is_none());
    view.change_rule(Some(BrokerAddressRule::parse(&["k-{node_id}:1"]).unwrap()));
    let presumed = view.presumed(NodeId(1)).unwrap();
    assert_eq!(presumed.address.to_string(), "k-1:1");
    view.learn(&sighting("c", &[(0, "a"), (1, "a")]), Source::Own, now);
    assert!(!presumed.gone.is_cancelled());
    view.learn(&sighting("c", &[(0, "a")]), Source::Own, now);
    view.learn(&sighting("c", &[(0, "a")]), Source::Own, now + ABSENCE);
    assert!(presumed.gone.is_cancelled());
}

#[test]
fn a_host_that_is_longer_than_any_name_is_kept_in_short() {
    let view = View::new(None);
    let now = Instant::now();
    let long = "h".repeat(32 * 1024);
    let list = sighting("c", &[(1, &long)]);
    assert_eq!(view.learn(&list, Source::Own, now), Learned::Changed);
    let address = view.locate(NodeId(1)).unwrap().address.to_string();
    assert!(address.ends_with("…(32768 bytes):9092"), "{address}");
    assert!(address.len() < 200, "{}", address.len());
    assert_eq!(view.learn(&list, Source::Own, now), Learned::Nothing);
    assert_eq!(view.due_claims(10, now), []);
}

#[test]
fn an_empty_list_teaches_nothing() {
    let view = View::new(None);
    let now = Instant::now();
    view.learn(&sighting("c", &[(1, "a")]), Source::Own, now);
    assert_eq!(
        view.learn(&sighting("c", &[]), Source::Own, now + ABSENCE * 2),
        Learned::Nothing
    );
    assert_eq!(ids(&view), [1]);
}
