//! `henge delete`

use bytes::Bytes;
use clap::Args;
use henge::handle::Deleted;
use henge_types::{Context, Key};

use crate::args::{PeerArgs, TimeoutArgs, key_parser, quorum_parser};
use crate::exit::{CliError, Exit};
use crate::{output, put};

/// Delete a key
///
/// Without --context it deletes what a quorum of replicas has. With it, values that were written
/// since stay.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json it prints the same object as `henge put --json`. A key without a value is left alone,
and the exit code is 1.

Examples:
  henge delete greeting
  henge delete cart --context \"$(henge get cart --json | jq -r .context)\"")]
pub(crate) struct DeleteArgs {
    /// The key, 1 to 1,024 bytes
    #[arg(value_parser = key_parser())]
    key: Key,
    /// Delete only what the get saw that printed this token
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    context: Option<Context>,
    /// W: how many replicas must know of it durably [default: the cluster's]
    #[arg(short = 'w', long = "quorum", value_name = "N", value_parser = quorum_parser())]
    quorum: Option<u8>,
    /// Count voters only, no stand-ins
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timeout: TimeoutArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: DeleteArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect().await?;
    let mut delete = client.handle().delete(Bytes::from(args.key.clone())).timeout(args.timeout.timeout());
    if let Some(context) = args.context {
        delete = delete.context(context);
    }
    if let Some(quorum) = args.quorum {
        delete = delete.quorum(quorum);
    }
    if args.strict {
        delete = delete.strict();
    }
    let deleted = delete.await;
    client.close().await;
    match deleted? {
        Deleted::Written(written) => put::report(&written, "deleted", args.json),
        Deleted::Absent => {
            output::complain(&format!("not found: {}", output::shown(args.key.as_bytes())));
            Ok(Exit::NotFound)
        }
    }
}
