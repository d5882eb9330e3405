//! The house seen from the street: journeys through real programs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says so by a panic")]

pub mod hostile;
pub mod npm;
pub mod provider;
#[path = "../world/mod.rs"]
pub mod world;
