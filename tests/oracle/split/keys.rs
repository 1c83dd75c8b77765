//! Keys in Kafka's JSON of requests and responses, found by names of fields that nothing in Narrows
//! knows.

use serde_json::{Value, json};

/// Where keys stand in Kafka's JSON of a body.
#[derive(Clone, Copy)]
pub(crate) enum List {
    /// Topics, their partitions, the partition's index (none where that is all there is).
    Partitions(&'static str, &'static str, &'static str),
    /// Items and their name (none where that is all there is).
    Items(&'static str, &'static str),
}

pub(crate) use List::{Items, Partitions};
pub(crate) const TOPICS: List = Partitions("topics", "partitions", "partitionIndex");
pub(crate) const GROUPS: List = Items("groups", "groupId");
pub(crate) const RESOURCES: List = Items("resources", "resourceName");

/// A key as a JSON: `[topic, partition]`, `[type of the resource or null, name]`.
pub(crate) type Key = String;

impl List {
    /// The elements that are keys, in order.
    pub(crate) fn elements(self, body: &Value) -> Vec<(Key, Value)> {
        match self {
            Items(list, name) => {
                let key = |item: &Value| match name {
                    "" => json!([null, item]),
                    name => json!([item.get("resourceType"), item[name]]),
                };
                let items = array(body, list).into_iter();
                items.map(|item| (key(&item).to_string(), item)).collect()
            }
            Partitions(topics, partitions, index) => {
                let mut elements = Vec::new();
                for topic in array(body, topics) {
                    for partition in array(&topic, partitions) {
                        let index = match index {
                            "" => &partition,
                            index => &partition[index],
                        };
                        let key = json!([topic_name(&topic), index]);
                        elements.push((key.to_string(), partition.clone()));
                    }
                }
                elements
            }
        }
    }

    /// The same body with those elements only that stand at chosen positions; no topic is without a
    /// partition.
    pub(crate) fn only(self, body: &Value, is_chosen: impl Fn(usize) -> bool) -> Value {
        let mut body = body.clone();
        let mut position = 0;
        let mut is_next_chosen = |_: &Value| {
            position += 1;
            is_chosen(position - 1)
        };
        match self {
            Items(list, _) => retain(&mut body[list], &mut is_next_chosen),
            Partitions(topics, partitions, _) => {
                for topic in body[topics].as_array_mut().into_iter().flatten() {
                    retain(&mut topic[partitions], &mut is_next_chosen);
                }
                retain(&mut body[topics], |topic| topic[partitions] != json!([]));
            }
        }
        body
    }

    /// A body in which these elements stand instead, a topic's together.
    pub(crate) fn with(self, body: &Value, name: &str, elements: &[(Key, Value)]) -> Value {
        let mut body = body.clone();
        match self {
            Items(list, _) => {
                body[list] = elements
                    .iter()
                    .map(|(_, element)| element.clone())
                    .collect();
            }
            Partitions(topics, partitions, _) => {
                let mut all: Vec<Value> = Vec::new();
                for (key, element) in elements {
                    let key: Value = serde_json::from_str(key).unwrap_or_default();
                    let at = all.iter().position(|topic| topic_name(topic) == &key[0]);
                    let at = at.unwrap_or_else(|| {
                        all.push(json!({ name: key[0], partitions: [] }));
                        all.len() - 1
                    });
                    if let Some(found) = all[at][partitions].as_array_mut() {
                        found.push(element.clone());
                    }
                }
                body[topics] = all.into();
            }
        }
        body
    }

    /// An element that says what another one does, of this key.
    pub(crate) fn keyed(self, key: &Key, element: &Value) -> Value {
        let key: Value = serde_json::from_str(key).unwrap_or_default();
        let mut element = element.clone();
        match self {
            Partitions(_, _, index) => element[index] = key[1].clone(),
            Items(_, name) => {
                element[name] = key[1].clone();
                if !key[0].is_null() {
                    element["resourceType"] = key[0].clone();
                }
            }
        }
        element
    }
}

pub(crate) fn array(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}

pub(crate) fn retain(list: &mut Value, keep: impl FnMut(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(keep);
    }
}

/// The fields that name a topic: an element has one of them.
pub(crate) const NAMES: [&str; 3] = ["topicId", "name", "topic"];

pub(crate) fn topic_name(topic: &Value) -> &Value {
    let names = NAMES.map(|name| &topic[name]);
    names
        .into_iter()
        .find(|name| !name.is_null())
        .unwrap_or(&Value::Null)
}
