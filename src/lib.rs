//! henge

pub mod placement;
mod ring;
