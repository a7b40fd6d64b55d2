//! `henge put`

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use henge_client::Failure;
use henge_types::limits::VALUE_MAX_BYTES;
use henge_types::{Context, Key};
use serde_json::json;

use crate::args::{PeerArgs, TimeoutArgs, key_parser, quorum_parser};
use crate::exit::{CliError, Exit};
use crate::output;

/// Write a value
///
/// Without --context and --blind it supersedes what a quorum of replicas has, so that whoever puts
/// twice reads the second value.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object:
  {\"context\": TOKEN, \"acks\": replicas that have it durably, \"hinted\": stand-ins among them}

Examples:
  henge put greeting hello
  henge put picture < stones.jpg
  henge put -w 3 --strict greeting hello
  henge put greeting 'hello again' --context \"$(henge get greeting --json | jq -r .context)\"")]
pub(crate) struct PutArgs {
    /// The key, 1 to 1,024 bytes
    #[arg(value_parser = key_parser())]
    key: Key,
    /// The value, up to 1 MiB; from stdin when left out, or "-"
    value: Option<OsString>,
    /// Supersede what the get saw that printed this token
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    context: Option<Context>,
    /// Supersede nothing: what is there stays, as siblings
    #[arg(long, conflicts_with = "context")]
    blind: bool,
    /// W: how many replicas must have it durably [default: the cluster's]
    #[arg(short = 'w', long = "quorum", value_name = "N", value_parser = quorum_parser())]
    quorum: Option<u8>,
    /// Count voters only, no stand-ins
    #[arg(long)]
    strict: bool,
    /// Let the value expire after so long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=u64::MAX / 1000))]
    ttl: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: PutArgs) -> Result<Exit, CliError> {
    let value = value(args.value)?;
    let client = args.peer.connect().await?;
    let mut put = client.handle().put(Bytes::from(args.key), value).timeout(args.timeout.timeout());
    if let Some(context) = args.context {
        put = put.context(context);
    } else if args.blind {
        put = put.blind();
    }
    if let Some(quorum) = args.quorum {
        put = put.quorum(quorum);
    }
    if args.strict {
        put = put.strict();
    }
    if let Some(ttl) = args.ttl {
        put = put.ttl(Duration::from_secs(ttl));
    }
    let written = put.await;
    client.close().await;
    report(&written?, "put", args.json)
}

/// Says who has a write.
pub(crate) fn report(written: &henge::handle::Written, verb: &str, json: bool) -> Result<Exit, CliError> {
    if json {
        output::json(&json!({
            "context": written.context.to_string(),
            "acks": written.acks,
            "hinted": written.hinted,
        }))?;
        return Ok(Exit::Done);
    }
    let have = if written.acks == 1 { "replica has" } else { "replicas have" };
    let stand_ins = match written.hinted {
        0 => String::new(),
        1 => ", 1 of them for an absent one".to_owned(),
        hinted => format!(", {hinted} of them for absent ones"),
    };
    output::line(&format!("{verb}: {} {have} it{stand_ins}", written.acks))?;
    Ok(Exit::Done)
}

fn value(given: Option<OsString>) -> Result<Bytes, CliError> {
    let value = match given {
        Some(value) if value != "-" => Bytes::from(value.into_encoded_bytes()),
        Some(_) | None => stdin()?,
    };
    if value.len() > VALUE_MAX_BYTES {
        let bytes = value.len() as u64;
        return Err(CliError::Usage(Failure::ValueTooLarge { bytes }.to_string()));
    }
    Ok(value)
}

fn stdin() -> Result<Bytes, CliError> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        output::note("henge: the value is read from the terminal; end it with Ctrl-D");
    }
    let mut value = Vec::new();
    // One byte more than is allowed is enough to know that it is too much.
    let limit = VALUE_MAX_BYTES as u64 + 1;
    stdin
        .take(limit)
        .read_to_end(&mut value)
        .map_err(|error| CliError::io("cannot read the value from stdin", error))?;
    if value.len() > VALUE_MAX_BYTES {
        let message = format!("the value on stdin is too long: a value has up to {VALUE_MAX_BYTES} bytes");
        return Err(CliError::Usage(message));
    }
    Ok(value.into())
}
