//! Dials that the core asked for: what each was for, what is left to try, and why it failed.

use std::collections::HashMap;
use std::error::Error;
use std::io;

use henge_types::{Multiaddr, PeerId};
use libp2p::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};

use super::addresses::is_quic;
use crate::core::Input;

/// Dials under way. The core dials members and addresses to join through, each once at a time.
const DIALS_MAX: usize = 1024;
/// Addresses of one dial whose failures are told.
const REASONS_MAX: usize = 3;
/// Longest text of one failure. It may quote what a remote sent.
const REASON_MAX_CHARS: usize = 256;

/// Dials under way, by the connection that they are to make.
#[derive(Debug, Default)]
pub(super) struct Dials {
    under_way: HashMap<ConnectionId, Dial>,
}

#[derive(Debug)]
struct Dial {
    target: Target,
    /// Addresses to try when those under way have failed.
    rest: Vec<Multiaddr>,
    /// Why earlier ones failed.
    reasons: Vec<String>,
}

#[derive(Debug, Clone)]
enum Target {
    Member(PeerId),
    Address(Multiaddr),
}

impl Target {
    fn failed(self, reason: String) -> Input {
        match self {
            Self::Member(peer) => Input::DialFailed { peer: Some(peer), address: None, reason },
            Self::Address(address) => {
                Input::DialFailed { peer: peer_in(&address), address: Some(address), reason }
            }
        }
    }
}

/// What follows.
#[derive(Debug)]
pub(super) enum Next {
    /// The swarm dials.
    Dial(DialOpts),
    /// The core is told.
    Tell(Input),
}

impl Dials {
    /// Dials a member: first all its addresses but QUIC, at once; then those over QUIC.
    ///
    /// The swarm races addresses, and QUIC often wins the race to connect and then loses in every
    /// request (a third of the throughput on loopback).
    pub(super) fn member(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> Next {
        let (quic, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_quic);
        let (first, rest) = if other.is_empty() { (quic, other) } else { (other, quic) };
        let target = Target::Member(peer);
        if first.is_empty() {
            return Next::Tell(target.failed("no address of it is known".to_owned()));
        }
        self.start(Dial { target, rest, reasons: Vec::new() }, to_peer(peer, first))
    }

    /// Dials whoever is at `address`.
    pub(super) fn address(&mut self, address: Multiaddr) -> Next {
        let opts = DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build();
        self.start(Dial { target: Target::Address(address), rest: Vec::new(), reasons: Vec::new() }, opts)
    }

    /// The connection is open: the address, where it was one to join through.
    pub(super) fn on_established(&mut self, connection: ConnectionId) -> Option<Multiaddr> {
        match self.under_way.remove(&connection)?.target {
            Target::Member(_) => None,
            Target::Address(address) => Some(address),
        }
    }

    /// No connection: whether another address is left. `None` for the dials of others, and where
    /// the peer is connected already.
    pub(super) fn on_failed(&mut self, connection: ConnectionId, error: &DialError) -> Option<Next> {
        let mut dial = self.under_way.remove(&connection)?;
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            return None;
        }
        dial.reasons.push(reason(error, &dial.target));
        if let Target::Member(peer) = dial.target
            && !dial.rest.is_empty()
        {
            let opts = to_peer(peer, std::mem::take(&mut dial.rest));
            return Some(self.start(dial, opts));
        }
        Some(Next::Tell(dial.target.failed(dial.reasons.join("; "))))
    }

    fn start(&mut self, dial: Dial, opts: DialOpts) -> Next {
        if self.under_way.len() >= DIALS_MAX {
            return Next::Tell(dial.target.failed("too many dials are under way".to_owned()));
        }
        self.under_way.insert(opts.connection_id(), dial);
        Next::Dial(opts)
    }
}

/// From a new port: two peers that dial each other from the ports they listen on can meet in one
/// TCP connection of which both are the dialer, and neither can go on.
fn to_peer(peer: PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    DialOpts::peer_id(peer)
        .condition(PeerCondition::Disconnected)
        .addresses(addresses)
        .allocate_new_port()
        .build()
}

fn peer_in(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) | None => None,
    }
}

/// Why a dial failed, in words for a person.
fn reason(error: &DialError, target: &Target) -> String {
    match error {
        DialError::LocalPeerId { .. } => "that is an address of this peer itself".to_owned(),
        DialError::NoAddresses => match target {
            Target::Member(_) => "all its addresses are addresses of this peer itself".to_owned(),
            Target::Address(_) => "that is an address of this peer itself".to_owned(),
        },
        DialError::DialPeerConditionFalse(_) => "it is connected already".to_owned(),
        DialError::Aborted => "the dial was given up".to_owned(),
        DialError::WrongPeerId { obtained, address } => wrong_peer(obtained, address, target),
        DialError::Denied { cause } => {
            format!("this program does not allow the connection: {}", root_cause(cause))
        }
        DialError::Transport(errors) => transport(errors),
    }
}

