//! The files of a directory, one after the other.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::source::Bad;
use crate::output;

/// How deep directories may nest.
const DEPTH_MAX: usize = 128;

/// Walks a directory and what is below it, without following symbolic links.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// From the root down to where the walk is.
    open: Vec<ReadDir>,
}

impl Tree {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), open: vec![fs::read_dir(root)?] })
    }

    fn visit(&mut self, path: PathBuf) -> Option<Result<(Bytes, PathBuf), Bad>> {
        let bad = |reason: String| {
            Some(Err(Bad { name: output::shown(path.as_os_str().as_encoded_bytes()), reason }))
        };
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) => return bad(error.to_string()),
        };
        if kind.is_file() {
            return Some(Ok((self.key(&path), path)));
        }
        if !kind.is_dir() {
            tracing::info!(path = %path.display(), "neither a file nor a directory: left out");
            return None;
        }
        if self.open.len() >= DEPTH_MAX {
            return bad(format!("is more than {DEPTH_MAX} directories deep"));
        }
        match fs::read_dir(&path) {
            Ok(entries) => self.open.push(entries),
            Err(error) => return bad(error.to_string()),
        }
        None
    }

    fn key(&self, path: &Path) -> Bytes {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<&[u8]> = below.iter().map(|part| part.as_encoded_bytes()).collect();
        parts.join(&b'/').into()
    }
}

impl Iterator for Tree {
    type Item = Result<(Bytes, PathBuf), Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.open.last_mut()?.next() {
                None => {
                    self.open.pop();
                }
                Some(Ok(entry)) => {
                    if let Some(item) = self.visit(entry.path()) {
                        return Some(item);
                    }
                }
                Some(Err(error)) => {
                    let name = output::shown(self.root.as_os_str().as_encoded_bytes());
                    return Some(Err(Bad { name, reason: error.to_string() }));
                }
            }
        }
    }
}
