//! The peers of the demo, and a connection to each.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use henge::client::{Client, Config};
use henge::handle::Handle;
use henge_client::MemberPhase;
use henge_types::{ClusterName, Multiaddr, PeerId};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::peer::Peer;
use super::say;
use crate::exit::CliError;
use crate::output;
use crate::table::{Align, Table};

/// How long the peers may take to share the ring.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often they are asked whether they have.
const INTERVAL: Duration = Duration::from_millis(50);

/// A ring of peers. Fields are dropped in order: connections, processes, directories.
pub(super) struct Ring {
    members: Vec<Member>,
    directory: TempDir,
}

struct Member {
    client: Client,
    peer: Peer,
    id: PeerId,
}

impl Ring {
    /// Starts the peers, each joining through the one before, and waits until the ring is shared among them.
    pub(super) async fn start(count: usize) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new()
            .prefix("henge-demo-")
            .tempdir()
            .map_err(|error| CliError::io("cannot make a temporary directory", error))?;
        let started = Instant::now();
        let mut ring = Self { members: Vec::new(), directory };
        for index in 0..count {
            let place = ring.place(index);
            fs::create_dir(&place).map_err(|error| CliError::io("cannot make a directory", error))?;
            let join = ring.members.last().and_then(|member| member.peer.addresses.first()).cloned();
            let member = Member::start(Peer::start(&place, join.as_ref())?).await?;
            let what =
                if index == 0 { "starts the ring".to_owned() } else { format!("joins through peer {index}") };
            say(&format!("peer {}  {}  {what}", index + 1, member.address()))?;
            ring.members.push(member);
        }
        ring.settled().await?;
        let took = started.elapsed().as_secs_f64();
        say(&format!("after {took:.1} s they have shared the ring among them"))?;
        Ok(ring)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// A connection to one peer.
    pub(super) fn handle(&self, index: usize) -> Result<&Handle, CliError> {
        self.members
            .get(index)
            .map(|member| member.client.handle())
            .ok_or_else(|| CliError::Failed(format!("there is no peer {}", index + 1)))
    }

    /// Kills one peer without a warning.
    pub(super) fn kill(&mut self, index: usize) -> Result<(), CliError> {
        self.members.get_mut(index).map_or(Ok(()), |member| member.peer.kill())
    }

    /// Starts a killed peer again, and tells nobody where it was.
    pub(super) async fn restart(&mut self, index: usize) -> Result<(), CliError> {
        let started = Instant::now();
        let member = Member::start(Peer::start(&self.place(index), None)?).await?;
        let id = member.id;
        say(&format!(
            "{} ms later it serves again at {}, without being told of anybody",
            started.elapsed().as_millis(),
            member.address()
        ))?;
        match self.members.get_mut(index) {
            Some(before) if before.id == id => *before = member,
            Some(_) | None => return Err(CliError::Failed("the peer came back as another".to_owned())),
        }
        self.settled().await
    }

    /// Waits until every peer sees all as members, and each has all that it should have.
    async fn settled(&self) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        for member in &self.members {
            loop {
                let status = member.client.handle().status().await?;
                if status.members.len() == self.len()
                    && status.members.iter().all(|member| member.phase == MemberPhase::Settled)
                {
                    break;
                }
                if Instant::now() >= deadline {
                    let seen = crate::status::as_text(&status);
                    return Err(CliError::Failed(format!("the ring is not settled after 60 s:\n{seen}")));
                }
                sleep(INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Which share of the ring each peer has, and how many of these keys.
    pub(super) async fn print_members(
        &self,
        keys: impl Iterator<Item = &'static str>,
    ) -> Result<(), CliError> {
        let status = self.handle(0)?.status().await?;
        let mut counts = vec![0u32; self.len()];
        for key in keys {
            for owner in self.owners(key).await? {
                if let Some(count) = counts.get_mut(owner) {
                    *count += 1;
                }
            }
        }
        let right = Align::Right;
        let mut table =
            Table::new([("", Align::Left), ("PARTITIONS", right), ("OF ALL", right), ("KEYS", right)]);
        let slots: u32 = status.members.iter().map(|member| member.partitions).sum();
        for ((index, member), count) in self.members.iter().enumerate().zip(counts) {
            let seen = status.members.iter().find(|seen| seen.peer == member.id);
            let partitions = seen.map_or(0, |seen| seen.partitions);
            let share = f64::from(partitions) * 100.0 / f64::from(slots.max(1));
            let name = format!("peer {}", index + 1);
            table.add([name, partitions.to_string(), format!("{share:.1} %"), count.to_string()]);
        }
        for line in table.render().lines() {
            say(line)?;
        }
        Ok(())
    }

    /// Which peers have these keys.
    pub(super) async fn print_owners(&self, keys: &[&'static str]) -> Result<(), CliError> {
        for key in keys {
            let owners = self.owners(key).await?;
            let names: Vec<String> = owners.iter().map(|index| (index + 1).to_string()).collect();
            say(&format!("{key:<16} lives on peers {}", names.join(", ")))?;
        }
        Ok(())
    }

    /// The preference list of a key, as indices.
    async fn owners(&self, key: &'static str) -> Result<Vec<usize>, CliError> {
        let located = self.handle(0)?.locate(key).await?;
        let owners = located.voters.iter().filter(|voter| voter.owner);
        let index_of = |peer: &PeerId| self.members.iter().position(|member| member.id == *peer);
        Ok(owners.filter_map(|voter| index_of(&voter.peer)).collect())
    }

    /// Stops all peers as an operator would.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        for member in self.members {
            member.client.close().await;
            member.peer.stop().await?;
        }
        self.directory.close().map_err(|error| CliError::io("cannot remove the temporary directory", error))
    }

    fn place(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("peer-{}", index + 1))
    }
}

impl Member {
    async fn start(mut peer: Peer) -> Result<Self, CliError> {
        peer.ready().await?;
        let cluster = ClusterName::new("demo").map_err(|error| CliError::Failed(error.to_string()))?;
        let client = Client::connect(peer.addresses.clone(), Config::new().with_cluster(cluster)).await?;
        let id = client.peer();
        Ok(Self { client, peer, id })
    }

    fn address(&self) -> String {
        let without_id = |address: &Multiaddr| {
            let text = address.to_string();
            text.split_once("/p2p/").map(|(address, _)| address.to_owned()).unwrap_or(text)
        };
        self.peer.addresses.first().map(without_id).unwrap_or_else(|| output::shown(b"nowhere"))
    }
}
