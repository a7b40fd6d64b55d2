//! `henge demo`

mod peer;
mod ring;
mod zones;

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use henge::handle::Handle;
use tokio::time::Instant;

use self::ring::Ring;
use self::zones::Zone;
use crate::exit::{CliError, Exit};
use crate::output;
use crate::signals::Signals;

/// See it work: a whole ring on this machine, for some seconds
///
/// Starts real peers as processes of their own on loopback, with temporary directories; imports the time
/// zones of the world; shows who has what; writes at one peer and reads at another; kills one
/// with SIGKILL and goes on; starts it again; checks every key; and cleans up.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  henge demo
  henge demo --peers 8")]
pub(crate) struct DemoArgs {
    /// How many peers
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=16))]
    peers: u8,
}

pub(crate) async fn run(args: DemoArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::new(false)?;
    // Dropping the demo kills its peers and removes their directories, however it ends.
    tokio::select! {
        shown = show(usize::from(args.peers)) => shown.map(|()| Exit::Done),
        () = signals.next() => Err(CliError::Failed("interrupted; the peers are stopped and their directories removed".to_owned())),
    }
}

async fn show(count: usize) -> Result<(), CliError> {
    let started = Instant::now();
    let zones = zones::all();
    step(1, &format!("{count} peers start, each a process of its own on this machine"))?;
    let mut ring = Ring::start(count).await?;
    step(2, &format!("The {} time zones of the world are put at peer 1", zones.len()))?;
    import(&ring, &zones).await?;
    step(3, "Who has what: each key lives on three peers")?;
    ring.print_members(zones.iter().map(|zone| zone.name)).await?;
    ring.print_owners(&["Europe/London", "Asia/Tokyo", "America/Lima"]).await?;
    step(4, "Every peer serves every key: written at one, read at another")?;
    write_here_read_there(&ring).await?;
    step(5, "A peer is killed, and nobody waits for it (R = W = 2)")?;
    let victim = count / 2;
    let notes = kill(&mut ring, victim, &zones).await?;
    step(6, &format!("Peer {} comes back, from what is on its disk", victim + 1))?;
    ring.restart(victim).await?;
    step(7, &format!("Every key is checked, at peer {}", victim + 1))?;
    let checked = check(ring.handle(victim)?, &zones, &notes).await?;
    say(&format!("{checked} of {checked} keys have the value that was put last"))?;
    ring.stop().await?;
    let took = started.elapsed().as_secs_f64();
    output::line(&format!(
        "\nDone in {took:.1} s: the peers are stopped, their directories removed. Now your own:\n"
    ))?;
    output::line("  henge run                                  # prints an address and \"ready\"")?;
    output::line("  henge put greeting hello --peer ADDRESS    # in another terminal")?;
    output::line("  henge get greeting --peer ADDRESS")
}

async fn import(ring: &Ring, zones: &[Zone]) -> Result<(), CliError> {
    let started = Instant::now();
    let handle = ring.handle(0)?;
    let puts = zones.iter().map(|zone| handle.put(zone.name, zone.description()).into_future());
    let mut acks = 0;
    for written in futures::future::try_join_all(puts).await? {
        acks += u64::from(written.acks);
    }
    let took = started.elapsed().as_millis();
    say(&format!("{} keys in {took} ms, acknowledged by {acks} replicas (W = 2 of N = 3)", zones.len()))
}

async fn write_here_read_there(ring: &Ring) -> Result<(), CliError> {
    let last = ring.len() - 1;
    ring.handle(0)?.put("greeting", "hello from peer 1").await?;
    say("put greeting \"hello from peer 1\"   at peer 1")?;
    let read = read(ring.handle(last)?, "greeting").await?;
    say(&format!("get greeting → {:?}   at peer {}", output::shown(&read), last + 1))?;
    ring.handle(last)?.put("greeting", format!("and hello from peer {}", last + 1)).await?;
    say(&format!("put greeting \"and hello from peer {0}\"   at peer {0}", last + 1))?;
    let read = self::read(ring.handle(0)?, "greeting").await?;
    say(&format!("get greeting → {:?}   at peer 1", output::shown(&read)))
}

/// What was put while a peer was away.
struct Note {
    key: String,
    value: String,
}

async fn kill(ring: &mut Ring, victim: usize, zones: &[Zone]) -> Result<Vec<Note>, CliError> {
    ring.kill(victim)?;
    say(&format!("peer {} gets SIGKILL", victim + 1))?;
    let started = Instant::now();
    let survivor = ring.handle(0)?;
    for zone in zones {
        expect(survivor, zone.name, &zone.description()).await?;
    }
    let reading = started.elapsed();
    say(&format!("{} of {} keys read at peer 1 in {} ms", zones.len(), zones.len(), reading.as_millis()))?;
    let mut stand_ins = 0;
    let mut notes = Vec::new();
    let started = Instant::now();
    for zone in zones.iter().take(100) {
        let note = Note {
            key: format!("note/{}", zone.name),
            value: format!("written without peer {}", victim + 1),
        };
        let written = survivor.put(note.key.clone(), note.value.clone()).quorum(2).await?;
        stand_ins += u64::from(written.hinted > 0);
        notes.push(note);
    }
    let writing = started.elapsed().as_millis();
    say(&format!("{} new keys put at peer 1 in {writing} ms", notes.len()))?;
    if stand_ins > 0 {
        let keys = output::counted(stand_ins, "key", "keys");
        say(&format!(
            "for {keys} of them another peer stood in at once, and keeps them for peer {}",
            victim + 1
        ))?;
    }
    Ok(notes)
}

async fn check(handle: &Handle, zones: &[Zone], notes: &[Note]) -> Result<usize, CliError> {
    for zone in zones {
        expect(handle, zone.name, &zone.description()).await?;
    }
    for note in notes {
        expect(handle, &note.key, &note.value).await?;
    }
    Ok(zones.len() + notes.len())
}

async fn read(handle: &Handle, key: &str) -> Result<Bytes, CliError> {
    let got = handle.get(key.to_owned()).quorum(2).timeout(Duration::from_secs(10)).await?;
    let missing =
        || CliError::Failed(format!("{key} has {} values where there should be one", got.siblings.len()));
    got.single().cloned().ok_or_else(missing)
}

async fn expect(handle: &Handle, key: &str, value: &str) -> Result<(), CliError> {
    let read = read(handle, key).await?;
    if read == value {
        return Ok(());
    }
    Err(CliError::Failed(format!("{key} has the value {:?} instead of {value:?}", output::shown(&read))))
}

fn step(number: u8, title: &str) -> Result<(), CliError> {
    let gap = if number > 1 { "\n" } else { "" };
    if output::is_fancy(&std::io::stdout()) {
        output::line(&format!("{gap}\x1b[1m{number}. {title}\x1b[0m"))
    } else {
        output::line(&format!("{gap}{number}. {title}"))
    }
}

fn say(text: &str) -> Result<(), CliError> {
    output::line(&format!("   {text}"))
}