fn wrong_peer(obtained: &PeerId, address: &Multiaddr, target: &Target) -> String {
    let expected = match target {
        Target::Member(peer) => Some(*peer),
        Target::Address(address) => peer_in(address),
    };
    let address: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
    match expected {
        Some(expected) => format!("at {address} answers the peer {obtained}, not {expected}"),
        None => format!("at {address} answers the peer {obtained}"),
    }
}

fn transport(errors: &[(Multiaddr, TransportError<io::Error>)]) -> String {
    let told = errors.iter().take(REASONS_MAX).map(|(address, error)| {
        let address: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        match error {
            TransportError::MultiaddrNotSupported(_) => {
                format!("{address} is no address that can be dialled")
            }
            TransportError::Other(error) => format!("{address}: {}", root_cause(error)),
        }
    });
    let mut told: Vec<String> = told.collect();
    if errors.len() > REASONS_MAX {
        told.push(format!("and {} more addresses", errors.len() - REASONS_MAX));
    }
    told.join(", ")
}

/// The innermost of nested errors: what the system or the remote said.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        // An `io::Error` made of another error does not show it as its source.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| cause.source()) {
            Some(source) => cause = source,
            None => break,
        }
    }
    let text = cause.to_string();
    match text.char_indices().nth(REASON_MAX_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use libp2p::PeerId;
    use libp2p::swarm::DialError;
    use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};

    use super::{Dials, Next};
    use crate::core::Input;

    const TCP: &str = "/ip4/192.0.2.1/tcp/1";
    const QUIC: &str = "/ip4/192.0.2.1/udp/1/quic-v1";

    fn dialled(next: Next) -> DialOpts {
        match next {
            Next::Dial(opts) => opts,
            Next::Tell(input) => panic!("{input:?}"),
        }
    }

    fn told(next: Next) -> (Option<PeerId>, Option<String>, String) {
        if let Next::Tell(Input::DialFailed { peer, address, reason }) = next {
            (peer, address.map(|address| address.to_string()), reason)
        } else {
            panic!("{next:?}")
        }
    }

    #[test]
    fn quic_is_dialled_when_all_else_has_failed_and_the_reasons_of_both_are_told() {
        let mut dials = Dials::default();
        let peer = PeerId::random();
        let first = dialled(dials.member(peer, vec![QUIC.parse().unwrap(), TCP.parse().unwrap()]));
        assert!(format!("{first:?}").contains(TCP) && !format!("{first:?}").contains(QUIC), "{first:?}");
        let second = dialled(dials.on_failed(first.connection_id(), &DialError::Aborted).unwrap());
        assert!(format!("{second:?}").contains(QUIC), "{second:?}");
        let (whom, address, reason) =
            told(dials.on_failed(second.connection_id(), &DialError::NoAddresses).unwrap());
        assert_eq!((whom, address), (Some(peer), None));
        assert!(reason.contains("given up") && reason.contains("addresses of this peer"), "{reason}");
    }

    #[test]
    fn an_address_is_told_with_the_peer_that_answers_there_instead() {
        let mut dials = Dials::default();
        let (expected, obtained) = (PeerId::random(), PeerId::random());
        let address = format!("{TCP}/p2p/{expected}");
        let opts = dialled(dials.address(address.parse().unwrap()));
        let error = DialError::WrongPeerId { obtained, address: address.parse().unwrap() };
        let (_, told_address, reason) = told(dials.on_failed(opts.connection_id(), &error).unwrap());
        assert_eq!(told_address, Some(address));
        assert_eq!(reason, format!("at {TCP} answers the peer {obtained}, not {expected}"));
    }

    #[test]
    fn a_member_that_is_connected_already_and_dials_of_others_are_no_failures() {
        let mut dials = Dials::default();
        let opts = dialled(dials.member(PeerId::random(), vec![TCP.parse().unwrap()]));
        let condition = DialError::DialPeerConditionFalse(PeerCondition::Disconnected);
        assert!(dials.on_failed(opts.connection_id(), &condition).is_none());
        assert!(dials.on_failed(opts.connection_id(), &DialError::Aborted).is_none());
    }

    #[test]
    fn a_member_without_addresses_is_told_at_once() {
        let (_, _, reason) = told(Dials::default().member(PeerId::random(), Vec::new()));
        assert!(reason.contains("no address"), "{reason}");
    }
}
