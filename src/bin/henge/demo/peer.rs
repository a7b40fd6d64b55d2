//! One peer of the demo: a child process, which does not outlive it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use henge_types::Multiaddr;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::exit::CliError;

/// How long a peer may take to serve, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that a peer prints before it is ready: far more than there are.
const LINES_MAX: usize = 64;

/// What is shown of the log of a peer that failed.
const LOG_SHOWN_BYTES: u64 = 8 << 10;

/// A running peer. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
    pub(super) addresses: Vec<Multiaddr>,
}

impl Peer {
    /// Starts this same program as a peer with its data below `directory`.
    pub(super) fn start(directory: &Path, join: Option<&Multiaddr>) -> Result<Self, CliError> {
        let cannot = |error| CliError::io("cannot start a peer", error);
        let log = directory.join("log");
        let log_file = File::options().create(true).append(true).open(&log).map_err(cannot)?;
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command
            .args(["run", "--cluster", "demo", "--stop-with-stdin", "--data-dir"])
            .arg(directory.join("data"));
        if let Some(join) = join {
            command.arg("--join").arg(join.to_string());
        }
        // stdin stays open as long as this process lives: a peer of a demo that was killed stops by itself.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
        let mut child = command.spawn().map_err(cannot)?;
        let (sender, lines) = mpsc::channel(LINES_MAX);
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || forward(stdout, &sender));
        }
        Ok(Self { child, lines, log, addresses: Vec::new() })
    }

    /// Waits until it serves.
    pub(super) async fn ready(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = timeout_at(deadline, self.lines.recv()).await;
            match line {
                Ok(Some(line)) if line == "ready" => return Ok(()),
                Ok(Some(line)) => {
                    let address = line.strip_prefix("listening ").and_then(|address| address.parse().ok());
                    self.addresses.extend(address);
                }
                Ok(None) => return Err(self.failed("ended before it was ready")),
                Err(_) => return Err(self.failed("is not ready after 30 s")),
            }
        }
    }

    /// Kills it without a warning.
    pub(super) fn kill(&mut self) -> Result<(), CliError> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(|_| ()).map_err(|error| CliError::io("cannot kill a peer", error))
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), CliError> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(&format!("stopped with {status}"))),
                Ok(None) => sleep(Duration::from_millis(10)).await,
                Err(error) => return Err(CliError::io("cannot wait for a peer", error)),
            }
        }
        Err(self.failed("does not stop"))
    }

    /// With the end of its log: its directory will be gone.
    fn failed(&self, what: &str) -> CliError {
        let mut log = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = std::io::Seek::seek(
                &mut file,
                std::io::SeekFrom::Start(length.saturating_sub(LOG_SHOWN_BYTES)),
            );
            // A log that cannot be read as text is shown as far as it can.
            let _ = file.take(LOG_SHOWN_BYTES).read_to_string(&mut log);
        }
        CliError::Failed(format!("a peer {what}; the end of its log:\n{}", log.trim_end()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already. Waiting for it matters: its directory is removed next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stdout: ChildStdout, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if sender.blocking_send(line).is_err() {
            return;
        }
    }
}
