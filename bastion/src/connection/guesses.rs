//! Proofs of one connection that fail: counted with all others of its address.

use std::collections::HashSet;

use russh::keys::{HashAlg, PublicKey, ssh_key::public::KeyData};

use super::{Connection, Stage};
use crate::audit::Act;

/// Keys that were offered and not proven so far.
///
/// russh says nothing of a signature that does not hold. But who has shown one begins anew with the key, which a client
/// whose signature held has no reason to do. One that has none to give may: OpenSSH in batch mode with a key under a
/// passphrase and a certificate beside it offers both, which russh tells as one key, and that counts as one failed proof.
#[derive(Default)]
pub(super) struct Unproven(HashSet<String>);

impl Unproven {
    /// A key is offered; whether a proof of it has failed before. As bounded as `limits.key_offers`.
    pub(super) fn offered(&mut self, key: &PublicKey) -> bool {
        !self.0.insert(key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// It is proven.
    pub(super) fn proven(&mut self, key: &KeyData) {
        self.0.remove(&key.fingerprint(HashAlg::Sha256).to_string());
    }
}

impl Connection {
    /// Nothing is begun for an address of which too many proofs have failed.
    pub(super) fn may_try(&self) -> Result<(), russh::Error> {
        let most = self.house.rules().settings.limits.failed_proofs;
        match self.house.failed_proofs.turns_away(self.shared.source.ip(), most) {
            true => Err(russh::Error::Disconnect),
            false => Ok(()),
        }
    }

    /// The proofs that have failed since this was called last.
    pub(super) fn note_what_failed(&mut self) {
        let failed = self.sign_in.take_failed();
        self.note_failed(failed);
    }

    /// How far it is after a round of a sign-in, which may have ended it.
    pub(super) fn turn_stage(&self, is_failure: bool) {
        let is_refused = self.sign_in.is_refused();
        self.shared.stage.send_if_modified(|stage| {
            let next = match *stage {
                Stage::SigningIn if is_refused => Stage::Refused,
                Stage::SigningIn if is_failure => Stage::Unknown,
                same => same,
            };
            std::mem::replace(stage, next) != next
        });
    }

    /// So many proofs have failed here just now.
    pub(super) fn note_failed(&self, failed: usize) {
        let (source, most) = (self.shared.source, self.house.rules().settings.limits.failed_proofs);
        if failed > 0 && self.house.failed_proofs.note(source.ip(), failed, most) {
            tracing::warn!(%source, "turned away for a minute: {most} proofs of this address failed (limits.failed_proofs)");
            self.house.audit.refused(Act::SourceTurnedAway { source, failed: most });
        }
    }
}
