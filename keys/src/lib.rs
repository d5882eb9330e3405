//! Alone touches private keys.

mod known_hosts;

pub use known_hosts::{HostKeyVerdict, KnownHosts, KnownHostsFault, fingerprint};
/// An SSH public key, and an SSH private key: the types of the SSH library itself, so that there is one copy.
pub use russh_keys::keys::{PrivateKey, PublicKey};
