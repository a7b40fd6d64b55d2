//! The weight of this peer: what it was told last counts, at a start or while it runs.

use henge_client::{Failure, Response};
use henge_membership::Declaration;
use henge_types::codec::Stored;
use henge_types::{MemberState, Weight};
use serde::{Deserialize, Serialize};

use super::Core;
use super::next::{AfterStore, AfterSync};
use super::operations::Origin;
use crate::store::{MetaKey, StoreResult, WriteOp};

/// What is saved of the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Weighed {
    /// What the last start was given, if anything.
    given: Option<Weight>,
    /// What holds.
    pub(super) weight: Weight,
}

impl Stored for Weighed {
    const VERSION: u8 = 1;
}

impl Weighed {
    /// What holds after a start that is given this. A start that is given the same as the one before says
    /// nothing new: an unchanged service file does not take back what the operator said since.
    pub(super) fn at_start(saved: Option<Self>, given: Option<Weight>) -> Self {
        let last = saved.unwrap_or_default();
        let news = given.filter(|_| given != last.given);
        Self { given, weight: news.unwrap_or(last.weight) }
    }
}

impl Core {
    /// The operator wants this peer to take another share of the ring. It is answered once a restart
    /// cannot take it back.
    pub(super) fn reweigh(&mut self, origin: Origin, weight: u16) {
        match self.may_weigh(weight) {
            Ok(weight) => self.save_weight(origin, Weighed { weight, ..self.weighed }),
            Err(failure) => self.reply(origin, Response::Failed(failure)),
        }
    }

    fn may_weigh(&self, weight: u16) -> Result<Weight, Failure> {
        let refuse = |reason: String| Failure::BadRequest { reason };
        let weight = Weight::new(weight).map_err(|error| refuse(error.to_string()))?;
        if !self.serves() {
            return Err(Failure::NotReady);
        }
        match self.own_state() {
            Some(MemberState::Active) => Ok(weight),
            Some(MemberState::Leaving | MemberState::Left) => {
                Err(refuse("a peer that leaves its ring has no weight any more".to_owned()))
            }
            None => Err(Failure::NotReady),
        }
    }

    /// Saves the weight; once saved it is declared.
    pub(super) fn save_weight(&mut self, origin: Origin, weighed: Weighed) {
        match weighed.to_stored() {
            Ok(value) => {
                let op = WriteOp::Save { key: MetaKey::Weight, value: value.into() };
                self.write(op, AfterStore::Weight { origin, weighed });
            }
            Err(error) => {
                let reason = error.to_string();
                self.reply(origin, Response::Failed(Failure::Store { reason }));
            }
        }
    }

    pub(super) fn on_weight_stored(
        &mut self,
        origin: Origin,
        weighed: Weighed,
        result: StoreResult,
    ) -> Option<AfterSync> {
        if let StoreResult::Failed(error) = result {
            self.reply(origin, Response::Failed(Failure::Store { reason: error.to_string() }));
            self.on_store_failed(error);
            return None;
        }
        Some(AfterSync::Weight { origin, weighed })
    }

    pub(super) fn on_weight_saved(&mut self, origin: Origin, weighed: Weighed) {
        self.weighed = weighed;
        self.membership.declare(Declaration::default().with_weight(weighed.weight), self.now);
        self.reply(origin, Response::Accepted);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    fn weight(weight: u16) -> Weight {
        Weight::new(weight).unwrap()
    }

    #[test]
    fn what_was_said_last_holds_over_restarts() {
        let first = Weighed::at_start(None, None);
        assert_eq!(first.weight, weight(1));
        assert_eq!(Weighed::at_start(None, Some(weight(2))).weight, weight(2));

        // Said while it ran.
        let said = Weighed { weight: weight(5), ..Weighed::at_start(None, Some(weight(2))) };
        assert_eq!(Weighed::at_start(Some(said), Some(weight(2))).weight, weight(5), "the same start");
        assert_eq!(Weighed::at_start(Some(said), Some(weight(3))).weight, weight(3), "another start");
        let without = Weighed::at_start(Some(said), None);
        assert_eq!(without.weight, weight(5), "a start that says nothing");
        assert_eq!(Weighed::at_start(Some(without), Some(weight(2))).weight, weight(2), "said anew");
    }

    #[test]
    fn what_is_saved_has_golden_bytes() {
        let weighed = Weighed { given: None, weight: weight(5) };
        let stored = weighed.to_stored().unwrap();
        let hex: String = stored.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "01a265676976656ef66677656967687405");
        assert_eq!(Weighed::from_stored(&stored).unwrap(), weighed);
        let given = Weighed { given: Some(weight(2)), weight: weight(64) };
        let stored = given.to_stored().unwrap();
        let hex: String = stored.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "01a265676976656e02667765696768741840");
        // Out of range is no weight.
        assert!(Weighed::from_stored(b"\x01\xa2\x65given\x02\x66weight\x18\x41").is_err());
    }
}
