//! The data directory: the identity, the store, and where the node listened last time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use henge_types::Multiaddr;
use libp2p::identity::Keypair;

use crate::error::StartError;
use crate::store::StoreError;
use crate::store::fjall::Fjall;

const IDENTITY: &str = "identity";
pub(super) const STORE: &str = "store";
const NODE: &str = "node";
/// First line of the file `node`; the number is the version of its format.
const NODE_HEADER: &str = "henge node 1";
/// Addresses that the file `node` may hold.
const REMEMBERED_MAX: usize = 64;

/// A data directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Creates it where there is none.
    pub(super) fn open(path: PathBuf) -> Result<Self, StartError> {
        fs::create_dir_all(&path).map_err(|error| unusable(&path, &error))?;
        Ok(Self { path })
    }

    pub(super) fn store(&self) -> Result<Fjall, StoreError> {
        Fjall::open(self.path.join(STORE))
    }

    /// The key pair kept here; a new one the first time.
    pub(super) fn identity(&self) -> Result<Keypair, StartError> {
        let path = self.path.join(IDENTITY);
        match fs::read(&path) {
            Ok(bytes) => Keypair::from_protobuf_encoding(&bytes).map_err(|error| StartError::Identity {
                reason: format!("{} is damaged ({error}): restore it from a copy", path.display()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.new_identity(&path),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    fn new_identity(&self, path: &Path) -> Result<Keypair, StartError> {
        // A new identity would make a stranger of whoever wrote those records.
        if self.path.join(STORE).exists() {
            return Err(StartError::Identity {
                reason: format!(
                    "{} is missing although there is a store: restore it from a copy, or remove the directory to start as a new peer",
                    path.display()
                ),
            });
        }
        let keypair = Keypair::generate_ed25519();
        let encoded = keypair
            .to_protobuf_encoding()
            .map_err(|error| StartError::Identity { reason: error.to_string() })?;
        self.write(IDENTITY, &encoded).map_err(|error| unusable(path, &error))?;
        Ok(keypair)
    }

    /// Where the node listened last time, without `/p2p`; nowhere the first time.
    pub(super) fn remembered(&self) -> Vec<Multiaddr> {
        let path = self.path.join(NODE);
        let Ok(text) = fs::read_to_string(&path) else { return Vec::new() };
        let mut lines = text.lines();
        if lines.next() != Some(NODE_HEADER) {
            // Nothing depends on it but the ports.
            tracing::warn!(path = %path.display(), "cannot be read: the ports of the last time are not used");
            return Vec::new();
        }
        lines.filter_map(|line| line.parse().ok()).take(REMEMBERED_MAX).collect()
    }

    /// Remembers where the node listens.
    pub(super) fn remember(&self, addresses: &[Multiaddr]) -> Result<(), StartError> {
        if self.remembered() == addresses {
            return Ok(());
        }
        let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let text = format!("{NODE_HEADER}\n{}\n", lines.join("\n"));
        self.write(NODE, text.as_bytes()).map_err(|error| unusable(&self.path.join(NODE), &error))
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = private_file(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }
}

/// Only its owner reads it: one of the files is a private key.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unusable(path: &Path, error: &io::Error) -> StartError {
    StartError::Directory { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use super::Directory;
    use crate::error::StartError;

    fn open(path: &std::path::Path) -> Directory {
        Directory::open(path.to_owned()).unwrap()
    }

    #[test]
    fn an_identity_is_made_once_and_only_its_owner_reads_it() {
        let path = tempfile::tempdir().unwrap();
        let first = open(path.path()).identity().unwrap();
        let second = open(path.path()).identity().unwrap();
        assert_eq!(first.public(), second.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path.path().join("identity")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_store_without_its_identity_is_not_taken_over_by_a_new_peer() {
        let path = tempfile::tempdir().unwrap();
        std::fs::create_dir(path.path().join("store")).unwrap();
        let error = open(path.path()).identity().unwrap_err();
        assert!(matches!(error, StartError::Identity { .. }), "{error}");
        assert!(error.to_string().contains("restore it"), "{error}");
    }

    #[test]
    fn a_damaged_identity_is_told_and_left_as_it_is() {
        let path = tempfile::tempdir().unwrap();
        std::fs::write(path.path().join("identity"), b"nonsense").unwrap();
        let error = open(path.path()).identity().unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(std::fs::read(path.path().join("identity")).unwrap(), b"nonsense");
    }

    #[test]
    fn addresses_are_remembered() {
        let path = tempfile::tempdir().unwrap();
        let addresses = vec!["/ip4/127.0.0.1/tcp/4001".parse().unwrap(), "/ip6/::1/tcp/1".parse().unwrap()];
        assert_eq!(open(path.path()).remembered(), vec![]);
        open(path.path()).remember(&addresses).unwrap();
        assert_eq!(open(path.path()).remembered(), addresses);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let path = tempfile::tempdir().unwrap();
        let file = path.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = Directory::open(file.join("data")).unwrap_err();
        assert!(matches!(error, StartError::Directory { .. }), "{error}");
    }
}
