//! Signatures with the keys of libp2p.

use henge_types::PeerId;
use henge_types::member::Signer;
use libp2p::identity::{Keypair, PublicKey};

/// The code of a multihash that is its own content.
const IDENTITY_HASH: u64 = 0;

/// Signs with the key pair of this peer; checks with the public keys inside peer ids.
#[derive(Debug)]
pub(super) struct Keys {
    own: Keypair,
}

impl Keys {
    pub(super) fn new(own: Keypair) -> Self {
        Self { own }
    }

    /// Whether others can check what this key signs.
    pub(super) fn is_inside(peer: &PeerId) -> bool {
        public_key(peer).is_some()
    }
}

impl Signer for Keys {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        // Only RSA keys can fail, and they do not fit into a peer id.
        self.own.sign(message).unwrap_or_default()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        public_key(peer).is_some_and(|key| key.verify(message, signature))
    }
}

fn public_key(peer: &PeerId) -> Option<PublicKey> {
    let hash = peer.as_ref();
    (hash.code() == IDENTITY_HASH).then(|| PublicKey::try_decode_protobuf(hash.digest()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use henge_types::member::Signer as _;
    use libp2p::identity::Keypair;

    use super::Keys;

    #[test]
    fn a_signature_fits_its_peer_and_message_only() {
        let (own, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (peer, stranger) = (own.public().to_peer_id(), other.public().to_peer_id());
        let keys = Keys::new(own);
        let signature = keys.sign(b"message");
        assert!(keys.verify(&peer, b"message", &signature));
        assert!(!keys.verify(&peer, b"another", &signature));
        assert!(!keys.verify(&stranger, b"message", &signature));
    }
}
