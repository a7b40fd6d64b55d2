//! Peer ids and signatures that cost nothing: no cryptography, and still nobody signs for another.

use std::sync::Arc;

use henge::core::Identity;
use henge_types::member::Signer;
use henge_types::{Multiaddr, PeerId};

use crate::world::Pid;

/// The id of the peer with this number.
#[must_use]
pub fn peer_id(seed: u64, pid: Pid) -> PeerId {
    let mut bytes = vec![0, 24];
    bytes.extend((pid as u64).to_be_bytes());
    bytes.extend(mix(seed, pid as u64).to_be_bytes());
    bytes.extend(mix(pid as u64, seed).to_be_bytes());
    // An identity multihash of 24 bytes is a peer id.
    PeerId::from_bytes(&bytes).unwrap_or_else(|_| PeerId::random())
}

/// Where the peer with this number can be dialled.
#[must_use]
pub fn address(pid: Pid) -> Multiaddr {
    format!("/memory/{}", pid + 1).parse().unwrap_or_else(|_| Multiaddr::empty())
}

/// Who can be dialled at `address`.
#[must_use]
pub fn pid_at(address: &Multiaddr) -> Option<Pid> {
    address.to_string().strip_prefix("/memory/")?.parse::<Pid>().ok()?.checked_sub(1)
}

/// The identity of the peer with this number.
#[must_use]
pub fn identity(seed: u64, pid: Pid) -> Identity {
    let peer = peer_id(seed, pid);
    Identity { peer, signer: Arc::new(Seal { peer }) }
}

struct Seal {
    peer: PeerId,
}

impl Signer for Seal {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        seal(&self.peer, message).to_be_bytes().to_vec()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        seal(peer, message).to_be_bytes() == signature
    }
}

fn seal(peer: &PeerId, message: &[u8]) -> u64 {
    let id = peer.to_bytes();
    id.chunks(8).chain(message.chunks(8)).fold(0x5ea1, |hash, chunk| {
        mix(hash, chunk.iter().fold(chunk.len() as u64, |word, byte| word << 8 | u64::from(*byte)))
    })
}

fn mix(a: u64, b: u64) -> u64 {
    let z = (a.rotate_left(23) ^ b).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}
