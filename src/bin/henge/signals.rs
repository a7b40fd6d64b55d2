//! What asks the process to stop.

use std::io;

use tokio::sync::mpsc;

use crate::exit::CliError;

/// SIGINT and SIGTERM, and the end of stdin where that is wanted.
#[derive(Debug)]
pub(crate) struct Signals {
    asked: mpsc::Receiver<()>,
}

impl Signals {
    /// From now on signals do not end the process by themselves.
    pub(crate) fn new(with_stdin: bool) -> Result<Self, CliError> {
        // The second asks for more haste than the first; further ones add nothing.
        let (ask, asked) = mpsc::channel(2);
        if with_stdin {
            let ask = ask.clone();
            std::thread::Builder::new()
                .name("henge-stdin".to_owned())
                .spawn(move || {
                    let ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
                    tracing::debug!(?ended, "stdin ended");
                    let _ = ask.try_send(());
                })
                .map_err(|error| CliError::io("cannot start a thread", error))?;
        }
        listen(ask).map_err(|error| CliError::io("cannot listen for signals", error))?;
        Ok(Self { asked })
    }

    /// Waits until the process is asked to stop.
    pub(crate) async fn next(&mut self) {
        if self.asked.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
fn listen(ask: mpsc::Sender<()>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let _ = ask.try_send(());
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn listen(ask: mpsc::Sender<()>) -> io::Result<()> {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let _ = ask.try_send(());
        }
    });
    Ok(())
}
