//! Which peers can be expected to answer.

use henge_types::PeerId;

use super::Core;

impl Core {
    /// Whether a request to `peer` makes sense now.
    pub(super) fn is_healthy(&self, peer: &PeerId) -> bool {
        self.links.is_connected(peer)
    }
}
