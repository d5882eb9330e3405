//! What a command failed with, as a person reads it: one line, a way out, and an exit code.

use std::{fmt, io};

use gate::PolicyFault;
use keys::{MasterKeyFault, SecretFileFault, VaultFault};

use crate::{pins::PinsFault, settings::SettingsFault};

/// Why a command did not do what was asked. Commands return it; cli.rs alone prints it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// 1 failed, 2 usage, 4 denied.
    pub code: u8,
    /// What was found, where, and the value: lower case, no full stop.
    pub what: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

impl Failure {
    /// It was tried, and failed.
    pub fn new(what: impl fmt::Display, way_out: impl Into<String>) -> Self {
        Failure { code: 1, what: what.to_string(), way_out: Some(way_out.into()) }
    }

    /// It was asked for in a wrong way.
    pub fn usage(what: impl fmt::Display, way_out: impl Into<String>) -> Self {
        Failure { code: 2, ..Failure::new(what, way_out) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.way_out {
            Some(way_out) => write!(f, "\n  try: {way_out}"),
            None => Ok(()),
        }
    }
}

impl From<SettingsFault> for Failure {
    fn from(fault: SettingsFault) -> Self {
        Failure::new(&fault, fault.way_out())
    }
}

impl From<PolicyFault> for Failure {
    fn from(fault: PolicyFault) -> Self {
        Failure::new(&fault, fault.way_out.clone())
    }
}

impl From<VaultFault> for Failure {
    fn from(fault: VaultFault) -> Self {
        Failure::new(&fault, fault.way_out())
    }
}

impl From<MasterKeyFault> for Failure {
    fn from(fault: MasterKeyFault) -> Self {
        Failure::new(&fault, fault.way_out())
    }
}

impl From<SecretFileFault> for Failure {
    fn from(fault: SecretFileFault) -> Self {
        Failure::new(&fault, fault.way_out())
    }
}

impl From<PinsFault> for Failure {
    fn from(fault: PinsFault) -> Self {
        Failure::new(&fault, fault.way_out())
    }
}

/// Only writing what a command prints can fail so.
impl From<io::Error> for Failure {
    fn from(fault: io::Error) -> Self {
        Failure { code: 1, what: format!("cannot write the answer: {fault}"), way_out: None }
    }
}
