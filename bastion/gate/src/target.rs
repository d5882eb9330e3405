//! A machine that can be reached.

use std::collections::BTreeMap;

use crate::Name;

/// A machine that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is called here.
    pub name: Name,
    /// Host name or address.
    pub address: String,
    /// TCP port of its SSH server.
    pub port: u16,
    /// What policy and people sort targets by.
    pub labels: BTreeMap<String, String>,
    /// Logins that exist for us there; policy narrows them.
    pub logins: Vec<Name>,
    /// The login that is meant when a caller names none.
    pub default_login: Option<Name>,
    /// Name of the gateway's key that opens it.
    pub key: Name,
}
