//! One store, from the first frame of a tail to the last byte of a sealed file.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod bench;

#[path = "store/bound.rs"]
mod bound;
#[path = "store/damaged.rs"]
mod damaged;
#[path = "store/format_md.rs"]
mod format_md;
#[path = "store/interrupted.rs"]
mod interrupted;
#[path = "store/lost.rs"]
mod lost;
#[path = "store/sealed.rs"]
mod sealed;
#[path = "store/searched.rs"]
mod searched;
