//! Coordinator to replica: read, write, digest, and the quorum tally
