//! `henge get`

use clap::Args;
use henge::handle::Got;
use henge_types::Key;
use serde_json::{Value, json};

use crate::args::{PeerArgs, TimeoutArgs, key_parser, quorum_parser};
use crate::exit::{CliError, Exit};
use crate::{json, output};

/// Read a value
///
/// Writes exactly the bytes that were put to stdout. A key that was written concurrently can have
/// several values, the siblings; then --all or --json is needed.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints one object; its context is what `put --context` takes:
  {\"context\": TOKEN, \"siblings\": [{\"value\": V, \"written_at\": MS, \"expires_at\": MS or null}],
   \"answers\": how many peers answered, \"hinted\": how many of them stood in for a replica that is away}
V is a string, or {\"base64\": \"…\"} where the bytes are no UTF-8 text; MS is Unix time in
milliseconds. A key without a value has no siblings, and the exit code is 1.

Examples:
  henge get greeting
  henge get picture > stones.jpg
  henge get cart --all
  henge get -r 3 --strict cart --json | jq -r '.siblings[].value'")]
pub(crate) struct GetArgs {
    /// The key, 1 to 1,024 bytes
    #[arg(value_parser = key_parser())]
    key: Key,
    /// R: how many replicas must answer [default: the cluster's]
    #[arg(short = 'r', long = "quorum", value_name = "N", value_parser = quorum_parser())]
    quorum: Option<u8>,
    /// Count voters only, no stand-ins
    #[arg(long)]
    strict: bool,
    /// Print all siblings, each on a line of its own where there are several
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: GetArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect().await?;
    let mut get = client.handle().get(args.key.clone()).timeout(args.timeout.timeout());
    if let Some(quorum) = args.quorum {
        get = get.quorum(quorum);
    }
    if args.strict {
        get = get.strict();
    }
    let got = get.await;
    client.close().await;
    report(&args, &got?)
}

fn report(args: &GetArgs, got: &Got) -> Result<Exit, CliError> {
    let count = got.siblings.len();
    if args.json {
        output::json(&as_json(got))?;
        return Ok(if count == 0 { Exit::NotFound } else { Exit::Done });
    }
    match got.siblings.as_slice() {
        [] => {
            output::complain(&format!("not found: {}", output::shown(args.key.as_bytes())));
            Ok(Exit::NotFound)
        }
        [one] => {
            output::data(&one.value)?;
            Ok(Exit::Done)
        }
        siblings if args.all => {
            for sibling in siblings {
                output::data(&sibling.value)?;
                output::data(b"\n")?;
            }
            Ok(Exit::Done)
        }
        _ => {
            output::complain(&format!(
                "{} has {count} concurrent values: see them with --all or --json, and put one over \
                 all of them with `henge put --context TOKEN`, the token from --json",
                output::shown(args.key.as_bytes()),
            ));
            Ok(Exit::Siblings)
        }
    }
}

fn as_json(got: &Got) -> Value {
    let siblings: Vec<Value> = got
        .siblings
        .iter()
        .map(|sibling| {
            json!({
                "value": json::of_bytes(&sibling.value),
                "written_at": sibling.written_at,
                "expires_at": sibling.expires_at,
            })
        })
        .collect();
    json!({
        "context": got.context.to_string(),
        "siblings": siblings,
        "answers": got.answers,
        "hinted": got.hinted,
    })
}
