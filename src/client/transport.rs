//! The client's swarm: TCP, QUIC and DNS, and one behaviour.

use std::time::Duration;

use henge_client::{FRAME_MAX_BYTES, PROTOCOL, Request, Response};
use henge_rpc::KeepAlive;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, dns, noise, tcp, yamux};

use super::{Config, ConnectError};

/// What the client speaks.
pub(super) type Rpc = henge_rpc::Behaviour<Request, Response>;

/// Bytes of requests that may wait for the peer. Callers wait beyond.
pub(super) const QUEUED_BYTES_MAX: usize = 16 << 20;

/// Requests under way; callers wait beyond. As many as a peer takes from one connection.
pub(super) const IN_FLIGHT_MAX: usize = 1024;

/// Only before the first request: from then on the behaviour keeps the connection.
const IDLE: Duration = Duration::from_secs(60);

pub(super) fn swarm(config: &Config) -> Result<Swarm<Rpc>, ConnectError> {
    let failed = |reason: String| ConnectError::Transport { reason };
    let protocol = StreamProtocol::try_from_owned(format!("/henge/{}/{PROTOCOL}", config.cluster))
        .map_err(|error| failed(error.to_string()))?;
    let rpc = henge_rpc::Config::default()
        .with_max_frame_bytes(FRAME_MAX_BYTES)
        .with_max_in_flight_per_peer(IN_FLIGHT_MAX)
        .with_max_queued_bytes_per_peer(QUEUED_BYTES_MAX)
        .with_keep_alive(KeepAlive::Always)
        .with_dial_on_request(false)
        .with_serve(false);
    let transports = || {
        SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .map(|builder| builder.with_quic())
            .map_err(|error| failed(error.to_string()))
    };
    // The two ways give different types, so only a macro can finish both.
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|_| Rpc::new(protocol, rpc))
                .map_err(|error| failed(error.to_string()))?
                .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE))
                .with_connection_timeout(config.attempt_timeout)
                .build()
        };
    }
    Ok(match transports()?.with_dns() {
        Ok(named) => finish!(named),
        Err(error) => {
            tracing::info!(%error, "no name service: addresses with names cannot be dialled");
            let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            finish!(transports()?.with_dns_config(nobody, dns::ResolverOpts::default()))
        }
    })
}
