//! The world around a gateway, made of real programs: targets that are sshd, clients that are stock OpenSSH, a
//! provider that people sign in at, and the gateway itself as it was built.
//!
//! All of it lives on 127.0.0.1, on free ports and in temporary folders, and ends with the value that holds it.
//! Nothing here sleeps: [`within`] asks again until something is so, and fails aloud when its time is over.

mod caller;
mod crowd;
mod gateway;
mod heard;
mod places;
mod program;
pub mod raw;
mod record;
mod target;
mod tier;
mod wait;
mod wire;

pub use caller::{Caller, Ssh};
pub use crowd::Crowd;
pub use gateway::{Setup, TestBastion, joined, person, press_enter_until_done, user_code};
pub use heard::Heard;
pub use places::{built, digest, free_port, have, noise, project, scratch};
pub use program::{Done, Program};
pub use record::{Bytes, bytes_of, events_of, files_below, found_in};
pub use target::{TestTarget, make_key};
pub use tier::{Tier, tier};
pub use wait::{LONG, SHORT, within};
pub use wire::{Fault, Wire};
