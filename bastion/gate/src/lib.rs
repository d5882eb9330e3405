//! What may pass, and what must wait.
//!
//! A gate stands between one client and one target. It is told what each of them sent and what
//! time it is, and answers with [`Step`]s. It opens no socket and reads no clock, so a test can
//! live through any day of its life. Before a gate there is a [`Request`], which the policy answers with a
//! decision; only a [`Grant`] opens a target.

mod destination;
mod echo;
mod env;
mod gate;
mod keys;
mod message;
mod nearest;
mod notice;
mod policy;
mod principal;
mod printable;
mod request;
mod retyped;
mod screen;
mod target;

pub use destination::{Caller, Destination, DestinationFault, Said};
pub use env::{Env, EnvFilter, EnvFilterFault, PASSED_MAX, clean_term};
pub use gate::{Gate, is_signal};
pub use message::{
    COLS_MAX, Ending, FromClient, FromTarget, Heard, NewKey, Pty, ROWS_MAX, Reason, Step, ToClient, ToTarget,
    Unrecorded, WaitsFor, clamp_size,
};
pub use nearest::nearest;
pub use notice::{Forwarding, Notice, exit_code};
pub use policy::{
    Asked, Decision, Denial, ExceptionExplained, Explanation, Grant, Limits, Network, NetworkFault,
    NoBinding, Pattern, Policy, PolicyFault, PolicyProblem, Reachable, RuleExplained, SignInExplained,
    SignInTerms, Unmet, Wanted, Why,
};
pub use principal::{Certificate, Name, NameFault, Principal};
pub use printable::Printable;
pub use request::{Kind, Opening, Opens, Request};
pub use retyped::retyped;
pub use target::Target;
