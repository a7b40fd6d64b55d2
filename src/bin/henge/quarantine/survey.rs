//! What there is, told and not touched.

use std::ops::ControlFlow;

use henge_types::{Key, Record};
use serde_json::json;

use super::source::{Found, Place, Source};
use crate::exit::{CliError, Exit};
use crate::{json, output};

/// What there is in all.
#[derive(Debug, Default)]
struct Survey {
    keys: u64,
    values: u64,
    tombstones: u64,
    bytes: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
    hints: u64,
    quarantined: u64,
    damaged: u64,
}

/// What there is of one key.
struct Sight {
    values: u64,
    tombstones: u64,
    bytes: u64,
}

pub(crate) fn run(source: &Source, now_unix_ms: u64, list: bool, json: bool) -> Result<Exit, CliError> {
    let mut survey = Survey::default();
    let mut said = Ok(());
    source.tell(&mut |found| {
        if let (true, Found::Whole(place, key, record)) = (list, &found) {
            said = say(*place, key, record, now_unix_ms, json);
        }
        survey.add(&found, now_unix_ms);
        if said.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    said?;
    if !list {
        survey.say(json)?;
    } else if survey.damaged > 0 {
        output::complain(&format!("{} cannot be read", output::counted(survey.damaged, "key", "keys")));
    }
    Ok(Exit::Done)
}

fn look(record: &Record, now_unix_ms: u64) -> Sight {
    let values = record.live(now_unix_ms).count() as u64;
    let bytes = record.live(now_unix_ms).map(|(_, value)| value.len() as u64).sum();
    let dead = record.siblings().iter().filter(|sibling| sibling.live(now_unix_ms).is_none());
    Sight { values, tombstones: dead.count() as u64, bytes }
}

fn say(place: Place, key: &Key, record: &Record, now_unix_ms: u64, json: bool) -> Result<(), CliError> {
    if !json {
        return output::line(&output::shown(key.as_bytes()));
    }
    let from = match place {
        Place::Record => "record",
        Place::Hint => "hint",
        Place::Quarantine => "quarantine",
    };
    let Sight { values, tombstones, bytes } = look(record, now_unix_ms);
    output::json(&json!({
        "key": json::of_bytes(key.as_bytes()), "from": from, "values": values, "tombstones": tombstones,
        "bytes": bytes, "written_at": record.newest_at(),
    }))
}

impl Survey {
    fn add(&mut self, found: &Found, now_unix_ms: u64) {
        let Found::Whole(place, _, record) = found else {
            self.damaged += 1;
            return;
        };
        match place {
            Place::Hint => self.hints += 1,
            Place::Quarantine => self.quarantined += 1,
            Place::Record => {
                let Sight { values, tombstones, bytes } = look(record, now_unix_ms);
                self.keys += 1;
                self.values += values;
                self.tombstones += tombstones;
                self.bytes += bytes;
            }
        }
        for at in record.siblings().iter().map(|sibling| sibling.written_at) {
            self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
            self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        }
    }

    fn say(&self, json: bool) -> Result<(), CliError> {
        let Self { keys, values, tombstones, bytes, oldest, newest, hints, quarantined, damaged } = self;
        if json {
            return output::json(&json!({
                "keys": keys, "values": values, "tombstones": tombstones, "bytes": bytes, "oldest": oldest,
                "newest": newest, "hints": hints, "quarantined": quarantined, "damaged": damaged,
            }));
        }
        let rows = [
            ("keys", keys.to_string()),
            ("live values", format!("{values} ({})", output::bytes(*bytes))),
            ("tombstones", tombstones.to_string()),
            ("oldest write", oldest.map_or_else(|| "none".to_owned(), output::time)),
            ("newest write", newest.map_or_else(|| "none".to_owned(), output::time)),
            ("hints", format!("{hints} that wait, {quarantined} in quarantine")),
            ("damaged", damaged.to_string()),
        ];
        rows.iter().try_for_each(|(name, value)| output::line(&format!("{name:<14}{value}")))
    }
}
