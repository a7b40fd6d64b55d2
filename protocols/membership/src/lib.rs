//! Who is in the ring: signed member records, view merge, heartbeats
