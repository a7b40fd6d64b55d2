//! Data on stdout, words for people on stderr; neither panics when nobody reads.

use std::io::{self, IsTerminal, Write};

use crate::exit::CliError;

/// Writes `bytes`, exactly, to stdout.
pub(crate) fn data(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            CliError::Pipe
        } else {
            CliError::io("cannot write to stdout", error)
        }
    })
}

/// Writes one line to stdout.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    data(format!("{text}\n").as_bytes())
}

/// Writes one object to stdout, on one line.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), CliError> {
    line(&value.to_string())
}

/// Writes one line to stderr. Nobody can be told if that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says on stderr what went wrong.
pub(crate) fn complain(text: &str) {
    let stderr = io::stderr();
    let name = if is_fancy(&stderr) { "\x1b[1;31mhenge:\x1b[0m" } else { "henge:" };
    note(&format!("{name} {text}"));
}

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn is_fancy(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Bytes as a person can read them; control characters cannot reach the terminal.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A count and its noun.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// An amount of data, to one decimal of the largest unit that it has one of.
pub(crate) fn bytes(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let tenths = (u128::from(bytes) * 10) >> shift;
        if tenths >= 10 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    counted(bytes, "byte", "bytes")
}

/// A time in milliseconds of Unix time, to the second, in UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    let (days, seconds) = (unix_ms / 86_400_000, unix_ms / 1000 % 86_400);
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let (era, day) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        let told = [0, 951_782_399_999, 951_782_400_000, 1_700_000_000_000, 4_107_542_400_000].map(time);
        let expected = [
            "1970-01-01 00:00:00 UTC",
            "2000-02-28 23:59:59 UTC",
            "2000-02-29 00:00:00 UTC",
            "2023-11-14 22:13:20 UTC",
            "2100-03-01 00:00:00 UTC",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn amounts_are_told_in_the_largest_unit() {
        let told = [0, 1, 1023, 1024, 1_258_291, 1 << 30, u64::MAX].map(bytes);
        let expected =
            ["0 bytes", "1 byte", "1023 bytes", "1.0 KiB", "1.1 MiB", "1.0 GiB", "17179869183.9 GiB"];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_could_move_the_cursor_is_escaped() {
        assert_eq!(shown("Zürich".as_bytes()), "Zürich");
        assert_eq!(shown(b"a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(shown(b"\xff"), "\\xff");
    }
}
