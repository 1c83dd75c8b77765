//! What Kafka's error codes mean for whoever sees them in the log of a client, and whether clients
//! retry. The names are [`protocol::errors`](crate::protocol::errors)'.

use crate::protocol::errors;

/// The name of a code: `NOT_LEADER_OR_FOLLOWER (6)`.
pub(crate) fn name(code: i16) -> String {
    match find(code) {
        Some(name) => format!("{name} ({code})"),
        None => format!("error {code}"),
    }
}

/// A code by its name in any of the ways in which clients write it: `NOT_LEADER_OR_FOLLOWER`,
/// `NotLeaderOrFollowerException`, `not_leader_or_follower`.
pub(crate) fn by_name(text: &str) -> Option<i16> {
    let plain = plain(text);
    let plain = plain.strip_suffix("exception").unwrap_or(&plain);
    if let Some((_, code)) = JAVA_NAMES.iter().find(|(name, _)| *name == plain) {
        return Some(*code);
    }
    let is_it = |name: &str| {
        let known = self::plain(name);
        let short = ["exception", "failed"];
        let is_short = |suffix| known.strip_suffix(suffix) == Some(plain);
        known == plain || short.into_iter().any(is_short)
    };
    let found = errors::all().find(|(_, name)| is_it(name));
    found.map(|(code, _)| code)
}

/// What a code means and what to do: sentences. `None` for a code that Kafka does not have.
pub(crate) fn meaning(code: i16) -> Option<String> {
    if code == 0 {
        return Some("Kafka's NONE (0): no error.".to_owned());
    }
    let name = find(code)?;
    let retry = match RETRIED.contains(&code) {
        true => "clients retry by themselves, so that only a stream of it is a problem",
        false => "clients don't retry",
    };
    let known = MEANINGS.iter().find(|(known, _)| *known == code);
    Some(match known {
        Some((_, meaning)) => format!("Kafka's {name} ({code}): {meaning}; {retry}."),
        None => format!("Kafka's {name} ({code}); {retry}."),
    })
}

fn find(code: i16) -> Option<&'static str> {
    let found = errors::all().find(|(known, _)| *known == code);
    found.map(|(_, name)| name)
}

fn plain(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Java's exceptions that are called otherwise, in plain letters.
const JAVA_NAMES: &[(&str, i16)] = &[
    ("unknownserver", -1),
    ("corruptrecord", 2),
    ("recordtoolarge", 10),
    ("controllermoved", 11),
    ("recordbatchtoolarge", 18),
    ("topicexists", 36),
    ("invalidconfiguration", 40),
    ("outofordersequence", 45),
    ("duplicatesequence", 46),
    ("invalidpidmapping", 49),
    ("invalidtxntimeout", 50),
    ("kafkastorage", 56),
    ("delegationtokendisabled", 61),
    ("unsupportedbyauthentication", 64),
    ("groupnotempty", 68),
    ("principaldeserialization", 97),
    ("fetchsessiontopicid", 106),
];

/// The codes whose exceptions are `RetriableException`s in Kafka 4.4's client.
const RETRIED: &[i16] = &[
    2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88,
    89, 100, 103, 106, 122, 123, 133,
];

/// Those that have to do with the way to a broker, with logins and with permissions.
const MEANINGS: &[(i16, &str)] = &[
    (
        -1,
        "the broker failed in a way that it has no code for: its log says which",
    ),
    (
        3,
        "no such topic or partition at the broker that was asked: the topic does not exist, was \
         just made, or the client may not know of it",
    ),
    (
        5,
        "the partition has no leader right now: brokers are down, or an election is on its way",
    ),
    (
        6,
        "the broker that was asked does not lead this partition. In a loop it means that something \
         stands for a broker that it is not: a load balancer over all brokers, or a stale address; \
         every broker needs an address of its own",
    ),
    (
        7,
        "the broker did not get it done in the time that the request allows",
    ),
    (8, "the broker is known and not there"),
    (
        10,
        "the record is larger than the topic or the broker allows (max.message.bytes, \
         message.max.bytes)",
    ),
    (
        13,
        "the connection broke before the answer came: see what stands between client and broker",
    ),
    (14, "the coordinator is loading its state"),
    (
        15,
        "the group or transaction has no coordinator yet: __consumer_offsets can't be created or \
         has no leader, often because there are fewer brokers than its replication factor",
    ),
    (
        16,
        "the broker that was asked is not the coordinator: a stale address, or something that \
         stands for a broker that it is not",
    ),
    (
        19,
        "fewer replicas are in sync than min.insync.replicas asks for",
    ),
    (
        20,
        "the record was written to fewer replicas than min.insync.replicas asks for",
    ),
    (
        29,
        "the user may not do this to the topic: give READ, WRITE or DESCRIBE on it",
    ),
    (30, "the user may not use the group: give READ on it"),
    (
        31,
        "the user may not do this to the cluster, such as creating topics or an idempotent \
         producer's IDEMPOTENT_WRITE before Kafka 3.0",
    ),
    (
        33,
        "the listener has SASL, but not this mechanism: set sasl.mechanism to one that the answer \
         lists, or enable it there (sasl.enabled.mechanisms)",
    ),
    (
        34,
        "a login was sent to a listener without SASL, or a request where a login was due: \
         security.protocol of the client and of the listener differ",
    ),
    (
        35,
        "the broker does not have this version of the request: client and broker are too far \
         apart, or a proxy in between offers what the broker lacks",
    ),
    (41, "the broker that was asked is not the controller"),
    (42, "the broker can't make sense of the request"),
    (
        47,
        "another producer with the same transactional id has begun",
    ),
    (
        53,
        "the user may not use the transactional id: give WRITE and DESCRIBE on it",
    ),
    (54, "the broker has no authorizer (authorizer.class.name)"),
    (56, "the broker's disk failed"),
    (
        58,
        "user, password or token are wrong, or the user was not made for this mechanism",
    ),
    (
        61,
        "delegation tokens are off (delegation.token.secret.key)",
    ),
    (66, "the delegation token has expired"),
    (
        72,
        "the listener that the client came in by is not one that the leader advertises",
    ),
    (74, "the client knows of an older leader"),
    (75, "the client knows of a newer leader than the broker"),
    (
        87,
        "the broker refuses the record itself, such as one without a key for a compacted topic",
    ),
    (89, "a quota for topic changes is used up"),
    (
        90,
        "another producer with the same transactional id has begun",
    ),
    (100, "the topic was deleted and made again"),
    (104, "the request is for another cluster"),
    (
        129,
        "the broker or cluster is not the one that the client takes it for: it bootstraps anew \
         (KIP-1102, KIP-1242)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_every_spelling_and_only_by_its_own_name() {
        for text in ["NOT_LEADER_OR_FOLLOWER", "NotLeaderOrFollowerException"] {
            assert_eq!(by_name(text), Some(6));
        }
        assert_eq!(by_name("InvalidTopicException"), Some(17));
        assert_eq!(by_name("UNKNOWN_SERVER_ERROR"), Some(-1));
        assert_eq!(by_name("RecordTooLargeException"), Some(10));
        assert_eq!(by_name("TopicAuthorizationException"), Some(29));
        assert_eq!(by_name("LEADER"), None);
        assert_eq!(name(58), "SASL_AUTHENTICATION_FAILED (58)");
        assert_eq!(name(999), "error 999");
        assert_eq!(meaning(-2), None);
    }

    #[test]
    fn every_meaning_belongs_to_a_code() {
        for (code, _) in MEANINGS {
            assert!(meaning(*code).is_some(), "{code}");
        }
    }
}
