//! Other members to go on with: which of the addresses that a peer tells are worth a try. A value.

use std::collections::BTreeSet;
use std::net::IpAddr;

use henge_client::Status;
use henge_types::{MemberState, Multiaddr};
use libp2p::multiaddr::Protocol;

use super::address::is_supported;

/// Addresses that a client keeps besides those that it was given.
pub(super) const LEARNT_MAX: usize = 32;

/// Addresses of one member. One is enough while its network is; the second may be of another transport.
const LEARNT_EACH_MAX: usize = 2;

/// Addresses at which the members may be reached by whoever reached a peer at `reached`, each with the id of
/// its peer, so that nobody else is taken for it. First one of each member, those first that the peer that
/// tells is connected to itself.
pub(super) fn addresses(status: &Status, reached: &Multiaddr) -> Vec<Multiaddr> {
    let mut members: Vec<_> =
        status.members.iter().filter(|member| member.state != MemberState::Left).collect();
    members.sort_by_key(|member| !member.connected);
    let here = Scope::of(reached);
    let usable: Vec<Vec<Multiaddr>> = members
        .iter()
        .map(|member| {
            let dialable = member.addresses.iter().filter(|address| here.may_reach(address));
            dialable.filter_map(|address| with_peer(address, member.peer)).take(LEARNT_EACH_MAX).collect()
        })
        .collect();
    let turns = (0..LEARNT_EACH_MAX).flat_map(|turn| usable.iter().filter_map(move |of| of.get(turn)));
    let mut seen = BTreeSet::new();
    turns.filter(|address| seen.insert(address.to_vec())).take(LEARNT_MAX).cloned().collect()
}

fn with_peer(address: &Multiaddr, peer: henge_types::PeerId) -> Option<Multiaddr> {
    let address = address.clone().with_p2p(peer).ok()?;
    is_supported(&address).then_some(address)
}

/// What can be reached from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The same machine.
    Loopback,
    /// Beyond it.
    Network,
    /// Nothing.
    Nowhere,
}

impl Scope {
    fn of(address: &Multiaddr) -> Self {
        let ip = match address.iter().next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            Some(_) => return Self::Network,
            None => return Self::Nowhere,
        };
        if ip.is_unspecified() {
            Self::Nowhere
        } else if ip.is_loopback() {
            Self::Loopback
        } else {
            Self::Network
        }
    }

    /// Another machine's loopback leads to this one, where somebody else may listen.
    fn may_reach(self, address: &Multiaddr) -> bool {
        match Self::of(address) {
            Self::Loopback => self == Self::Loopback,
            Self::Network => true,
            Self::Nowhere => false,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use henge_client::{Member, MemberPhase};
    use henge_types::{Incarnation, PeerId};

    use super::*;

    fn member(peer: PeerId, connected: bool, addresses: &[&str]) -> Member {
        Member {
            peer,
            incarnation: Incarnation(1),
            state: MemberState::Active,
            phase: MemberPhase::Settled,
            weight: 1,
            zone: None,
            heartbeat_age_ms: 0,
            connected,
            partitions: 0,
            full: 0,
            part: 0,
            keys: 0,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            down: false,
            accusers: Vec::new(),
        }
    }

    fn status(members: Vec<Member>) -> Status {
        let peer = PeerId::random();
        Status {
            peer,
            cluster: "henge".to_owned(),
            ring: None,
            params: None,
            members,
            hints: Vec::new(),
            counters: Vec::new(),
        }
    }

    fn learnt(members: Vec<Member>, reached: &str) -> Vec<String> {
        addresses(&status(members), &reached.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_member_has_a_turn_and_those_that_are_connected_come_first() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let far = member(a, false, &["/ip4/192.0.2.1/tcp/1"]);
        let near = member(
            b,
            true,
            &["/ip4/192.0.2.2/tcp/1", "/ip4/192.0.2.2/udp/1/quic-v1", "/ip4/192.0.2.2/tcp/2"],
        );
        assert_eq!(
            learnt(vec![far, near], "/dns/example.org/tcp/1"),
            [
                format!("/ip4/192.0.2.2/tcp/1/p2p/{b}"),
                format!("/ip4/192.0.2.1/tcp/1/p2p/{a}"),
                format!("/ip4/192.0.2.2/udp/1/quic-v1/p2p/{b}"),
            ]
        );
    }

    #[test]
    fn addresses_that_lead_elsewhere_or_nowhere_are_left_out() {
        let peer = PeerId::random();
        let all = ["/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip6/::1/tcp/3", "/ip4/192.0.2.1/udp/4"];
        let of = |reached| learnt(vec![member(peer, true, &all)], reached);
        assert_eq!(of("/ip4/192.0.2.9/tcp/1"), Vec::<String>::new());
        let own_machine = [format!("/ip4/127.0.0.1/tcp/2/p2p/{peer}"), format!("/ip6/::1/tcp/3/p2p/{peer}")];
        assert_eq!(of("/ip4/127.0.0.1/tcp/1"), own_machine);
        let mut gone = member(peer, true, &["/ip4/192.0.2.1/tcp/1"]);
        gone.state = MemberState::Left;
        assert_eq!(learnt(vec![gone], "/ip4/192.0.2.9/tcp/1"), Vec::<String>::new());
    }

    #[test]
    fn what_a_peer_can_make_a_client_keep_is_bounded() {
        let crowd = (0..500).map(|_| member(PeerId::random(), true, &["/ip4/192.0.2.1/tcp/1"; 50]));
        assert_eq!(learnt(crowd.collect(), "/ip4/192.0.2.9/tcp/1").len(), LEARNT_MAX);
    }
}
