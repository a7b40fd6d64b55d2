//! `henge leave`

use std::time::Duration;

use clap::Args;
use henge::handle::Handle;
use henge_client::{Member, Request, Response, Status};
use henge_types::MemberState;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::PeerArgs;
use crate::exit::{CliError, Exit};
use crate::output;

/// How often it is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Make a peer leave its ring
///
/// The peer is placed no more, gives everything that it has to the peers that own it now, and then
/// has left: it may be stopped, and its data directory deleted. This waits for that and shows how far it
/// is; interrupted, the peer goes on with it, also after a restart, and the same command
/// watches it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  henge leave --peer /ip4/192.0.2.7/tcp/4001
  henge leave --no-wait")]
pub(crate) struct LeaveArgs {
    /// Only begin, and do not wait for the end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) async fn run(args: LeaveArgs) -> Result<Exit, CliError> {
    let client = args.peer.connect_to_one().await?;
    let left = leave(client.handle(), args.no_wait).await;
    client.close().await;
    left
}

async fn leave(handle: &Handle, no_wait: bool) -> Result<Exit, CliError> {
    accepted(handle.call(Request::Leave).await?)?;
    if no_wait {
        output::note("the peer leaves; `henge leave` again watches it");
        return Ok(Exit::Done);
    }
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} partitions given up, {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    loop {
        let status = handle.status().await?;
        let Some(own) = own(&status) else {
            return Err(CliError::Failed("the peer does not know itself".to_owned()));
        };
        let left = u64::from(own.full) + u64::from(own.part);
        bar.set_length(bar.length().unwrap_or(0).max(left));
        bar.set_position(bar.length().unwrap_or(0) - left);
        let hints: u64 = status.hints.iter().map(|queue| queue.count).sum();
        bar.set_message(if hints > 0 { format!("({hints} hints to hand over)") } else { String::new() });
        if own.state == MemberState::Left {
            bar.finish_and_clear();
            output::note("the peer has left its ring, and may be stopped");
            return Ok(Exit::Done);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The member that tells.
fn own(status: &Status) -> Option<&Member> {
    status.members.iter().find(|member| member.peer == status.peer)
}

/// Whether a peer does what it was asked.
pub(crate) fn accepted(response: Response) -> Result<(), CliError> {
    match response {
        Response::Accepted => Ok(()),
        Response::Failed(failure) => Err(henge::error::RequestError::Failed(failure).into()),
        Response::Written { .. }
        | Response::Found { .. }
        | Response::NotFound { .. }
        | Response::Status(_)
        | Response::Repair(_)
        | Response::Snapshot(_)
        | Response::Located(_) => Err(henge::error::RequestError::WrongAnswer.into()),
    }
}
