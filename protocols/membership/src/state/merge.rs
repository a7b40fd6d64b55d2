//! What others say about members, and what it means when they know more of this peer than it
//! does itself.

use henge_types::{Custody, CustodyMap, DecodeError, Incarnation, MemberError, Now, PeerId, SignedMember};

use super::links::Kind;
use super::{Action, Declaration, Relay, State};
use crate::fault::Fault;
use crate::limits::{FAULTS_PER_MESSAGE_MAX, REBIRTH_MIN};
use crate::message::{Gossip, Update, decode_gossip};
use crate::view::{Member, Merged};

impl State {
    /// `from` told of members in an answer of another protocol (a replica that sees other voters).
    pub fn on_updates(&mut self, from: PeerId, updates: Vec<Update>, now: Now) {
        self.merge_all(from, updates, now);
        self.settle(now);
    }

    /// A payload came by gossip from the connected peer `source`, who need not have written it.
    /// Says what to do with it.
    pub fn on_gossip(&mut self, source: PeerId, payload: &[u8], now: Now) -> Relay {
        let wanted = decode_gossip(payload).and_then(|gossip| match gossip {
            Gossip::Member(member) => self.merge_gossip(member, now),
            Gossip::Accusation(accusation) => self.judge_gossip(accusation, now),
        });
        let relay = match &wanted {
            Ok(true) => Relay::Forward,
            Ok(false) => Relay::Ignore,
            Err(fault) if is_forgery(fault) => Relay::Reject,
            Err(_) => Relay::Ignore,
        };
        // Before it is in a ring, a peer cannot tell what belongs to its own.
        if let (Err(fault), true) = (wanted, self.is_member()) {
            self.fault(source, fault);
        }
        self.settle(now);
        relay
    }

    // Says whether others may want it, too.
    fn merge_gossip(&mut self, member: SignedMember, now: Now) -> Result<bool, Fault> {
        let peer = member.record().peer;
        let merged = self.merge_one(Update { member, custody: None }, now)?;
        if matches!(merged, Merged::New | Merged::Newer) {
            self.note_fresh(&peer, now);
        }
        if merged == Merged::Evicted {
            self.tell_evicted(&peer);
        }
        Ok(matches!(merged, Merged::New | Merged::Newer | Merged::Same))
    }

    // Says how many of the updates were news. After some faults the rest is not read: to check a
    // signature costs more than to make up an update.
    pub(super) fn merge_all(&mut self, from: PeerId, updates: Vec<Update>, now: Now) -> usize {
        let (mut news, mut faults) = (0, 0);
        for update in updates {
            let about = update.member.record().peer;
            let merged = self.merge_one(update, now);
            if about == from && matches!(merged, Ok(Merged::New | Merged::Newer | Merged::Same)) {
                self.note_fresh(&about, now);
            }
            match merged {
                Ok(Merged::New | Merged::Newer) => news += 1,
                Ok(Merged::Same | Merged::Older | Merged::Evicted) => {}
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

    pub(super) fn merge_one(&mut self, update: Update, now: Now) -> Result<Merged, Fault> {
        let peer = update.member.record().peer;
        if peer == self.me {
            return self.merge_own(&update, now);
        }
        let before = self.suspects_of(&peer);
        let merged = self.view.merge(update, &*self.signer, now)?;
        if matches!(merged, Merged::New | Merged::Newer) {
            self.record_changed(peer, &before, now);
        }
        match merged {
            Merged::New => {
                self.counters.new += 1;
                if self.view.get(&peer).is_some_and(Member::is_present) {
                    self.actions.push_back(Action::NewMember { peer });
                    self.links.want(peer, Kind::Exchange);
                }
            }
            Merged::Newer => self.counters.newer += 1,
            Merged::Same => self.counters.same += 1,
            Merged::Older => self.counters.older += 1,
            Merged::Evicted => self.counters.evicted += 1,
        }
        Ok(merged)
    }

    // The own record is written here only. An echo is ignored. One that this life of the store
    // cannot have written shows that the store was lost or rolled back (or that the identity is
    // used twice), so its custody is not to be trusted: only a new incarnation, with custody of
    // nothing, supersedes what others hold. An echo may show that this peer was leaving when it lost
    // its view.
    fn merge_own(&mut self, update: &Update, now: Now) -> Result<Merged, Fault> {
        let record = update.member.record();
        if self.view.ring() != Some(record.ring) {
            return Err(Fault::OtherRing { ring: record.ring });
        }
        let echo = self.own.may_have_signed(record.incarnation, record.counter);
        let forgot = self.own.forgot_to_leave(record.incarnation, record.state);
        if echo && !forgot {
            self.counters.same += 1;
            return Ok(Merged::Same);
        }
        update.member.verify(&*self.signer)?;
        if forgot {
            self.own.take(Declaration::default().with_state(record.state));
        }
        if echo {
            self.speak(now);
            return Ok(Merged::Same);
        }
        self.counters.conflicts += 1;
        let too_soon = self.reborn_at.is_some_and(|at| now.monotonic < at + REBIRTH_MIN);
        if !too_soon && record.incarnation < Incarnation(u64::MAX) {
            self.reborn_at = Some(now.monotonic);
            self.be_reborn(record.incarnation, |incarnation| Action::Reborn { incarnation }, now);
        }
        Ok(Merged::Older)
    }

    /// Goes on in a new life, later than the one known, and announces it.
    pub(super) fn be_reborn(
        &mut self,
        known: Incarnation,
        announce: impl FnOnce(Incarnation) -> Action,
        now: Now,
    ) {
        self.begin_life(known, now);
        let before = self.suspects_of(&self.me);
        self.view.retract(&self.me);
        self.record_changed(self.me, &before, now);
        self.actions.push_back(announce(self.own.incarnation()));
        self.speak(now);
    }

    // max(Unix milliseconds, last known + 1): newer than all that is known even if the clock is
    // behind, and than all that is not known if it is right.
    pub(super) fn begin_life(&mut self, known: Incarnation, now: Now) {
        let nothing = CustodyMap::uniform(self.params.partitions(), Custody::None);
        self.own.begin(Incarnation(now.unix_ms.max(known.0.saturating_add(1))), nothing);
    }
}

// What no honest peer passes on, of whatever ring and version.
fn is_forgery(fault: &Fault) -> bool {
    match fault {
        Fault::Member(MemberError::Signature { .. } | MemberError::HashedKey { .. }) => true,
        Fault::Accusation(_) => true,
        Fault::Undecodable(error) => !matches!(error, DecodeError::Newer { .. }),
        Fault::TooMany { .. } => true,
        Fault::Member(_)
        | Fault::OtherRing { .. }
        | Fault::OtherSecret
        | Fault::Accused { .. }
        | Fault::Custody { .. }
        | Fault::WrongResponse
        | Fault::ViewFull { .. } => false,
    }
}
