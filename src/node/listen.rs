//! Where a node listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use henge_types::Multiaddr;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Swarm, TransportError};
use socket2::{Domain, Socket, Type};

use super::NodeEvent;
use super::swarm::Parts;
use crate::error::StartError;

/// What the swarm was asked to listen on.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) id: ListenerId,
    /// The address asked for: it may be of all interfaces, and its port may be 0.
    pub(super) asked: Multiaddr,
}

/// Starts to listen: where it is told to; else where it did last time, or beside it if that cannot
/// be any more; else on free ports of this machine alone.
///
/// # Errors
/// [`StartError::Listen`] for an address that was given, or when none is left.
pub(super) fn listen(
    swarm: &mut Swarm<Parts>,
    given: &[Multiaddr],
    remembered: &[Multiaddr],
) -> Result<(Vec<Listener>, Vec<NodeEvent>), StartError> {
    let mut listeners = Vec::new();
    let mut events = Vec::new();
    for address in given {
        listeners.push(listen_on(swarm, address)?);
    }
    if given.is_empty() {
        for address in remembered {
            match listen_on(swarm, address) {
                Ok(listener) => listeners.push(listener),
                Err(StartError::Listen { address: from, reason }) => {
                    listeners.push(listen_on(swarm, &with_free_port(address))?);
                    events.push(NodeEvent::Moved { from, reason });
                }
                Err(other) => return Err(other),
            }
        }
    }
    if listeners.is_empty() {
        for address in first_time() {
            listeners.push(listen_on(swarm, &address)?);
        }
    }
    Ok((listeners, events))
}

/// Without an address given, only programs on this machine can connect: nobody is let in by
/// accident.
fn first_time() -> [Multiaddr; 2] {
    let loopback = || Multiaddr::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    [loopback().with(Protocol::Tcp(0)), loopback().with(Protocol::Udp(0)).with(Protocol::QuicV1)]
}

fn listen_on(swarm: &mut Swarm<Parts>, address: &Multiaddr) -> Result<Listener, StartError> {
    let failed = |reason: String| StartError::Listen { address: address.clone(), reason };
    try_socket(address).map_err(|error| failed(why(&error)))?;
    match swarm.listen_on(address.clone()) {
        Ok(id) => Ok(Listener { id, asked: address.clone() }),
        Err(TransportError::MultiaddrNotSupported(_)) => {
            Err(failed("use /ip4/…/tcp/… or /ip4/…/udp/…/quic-v1, or the same with ip6".to_owned()))
        }
        Err(TransportError::Other(error)) => Err(failed(why(&error))),
    }
}

/// The address with the port that was given to it.
pub(super) fn with_port_of(asked: &Multiaddr, listening: &Multiaddr) -> Multiaddr {
    let port = |address: &Multiaddr| address.iter().find_map(port_of);
    match (port(asked), port(listening)) {
        (Some(0), Some(port)) => with_port(asked, port),
        _ => asked.clone(),
    }
}

fn with_free_port(address: &Multiaddr) -> Multiaddr {
    with_port(address, 0)
}

fn with_port(address: &Multiaddr, port: u16) -> Multiaddr {
    let replace = |part| {
        if let Protocol::Tcp(_) = part {
            Protocol::Tcp(port)
        } else if let Protocol::Udp(_) = part {
            Protocol::Udp(port)
        } else {
            part
        }
    };
    address.iter().map(replace).collect()
}

fn port_of(part: Protocol<'_>) -> Option<u16> {
    if let Protocol::Tcp(port) | Protocol::Udp(port) = part { Some(port) } else { None }
}

/// Binds the socket of an address for a moment, to learn why it cannot be listened on.
///
/// libp2p itself lets several sockets share a TCP port (SO_REUSEPORT): a second peer on it would start, and half of
/// the connections would reach the wrong one.
fn try_socket(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        Some(_) | None => return Ok(()),
    };
    let (kind, port) = match parts.next() {
        Some(Protocol::Tcp(port)) => (Type::STREAM, port),
        Some(Protocol::Udp(port)) => (Type::DGRAM, port),
        Some(_) | None => return Ok(()),
    };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // As libp2p does: `::` and `0.0.0.0` are two listeners.
        socket.set_only_v6(true)?;
    }
    if cfg!(unix) && kind == Type::STREAM {
        // What connections of the last run left behind is no listener.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())
}

/// Why the system refuses, and what to do.
fn why(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::AddrInUse {
        "another program listens there: stop it, or choose another port".to_owned()
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "this machine has no such address".to_owned()
    } else if kind == io::ErrorKind::PermissionDenied {
        "not permitted: ports below 1024 are for privileged programs".to_owned()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use super::with_port_of;

    #[test]
    fn the_port_given_by_the_system_is_put_into_the_address_asked_for() {
        let asked = "/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap();
        let listening = "/ip4/10.0.0.1/udp/4001/quic-v1".parse().unwrap();
        assert_eq!(with_port_of(&asked, &listening).to_string(), "/ip4/0.0.0.0/udp/4001/quic-v1");
        let asked = "/ip4/0.0.0.0/tcp/80".parse().unwrap();
        assert_eq!(with_port_of(&asked, &listening), asked);
    }
}
