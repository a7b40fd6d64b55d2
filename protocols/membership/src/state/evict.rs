//! Accusing members, and what follows when enough of them do.

use std::time::Duration;

use henge_types::{Accusation, Cause, Now, PeerId, SignedAccusation};
use thiserror::Error;

use super::{Action, State};
use crate::fault::Fault;
use crate::limits::{DIRECT_MEMBERS_MAX, FAULTS_PER_MESSAGE_MAX};
use crate::message::{Accused, Gossip, encode_gossip};
use crate::view::{Eviction, Judged, Member};

/// Why a member cannot be accused. Nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// The accuser is in no ring, has left it, or has not yet said that it is in it.
    #[error("this peer is no member of a ring")]
    NotMember,
    /// A peer leaves by itself.
    #[error("this is the peer itself: let it leave")]
    Oneself,
    /// Nobody of that name is in the ring.
    #[error("no such member is known")]
    Unknown,
    /// It is gone from the ring.
    #[error("it has left the ring")]
    Left,
    /// It was evicted, and has not come back.
    #[error("it was evicted already")]
    Evicted,
    /// It is not taken to be gone: [`State::is_down`].
    #[error("it is not down")]
    NotDown,
    /// Since this peer is in the ring it has not heard of that one at first hand, so it cannot tell
    /// whether others have.
    #[error("this peer was no active member when that one was last heard of")]
    NoWitness,
    /// The accusation could not be signed.
    #[error("the accusation cannot be signed")]
    Unsigned,
}

impl State {
    /// Accuses `peer`, in the life that is known of it, and tells everybody. Its eviction, if this is
    /// enough for it, is in the view when this returns. To say it twice changes nothing.
    ///
    /// Whether it is time for [`Cause::Gone`] ([`State::gone_for`]), and whether the data bears the loss, is
    /// for the caller to know; and for an operator's [`Cause::Removed`], whether to wait for the lease.
    ///
    /// # Errors
    /// [`WhyNot`].
    pub fn accuse(&mut self, peer: PeerId, cause: Cause, now: Now) -> Result<(), WhyNot> {
        let member = self.check_accusable(&peer, cause)?;
        let (last, electorate) = (member.signed().clone(), member.electorate());
        let accusation = Accusation {
            ring: last.record().ring,
            accuser: self.me,
            accused: peer,
            incarnation: last.record().incarnation,
            counter: last.record().counter,
            cause,
            electorate,
            issued_unix_ms: now.unix_ms,
        };
        let signed = SignedAccusation::sign(accusation, &*self.signer).map_err(|_| WhyNot::Unsigned)?;
        let accused = Accused { member: last, accusations: vec![signed.clone()] };
        if cause == Cause::Removed || !self.view.is_pending(&peer, &self.me) {
            if let Ok(payload) = encode_gossip(&Gossip::Accusation(signed)) {
                self.actions.push_back(Action::Publish { payload });
            }
            if let Err(fault) = self.judge(accused, now) {
                tracing::error!(%fault, "the own accusation does not count");
            }
            self.tell_of_accused(peer);
        }
        self.settle(now);
        Ok(())
    }

    fn check_accusable(&self, peer: &PeerId, cause: Cause) -> Result<&Member, WhyNot> {
        if !self.view.get(&self.me).is_some_and(Member::is_present) {
            return Err(WhyNot::NotMember);
        }
        if *peer == self.me {
            return Err(WhyNot::Oneself);
        }
        let Some(member) = self.view.get(peer) else {
            return Err(if self.view.knows(peer) { WhyNot::Evicted } else { WhyNot::Unknown });
        };
        if !member.is_present() {
            return Err(WhyNot::Left);
        }
        match cause {
            Cause::Gone if !self.is_down(peer) => Err(WhyNot::NotDown),
            Cause::Gone if member.electorate() == 0 => Err(WhyNot::NoWitness),
            Cause::Gone | Cause::Removed => Ok(member),
        }
    }

