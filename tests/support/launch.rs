//! Where a process runs: here, in a namespace of the network, or with a file system of its own.

use std::process::Command;

use super::command::without_our_environment;

/// What is put before the command line of `henge`; nothing to run it here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launcher(Vec<String>);

impl Launcher {
    /// In this namespace of the network.
    pub(crate) fn in_network(name: &str) -> Self {
        Self(["ip", "netns", "exec", name].map(str::to_owned).to_vec())
    }

    /// With an empty file system of so many bytes at `directory`, which goes with the process.
    pub(crate) fn on_small_disk(directory: &str, bytes: usize) -> Self {
        let script = format!("mount -t tmpfs -o size={bytes} henge-test \"$0\" && exec \"$@\"");
        let words = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", &script, directory];
        Self(words.map(str::to_owned).to_vec())
    }

    /// Why nothing can be launched like this on this machine.
    pub(crate) fn refusal(&self) -> Option<String> {
        let (program, arguments) = self.0.split_first()?;
        match Command::new(program).args(arguments).arg("true").output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(format!("{program}: {error}")),
        }
    }

    /// The binary, launched like this.
    pub(crate) fn henge(&self) -> Command {
        let henge = env!("CARGO_BIN_EXE_henge");
        let mut command = match self.0.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(henge);
                command
            }
            None => Command::new(henge),
        };
        without_our_environment(&mut command);
        command
    }
}
