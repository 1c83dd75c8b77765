//! What a client is offered, against what the `kafka-protocol` crate reads.

use super::*;
use crate::protocol::header::RequestHeader;
use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CRATE_VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;

fn tags() -> BTreeMap<i32, Bytes> {
    [(77, Bytes::from_static(b"unknown"))].into()
}

/// A broker's answer with these offers; in flexible versions with features and fields that nobody
/// knows.
fn answer(version: i16, offers: &[(i16, i16, i16)]) -> Vec<u8> {
    let keys = offers.iter().map(|(key, min, max)| {
        let offer = ApiVersion::default()
            .with_api_key(*key)
            .with_min_version(*min)
            .with_max_version(*max);
        if version >= 3 {
            offer.with_unknown_tagged_fields(tags())
        } else {
            offer
        }
    });
    let mut response = ApiVersionsResponse::default().with_api_keys(keys.collect());
    if version >= 1 {
        response = response.with_throttle_time_ms(9);
    }
    if version >= 3 {
        let name = || StrBytes::from_static_str("metadata.version");
        response = response
            .with_supported_features(vec![
                SupportedFeatureKey::default()
                    .with_name(name())
                    .with_max_version(29),
            ])
            .with_finalized_features(vec![
                FinalizedFeatureKey::default()
                    .with_name(name())
                    .with_max_version_level(29),
            ])
            .with_finalized_features_epoch(42)
            .with_unknown_tagged_fields(tags());
    }
    let mut body = Vec::new();
    response.encode(&mut body, version).unwrap();
    body
}

#[test]
fn an_answer_is_cut_to_the_table_and_all_else_in_it_stays() {
    let offered = [
        (0, 0, 99),
        (1, 4, 18),
        (3, 0, 12),
        (4, 0, 7),
        (8, 50, 60),
        (18, 0, 5),
        (95, 0, 3),
        (32_000, 0, 0),
    ];
    let hidden = [(0, 0, 13), (1, 4, 18), (3, 0, 12), (18, 0, 5)];
    // Those that carry no address pass as offered; those of brokers never do.
    let passed = [
        (0, 0, 13),
        (1, 4, 18),
        (3, 0, 12),
        (8, 50, 60),
        (18, 0, 5),
        (95, 0, 3),
        (32_000, 0, 0),
    ];
    for version in CRATE_VERSIONS {
        let body = answer(version, &offered);
        assert_eq!(
            cut(&body, version, Unvetted::Hide, None).unwrap(),
            answer(version, &hidden),
            "v{version}"
        );
        assert_eq!(
            cut(&body, version, Unvetted::Pass, None).unwrap(),
            answer(version, &passed),
            "v{version}"
        );
    }
}

#[test]
fn an_answer_of_vetted_offers_stays_byte_for_byte() {
    let offered: Vec<_> = table::APIS
        .iter()
        .filter(|api| api.treatment != table::Treatment::Refuse)
        .map(|api| (api.key, api.versions.min, api.versions.max))
        .collect();
    for version in CRATE_VERSIONS {
        let body = answer(version, &offered);
        assert_eq!(
            cut(&body, version, Unvetted::Hide, None).unwrap(),
            body,
            "v{version}"
        );
    }
}

#[test]
fn a_broker_that_does_not_know_the_version_answers_in_the_form_of_v0() {
    let mut body = answer(0, &[(3, 0, 99), (18, 0, 4)]);
    body[..2].copy_from_slice(&UNSUPPORTED_VERSION.to_be_bytes());
    let mut expected = answer(0, &[(3, 0, 13), (18, 0, 4)]);
    expected[..2].copy_from_slice(&UNSUPPORTED_VERSION.to_be_bytes());
    for version in [0, 3, 4, 5, TOO_NEW] {
        assert_eq!(
            cut(&body, version, Unvetted::Hide, None).unwrap(),
            expected,
            "asked in v{version}"
        );
    }
}

