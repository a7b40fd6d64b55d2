//! Pipelined request/response over one long-lived libp2p substream per peer
