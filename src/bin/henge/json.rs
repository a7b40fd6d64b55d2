//! Bytes in JSON: text as a string, other bytes as `{"base64": "…"}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

const MARK: &str = "base64";

/// Text becomes a string; what is no UTF-8 becomes an object that says so.
pub(crate) fn of_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ MARK: STANDARD.encode(bytes) }),
    }
}

/// The bytes that [`of_bytes`] wrote; none if `value` is something else.
pub(crate) fn to_bytes(value: &Value) -> Result<Option<Bytes>, String> {
    if let Some(text) = value.as_str() {
        return Ok(Some(Bytes::copy_from_slice(text.as_bytes())));
    }
    match value.as_object() {
        Some(object) if object.len() == 1 => match object.get(MARK).and_then(Value::as_str) {
            Some(encoded) => match STANDARD.decode(encoded) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) => Err(format!("the base64 is not valid: {error}")),
            },
            None => Ok(None),
        },
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [&b"text"[..], b"", b"\xff\x00\xfe", "Zürich\n\0".as_bytes()] {
            assert_eq!(to_bytes(&of_bytes(bytes)).unwrap().unwrap(), bytes);
        }
    }

    #[test]
    fn other_objects_are_no_bytes_and_bad_base64_is_refused() {
        assert_eq!(to_bytes(&json!({"base64": "AA==", "more": 1})), Ok(None));
        assert_eq!(to_bytes(&json!(5)), Ok(None));
        assert!(to_bytes(&json!({"base64": "?"})).is_err());
    }
}
