//! Deliberate bugs, to prove that the checker bites.

use crate::seam::{Honest, Seam};

/// One deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {}

/// The seam that has this bug; an honest one where there is none.
#[must_use]
pub fn seam(mutation: Option<Mutation>) -> Box<dyn Seam> {
    match mutation {
        None => Box::new(Honest),
        Some(mutation) => match mutation {},
    }
}

impl std::fmt::Display for Mutation {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::str::FromStr for Mutation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Err(format!("no mutation {name}"))
    }
}
