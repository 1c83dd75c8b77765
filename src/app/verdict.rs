//! What the status comes to, in words: the first thing that the status page says.

use serde_json::{Value, json};

/// A problem that was seen within this time is one of now.
const RECENT_SECONDS: u64 = 300;
/// A certificate that expires sooner has to be seen to.
const CERTIFICATE_DAYS: i64 = 14;
/// So much of a limit in use, in percent, is near it.
const NEAR_PERCENT: u64 = 90;
/// More would be no verdict any more; the tables have them all.
const REASONS_MAX: usize = 12;

/// The verdict over a status: `state` is `well`, `attention` or `draining`, `text` a sentence, and
/// each of `reasons` says what to look at.
pub(super) fn of(status: &Value) -> Value {
    if status["state"] == "draining" {
        let text = "Draining: no new connections, and those that stand end as they are answered.";
        return json!({ "state": "draining", "text": text, "reasons": [] });
    }
    let mut reasons = Vec::new();
    reasons.extend(rows(&status["clusters"]).filter_map(cluster));
    reasons.extend(rows(&status["listeners"]).filter_map(listener));
    reasons.extend(rows(&status["certificates"]).filter_map(certificate));
    reasons.extend(rows(&status["limits"]).filter_map(limit));
    if status["reload"]["state"] == "refused" {
        reasons
            .push("The last reload was refused: what runs is not what the files say.".to_owned());
    }
    reasons.extend(rows(&status["problems"]).filter_map(problem));
    let left_out = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if left_out > 0 {
        reasons.push(format!("And {left_out} more, below."));
    }
    if reasons.is_empty() {
        let brokers: usize = rows(&status["listeners"])
            .map(|listener| rows(&listener["brokers"]).count())
            .max()
            .unwrap_or(0);
        let listeners = rows(&status["listeners"]).count();
        let text = format!(
            "All is well: {} and {}.",
            counted(listeners, "listener"),
            counted(brokers, "broker")
        );
        return json!({ "state": "well", "text": text, "reasons": [] });
    }
    let text = match reasons.len() {
        1 => "One thing wants attention.".to_owned(),
        count => format!("{count} things want attention."),
    };
    json!({ "state": "attention", "text": text, "reasons": reasons })
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn cluster(cluster: &Value) -> Option<String> {
    let name = word(&cluster["name"]);
    let why = cluster["refresh_text"].as_str()?;
    (cluster["refresh"] == "failed").then(|| format!("Cluster {name} can't be asked: {why}"))
}

fn listener(listener: &Value) -> Option<String> {
    let nodes: Vec<_> = rows(&listener["unmapped_nodes"])
        .map(Value::to_string)
        .collect();
    let name = word(&listener["name"]);
    (!nodes.is_empty()).then(|| {
        let nodes = nodes.join(", ");
        format!(
            "Clients of listener {name} can't reach broker {nodes}: add it to \
             listeners.{name}.address.node_ids."
        )
    })
}

fn certificate(certificate: &Value) -> Option<String> {
    let days = certificate["days_left"].as_i64()?;
    let (role, owner) = (word(&certificate["role"]), word(&certificate["owner"]));
    match word(&certificate["state"]) {
        "expired" => Some(format!("The certificate of {role} {owner} has expired.")),
        "not_yet_valid" => Some(format!(
            "The certificate of {role} {owner} is not valid yet."
        )),
        _ => (days < CERTIFICATE_DAYS)
            .then(|| format!("The certificate of {role} {owner} expires in {days} days.")),
    }
}

fn limit(limit: &Value) -> Option<String> {
    let (in_use, max) = (limit["in_use"].as_u64()?, limit["max"].as_u64()?);
    let is_near = in_use.saturating_mul(100) >= max.saturating_mul(NEAR_PERCENT);
    let name = word(&limit["limit"]);
    (max > 0 && is_near).then(|| format!("{in_use} of {max} are in use of limits.{name}."))
}

fn problem(problem: &Value) -> Option<String> {
    let is_recent = problem["seconds_ago"].as_u64()? < RECENT_SECONDS;
    let (of, name) = match problem["cluster"].as_str() {
        Some(cluster) => ("Cluster", cluster),
        None => ("Listener", word(&problem["listener"])),
    };
    let text = word(&problem["last"]);
    let times = match problem["count"].as_u64() {
        Some(count) if count > 1 => format!(" ({count} times)"),
        _ => String::new(),
    };
    is_recent.then(|| format!("{of} {name}{times}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "state": "ready",
            "clusters": [{ "name": "orders", "refresh": "fresh", "refresh_text": null }],
            "listeners": [{ "name": "external", "unmapped_nodes": [], "brokers": [{}, {}, {}] }],
            "certificates": [
                { "role": "listener", "owner": "external", "state": "valid", "days_left": 14 }
            ],
            "limits": [{ "limit": "connections_max", "in_use": 89, "max": 100 }],
            "reload": { "state": "applied" },
            "problems": [
                { "listener": "external", "count": 9, "seconds_ago": 300, "last": "long ago" }
            ],
        })
    }

    #[test]
    fn a_narrows_with_nothing_to_look_at_is_well() {
        let verdict = of(&status());
        assert_eq!(verdict["state"], "well");
        assert_eq!(verdict["text"], "All is well: 1 listener and 3 brokers.");
    }

    #[test]
    fn each_thing_that_wants_attention_is_a_reason() {
        let failed = json!({ "name": "orders", "refresh": "failed", "refresh_text": "refused" });
        for (pointer, value, reason) in [
            (
                "/clusters/0",
                failed,
                "Cluster orders can't be asked: refused",
            ),
            ("/listeners/0/unmapped_nodes", json!([7]), "node_ids"),
            ("/certificates/0/days_left", json!(13), "expires in 13 days"),
            ("/certificates/0/state", json!("expired"), "has expired"),
            (
                "/certificates/0/state",
                json!("not_yet_valid"),
                "not valid yet",
            ),
            ("/limits/0/in_use", json!(90), "90 of 100"),
            ("/reload/state", json!("refused"), "reload was refused"),
            ("/problems/0/seconds_ago", json!(299), "(9 times): long ago"),
        ] {
            let mut status = status();
            *status.pointer_mut(pointer).unwrap() = value;
            let verdict = of(&status);
            assert_eq!(verdict["state"], "attention", "{pointer}");
            let reasons = verdict["reasons"].as_array().unwrap();
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].as_str().unwrap().contains(reason), "{reasons:?}");
        }
    }

    #[test]
    fn a_drain_is_told_and_nothing_else() {
        let mut status = status();
        status["state"] = json!("draining");
        status["reload"]["state"] = json!("refused");
        let verdict = of(&status);
        assert_eq!(
            (&verdict["state"], &verdict["reasons"]),
            (&json!("draining"), &json!([]))
        );
    }
}
