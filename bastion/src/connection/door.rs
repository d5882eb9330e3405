//! What may be tried at the door, and what fails there: proofs are counted with all others of their address.
//!
//! An address of which too many have failed is turned away, but not everybody behind it: a bound key that is proven, or
//! a certificate, lets in as ever. What a guesser could go on with is not to be had there until the minute is over:
//! prompts, keys that lead to prompts, and second guesses.

use russh::server::{Auth, Response};

use super::{Connection, Shared, Stage};
use crate::{
    audit::Act,
    doorstep,
    house::House,
    login::{InteractiveAnswer, KeyAnswer, Question},
    storm,
    strangers::failed::TURNED_AWAY,
    wrong_signatures,
};

impl Connection {
    /// Nothing is begun once goodbye was said.
    pub(super) fn may_try(&self) -> Result<(), russh::Error> {
        if self.is_parting { Err(russh::Error::Disconnect) } else { Ok(()) }
    }

    /// From now on a signature that does not hold counts. Where too many have, it is the connection's last.
    pub(super) fn listen_for_wrong_signatures(&mut self) {
        let (house, shared) = (&self.house, &self.shared);
        self.listening = self.listening.take().or_else(|| {
            let (house, shared) = (house.clone(), shared.clone());
            wrong_signatures::listen(move || {
                tracing::info!(connection = %shared.id, source = %shared.source, "a signature does not hold");
                note_failed(&house, &shared, 1);
                if is_turned_away(&house, &shared) {
                    shared.severing.cut();
                }
            })
        });
    }

    /// Counts the proofs that have failed since this was called last.
    pub(super) fn note_what_failed(&mut self) {
        let failed = self.sign_in.take_failed();
        if failed > 0 {
            note_failed(&self.house, &self.shared, failed);
        }
    }

    /// A key was proven that is worth this. One that leads to a prompt leads nowhere where there is none.
    pub(super) async fn key_was_proven(&mut self, answer: &KeyAnswer) {
        if *answer == KeyAnswer::PartialSuccess && is_turned_away(&self.house, &self.shared) {
            self.part(TURNED_AWAY).await;
        }
    }

    /// One round of keyboard-interactive. Whoever is at her prompt already may end what she began.
    pub(super) async fn talk(
        &mut self,
        user: &str,
        response: Option<Response<'_>>,
    ) -> Result<Auth, russh::Error> {
        storm::strike("sign-in", user);
        self.may_try()?;
        if response.is_none()
            && let Some(why) = self.no_prompt()
        {
            self.part(why).await;
            return Ok(InteractiveAnswer::Ask(Question::default()).into());
        }
        self.user = user.to_owned();
        let answers = response.map(|answers| {
            answers.map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect::<Vec<_>>()
        });
        let answer = self.sign_in.interactive(user, answers).await;
        self.note_what_failed();
        self.turn_stage(answer == InteractiveAnswer::Failure);
        Ok(answer.into())
    }

    /// Why nobody is asked anything here; or her place is one of those at a prompt from now on.
    fn no_prompt(&self) -> Option<&'static str> {
        if is_turned_away(&self.house, &self.shared) {
            return Some(TURNED_AWAY);
        }
        if self.sign_in.is_refused() {
            return None; // what she tries is answered with nothing but no
        }
        let (limits, login) = (self.house.rules().settings.limits, &self.house.login);
        let codes = |address| login.codes_of(address);
        let most = (limits.unauthenticated, limits.unauthenticated_per_address);
        let is_let = self.shared.spot.prompt(&self.shared.stage, most, codes);
        (!is_let).then(|| {
            tracing::warn!(source = %self.shared.source, "too many wait at a prompt; one gets none");
            doorstep::NO_PROMPT
        })
    }

    /// Says goodbye, behind the answer that is due: russh looks at its queue before it reads on, and nobody else fills it
    /// before the sign-in. The stream is cut a little later, whatever the client does; in the middle of a key exchange,
    /// where russh says nothing, by the time that signing in may take.
    async fn part(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_parting, true) {
            return;
        }
        self.shared.stage.send_replace(Stage::Unknown);
        let Some(handle) = self.shared.handle.get() else { return };
        if handle.disconnect(russh::Disconnect::ByApplication, why.into(), "en".into()).await.is_err() {
            tracing::debug!(connection = %self.shared.id, "gone before its goodbye");
        }
    }

    /// How far it is after a round of a sign-in, which may have ended it.
    fn turn_stage(&self, is_failure: bool) {
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
}

fn is_turned_away(house: &House, shared: &Shared) -> bool {
    house.failed_proofs.turns_away(shared.source.ip(), house.rules().settings.limits.failed_proofs)
}

/// So many proofs have failed here just now.
fn note_failed(house: &House, shared: &Shared, failed: usize) {
    let (source, most) = (shared.source, house.rules().settings.limits.failed_proofs);
    if house.failed_proofs.note(source.ip(), failed, most) {
        tracing::warn!(%source, "turned away for a minute: {most} proofs of this address failed (limits.failed_proofs)");
        house.audit.refused(Act::SourceTurnedAway { source, failed: most });
    }
}
