//! Coordinating one put or get: the decisions, without the messages.
//!
//! [`get`] and [`put`] hold what one operation knows and say what it needs next; the core carries
//! it out. Neither knows of the other: a put that reads first is put together in the core.

pub mod get;
pub mod put;