#[test]
fn an_answer_cut_short_in_its_offers_or_with_a_count_that_lies_is_malformed() {
    let offered = [(3, 0, 12), (18, 0, 5)];
    for version in CRATE_VERSIONS {
        let body = answer(version, &offered);
        let offer_bytes = if version >= 3 { 6 + 1 + 1 + 1 + 7 } else { 6 };
        let offers_end = 2 + if version >= 3 { 1 } else { 4 } + 2 * offer_bytes;
        for length in 0..offers_end {
            assert!(
                cut(&body[..length], version, Unvetted::Hide, None).is_err(),
                "v{version}: {length} bytes"
            );
        }
        let count: &[u8] = if version >= 3 {
            &[0xff, 0xff, 0xff, 0xff, 0x07]
        } else {
            &[0x7f, 0xff, 0xff, 0xff]
        };
        let behind = if version >= 3 { 3 } else { 6 };
        let hostile = [&body[..2], count, &body[behind..]].concat();
        assert!(
            cut(&hostile, version, Unvetted::Hide, None).is_err(),
            "v{version}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_offered_a_client_sees_a_part_of_it_that_narrows_knows(
        offers in prop::collection::vec((-5i16..110, -1i16..25, -1i16..25), 0..50),
        version in 0i16..=4,
    ) {
        let body = answer(version, &offers);
        for unvetted in [Unvetted::Hide, Unvetted::Pass] {
            let mut bytes = Bytes::from(cut(&body, version, unvetted, None).unwrap());
            let seen = ApiVersionsResponse::decode(&mut bytes, version).unwrap();
            prop_assert!(bytes.is_empty());
            for offer in &seen.api_keys {
                let min = offer.min_version;
                let max = offer.max_version;
                let is_part = |&(key, from, to): &(i16, i16, i16)| key == offer.api_key && from <= min && max <= to;
                prop_assert!(offers.iter().any(is_part), "{:?}", offer);
                if unvetted == Unvetted::Hide {
                    let known = table::api(offer.api_key).unwrap();
                    prop_assert!(
                        known.versions.contains(min) && known.versions.contains(max),
                        "{:?}",
                        offer,
                    );
                }
                let is_admitted = |version| matches!(
                    admission::admit(&RequestHeader::of(offer.api_key, version), unvetted),
                    admission::Admission::Forward
                );
                prop_assert!(
                    offer.api_key < 0 || (is_admitted(min.max(0)) && is_admitted(max)) || min < 0,
                    "what is offered is admitted: {:?}",
                    offer,
                );
            }
        }
    }

    #[test]
    fn random_bytes_are_cut_or_malformed_and_never_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        version in -1i16..7,
    ) {
        let _ = cut(&body, version, Unvetted::Hide, None);
        let _ = cut(&body, version, Unvetted::Pass, None);
    }
}

#[test]
fn the_minimum_of_0_that_brokers_advertise_for_produce_is_offered_to_clients() {
    // KAFKA-18659: older librdkafka turns compression off when it finds no overlap.
    for version in CRATE_VERSIONS {
        let body = answer(version, &[(0, 0, 13)]);
        let mut cut = Bytes::from(cut(&body, version, Unvetted::Hide, None).unwrap());
        let seen = ApiVersionsResponse::decode(&mut cut, version).unwrap();
        let offer = &seen.api_keys[0];
        assert_eq!(
            (offer.min_version, offer.max_version),
            (0, 13),
            "v{version}"
        );
    }
}

#[test]
fn an_unsupported_version_in_a_form_that_nobody_reads_becomes_an_empty_list() {
    // librdkafka's mock cluster 2.12 on a request of v3: count 1 in one byte, ApiVersions 0-2
    // without tags, throttle.
    let mock = [0, 35, 1, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0];
    assert_eq!(
        cut(&mock, 3, Unvetted::Hide, None).unwrap(),
        [0, 35, 0, 0, 0, 0]
    );
}

/// What a broker says in an answer of this version.
fn offers(version: i16, offers: &[(i16, i16, i16)]) -> Offers {
    Offers::read(&answer(version, offers), version).unwrap()
}

#[test]
fn what_two_brokers_offer_both_is_what_a_client_is_offered_of_either() {
    let old = [(0, 0, 11), (1, 4, 17), (2, 1, 9), (18, 0, 4)];
    let new = [(0, 3, 13), (1, 18, 18), (18, 0, 5), (32_000, 0, 1)];
    let both = [(0, 3, 11), (18, 0, 4)];
    for version in CRATE_VERSIONS {
        let common = offers(version, &old).common(&offers(version, &new));
        assert_eq!(common, offers(0, &both));
        assert_eq!(offers(version, &new).common(&offers(version, &old)), common);
        for one in [&old[..], &new[..]] {
            let body = answer(version, one);
            assert_eq!(
                cut(&body, version, Unvetted::Pass, Some(&common)).unwrap(),
                answer(version, &both),
                "v{version}"
            );
        }
    }
    // A broker that does not know the version names ApiVersions alone, in the form of v0.
    let common = offers(0, &both);
    let mut refusal = answer(0, &[(18, 0, 5)]);
    let mut expected = answer(0, &[(18, 0, 4)]);
    for body in [&mut refusal, &mut expected] {
        body[..2].copy_from_slice(&UNSUPPORTED_VERSION.to_be_bytes());
    }
    assert_eq!(
        cut(&refusal, 5, Unvetted::Hide, Some(&common)).unwrap(),
        expected
    );
}

#[test]
fn only_a_whole_answer_says_what_a_broker_offers() {
    for version in CRATE_VERSIONS {
        let body = answer(version, &[(0, 0, 13), (18, 0, 4)]);
        assert!(Offers::read(&body, version).is_some());
        let refused = [&UNSUPPORTED_VERSION.to_be_bytes(), &body[2..]].concat();
        assert_eq!(Offers::read(&refused, version), None);
        assert_eq!(Offers::read(&body[..8], version), None);
        let keys = 100..100 + APIS_MAX as i16;
        let mut long: Vec<_> = keys.map(|key| (key, 0, 0)).collect();
        long[0].0 = 18;
        assert!(Offers::read(&answer(version, &long), version).is_some());
        long.push((1, 0, 0));
        assert_eq!(Offers::read(&answer(version, &long), version), None);
        let without_itself = answer(version, &[(0, 0, 13)]);
        assert_eq!(Offers::read(&without_itself, version), None);
    }
}
