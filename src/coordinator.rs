//! Coordinating one put or get: the decisions, without the messages.
//!
//! [`get`] and [`put`] hold what one operation knows and say what it needs next; [`fallback`] says
//! who may stand in; the core carries it out. None knows of the others: a put that reads first is put
//! together in the core.

pub mod fallback;
pub mod get;
pub mod put;
