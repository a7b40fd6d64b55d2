//! henge
