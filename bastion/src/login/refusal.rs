//! Sign-ins that let nobody in: what is written of them, and what counts as a proof that failed.

use std::sync::atomic::Ordering;

use super::{Login, SignIn, State, audit, audit::Act};

impl Login {
    /// The bastion stops: who has not signed in by now was not the one who left.
    pub fn closes(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }
}

impl SignIn {
    /// Whether a sign-in has failed here and no other was begun: there is nothing more to wait for.
    pub fn is_refused(&self) -> bool {
        matches!(self.state, State::Over { .. })
    }

    /// How many proofs have failed since this was asked last: certificates of ours that do not hold, and sign-ins that
    /// were denied or were somebody else's. Not those that were left, or failed for the provider's sake or for ours.
    pub fn take_failed(&mut self) -> usize {
        std::mem::take(&mut self.failed)
    }

    /// Writes that nobody was let in here.
    pub(super) fn refused(&mut self, why: &str) {
        self.is_refusal_written = true;
        self.login.audit.refused(Act::SignInRefused {
            user: audit::shown(&self.user),
            source: self.source,
            key: self.key().map(str::to_owned),
            person: self.claimant.take(),
            why: why.to_owned(),
        });
    }

    /// The connection is over. Writes that somebody tried to sign in and did not, if nothing has told so yet.
    pub fn is_over(&mut self) {
        let tried = !self.user.is_empty() && self.principal().is_none();
        if !tried || std::mem::replace(&mut self.is_refusal_written, true) {
            return;
        }
        let is_closing = self.login.is_closing.load(Ordering::Relaxed);
        let why = match &self.state {
            State::KeyProven(_) | State::Asking { .. } if is_closing => {
                "the bastion was stopped before the sign-in was confirmed"
            }
            State::KeyProven(_) => {
                "the key does not sign in alone, and no sign-in was begun (a client in batch mode cannot)"
            }
            State::Asking { .. } => "left before the sign-in was confirmed",
            State::Nothing | State::Over { .. } | State::SignedIn { .. } => "left without a proof",
        };
        let why = &self.certificates.with(why);
        tracing::info!(source = %self.source, user = audit::shown(&self.user), key = self.key(), "not signed in: {why}");
        self.refused(why);
    }
}
