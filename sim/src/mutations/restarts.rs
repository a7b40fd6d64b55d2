//! Peers that find at their start what they should not find.

use henge::actors::Counters;
use henge::core::Saved;
use henge::store::MetaKey;
use henge_types::codec::Stored;

use crate::seam::Seam;
use crate::world::Pid;

/// The last stop counts as clean, whatever it was.
pub(super) struct ActorGoesOn;

impl Seam for ActorGoesOn {
    fn saved(&self, _: Pid, saved: Saved, _: bool) -> Saved {
        forge(saved, |counters| Counters { clean: true, ..counters })
    }
}

/// The last stop counts as clean, and no dot as given.
pub(super) struct DotsForgotten;

impl Seam for DotsForgotten {
    fn saved(&self, _: Pid, saved: Saved, _: bool) -> Saved {
        forge(saved, |counters| Counters { clean: true, dots: 0, ..counters })
    }
}

/// Metadata outlives the disk, so that its loss does not show.
pub(super) struct DiskLossUnnoticed;

impl Seam for DiskLossUnnoticed {
    fn keeps_meta(&self) -> bool {
        true
    }
}

fn forge(mut saved: Saved, bend: impl Fn(Counters) -> Counters) -> Saved {
    let counters = saved.get(&MetaKey::Counters).and_then(|bytes| Counters::from_stored(bytes).ok());
    if let Some(forged) = counters.and_then(|counters| bend(counters).to_stored().ok()) {
        saved.insert(MetaKey::Counters, forged.into());
    }
    saved
}
