//! `henge status`

use clap::Args;
use henge_client::{Accuser, HintQueue, Member, MemberPhase, Status};
use henge_types::MemberState;
use serde_json::{Map, Value, json};

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::output;
use crate::table::{Align, Table};

/// Show the members of the ring, as one peer sees them
///
/// STATE is settled, joining (not full for all that it owns yet), moving (still has what it no longer
/// owns), leaving, left, or down: enough members hear nothing of it. Who says so of whom is below the
/// table, and one accuser alone makes nobody down. HEARTBEAT is the age of the last one known. PARTITIONS is how many the
/// placement gives the member; how many of them it has in full follows where they are fewer. KEYS is
/// about how many records it stores.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"peer\": ID of the peer that tells, \"cluster\": NAME, \"ring\": HEX or null,
   \"params\": {\"replicas\", \"read_quorum\", \"write_quorum\", \"partitions\", \"tokens_per_weight\"} or null,
   \"members\": [{\"peer\", \"incarnation\", \"state\", \"phase\", \"weight\", \"zone\", \"heartbeat_age_ms\",
                \"connected\", \"partitions\", \"full\", \"part\", \"keys\", \"addresses\",
                \"down\", \"accusers\": [{\"peer\", \"since_ms\"}]}],
   \"hints\": [{\"primary\", \"count\", \"bytes\", \"oldest_age_ms\"}], what it keeps for peers that are down,
   \"counters\": {NAME: COUNT}}

Example:
  henge status --peer /ip4/127.0.0.1/tcp/4001")]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: StatusArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect().await?;
    let status = client.handle().status().await;
    client.close().await;
    let status = status?;
    if args.json {
        output::json(&as_json(&status))?;
    } else {
        output::data(as_text(&status).as_bytes())?;
    }
    Ok(Exit::Done)
}

/// The status as a person reads it.
pub(crate) fn as_text(status: &Status) -> String {
    let ring = status.ring.map_or_else(|| "in no ring yet".to_owned(), |ring| format!("ring {ring}"));
    let params = status.params.map(|params| format!("  {params}")).unwrap_or_default();
    let members = output::counted(status.members.len() as u64, "member", "members");
    let cluster = output::shown(status.cluster.as_bytes());
    let mut table = Table::new([
        ("PEER", Align::Left),
        ("STATE", Align::Left),
        ("ZONE", Align::Left),
        ("WEIGHT", Align::Right),
        ("HEARTBEAT", Align::Right),
        ("PARTITIONS", Align::Right),
        ("KEYS", Align::Right),
    ]);
    for member in &status.members {
        table.add([
            member.peer.to_string(),
            state(member),
            member.zone.as_ref().map_or("-", |zone| zone.as_str()).to_owned(),
            member.weight.to_string(),
            heartbeat(status, member),
            partitions(member),
            member.keys.to_string(),
        ]);
    }
    let hints: String = status.hints.iter().map(hints).collect();
    let (accusations, moving) = (accusations(status), moving(status));
    format!("cluster {cluster}  {ring}{params}  {members}\n\n{}{accusations}{moving}{hints}", table.render())
}

/// What comes to the peer that tells and goes from it, while something does.
fn moving(status: &Status) -> String {
    let counter =
        |name: &str| status.counters.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
    let (acquiring, giving_up) = (counter("partitions_acquiring"), counter("partitions_giving_up"));
    if acquiring + giving_up == 0 {
        return String::new();
    }
    let acquiring = output::counted(acquiring, "partition", "partitions");
    let [came, went] = ["sync_bytes_received", "sync_bytes_sent"].map(|name| output::bytes(counter(name)));
    format!("moving: {acquiring} to acquire, {giving_up} to give up; {came} in, {went} out since the start\n")
}

/// Who hears nothing of whom, a line for each.
fn accusations(status: &Status) -> String {
    let line = |of: &Member, by: &Accuser| {
        format!("{} is suspected by {} for {}\n", of.peer, by.peer, duration(by.since_ms))
    };
    let lines: Vec<String> = status
        .members
        .iter()
        .flat_map(|member| member.accusers.iter().map(move |accuser| line(member, accuser)))
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// What waits for one peer.
fn hints(queue: &HintQueue) -> String {
    let records = output::counted(queue.count, "record", "records");
    let (bytes, age) = (output::bytes(queue.bytes), duration(queue.oldest_age_ms));
    format!("hints: {records}, {bytes} for {}, oldest {age}\n", queue.primary)
}

/// How far it is, and whether the peer that tells can reach it.
fn state(member: &Member) -> String {
    let phase = if member.down { "down" } else { phase_name(member.phase) };
    if member.connected { phase.to_owned() } else { format!("{phase}, not connected") }
}

fn heartbeat(status: &Status, member: &Member) -> String {
    if member.peer == status.peer {
        return "itself".to_owned();
    }
    duration(member.heartbeat_age_ms)
}

fn duration(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000.. => format!("{} h", ms / 3_600_000),
    }
}

fn partitions(member: &Member) -> String {
    if member.full < member.partitions {
        format!("{} ({} full)", member.partitions, member.full)
    } else {
        member.partitions.to_string()
    }
}

