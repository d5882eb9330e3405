//! The house seen from the street: journeys through real programs.

pub mod provider;
