//! `protocols/henge.cddl` says what is written, no more and no less.

use std::collections::BTreeSet;

use cddl_cat::cbor::validate_cbor;
use cddl_cat::context::BasicContext;
use cddl_cat::flatten::flatten_from_str;
use ciborium::Value;
use henge_types::DecodeError;
use henge_types::codec::{Stored, decode};
use serde::de::DeserializeOwned;

use crate::unhex;

const CDDL: &str = include_str!("../../protocols/henge.cddl");
const CLIENT: &str = include_str!("../../protocols/client/tests/golden.txt");
const QUORUM: &str = include_str!("../../protocols/quorum/tests/golden.txt");
const SYNC: &str = include_str!("../../protocols/sync/tests/golden.txt");
const HANDOFF: &str = include_str!("../../protocols/handoff/tests/golden.txt");
const SNAPSHOT: &str = include_str!("../../src/snapshot/golden.txt");
const MEMBERSHIP: &str = include_str!("../../protocols/membership/tests/golden.txt");

/// The golden bytes whose names begin with one of `names` follow `rule`.
struct Family {
    golden: &'static str,
    names: &'static [&'static str],
    rule: &'static str,
    /// Before the CBOR stands a version.
    versioned: bool,
    reads: fn(&[u8]) -> Result<(), DecodeError>,
}

fn reads<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), DecodeError> {
    decode::<T>(bytes).map(drop)
}

fn reads_stored<T: Stored>(bytes: &[u8]) -> Result<(), DecodeError> {
    T::from_stored(&[&[T::VERSION], bytes].concat()).map(drop)
}

macro_rules! family {
    ($golden:ident, $names:expr, $rule:literal, $type:ty) => {
        Family { golden: $golden, names: &$names, rule: $rule, versioned: false, reads: reads::<$type> }
    };
}

const FAMILIES: [Family; 15] = [
    family!(CLIENT, ["request."], "client-request", henge_client::Request),
    family!(CLIENT, ["response.", "failed."], "client-response", henge_client::Response),
    family!(QUORUM, ["request."], "quorum-request", henge_quorum::Request),
    family!(QUORUM, ["response.", "refused."], "quorum-response", henge_quorum::Response),
    family!(SYNC, ["request."], "sync-request", henge_sync::Request),
    family!(SYNC, ["response."], "sync-response", henge_sync::Response),
    family!(HANDOFF, ["request."], "handoff-request", henge_handoff::Request),
    family!(HANDOFF, ["response.", "refused."], "handoff-response", henge_handoff::Response),
    family!(MEMBERSHIP, ["request."], "membership-request", henge_membership::Request),
    family!(MEMBERSHIP, ["response.", "refused."], "membership-response", henge_membership::Response),
    Family { versioned: true, ..family!(MEMBERSHIP, ["gossip."], "gossip", henge_membership::Gossip) },
    Family {
        versioned: true,
        reads: reads_stored::<henge_membership::SavedView>,
        ..family!(MEMBERSHIP, ["saved.view"], "stored-view", ())
    },
    Family {
        versioned: true,
        reads: reads_stored::<henge::snapshot::About>,
        ..family!(SNAPSHOT, ["saved.snapshot"], "stored-snapshot", ())
    },
    Family {
        versioned: true,
        reads: reads_stored::<henge::snapshot::Origin>,
        ..family!(SNAPSHOT, ["saved.origin"], "stored-origin", ())
    },
    family!(MEMBERSHIP, ["saved.reservation"], "reservation", henge_membership::Reservation),
];

impl Family {
    fn messages(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let lines = self.golden.lines().map(|line| line.split_once(' ').unwrap());
        lines.filter(|(name, _)| self.names.iter().any(|begin| name.starts_with(begin))).map(|(name, hex)| {
            let bytes = unhex(hex);
            let cbor = if self.versioned { bytes.strip_prefix(&[1]).unwrap() } else { &bytes };
            (name, ciborium::from_reader(cbor).unwrap())
        })
    }

    fn is_read(&self, value: &Value) -> bool {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        (self.reads)(&bytes).is_ok()
    }
}

/// The schema, ready to be asked.
struct Schema(BasicContext);

impl Schema {
    fn new() -> Self {
        Self(BasicContext::new(flatten_from_str(CDDL).unwrap()))
    }

    fn allows(&self, rule: &str, value: &Value) -> bool {
        validate_cbor(self.0.rules.get(rule).unwrap(), value, &self.0).is_ok()
    }
}

#[test]
fn every_message_is_as_the_schema_says() {
    let schema = Schema::new();
    let mut seen = 0;
    for family in FAMILIES {
        for (name, value) in family.messages() {
            assert!(schema.allows(family.rule, &value), "{}: {name}", family.rule);
            assert!(family.is_read(&value), "{}: {name}", family.rule);
            seen += 1;
        }
    }
    let lines = [CLIENT, QUORUM, SYNC, HANDOFF, MEMBERSHIP, SNAPSHOT].map(|golden| golden.lines().count());
    assert_eq!(seen, lines.iter().sum::<usize>(), "golden bytes that no rule is for");
}