fn as_json(status: &Status) -> Value {
    let params = status.params.map(|params| {
        json!({
            "replicas": params.replicas(),
            "read_quorum": params.read_quorum(),
            "write_quorum": params.write_quorum(),
            "partitions": params.partitions().get(),
            "tokens_per_weight": params.tokens_per_weight(),
        })
    });
    let counters: Map<String, Value> =
        status.counters.iter().map(|(name, count)| (name.clone(), Value::from(*count))).collect();
    json!({
        "peer": status.peer.to_string(),
        "cluster": status.cluster,
        "ring": status.ring.map(|ring| ring.to_string()),
        "params": params,
        "members": status.members.iter().map(member_json).collect::<Vec<_>>(),
        "hints": status.hints.iter().map(hints_json).collect::<Vec<_>>(),
        "counters": counters,
    })
}

fn hints_json(queue: &HintQueue) -> Value {
    json!({
        "primary": queue.primary.to_string(),
        "count": queue.count,
        "bytes": queue.bytes,
        "oldest_age_ms": queue.oldest_age_ms,
    })
}

fn member_json(member: &Member) -> Value {
    json!({
        "peer": member.peer.to_string(),
        "incarnation": member.incarnation.0,
        "state": state_name(member.state),
        "phase": phase_name(member.phase),
        "weight": member.weight,
        "zone": member.zone.as_ref().map(|zone| zone.as_str()),
        "heartbeat_age_ms": member.heartbeat_age_ms,
        "connected": member.connected,
        "partitions": member.partitions,
        "full": member.full,
        "part": member.part,
        "keys": member.keys,
        "addresses": member.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "down": member.down,
        "accusers": member.accusers.iter().map(accuser_json).collect::<Vec<_>>(),
    })
}

fn accuser_json(accuser: &Accuser) -> Value {
    json!({ "peer": accuser.peer.to_string(), "since_ms": accuser.since_ms })
}

fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Active => "active",
        MemberState::Leaving => "leaving",
        MemberState::Left => "left",
    }
}

fn phase_name(phase: MemberPhase) -> &'static str {
    match phase {
        MemberPhase::Settled => "settled",
        MemberPhase::Joining => "joining",
        MemberPhase::Moving => "moving",
        MemberPhase::Leaving => "leaving",
        MemberPhase::Left => "left",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test that panics has failed")]

    use henge_types::{Incarnation, PeerId};

    use super::*;

    fn member(peer: PeerId, accusers: Vec<Accuser>, down: bool) -> Member {
        Member {
            peer,
            incarnation: Incarnation(1),
            state: MemberState::Active,
            phase: MemberPhase::Settled,
            weight: 1,
            zone: None,
            heartbeat_age_ms: 9_400,
            connected: true,
            partitions: 64,
            full: 64,
            part: 0,
            keys: 0,
            addresses: Vec::new(),
            down,
            accusers,
        }
    }

    #[test]
    fn a_member_that_is_down_is_shown_so_with_its_accusers() {
        let (one, two) = (PeerId::random(), PeerId::random());
        let accusers = vec![Accuser { peer: one, since_ms: 3_250 }, Accuser { peer: two, since_ms: 120_000 }];
        let mut status = Status {
            peer: one,
            cluster: "henge".to_owned(),
            ring: None,
            params: None,
            members: vec![member(one, Vec::new(), false), member(two, accusers, true)],
            hints: Vec::new(),
            counters: Vec::new(),
        };
        let text = as_text(&status);
        let row = text.lines().find(|line| line.starts_with(&two.to_string())).unwrap_or_default();
        assert!(row.contains("down") && !row.contains("settled"), "{text}");
        let lines =
            format!("\n{two} is suspected by {one} for 3.2 s\n{two} is suspected by {two} for 2 min\n");
        assert!(text.ends_with(&lines), "{text}");
        let json = as_json(&status);
        assert_eq!(json["members"][1]["down"], json!(true));
        assert_eq!(json["members"][1]["accusers"][0], json!({ "peer": one.to_string(), "since_ms": 3250 }));

        status.members.truncate(1);
        assert!(!as_text(&status).contains("suspected"));
    }

    #[test]
    fn what_moves_is_told_while_it_does() {
        let me = PeerId::random();
        let with = |acquiring, giving_up| Status {
            peer: me,
            cluster: "henge".to_owned(),
            ring: None,
            params: None,
            members: vec![member(me, Vec::new(), false)],
            hints: Vec::new(),
            counters: [
                ("partitions_acquiring", acquiring),
                ("partitions_giving_up", giving_up),
                ("sync_bytes_received", 1_258_292),
                ("sync_bytes_sent", 512),
            ]
            .map(|(name, count)| (name.to_owned(), count))
            .to_vec(),
        };
        let text = as_text(&with(1, 3));
        let line =
            "moving: 1 partition to acquire, 3 to give up; 1.2 MiB in, 512 bytes out since the start\n";
        assert!(text.ends_with(line), "{text}");
        assert!(!as_text(&with(0, 0)).contains("moving"));
    }
}
