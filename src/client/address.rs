//! Multiaddrs as people write them.

use henge_types::Multiaddr;
use libp2p::multiaddr::Protocol;
use thiserror::Error;

/// Why a text is no address that a peer could be reached at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not begin with a slash.
    #[error("{text:?} is no multiaddr: {hint}")]
    NoMultiaddr {
        /// What was given.
        text: String,
        /// What it may be meant to be.
        hint: String,
    },
    /// It cannot be parsed.
    #[error("{text:?} is no multiaddr: {reason} (an address looks like /ip4/127.0.0.1/tcp/4001)")]
    Malformed {
        /// What was given.
        text: String,
        /// What the parser says.
        reason: String,
    },
    /// It names no transport that henge speaks.
    #[error("{address}: henge speaks …/tcp/PORT and …/udp/PORT/quic-v1, after /ip4, /ip6 or /dns")]
    Transport {
        /// The address.
        address: Multiaddr,
    },
}

/// Reads a multiaddr of a peer, with or without `/p2p/PEER` at its end.
///
/// # Errors
/// [`AddressError`], which says how it could be written.
pub fn parse_address(text: &str) -> Result<Multiaddr, AddressError> {
    let text = text.trim();
    if !text.starts_with('/') {
        return Err(AddressError::NoMultiaddr { text: text.to_owned(), hint: hint(text) });
    }
    let address: Multiaddr = text.parse().map_err(|error: libp2p::multiaddr::Error| {
        AddressError::Malformed { text: text.to_owned(), reason: error.to_string() }
    })?;
    if is_supported(&address) { Ok(address) } else { Err(AddressError::Transport { address }) }
}

fn hint(text: &str) -> String {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        let family = if socket.is_ipv4() { "ip4" } else { "ip6" };
        return format!(
            "write /{family}/{}/tcp/{} or /{family}/{}/udp/{}/quic-v1",
            socket.ip(),
            socket.port(),
            socket.ip(),
            socket.port()
        );
    }
    match text.rsplit_once(':') {
        Some((host, port))
            if port.parse::<u16>().is_ok() && !host.contains(['/', ' ']) && !host.is_empty() =>
        {
            format!("write /dns/{host}/tcp/{port}")
        }
        Some(_) | None => "an address looks like /ip4/127.0.0.1/tcp/4001".to_owned(),
    }
}

pub(super) fn is_supported(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Dnsaddr(_)) => return true,
        Some(
            Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_),
        ) => parts,
        Some(_) | None => return false,
    };
    let rest: Vec<Protocol<'_>> = host.collect();
    matches!(
        rest.as_slice(),
        [Protocol::Tcp(_)]
            | [Protocol::Tcp(_), Protocol::P2p(_)]
            | [Protocol::Udp(_), Protocol::QuicV1]
            | [Protocol::Udp(_), Protocol::QuicV1, Protocol::P2p(_)]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_transports_are_read_with_and_without_peer() {
        for text in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip6/::1/udp/4001/quic-v1",
            " /dns/example.org/tcp/4001 ",
            "/dnsaddr/example.org",
            "/ip4/127.0.0.1/udp/1/quic-v1/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
        ] {
            assert!(parse_address(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_socket_address_is_refused_with_the_multiaddr_it_stands_for() {
        let shown = |text: &str| parse_address(text).map_err(|error| error.to_string());
        assert!(shown("127.0.0.1:4001").is_err_and(|e| e.contains("/ip4/127.0.0.1/tcp/4001")));
        assert!(shown("[::1]:4001").is_err_and(|e| e.contains("/ip6/::1/tcp/4001")));
        assert!(shown("example.org:4001").is_err_and(|e| e.contains("/dns/example.org/tcp/4001")));
        assert!(shown("nonsense").is_err_and(|e| e.contains("/ip4/127.0.0.1/tcp/4001")));
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in [
            "",
            "/",
            "/ip4/127.0.0.1",
            "/ip4/300.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/tcp/1",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
