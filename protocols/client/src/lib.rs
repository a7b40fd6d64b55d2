//! Anyone to a peer: get, put, delete, status
