//! The form of an entry in the keyspace `damaged`: a version byte, whether the record's bytes
//! could be had, and then those bytes.

const VERSION: u8 = 1;
const WITHOUT_BYTES: u8 = 0;
const WITH_BYTES: u8 = 1;

/// The entry for a record of which `bytes` are left, if any.
pub(super) fn entry(bytes: Option<&[u8]>) -> Vec<u8> {
    let kind = if bytes.is_some() { WITH_BYTES } else { WITHOUT_BYTES };
    let mut entry = vec![VERSION, kind];
    entry.extend_from_slice(bytes.unwrap_or_default());
    entry
}
