//! Key, tab, value on each line, with no escapes.

use bytes::Bytes;

/// Key and value of one line; none if the line is empty.
pub(crate) fn parse(line: &[u8]) -> Result<Option<(Bytes, Bytes)>, String> {
    if line.is_empty() {
        return Ok(None);
    }
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or("no tab between key and value")?;
    let (key, value) = line.split_at_checked(tab).unwrap_or((line, &[]));
    let value = value.strip_prefix(b"\t").unwrap_or(value);
    Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tab_parts_key_and_value() {
        let pair = |key: &'static str, value: &'static str| Ok(Some((Bytes::from(key), Bytes::from(value))));
        assert_eq!(parse(b"a\tb\tc"), pair("a", "b\tc"));
        assert_eq!(parse(b"a\t"), pair("a", ""));
        assert_eq!(parse(b"\tb"), pair("", "b"));
        assert_eq!(parse(b""), Ok(None));
        assert!(parse(b"no tab").is_err());
    }
}
