//! Writes a merged response.

use super::{Answer, Place, Response, Tag, numbered};
use crate::protocol::split::index::TopicKey;
use crate::protocol::split::layout::{Field, Form, Kind, Layout, Role, put_count, put_string};
use crate::protocol::wire::{Malformed, Reader, Unread, put_varint, varint_bytes};
use std::collections::BTreeMap;

impl<'a> Response<'a> {
    /// Gathers the endpoints of brokers that several answers name.
    pub(in crate::protocol::split) fn join_endpoints(
        &mut self,
        layout: &Layout,
        form: Form,
        answers: &[Option<Answer<'a>>],
    ) -> Result<(), Malformed> {
        let is_endpoints = |field: &&Field| field.role == Role::NodeEndpoints;
        let Some(field) = layout.response.iter().find(is_endpoints) else {
            return Ok(());
        };
        let Some(tag) = field.tag.filter(|_| field.is_in(form.version)) else {
            return Ok(());
        };
        let mut endpoints = BTreeMap::new();
        for (_, answer) in numbered(answers) {
            for (_, value) in answer.index.tags.iter().filter(|(of, _)| *of == tag) {
                read_endpoints(value, &mut endpoints).map_err(Unread::in_whole)?;
            }
        }
        if self.tags.contains_key(&tag) {
            self.tags.insert(tag, Tag::Endpoints(endpoints));
        }
        Ok(())
    }

    /// Appends the body.
    pub(in crate::protocol::split) fn put(&self, out: &mut Vec<u8>, layout: &Layout, form: Form) {
        let fields = layout.response.iter();
        for field in fields.filter(|field| field.is_plain_in(form.version)) {
            match (field.role, field.kind) {
                (Role::Throttle, _) => out.extend_from_slice(&self.throttle_ms.to_be_bytes()),
                (Role::Error, _) => out.extend_from_slice(&self.error.to_be_bytes()),
                (Role::FetchError, _) => out.extend_from_slice(&self.fetch_error.to_be_bytes()),
                (Role::Topics, Kind::Array(of)) => self.put_topics(out, of, form),
                (Role::Items, Kind::Array(of)) => self.put_items(out, of, form),
                (Role::Union, _) => {
                    put_count(out, self.union.len(), form.is_flexible);
                    for text in &self.union {
                        put_string(out, Some(text), form.is_flexible);
                    }
                }
                _ => field.put_default(out, form),
            }
        }
        if form.is_flexible {
            put_varint(out, self.tags.len() as u32);
            for (tag, value) in &self.tags {
                put_varint(out, *tag);
                put_tag(out, value);
            }
        }
    }

    fn put_topics(&self, out: &mut Vec<u8>, fields: &[Field], form: Form) {
        let inner = fields.iter().find_map(|field| match field.kind {
            Kind::Array(of) if field.role == Role::Partitions => Some(of),
            _ => None,
        });
        put_count(out, self.topics.len(), form.is_flexible);
        for topic in &self.topics {
            match topic.key {
                TopicKey::Name(name) => put_string(out, Some(name), form.is_flexible),
                TopicKey::Id(id) => out.extend_from_slice(&id),
            }
            put_count(out, topic.partitions.len(), form.is_flexible);
            for (partition, place) in &topic.partitions {
                match place {
                    Place::Said(bytes) => out.extend_from_slice(bytes),
                    Place::Error(error) => {
                        let said = |field: &Field, out: &mut Vec<u8>| match field.role {
                            Role::Partition => out.extend_from_slice(&partition.to_be_bytes()),
                            Role::Error => out.extend_from_slice(&error.to_be_bytes()),
                            _ => field.put_default(out, form),
                        };
                        put_element(out, inner.unwrap_or_default(), form, said);
                    }
                }
            }
            match topic.rest {
                Some(rest) => out.extend_from_slice(rest),
                None => form.put_no_tags(out),
            }
        }
    }

    fn put_items(&self, out: &mut Vec<u8>, fields: &[Field], form: Form) {
        put_count(out, self.items.len(), form.is_flexible);
        for item in &self.items {
            match (item.place, &item.prefix) {
                (Place::Said(bytes), None) => out.extend_from_slice(bytes),
                (Place::Said(bytes), Some((prefix, at))) => {
                    let name = [prefix.as_bytes(), item.name].concat();
                    out.extend_from_slice(bytes.get(..at.start).unwrap_or_default());
                    put_string(out, Some(&name), form.is_flexible);
                    out.extend_from_slice(bytes.get(at.end..).unwrap_or_default());
                }
                (Place::Error(error), _) => {
                    let said = |field: &Field, out: &mut Vec<u8>| match field.role {
                        Role::Name | Role::Path => {
                            put_string(out, Some(item.name), form.is_flexible)
                        }
                        Role::ResourceType => out.extend_from_slice(&item.kind.to_be_bytes()),
                        Role::Error => out.extend_from_slice(&error.to_be_bytes()),
                        _ => field.put_default(out, form),
                    };
                    put_element(out, fields, form, said);
                }
            }
        }
    }
}

/// Reads `NodeEndpoints` (KIP-951), the first of each node.
fn read_endpoints<'a>(
    value: &'a [u8],
    endpoints: &mut BTreeMap<i32, &'a [u8]>,
) -> Result<(), Unread> {
    let mut reader = Reader::whole(value);
    for _ in 1..reader.varint()? {
        let start = reader.position();
        let node = reader.int32()?;
        reader.compact_string()?;
        reader.int32()?;
        reader.compact_string()?;
        reader.skip_tags()?;
        let bytes = value.get(start..reader.position()).unwrap_or_default();
        endpoints.entry(node).or_insert(bytes);
    }
    if reader.left() > 0 {
        return Err(Malformed::TagSize.into());
    }
    Ok(())
}

/// Appends the size and value of a tagged field.
fn put_tag(out: &mut Vec<u8>, tag: &Tag<'_>) {
    match tag {
        Tag::Unread(value) => {
            put_varint(out, value.len() as u32);
            out.extend_from_slice(value);
        }
        Tag::Endpoints(endpoints) => {
            let bytes: usize = endpoints.values().map(|endpoint| endpoint.len()).sum();
            let count = endpoints.len() as u32 + 1;
            put_varint(out, (varint_bytes(count) + bytes) as u32);
            put_varint(out, count);
            for endpoint in endpoints.values() {
                out.extend_from_slice(endpoint);
            }
        }
    }
}

/// Appends a struct whose fields `put` knows.
fn put_element(
    out: &mut Vec<u8>,
    fields: &[Field],
    form: Form,
    put: impl Fn(&Field, &mut Vec<u8>),
) {
    for field in fields
        .iter()
        .filter(|field| field.is_plain_in(form.version))
    {
        put(field, out);
    }
    form.put_no_tags(out);
}
