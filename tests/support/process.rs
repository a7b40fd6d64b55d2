//! Real peers: processes on loopback with temporary directories, killed when dropped, their output kept.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Outcome, finish};
use super::launch::Launcher;
use super::wait_for;

/// One peer. Its data outlives its process, until it is dropped.
pub(crate) struct Peer {
    name: String,
    child: Child,
    output: Arc<Mutex<String>>,
    arguments: Vec<String>,
    launcher: Launcher,
    directory: TempDir,
}

impl Peer {
    /// Starts a peer that is the first of a ring, or joins through `join`, and waits until it serves.
    pub(crate) fn start(name: &str, join: Option<&Self>) -> Self {
        Self::start_with(name, join, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(name: &str, join: Option<&Self>, arguments: &[&str]) -> Self {
        let mut peer = Self::spawn(name, join, arguments);
        peer.wait_until_ready();
        peer
    }

    /// The same without waiting.
    pub(crate) fn spawn(name: &str, join: Option<&Self>, arguments: &[&str]) -> Self {
        Self::launch(name, join, arguments, directory(), Launcher::default())
    }

    /// The same in a prepared directory, launched in another way.
    pub(crate) fn launch(
        name: &str,
        join: Option<&Self>,
        arguments: &[&str],
        directory: TempDir,
        launcher: Launcher,
    ) -> Self {
        let mut arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        if let Some(join) = join {
            arguments.extend(["--join".to_owned(), join.address()]);
        }
        let output = Arc::new(Mutex::new(String::new()));
        let child = spawn(&launcher, &directory, &arguments, &output);
        Self { name: name.to_owned(), child, output, arguments, launcher, directory }
    }

    pub(crate) fn wait_until_ready(&mut self) {
        wait_for(&format!("{} is ready", self.name), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            self.lines().any(|line| line == "ready").then_some(())
        });
    }

    /// Everything that it printed since it was started last, stdout and stderr.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.output().lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    /// Where it listens, with its id, TCP first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let listening = self.lines().filter_map(|line| line.strip_prefix("listening ").map(str::to_owned));
        let (mut tcp, quic): (Vec<_>, Vec<_>) = listening.partition(|address| address.contains("/tcp/"));
        tcp.extend(quic);
        tcp
    }

    /// Its first address.
    pub(crate) fn address(&self) -> String {
        self.addresses().first().unwrap_or_else(|| panic!("{} does not listen", self.name)).clone()
    }

    /// Its peer id.
    pub(crate) fn id(&self) -> String {
        self.address().rsplit('/').next().unwrap().to_owned()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Runs a command that talks to this peer.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        self.run_with_stdin(arguments, b"")
    }

    /// The same with these bytes on stdin.
    pub(crate) fn run_with_stdin<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: &[u8]) -> Outcome {
        let mut command = self.launcher.henge();
        command.args(self.at(arguments)).stdin(Stdio::piped());
        finish(command, stdin)
    }

    fn at<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Vec<std::ffi::OsString> {
        let given = arguments.iter().map(|argument| argument.as_ref().to_owned());
        given.chain(["--peer".into(), self.address().into()]).collect()
    }

    /// Its status.
    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "--json"]).exits(0).json()
    }

    /// Waits until it sees so many members, each with all that it should have.
    pub(crate) fn wait_until_settled(&self, members: usize) {
        wait_for(&format!("{} sees {members} settled members", self.name), || {
            let status = self.status();
            let seen = status["members"].as_array().unwrap();
            let settled = seen.iter().filter(|member| member["phase"] == "settled").count();
            (seen.len() == members && settled == members).then_some(())
        });
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A signal by its name, as `kill` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "{} gets SIG{name}", self.name);
    }

    /// Sends a signal that ends it, and says how it ended.
    pub(crate) fn end_with(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.ends()
    }

    /// Waits until it ends, and says how.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        wait_for(&format!("{} ends", self.name), || self.child.try_wait().unwrap()).code()
    }

    /// Starts it again on the same data with these arguments instead, without waiting.
    pub(crate) fn respawn_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.respawn();
    }

    /// Starts it again with the same arguments, without waiting.
    pub(crate) fn respawn(&mut self) {
        self.output = Arc::default();
        self.child = spawn(&self.launcher, &self.directory, &self.arguments, &self.output);
    }

    /// From its next start on it is launched like this.
    pub(crate) fn set_launcher(&mut self, launcher: Launcher) {
        self.launcher = launcher;
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it listens somewhere, which is before it serves.
    pub(crate) fn wait_until_listening(&mut self) -> String {
        wait_for(&format!("{} listens", self.name), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            self.addresses().first().cloned()
        })
    }

    /// Starts it again on the same data, with nobody to join.
    pub(crate) fn restart(&mut self) {
        let mut given = std::mem::take(&mut self.arguments).into_iter();
        while let Some(argument) = given.next() {
            if argument == "--join" {
                given.next();
            } else {
                self.arguments.push(argument);
            }
        }
        self.respawn();
        self.wait_until_ready();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}---", self.name, self.output());
        }
    }
}

/// For the data of one peer.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("henge-test-").tempdir().unwrap()
}

fn spawn(
    launcher: &Launcher,
    directory: &TempDir,
    arguments: &[String],
    output: &Arc<Mutex<String>>,
) -> Child {
    let mut command = launcher.henge();
    command.args(["run", "-v", "--data-dir"]).arg(directory.path().join("data")).args(arguments);
    let mut child = command.spawn().unwrap();
    keep(child.stdout.take().unwrap(), output.clone());
    keep(child.stderr.take().unwrap(), output.clone());
    child
}

fn keep(pipe: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            output.lock().unwrap().extend([line.as_str(), "\n"]);
        }
    });
}
