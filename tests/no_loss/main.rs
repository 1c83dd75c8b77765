//! The no-loss oracle judged: it finds each kind of harm that is planted, names it, and finds
//! nothing where nothing was done.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod judge;

use judge::{Harm, Journal, Order, Payload, Place, Record, value_of};

const PARTITIONS: i64 = 3;

/// The record with this index, of 60 in three partitions by turns.
fn record(index: i64) -> Record {
    let key = format!("t-{index}");
    Record {
        topic: "orders".to_owned(),
        place: Some(Place {
            partition: index % PARTITIONS,
            offset: index / PARTITIONS,
        }),
        payload: Payload::of(value_of("t", &key).unwrap().as_bytes()),
        key,
    }
}

fn journal() -> (Journal, Vec<Record>) {
    let records: Vec<_> = (0..60).map(record).collect();
    let mut journal = Journal::default();
    for record in &records {
        journal.note(record.clone());
    }
    (journal, records)
}

/// Which kinds are found after the records were harmed on their way.
fn found(harm: impl FnOnce(&mut Vec<Record>)) -> Vec<Harm> {
    let (journal, mut read) = journal();
    harm(&mut read);
    let findings = journal.judge(Order::AsSent, &read);
    let mut kinds: Vec<_> = findings.iter().map(|finding| finding.harm).collect();
    kinds.dedup();
    kinds
}

#[test]
fn nothing_is_found_where_nothing_was_done() {
    let (journal, read) = journal();
    assert_eq!(journal.judge(Order::AsSent, &read), []);
    // Partitions are read in any order, each in its own.
    let by_partition = |partition| {
        let is_of = move |record: &&Record| record.place.unwrap().partition == partition;
        read.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    let read = [by_partition(2), by_partition(0), by_partition(1)].concat();
    assert_eq!(journal.judge(Order::AsSent, &read), []);
}

#[test]
fn a_record_that_is_lost_is_found_also_where_it_was_the_last() {
    let at_the_end = found(|read| {
        read.pop();
    });
    assert_eq!(at_the_end, [Harm::Lost]);
    // In the middle the hole shows too.
    let inside = found(|read| {
        read.remove(30);
    });
    assert_eq!(inside, [Harm::Lost, Harm::Gap]);
}

#[test]
fn a_record_that_is_duplicated_is_found() {
    let twice = found(|read| {
        let mut twin = read[30].clone();
        twin.place = Some(Place {
            partition: 0,
            offset: 20,
        });
        read.push(twin);
    });
    assert_eq!(twice, [Harm::Duplicated, Harm::Reordered]);
}

#[test]
fn records_that_are_reordered_are_found_whether_their_offsets_tell_or_not() {
    // As a consumer that hands them out in the wrong order.
    assert_eq!(
        found(|read| read.swap(30, 33)),
        [Harm::Reordered, Harm::Gap]
    );
    // As a broker that stored them in the wrong order and acknowledged that.
    let (_, mut read) = journal();
    (read[30].place, read[33].place) = (read[33].place, read[30].place);
    read.swap(30, 33);
    let mut journal = Journal::default();
    for record in &read {
        journal.note(record.clone());
    }
    let harms = |order| {
        let findings = journal.judge(order, &read);
        findings.iter().map(|f| f.harm).collect::<Vec<_>>()
    };
    assert_eq!(harms(Order::AsSent), [Harm::Reordered]);
    assert_eq!(harms(Order::AsStored), []);
}

#[test]
fn a_record_that_moved_to_another_partition_or_topic_is_found() {
    let last_of_0 = 57;
    let partition = found(|read| {
        read[last_of_0].place = Some(Place {
            partition: 1,
            offset: 20,
        });
        let moved = read.remove(last_of_0);
        read.push(moved);
    });
    assert_eq!(partition, [Harm::Reordered, Harm::Moved]);
    let topic = found(|read| read[59].topic = "payments".to_owned());
    assert_eq!(topic, [Harm::Moved]);
}

#[test]
fn a_value_with_changed_bytes_is_found() {
    let changed = found(|read| {
        let value = value_of("t", "t-30").unwrap().replace('x', "y");
        read[30].payload = Payload::of(value.as_bytes());
    });
    assert_eq!(changed, [Harm::Changed]);
}

#[test]
fn a_value_that_is_truncated_is_found() {
    let truncated = found(|read| {
        let value = value_of("t", "t-30").unwrap();
        read[30].payload = Payload::of(&value.as_bytes()[..value.len() - 1]);
    });
    assert_eq!(truncated, [Harm::Truncated]);
}

#[test]
fn a_record_that_nobody_acknowledged_is_found() {
    assert_eq!(found(|read| read.push(record(60))), [Harm::Foreign]);
}

#[test]
fn a_record_under_another_key_is_found() {
    let wrong_key = found(|read| read[59].key = "t-1059".to_owned());
    assert_eq!(wrong_key, [Harm::Lost, Harm::WrongKey]);
}

#[test]
fn an_offset_without_a_record_is_found() {
    // The journal knows nothing of the offset: somebody else's record went.
    let gap = {
        let (_, mut read) = journal();
        read.remove(30);
        let mut journal = Journal::default();
        for record in &read {
            journal.note(record.clone());
        }
        let findings = journal.judge(Order::AsSent, &read);
        findings.iter().map(|f| f.harm).collect::<Vec<_>>()
    };
    assert_eq!(gap, [Harm::Gap]);
}

#[test]
fn a_finding_names_the_record_its_place_and_what_became_of_it() {
    let (journal, mut read) = journal();
    read.pop();
    let findings = journal.judge(Order::AsSent, &read);
    assert_eq!(
        findings[0].to_string(),
        "Lost: t-59 of orders at partition 2 offset 19 is read nowhere"
    );
}

#[test]
fn records_without_a_place_are_compared_by_key_and_value() {
    let (journal, mut read) = journal();
    for record in &mut read {
        record.place = None;
    }
    assert_eq!(journal.judge(Order::AsSent, &read), []);
    read.pop();
    assert_eq!(journal.judge(Order::AsSent, &read)[0].harm, Harm::Lost);
    assert_eq!(journal.len(), 60);
}
