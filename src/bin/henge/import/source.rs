//! What is imported: where it comes from, one entry after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use henge_types::Key;
use henge_types::limits::VALUE_MAX_BYTES;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::lines::Lines;
use super::tree::Tree;
use super::{Format, ndjson, tsv};
use crate::exit::CliError;
use crate::output;

/// Entries that may wait to be put: with those in flight, all that is held in memory.
const WAITING_MAX: usize = 64;

/// One key to put.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Bytes,
}

/// What could not be read as an entry.
#[derive(Debug)]
pub(crate) struct Bad {
    /// The key, where it is known, else the place.
    pub(crate) name: String,
    pub(crate) reason: String,
}

pub(crate) type Entries = mpsc::Receiver<Result<Entry, Bad>>;

/// An opened source.
pub(crate) enum Source {
    Lines { lines: Lines<Box<dyn BufRead + Send>>, format: Format, total_bytes: Option<u64> },
    Tree(Tree),
}

impl Source {
    /// Opens the source, so that one that does not exist is known before anything is sent.
    pub(crate) fn open(from: &Path, format: Option<Format>) -> Result<Self, CliError> {
        let cannot = |error| CliError::Usage(format!("cannot read {}: {error}", from.display()));
        if from.as_os_str() == "-" {
            return Self::of_reader(Box::new(BufReader::new(io::stdin())), format, None).map_err(cannot);
        }
        let metadata = std::fs::metadata(from).map_err(cannot)?;
        if metadata.is_dir() {
            if format.is_some() {
                return Err(CliError::Usage(
                    "--format is for files: a directory's files are values".to_owned(),
                ));
            }
            return Tree::open(from).map(Self::Tree).map_err(cannot);
        }
        let file = File::open(from).map_err(cannot)?;
        let total_bytes = metadata.is_file().then_some(metadata.len());
        let format = format.or_else(|| format_of_name(from));
        Self::of_reader(Box::new(BufReader::with_capacity(1 << 16, file)), format, total_bytes)
            .map_err(cannot)
    }

    fn of_reader(
        mut reader: Box<dyn BufRead + Send>,
        format: Option<Format>,
        total_bytes: Option<u64>,
    ) -> io::Result<Self> {
        let format = match format {
            Some(format) => format,
            None => {
                let first = reader.fill_buf()?.iter().copied().find(|byte| !byte.is_ascii_whitespace());
                if first == Some(b'{') { Format::Ndjson } else { Format::Tsv }
            }
        };
        Ok(Self::Lines { lines: Lines::new(reader), format, total_bytes })
    }

    /// How much there is to read, where that is known.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        match self {
            Self::Lines { total_bytes, .. } => *total_bytes,
            Self::Tree(_) => None,
        }
    }

    /// Reads on a thread of its own, so that a slow disk or pipe does not hold up the puts.
    pub(crate) fn read_on_a_thread(self, prefix: String, bar: ProgressBar) -> Result<Entries, CliError> {
        let (sender, entries) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("henge-import".to_owned())
            .spawn(move || self.read(&prefix, &bar, &sender))
            .map_err(|error| CliError::io("cannot start a thread", error))?;
        Ok(entries)
    }

    fn read(self, prefix: &str, bar: &ProgressBar, sender: &mpsc::Sender<Result<Entry, Bad>>) {
        // The channel is closed when nobody imports any more.
        let send =
            |raw: Result<(Bytes, Bytes), Bad>| sender.blocking_send(raw.and_then(|raw| checked(prefix, raw)));
        match self {
            Self::Lines { mut lines, format, .. } => {
                let parse = match format {
                    Format::Ndjson => ndjson::parse,
                    Format::Tsv => tsv::parse,
                };
                while let Some(line) = lines.next() {
                    let parsed = line.and_then(|(number, line)| {
                        parse(line).map_err(|reason| Bad { name: format!("line {number}"), reason })
                    });
                    bar.set_position(lines.bytes_read());
                    if let Some(raw) = parsed.transpose()
                        && send(raw).is_err()
                    {
                        return;
                    }
                }
            }
            Self::Tree(tree) => {
                for raw in tree {
                    bar.tick();
                    if send(raw.and_then(|(key, path)| read_file(key, &path))).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn format_of_name(path: &Path) -> Option<Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "ndjson" | "jsonl" | "json" => Some(Format::Ndjson),
        "tsv" | "tab" => Some(Format::Tsv),
        _ => None,
    }
}

/// Checks here what a peer would refuse, so that the message can name the key.
fn checked(prefix: &str, (key, value): (Bytes, Bytes)) -> Result<Entry, Bad> {
    let key = if prefix.is_empty() { key } else { [prefix.as_bytes(), &key].concat().into() };
    let name = output::shown(key.get(..80).unwrap_or(&key));
    if value.len() > VALUE_MAX_BYTES {
        let reason = henge_client::Failure::ValueTooLarge { bytes: value.len() as u64 }.to_string();
        return Err(Bad { name, reason });
    }
    match Key::new(key) {
        Ok(key) => Ok(Entry { key, value }),
        Err(error) => Err(Bad { name, reason: error.to_string() }),
    }
}

fn read_file(key: Bytes, path: &PathBuf) -> Result<(Bytes, Bytes), Bad> {
    let mut value = Vec::new();
    // One byte more than is allowed is enough to know that it is too much.
    let read =
        File::open(path).and_then(|file| file.take(VALUE_MAX_BYTES as u64 + 1).read_to_end(&mut value));
    let bad = |reason: String| Bad { name: output::shown(&key), reason };
    match read {
        Err(error) => Err(bad(error.to_string())),
        Ok(_) if value.len() > VALUE_MAX_BYTES => {
            Err(bad(format!("the file is too long: a value has up to {VALUE_MAX_BYTES} bytes")))
        }
        Ok(_) => Ok((key, value.into())),
    }
}