    /// For how long this peer has taken `peer` for down without interruption; none if it does not. The time
    /// in which this peer itself did not run does not count, and after a long sleep it begins anew, as
    /// after a restart.
    #[must_use]
    pub fn gone_for(&self, peer: &PeerId, now: Now) -> Option<Duration> {
        self.down_for(peer, now.monotonic)
    }

    /// All evictions, in the order of the peer ids: of each peer the last one, even if it came back since.
    pub fn evictions(&self) -> impl ExactSizeIterator<Item = (&PeerId, &Eviction)> {
        self.view.evictions()
    }

    /// `from` told of accusations.
    pub(super) fn judge_all(&mut self, from: PeerId, accused: Vec<Accused>, now: Now) -> usize {
        let (mut news, mut faults) = (0, 0);
        for one in accused {
            // The proof of an eviction may name accusers that are gone since: then it is as good as the
            // member that passes it on.
            if !self.view.knows(&from) {
                break;
            }
            match self.judge(one, now) {
                Ok(Judged::Evicted | Judged::Noted) => news += 1,
                Ok(Judged::Nothing) => {}
                Err(fault) => {
                    faults += usize::from(!matches!(fault, Fault::ViewFull { .. }));
                    self.fault(from, fault);
                    if faults >= FAULTS_PER_MESSAGE_MAX {
                        break;
                    }
                }
            }
        }
        news
    }

    /// An accusation came by gossip, without the record that shows the life that it is about. Says whether
    /// it is worth to be passed on.
    pub(super) fn judge_gossip(&mut self, signed: SignedAccusation, now: Now) -> Result<bool, Fault> {
        let accusation = signed.accusation();
        let (accused, incarnation) = (accusation.accused, accusation.incarnation);
        if self.view.is_evicted(&accused, incarnation) {
            // Others may not know it yet.
            return Ok(true);
        }
        let known = self.view.get(&accused).filter(|known| known.record().incarnation == incarnation);
        let Some(member) = known.filter(|_| self.view.knows(&accusation.accuser)) else { return Ok(false) };
        let repeated = self.view.is_pending(&accused, &accusation.accuser);
        let proof = Accused { member: member.signed().clone(), accusations: vec![signed] };
        let judged = self.judge(proof, now)?;
        Ok(repeated || judged != Judged::Nothing)
    }

    fn judge(&mut self, accused: Accused, now: Now) -> Result<Judged, Fault> {
        let peer = accused.member.record().peer;
        let before = self.suspects_of(&peer);
        let was_member = self.view.contains(&peer);
        let judged = self.view.judge(accused, &*self.signer, now)?;
        if judged == Judged::Evicted {
            self.counters.evictions += 1;
            if was_member && !self.view.contains(&peer) {
                self.forget(&peer);
                self.record_changed(peer, &before, now);
            }
            if peer == self.me {
                self.return_from_eviction(now);
            }
            // It learns of it, and the others that this peer knows of it: the lease depends on that.
            self.owe_accused(peer, peer);
            self.speak_soon();
        }
        Ok(judged)
    }

    /// Goes on in a new life if this one was ended.
    pub(super) fn return_from_eviction(&mut self, now: Now) {
        let incarnation = self.own.incarnation();
        let eviction = self.view.evictions().find(|(peer, _)| **peer == self.me).map(|(_, e)| e);
        let Some(ended) = eviction.filter(|eviction| incarnation <= eviction.incarnation()) else { return };
        let (known, at_unix_ms) = (ended.incarnation(), ended.issued_unix_ms());
        self.be_reborn(known, |incarnation| Action::Evicted { incarnation, at_unix_ms }, now);
    }

    /// `peer` still speaks in a life that was ended: it does not know.
    pub(super) fn tell_evicted(&mut self, peer: &PeerId) {
        if !self.view.contains(peer) && self.view.knows(peer) {
            self.owe_accused(*peer, *peer);
        }
    }

    // In a large ring gossip alone carries it.
    fn tell_of_accused(&mut self, accused: PeerId) {
        if self.view.present() <= DIRECT_MEMBERS_MAX {
            for peer in self.linked_members() {
                self.owe_accused(peer, accused);
            }
        }
    }
}
