//! The ring: the tokens of all placed peers in clockwise order, and walks along them.
//!
//! Dynamo §4.2 gives each peer several positions ("virtual nodes") in proportion to its capacity;
//! §6.2, strategy 3 cuts the ring into equal partitions, so that data moves as whole slices.

use henge_types::{ClusterParams, Partition, PeerId, Position, Weight};
use sha2::{Digest, Sha256};

/// The tokens in clockwise order. Only whose they are is kept: where a partition begins among
/// them is all that a walk needs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    /// The peer, by its number, of each token.
    tokens: Vec<u32>,
    /// For each partition, the first token at or after its first position; one more for the end.
    starts: Vec<u32>,
    peers: usize,
}

impl Ring {
    /// The ring of `peers`, who are numbered in the order given. Two tokens at one position
    /// (which 64 bits make all but impossible) stand in that order.
    pub(crate) fn new<'a>(
        peers: impl ExactSizeIterator<Item = (&'a PeerId, Weight)>,
        params: &ClusterParams,
    ) -> Self {
        let count = peers.len();
        let mut placed: Vec<(Position, u32)> = Vec::new();
        for ((peer, weight), number) in peers.zip(0..) {
            let tokens = u32::from(weight.get()) * u32::from(params.tokens_per_weight());
            placed.extend(tokens_of(peer, tokens).map(|position| (position, number)));
        }
        placed.sort_unstable();
        let partitions = params.partitions();
        let mut starts = Vec::with_capacity(partitions.len() + 1);
        let mut before = 0;
        for partition in partitions.all() {
            let first = partition.first_position(partitions);
            before += placed.iter().skip(before).take_while(|(position, _)| *position < first).count();
            starts.push(u32::try_from(before).unwrap_or(u32::MAX));
        }
        Self { tokens: placed.into_iter().map(|(_, number)| number).collect(), starts, peers: count }
    }

    /// The peers of all tokens, clockwise from the first position of `partition`, once around:
    /// each peer as often as it has tokens. Nothing for a partition that the ring does not have.
    pub(crate) fn tokens_from(&self, partition: Partition) -> impl Iterator<Item = u32> + Clone {
        let start = self.starts.get(partition.index()).map_or(self.tokens.len(), |s| *s as usize);
        let (before, after) = self.tokens.split_at(start.min(self.tokens.len()));
        let before = if partition.index() < self.starts.len() { before } else { &[] };
        after.iter().chain(before).copied()
    }

    /// Each peer once, in the order in which a walk from `partition` meets it first.
    pub(crate) fn walk(&self, partition: Partition) -> impl Iterator<Item = u32> {
        let mut met = vec![false; self.peers];
        self.tokens_from(partition)
            .filter(move |number| {
                met.get_mut(*number as usize).is_some_and(|met| !std::mem::replace(met, true))
            })
            .take(self.peers)
    }
}

/// The first `count` tokens of `peer`, as [`Position::of_token`] has them, with the hash of the
/// peer id begun only once.
fn tokens_of(peer: &PeerId, count: u32) -> impl Iterator<Item = Position> {
    let begun = Sha256::new().chain_update(peer.to_bytes());
    (0..count).map(move |index| {
        let hash = begun.clone().chain_update(index.to_be_bytes()).finalize();
        Position::of_hash(hash.as_ref())
    })
}
