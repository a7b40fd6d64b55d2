//! The records of snapshots, before a peer starts with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use henge::node;
use henge::snapshot::Snapshot;
use indicatif::{ProgressBar, ProgressStyle};

use crate::exit::CliError;
use crate::output;

/// Makes the data directory `directory` of `snapshots`, and shows how far it is.
pub(crate) fn run(
    directory: &Path,
    snapshots: &[PathBuf],
    joins: bool,
    grace: Duration,
) -> Result<(), CliError> {
    let bytes = |path: &PathBuf| Snapshot::open(path).map_or(0, |snapshot| snapshot.about().bytes);
    let bar = ProgressBar::new(snapshots.iter().map(bytes).sum()).with_style(
        ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let restored = node::restore(directory, snapshots, joins, grace, &mut |progress| {
        bar.set_position(progress.bytes);
        bar.set_message(output::counted(progress.records, "record", "records"));
    });
    bar.finish_and_clear();
    let progress = restored.map_err(|error| CliError::Failed(error.to_string()))?.progress;
    let records = output::counted(progress.records, "record", "records");
    output::note(&format!("restored {records} into {}", directory.display()));
    if progress.damaged > 0 {
        let damaged = output::counted(progress.damaged, "record", "records");
        output::complain(&format!("{damaged} of the snapshots cannot be used, and are left out"));
    }
    Ok(())
}
