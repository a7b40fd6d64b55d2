//! Under which addresses others can reach this peer.

use henge_types::Multiaddr;
use henge_types::limits::{ADDRESS_MAX_BYTES, ADDRESSES_MAX};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ExternalAddresses, FromSwarm};
use libp2p::swarm::{ExpiredListenAddr, NewListenAddr};

/// Addresses listened on that are kept; a wildcard on a machine with many interfaces has many.
const LISTEN_MAX: usize = 256;

/// The addresses that the swarm has told of.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    external: ExternalAddresses,
    listen: Vec<Multiaddr>,
}

impl Addresses {
    /// Whether anything changed.
    pub(super) fn on_swarm_event(&mut self, event: &FromSwarm<'_>) -> bool {
        if let FromSwarm::NewListenAddr(NewListenAddr { addr, .. }) = event {
            let new = self.listen.len() < LISTEN_MAX && !self.listen.contains(addr);
            if new {
                self.listen.push((*addr).clone());
            }
            return new;
        }
        if let FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. }) = event {
            let before = self.listen.len();
            self.listen.retain(|listen| listen != *addr);
            return self.listen.len() != before;
        }
        self.external.on_swarm_event(event)
    }

    /// All that others may dial, without `/p2p`, the likeliest to work first, as many as fit into
    /// a member record.
    pub(super) fn all(&self) -> Vec<Multiaddr> {
        let mut listen: Vec<Multiaddr> = self.listen.iter().filter_map(dialable).collect();
        listen.sort_by_key(rank);
        let mut all: Vec<Multiaddr> = Vec::with_capacity(ADDRESSES_MAX);
        for address in self.external.iter().filter_map(dialable).chain(listen) {
            if all.len() < ADDRESSES_MAX && !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}

/// Whether an address is over QUIC.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1 | Protocol::Quic))
}

/// The address without `/p2p`, unless nobody else could use it.
fn dialable(address: &Multiaddr) -> Option<Multiaddr> {
    let relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
    let address: Multiaddr =
        address.iter().filter(|part| relayed || !matches!(part, Protocol::P2p(_))).collect();
    let fits = !address.is_empty() && address.len() <= ADDRESS_MAX_BYTES;
    // Link-local addresses mean nothing without the name of an interface.
    let useless = address.iter().any(|part| {
        matches!(part, Protocol::Ip4(ip) if ip.is_unspecified())
            || matches!(part, Protocol::Ip6(ip) if ip.is_unspecified() || ip.is_unicast_link_local())
    });
    (fits && !useless).then_some(address)
}

/// Loopback last: it leads others to themselves. TCP before QUIC: it is faster.
fn rank(address: &Multiaddr) -> (bool, bool) {
    let loopback = address.iter().any(|part| {
        matches!(part, Protocol::Ip4(ip) if ip.is_loopback())
            || matches!(part, Protocol::Ip6(ip) if ip.is_loopback())
    });
    (loopback, is_quic(address))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use libp2p::core::transport::ListenerId;
    use libp2p::swarm::behaviour::{ExternalAddrConfirmed, FromSwarm};
    use libp2p::swarm::{ExpiredListenAddr, NewListenAddr};

    use super::{ADDRESSES_MAX, Addresses};

    fn listens(addresses: &mut Addresses, addr: &str) -> bool {
        let addr = addr.parse().unwrap();
        addresses.on_swarm_event(&FromSwarm::NewListenAddr(NewListenAddr {
            listener_id: ListenerId::next(),
            addr: &addr,
        }))
    }

    fn texts(addresses: &Addresses) -> Vec<String> {
        addresses.all().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn external_addresses_come_first_and_loopback_last_and_tcp_before_quic() {
        let mut addresses = Addresses::default();
        for addr in ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"] {
            assert!(listens(&mut addresses, addr));
        }
        let addr = "/ip4/192.0.2.1/tcp/9".parse().unwrap();
        assert!(
            addresses
                .on_swarm_event(&FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr: &addr }))
        );
        let expected = [
            "/ip4/192.0.2.1/tcp/9",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip4/127.0.0.1/tcp/1",
        ];
        assert_eq!(texts(&addresses), expected);
    }

    #[test]
    fn what_nobody_else_can_dial_is_left_out() {
        let mut addresses = Addresses::default();
        for addr in ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip6/fe80::1/tcp/1"] {
            listens(&mut addresses, addr);
        }
        assert_eq!(texts(&addresses), [""; 0]);
    }

    #[test]
    fn each_address_is_told_once_without_the_peer_and_as_many_as_a_record_holds() {
        let mut addresses = Addresses::default();
        let peer = libp2p::PeerId::random();
        listens(&mut addresses, "/ip4/10.0.0.1/tcp/1");
        assert!(!listens(&mut addresses, "/ip4/10.0.0.1/tcp/1"));
        listens(&mut addresses, &format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}"));
        assert_eq!(texts(&addresses), ["/ip4/10.0.0.1/tcp/1"]);
        for port in 2..100 {
            listens(&mut addresses, &format!("/ip4/10.0.0.1/tcp/{port}"));
        }
        assert_eq!(addresses.all().len(), ADDRESSES_MAX);
    }

    #[test]
    fn an_expired_address_is_gone() {
        let mut addresses = Addresses::default();
        listens(&mut addresses, "/ip4/10.0.0.1/tcp/1");
        let addr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let expired = ExpiredListenAddr { listener_id: ListenerId::next(), addr: &addr };
        assert!(addresses.on_swarm_event(&FromSwarm::ExpiredListenAddr(expired)));
        assert_eq!(texts(&addresses), [""; 0]);
    }
}
