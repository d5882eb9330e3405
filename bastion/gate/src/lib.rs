//! What may pass, and what must wait.
//!
//! A gate stands between one client and one target. It is told what each of them sent and what
//! time it is, and answers with [`Step`]s. It opens no socket and reads no clock, so a test can
//! live through any day of its life. Before a gate there is a [`Request`], which the policy answers with a
//! decision; only a [`Grant`] opens a target.

mod message;
mod policy;
mod principal;
mod request;
mod target;

pub use message::{
    FromClient, FromTarget, Heard, Pty, Reason, Step, ToClient, ToTarget, Unrecorded, WaitsFor,
};
pub use policy::{Grant, Limits};
pub use principal::{Name, NameFault, Principal};
pub use request::{Opening, Opens, Request};
pub use target::Target;