/// What is changed in a message: at the path that led there, one value by another, or taken out.
type Change<'a> = &'a mut dyn FnMut(&[String], &Value);

/// Calls `change` with every variant of `value` that differs in one place.
fn variants(value: &Value, path: &mut Vec<String>, change: Change<'_>) {
    let others = [Value::Null, Value::from(7), Value::from("x"), Value::from(true)];
    let empty = [Value::Array(Vec::new()), Value::Map(Vec::new()), Value::Float(0.5)];
    for other in others.iter().chain(&empty) {
        change(path, other);
    }
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let with = |to: Option<&Value>| {
                    let mut items = items.clone();
                    items.splice(at..=at, to.cloned());
                    Value::Array(items)
                };
                path.push(at.to_string());
                change(path, &with(None));
                variants(item, path, &mut |path, to| change(path, &with(Some(to))));
                path.pop();
            }
        }
        Value::Map(fields) => {
            for (at, (key, item)) in fields.iter().enumerate() {
                let with = |to: Option<&Value>| {
                    let mut fields = fields.clone();
                    fields.splice(at..=at, to.map(|to| (key.clone(), to.clone())));
                    Value::Map(fields)
                };
                path.push(key.as_text().unwrap().to_owned());
                change(path, &with(None));
                variants(item, path, &mut |path, to| change(path, &with(Some(to))));
                path.pop();
            }
        }
        _ => {}
    }
}

/// The code reads a changed message exactly where the schema still allows it. So no field is
/// missing from the schema, none is marked `?` wrongly, and no type is wider than what is read.
#[test]
fn the_schema_allows_what_the_code_reads() {
    let schema = Schema::new();
    let (mut tried, mut wrong) = (0, Vec::new());
    for family in FAMILIES {
        for (name, value) in family.messages() {
            variants(&value, &mut Vec::new(), &mut |path, variant| {
                tried += 1;
                let (allowed, read) = (schema.allows(family.rule, variant), family.is_read(variant));
                // Numbers that do not fit each other, and orders, are beyond a schema.
                let beyond =
                    path.iter().any(|s| ["record", "records", "hint", "params"].contains(&s.as_str()));
                if read && !allowed || allowed && !read && !beyond {
                    wrong.push(format!("{name} at {}: allowed {allowed}, read {read}", path.join(".")));
                }
            });
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 1_000, "only {tried} variants");
}

#[test]
fn unknown_fields_are_read_and_never_written() {
    let schema = Schema::new();
    let later = (Value::from("later"), Value::from(1));
    for family in FAMILIES {
        for (name, value) in family.messages() {
            // The outer map names the message; what it holds are its fields.
            let Value::Map(mut outer) = value else { continue };
            let Some((_, Value::Map(fields))) = outer.first_mut() else { continue };
            let names_a_reason = name.starts_with("refused.") || name.starts_with("failed.");
            if names_a_reason || name.starts_with("gossip") || name.starts_with("saved.") {
                continue;
            }
            fields.push(later.clone());
            let value = Value::Map(outer);
            assert!(family.is_read(&value), "{name} with a field more is not read");
            assert!(!schema.allows(family.rule, &value), "{name} with a field more is allowed");
        }
    }
}

/// A word of the schema that no golden message has would be a variant that nobody checks.
#[test]
fn every_word_of_the_schema_is_in_some_message() {
    let mut written = BTreeSet::new();
    for family in FAMILIES {
        family.messages().for_each(|(_, value)| collect(&value, &mut written));
    }
    let words = words();
    assert!(words.len() > 90, "only {} words found in the schema", words.len());
    let missing: Vec<_> = words.difference(&written).collect();
    assert!(missing.is_empty(), "never written: {missing:?}");
}

/// The texts in a value, and in the CBOR inside its byte strings (signed payloads).
fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Text(text) => drop(into.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Map(fields) => {
            for (key, item) in fields {
                collect(key, into);
                collect(item, into);
            }
        }
        Value::Bytes(bytes) => {
            if let Ok(inner @ Value::Map(_)) = ciborium::from_reader(bytes.as_slice()) {
                collect(&inner, into);
            }
        }
        _ => {}
    }
}

/// Keys of maps and quoted literals; names inside arrays are for people.
fn words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut open = Vec::new();
    for line in CDDL.lines().map(|line| line.split(';').next().unwrap_or_default()) {
        let mut word = String::new();
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' if quoted => drop(words.insert(std::mem::take(&mut word))),
                ':' if open.last() == Some(&'{') => drop(words.insert(std::mem::take(&mut word))),
                '{' | '[' => open.push(c),
                '}' | ']' => drop(open.pop()),
                c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                    word.push(c);
                    continue;
                }
                _ => {}
            }
            quoted = c == '"' && !quoted;
            word.clear();
        }
    }
    words
}
