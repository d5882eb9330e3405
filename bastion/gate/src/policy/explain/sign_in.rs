//! What holds for somebody's sign-ins, and which rule says so.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{Name, Policy, Principal, SignInTerms, notice::Spoken};

/// What holds for somebody's sign-ins, and which rule says so: for `bastion explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignInExplained {
    /// Whether she may sign in by a code.
    pub by_code: bool,
    /// For how many seconds after it a key that she binds signs in alone; 0 if none does.
    pub binding_s: u64,
    /// The rule that says so; none if the settings do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why no key signs in alone, if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rule by which a new key ends her other ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_key: Option<String>,
}

impl Policy {
    /// What holds for her sign-ins, where the settings let a key sign in alone for `usual`.
    pub fn explain_sign_in(&self, principal: &Principal, usual: Duration) -> SignInExplained {
        let terms = self.sign_in(principal);
        let by_code = terms.no_device_flow.is_none();
        let said = |rule: &Name| Some(rule.to_string());
        let one_key = terms.one_key.as_ref().map(Name::to_string);
        let (binding, rule, why) = match terms {
            SignInTerms { no_device_flow: Some(rule), .. } => {
                let why = format!("rule {rule} lets her not sign in by a code, by which keys are bound");
                (Duration::ZERO, said(&rule), Some(why))
            }
            SignInTerms { no_binding: Some(why), .. } => {
                (Duration::ZERO, said(why.rule()), Some(why.to_string()))
            }
            _ if usual.is_zero() => {
                (Duration::ZERO, None, Some("the settings let none (login.binding)".to_owned()))
            }
            SignInTerms { binding: Some(length), binding_rule: Some(rule), .. } if length < usual => {
                (length, said(&rule), None)
            }
            _ => (usual, None, None),
        };
        SignInExplained { by_code, binding_s: binding.as_secs(), rule, why, one_key }
    }
}

impl fmt::Display for SignInExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match &self.rule {
            Some(rule) => format!("rule {rule} says"),
            None => "the settings say".to_owned(),
        };
        match &self.why {
            Some(why) => write!(f, "no key signs in alone: {why}")?,
            None => {
                let length = Spoken(Duration::from_secs(self.binding_s));
                write!(f, "a key signs in alone for {length} after the sign-in that bound it, as {says}")?;
            }
        }
        match &self.one_key {
            Some(rule) if self.why.is_none() => write!(f, "; a new key ends the others, as rule {rule} says"),
            _ => Ok(()),
        }
    }
}
