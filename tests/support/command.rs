//! Runs the binary once and looks at what it says.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::launch::Launcher;
use super::wait_for;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    /// Fails the test unless stderr says this.
    #[track_caller]
    pub(crate) fn complains(self, about: &str) -> Self {
        assert!(self.stderr.contains(about), "{about:?} is not in: {}", self.stderr);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The one object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A command without the environment of whoever runs the tests.
pub(crate) fn henge<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Launcher::default().henge();
    command.args(args);
    command
}

/// Nothing on stdin, its output kept, and no settings of whoever runs the tests.
pub(super) fn without_our_environment(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["HENGE_PEER", "HENGE_CLUSTER", "HENGE_DATA_DIR", "RUST_LOG"] {
        command.env_remove(name);
    }
}

/// Runs a command to its end, with nothing on stdin.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Outcome {
    finish(henge(args), b"")
}

/// The same with these bytes on stdin.
pub(crate) fn run_with_stdin<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, stdin: &[u8]) -> Outcome {
    let mut command = henge(args);
    command.stdin(Stdio::piped());
    finish(command, stdin)
}

/// Runs a prepared command to its end, which must come in time.
pub(crate) fn finish(mut command: Command, stdin: &[u8]) -> Outcome {
    let mut child = command.spawn().expect("the binary starts");
    let pipe = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that refuses its input early does not read it.
            let _ = pipe.map(|mut pipe| pipe.write_all(stdin));
        });
        let out = scope.spawn(move || read(&mut stdout));
        let err = scope.spawn(move || read(&mut stderr));
        let deadline = super::now() + super::patience();
        let status = wait_for("a command ends", || {
            let ended = child.try_wait().unwrap();
            if ended.is_none() && super::now() + std::time::Duration::from_secs(1) > deadline {
                // Or its pipes, and this scope, would never end.
                child.kill().unwrap();
            }
            ended
        });
        let stderr = String::from_utf8_lossy(&err.join().unwrap()).into_owned();
        Outcome { code: status.code(), stdout: out.join().unwrap(), stderr }
    })
}

fn read(pipe: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}
