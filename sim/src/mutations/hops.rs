//! Messages that are changed on their way, as a peer with the bug would have understood them.

use henge::core::{Request, Response};
use henge_client as client;
use henge_quorum as quorum;
use henge_sync as sync;
use henge_types::{Key, Partition, Record, RingId, Voter, Voters, VotersDigest};

use crate::seam::{Ask, Seam};
use crate::world::Pid;

/// Whatever a replica that sees other voters says is taken for what it was asked.
pub(super) struct StaleCounted;

impl Seam for StaleCounted {
    fn response(&self, _: Pid, request: &Request, response: Response) -> Response {
        let Response::Quorum(quorum::Response::Stale { .. }) = response else { return response };
        Response::Quorum(match request {
            Request::Quorum(quorum::Request::Write { .. }) => quorum::Response::Written,
            Request::Quorum(quorum::Request::Read { want: quorum::Want::Digest, .. }) => {
                quorum::Response::Digest(Record::new().digest())
            }
            _ => quorum::Response::Record(Record::new()),
        })
    }
}

/// Each request seems to come from one who sees the same voters as its receiver.
pub(super) struct DigestIgnored;

impl Seam for DigestIgnored {
    fn request(&self, request: Request, ask: &mut Ask<'_>) -> Request {
        match request {
            Request::Quorum(quorum::Request::Write { ring, voters, key, record, strict }) => {
                let voters = own_digest(ring, &key, ask).unwrap_or(voters);
                Request::Quorum(quorum::Request::Write { ring, voters, key, record, strict })
            }
            Request::Quorum(quorum::Request::Read { ring, voters, key, want, strict }) => {
                let voters = own_digest(ring, &key, ask).unwrap_or(voters);
                Request::Quorum(quorum::Request::Read { ring, voters, key, want, strict })
            }
            request => request,
        }
    }
}

fn own_digest(ring: RingId, key: &Key, ask: &mut Ask<'_>) -> Option<VotersDigest> {
    let client::Response::Located(located) = ask(client::Request::Locate { key: key.clone() })? else {
        return None;
    };
    let client::Response::Status(status) = ask(client::Request::Status)? else { return None };
    let partition: Partition = located.partition;
    let voter = |v: &client::LocatedVoter| {
        let member = status.members.iter().find(|m| m.peer == v.peer)?;
        Some(Voter { peer: v.peer, incarnation: member.incarnation, owner: v.owner, custody: v.custody })
    };
    let voters: Option<Vec<Voter>> = located.voters.iter().map(voter).collect();
    Some(Voters::new(ring, partition, voters?).digest())
}

/// Whoever is asked agrees to forget all that it is asked about.
pub(super) struct CollectUnasked;

impl Seam for CollectUnasked {
    fn response(&self, _: Pid, request: &Request, response: Response) -> Response {
        match (request, response) {
            (Request::Sync(sync::Request::Collect { dead, .. }), Response::Sync(_)) => {
                Response::Sync(sync::Response::Collected { agreed: vec![true; dead.len()] })
            }
            (_, response) => response,
        }
    }
}

/// Only the first peer is believed when it says that it holds something; the others are taken for
/// empty, whatever they say.
pub(super) struct AcquireFromOne;

impl Seam for AcquireFromOne {
    fn response(&self, from: Pid, _: &Request, response: Response) -> Response {
        match response {
            Response::Sync(sync::Response::Compared { answers }) if from != 0 => {
                let answers = answers.iter().map(|_| sync::Answer::Empty).collect();
                Response::Sync(sync::Response::Compared { answers })
            }
            response => response,
        }
    }
}
