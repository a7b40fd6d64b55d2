//! One JSON object with a key and a value per line.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json;

#[derive(Deserialize)]
struct Line<'a> {
    key: Value,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Key and value of one line; none if the line is blank.
pub(crate) fn parse(line: &[u8]) -> Result<Option<(Bytes, Bytes)>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let key = json::to_bytes(&line.key)?.ok_or("the key is neither a string nor {\"base64\": …}")?;
    Ok(Some((key, value_bytes(line.value)?)))
}

fn value_bytes(raw: &RawValue) -> Result<Bytes, String> {
    let value: Value = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    if value.is_null() {
        return Err("the value is null".to_owned());
    }
    match json::to_bytes(&value)? {
        Some(bytes) => Ok(bytes),
        // As it is written: numbers keep their digits, objects their order.
        None => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

    use super::*;

    fn parsed(line: &str) -> (Bytes, Bytes) {
        parse(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn strings_are_text_and_base64_is_bytes() {
        assert_eq!(parsed(r#"{"key":"a","value":"b\n"}"#), ("a".into(), "b\n".into()));
        let bytes = parsed(r#"{"value":{"base64":"/wA="},"key":{"base64":"AQ=="},"more":1}"#);
        assert_eq!(bytes, (Bytes::from_static(b"\x01"), Bytes::from_static(b"\xff\x00")));
    }

    #[test]
    fn other_values_are_stored_as_they_are_written() {
        let (_, value) = parsed(r#"{"key":"a","value":{"z": 1.50, "a": [true]}}"#);
        assert_eq!(value, r#"{"z": 1.50, "a": [true]}"#);
        assert_eq!(parsed(r#"{"key":"a","value":12345678901234567890123}"#).1, "12345678901234567890123");
    }

    #[test]
    fn blank_lines_are_passed_over_and_bad_ones_say_why() {
        assert_eq!(parse(b"  \r"), Ok(None));
        for line in [
            "{",
            r#"{"key":"a"}"#,
            r#"{"value":"a"}"#,
            r#"{"key":1,"value":"a"}"#,
            r#"{"key":"a","value":null}"#,
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
