//! What a client is answered, and the same in russh's words.

use gate::Principal;
use russh::{MethodKind, MethodSet, server::Auth};

/// What a proven key is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It is bound: she is in.
    Success(Box<Principal>),
    /// One step is done: reject with partial success and go on with keyboard-interactive alone.
    PartialSuccess,
    /// The same, and a certificate would do as well.
    PartialSuccessOrCertificate,
    /// It is worth nothing here, or the user name can be nobody's.
    Failure,
}

/// One round of keyboard-interactive (RFC 4256).
#[derive(Debug, PartialEq, Eq)]
pub enum InteractiveAnswer {
    /// Ask the client this, and come back with its answers.
    Ask(Question),
    /// She is in.
    Success(Box<Principal>),
    /// She is not. What could be said was said in the round before.
    Failure,
}

/// What the client is to show. RFC 4256 allows no prompts at all: the client then answers at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Shown above the prompts, save where `LogLevel=ERROR` or `-q` hides it.
    pub instructions: String,
    /// Each with whether the answer is shown while typed.
    pub prompts: Vec<(String, bool)>,
}

impl Question {
    pub(super) fn prompt(text: String) -> Question {
        Question { instructions: String::new(), prompts: vec![(text, true)] }
    }

    pub(super) fn text(text: String) -> Question {
        Question { instructions: text, prompts: Vec::new() }
    }
}

impl From<KeyAnswer> for Auth {
    fn from(answer: KeyAnswer) -> Auth {
        match answer {
            KeyAnswer::Success(_) => Auth::Accept,
            KeyAnswer::PartialSuccess => go_on_with(&[MethodKind::KeyboardInteractive]),
            KeyAnswer::PartialSuccessOrCertificate => {
                go_on_with(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive])
            }
            KeyAnswer::Failure => Auth::reject(),
        }
    }
}

fn go_on_with(methods: &[MethodKind]) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from(methods)), partial_success: true }
}

impl From<InteractiveAnswer> for Auth {
    fn from(answer: InteractiveAnswer) -> Auth {
        match answer {
            InteractiveAnswer::Success(_) => Auth::Accept,
            InteractiveAnswer::Failure => Auth::reject(),
            // Some clients cut the name, so it stays empty.
            InteractiveAnswer::Ask(Question { instructions, prompts }) => Auth::Partial {
                name: "".into(),
                instructions: instructions.into(),
                prompts: prompts.into_iter().map(|(text, echo)| (text.into(), echo)).collect(),
            },
        }
    }
}
