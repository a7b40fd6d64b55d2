//! What happened, as a hash for comparing and as lines for reading.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Lines that are kept; older ones are dropped.
const LINES_MAX: usize = 4000;

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    watch: Option<Watch>,
}

/// What to write down in words.
#[derive(Debug, Default, Clone)]
pub struct Watch {
    /// Only what concerns this key (and what concerns none). All keys where there is none.
    pub key: Option<String>,
    lines: VecDeque<String>,
}

impl Watch {
    /// Writes down what concerns `key`.
    #[must_use]
    pub fn key(key: Option<String>) -> Self {
        Self { key, lines: VecDeque::new() }
    }
}

impl Trace {
    /// A trace that also keeps lines.
    #[must_use]
    pub fn watching(watch: Option<Watch>) -> Self {
        Self { watch, ..Self::default() }
    }

    /// Mixes an event into the hash.
    pub fn note(&mut self, at: Duration, peer: usize, kind: u8, bytes: &[u8]) {
        let time = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let mut hash = mix(self.hash, time);
        hash = mix(hash, (peer as u64) << 8 | u64::from(kind));
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            hash = mix(hash, word);
        }
        self.hash = mix(hash, bytes.len() as u64);
        self.events += 1;
    }

    /// Writes a line that concerns `key`, if that is watched. `line` is only made if it is.
    pub fn tell(&mut self, at: Duration, key: Option<&dyn fmt::Display>, line: impl FnOnce() -> String) {
        let Some(watch) = &mut self.watch else { return };
        let concerns = match (&watch.key, key) {
            (Some(watched), Some(key)) => key.to_string() == *watched,
            (None, _) | (_, None) => true,
        };
        if concerns {
            watch.lines.push_back(format!("{:>12.6} {}", at.as_secs_f64(), line()));
            if watch.lines.len() > LINES_MAX {
                watch.lines.pop_front();
            }
        }
    }

    /// Whether lines are written.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The hash of all events so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The lines written down.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.watch.iter().flat_map(|w| w.lines.iter().map(String::as_str))
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let z = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z ^ (z >> 29)
}
