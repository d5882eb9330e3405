//! Who is calling: key, browser sign-in, and the binding that makes the next call short.
//!
//! A [`SignIn`] belongs to one connection. It is told what russh has verified, and answers with what the client
//! is to be asked next; only its last state holds a [`Principal`], and that state cannot be made without a proof
//! from each step. The sign-in itself runs at the provider (RFC 8628); here it is a task that ends with its connection.

mod admit;
mod alone;
mod answer;
mod bindings;
mod certificate;
mod certified;
mod clock;
mod codes;
mod device;
mod http;
mod names;
mod notice;
mod oidc;
mod providers;
mod recheck;
mod refusal;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use gate::{Caller, Name, NewKey, Policy, Principal};
use recording::Person;
use russh::keys::{HashAlg, PublicKey};
use tokio::sync::mpsc;

pub use alone::ListedBinding;
pub use answer::{InteractiveAnswer, KeyAnswer, Question};
pub use bindings::{BindFault, Binding, Bindings, StoreFault};
pub use certified::is_authority;
pub use clock::Clock;
pub use device::{Invitation, Outcome};
pub use names::{NameOwner, Whose};
pub use oidc::{Identity, ProviderFault, Refresh};
pub use recheck::{Kept, Learnt, Vouched};

use certificate::Certified;
use codes::Codes;
use device::{Flow, Progress};
use keys::DataKey;
use providers::Providers;
use recheck::Rechecks;

use crate::{
    audit::{self, Audit},
    settings::{Login as Settings, Prompt},
};

/// Device codes that one connection may ask for. A client that begins anew keeps the code it has.
const FLOWS_PER_CONNECTION_MAX: u32 = 3;

/// How long a round waits for news. A client that went away is noticed between rounds, so they are short.
const ROUND_TIME_MAX: Duration = Duration::from_secs(1);

/// Why signing in cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoginFault {
    /// The settings name something unusable.
    #[error("{0}")]
    Settings(#[from] ProviderFault),
    /// The store of bindings does not open.
    #[error("the store of bindings does not open: {0}")]
    Store(#[from] StoreFault),
}

/// Everything that sign-ins share: one for the server.
pub struct Login {
    settings: Settings,
    providers: Providers,
    rechecks: Rechecks,
    bindings: Bindings,
    codes: Arc<Codes>,
    clock: Clock,
    audit: Audit,
    /// Nobody signs in any more: the bastion stops.
    is_closing: AtomicBool,
    /// What policy says of how people sign in.
    policy: ArcSwap<Policy>,
    /// What sign-ins learn of people who are in by another connection.
    learnt: mpsc::UnboundedSender<Learnt>,
    to_learn: Mutex<Option<mpsc::UnboundedReceiver<Learnt>>>,
}

impl Login {
    /// Opens the bindings in `folder` (`<data>/state`). The provider is asked when the first person comes. `data_key` is
    /// what refresh tokens are encrypted with.
    pub fn new(
        settings: Settings,
        folder: &Path,
        data_key: Option<DataKey>,
        clock: Clock,
        audit: Audit,
    ) -> Result<Login, LoginFault> {
        let providers = Providers::new(&settings, &clock)?;
        let bindings = Bindings::open(folder)?;
        let rechecks = Rechecks::new(data_key, &bindings, !settings.recheck.is_zero())?;
        let (learnt, to_learn) = mpsc::unbounded_channel();
        let (codes, to_learn) = (Arc::default(), Mutex::new(Some(to_learn)));
        let policy = ArcSwap::from_pointee(Policy::default());
        let is_closing = AtomicBool::new(false);
        Ok(Login {
            settings,
            providers,
            rechecks,
            bindings,
            codes,
            clock,
            audit,
            is_closing,
            policy,
            learnt,
            to_learn,
        })
    }

    /// Which key belongs to whom, and which name.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// From now on people sign in as this policy says.
    pub fn obey(&self, policy: Arc<Policy>) {
        self.policy.store(policy);
    }

    /// How many codes that this address has asked for the provider may still hold.
    pub fn codes_of(&self, address: IpAddr) -> usize {
        self.codes.of(address)
    }

    /// Seconds since 1970 (UTC), by the clock that bindings run out by.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }
}

/// That the client holds the private half of a key: made by [`SignIn::key_proven`] alone.
#[derive(Clone)]
struct KeyProof {
    fingerprint: String,
}

/// What a finished sign-in rests on. Each form needs the proofs of all its steps.
enum Proof {
    Bound(KeyProof, Binding),
    Fresh(Option<KeyProof>, Identity),
    Certified(Certified),
}

impl Proof {
    fn principal(&self, source: SocketAddr, now: i64) -> Principal {
        let source = source.ip().to_canonical();
        match self {
            Proof::Bound(key, binding) => Principal {
                issuer: binding.issuer.clone(),
                subject: binding.subject.clone(),
                name: binding.name.clone(),
                email: binding.email.clone(),
                groups: binding.groups.clone(),
                source,
                key: Some(key.fingerprint.clone()),
                signed_in_at: binding.created_at,
                amr: binding.amr.clone(),
                acr: binding.acr.clone(),
                certificate: None,
            },
            Proof::Fresh(key, identity) => Principal {
                issuer: identity.issuer.clone(),
                subject: identity.subject.clone(),
                name: identity.name.clone(),
                email: identity.email.clone(),
                groups: identity.groups.clone(),
                source,
                key: key.as_ref().map(|k| k.fingerprint.clone()),
                signed_in_at: now,
                amr: identity.amr.clone(),
                acr: identity.acr.clone(),
                certificate: None,
            },
            Proof::Certified(certified) => certified.principal(source),
        }
    }
}

enum State {
    /// Nothing is proven yet.
    Nothing,
    /// The key is proven, and is not enough.
    KeyProven(KeyProof),
    /// The provider is being asked.
    Asking { key: Option<KeyProof>, flow: Flow, round: Round },
    /// It failed; the last sentence may still have to be acknowledged.
    Over { prompts: Option<usize> },
    /// All steps are done; by a key alone, it is bound.
    SignedIn { principal: Box<Principal>, bound: bool },
}

/// What was asked last, and what its answer waits for.
struct Round {
    /// Prompts in the last question; none before the first and after a restart.
    prompts: Option<usize>,
    /// Whether the person has been told where to go.
    told: bool,
    /// The provider must have answered more often than this before she is asked again.
    answers_seen: u64,
}

/// One connection's way from nobody to a principal.
pub struct SignIn {
    login: Arc<Login>,
    source: SocketAddr,
    /// The user name the steps so far were made for, as given: another one begins at step one.
    user: String,
    /// Its first part: who is signing in.
    name: Option<Name>,
    flows: u32,
    is_refusal_written: bool,
    /// Who the provider or an authority says that it is, for the refusal if there is one.
    claimant: Option<Person>,
    /// It has bound its key itself, just now.
    has_bound: bool,
    /// Proofs that failed and were not told of yet.
    failed: usize,
    newly_bound: Option<NewKey>,
    /// What the provider is asked with again, of a sign-in that bound no key.
    kept: Option<Kept>,
    certificates: certified::Shown,
    state: State,
}

impl SignIn {
    /// Nobody yet, calling from `source`.
    pub fn new(login: Arc<Login>, source: SocketAddr) -> SignIn {
        SignIn {
            login,
            source,
            user: String::new(),
            name: None,
            flows: 0,
            is_refusal_written: false,
            claimant: None,
            has_bound: false,
            failed: 0,
            newly_bound: None,
            kept: None,
            certificates: certified::Shown::default(),
            state: State::Nothing,
        }
    }

    /// Who has signed in, once she has.
    pub fn principal(&self) -> Option<&Principal> {
        match &self.state {
            State::SignedIn { principal, .. } => Some(principal),
            _ => None,
        }
    }

    /// Whether she still may: a binding can have been revoked between the proof of its key and now. In doubt she may not.
    pub fn still_holds(&self) -> bool {
        let State::SignedIn { principal, bound } = &self.state else { return false };
        let key = principal.key.as_deref().unwrap_or_default();
        !(*bound || self.has_bound)
            || matches!(self.login.bindings.find(key, self.login.clock.now()), Ok(Some(binding))
            if (&binding.issuer, &binding.subject, binding.created_at, &binding.groups)
                == (&principal.issuer, &principal.subject, principal.signed_in_at, &principal.groups))
    }

    /// Hears that the client proved `key` as `user`. To be called for verified signatures only, never for offers.
    /// If it is time to, the provider is asked first whether it still vouches for its owner.
    pub async fn key_proven(&mut self, user: &str, key: &PublicKey) -> KeyAnswer {
        if !self.turn_to(user) {
            return KeyAnswer::Failure;
        }
        let proof = KeyProof { fingerprint: key.fingerprint(HashAlg::Sha256).to_string() };
        let now = self.login.clock.now();
        let found = self.login.bindings.find(&proof.fingerprint, now).unwrap_or_else(|fault| {
            tracing::error!(%fault, "the store of bindings cannot be read; the person is asked to sign in");
            None
        });
        let found = found.filter(|b| self.is_called(&b.name) && self.is_vouched_by(&b.issuer));
        let found = match found.filter(|binding| self.may_sign_in_alone(&proof, binding, now)) {
            Some(binding) if self.login.is_vouched_for(&binding).await => Some(binding),
            _ => None,
        };
        match found {
            None => {
                // Whatever ran for another key is dropped with it: a sign-in belongs to the key it was begun with.
                self.state = State::KeyProven(proof);
                KeyAnswer::PartialSuccess
            }
            Some(binding) => {
                if let Err(fault) = self.login.bindings.used(&binding, now, self.source.ip().to_canonical()) {
                    tracing::warn!(%fault, "a binding's last use is not noted");
                }
                KeyAnswer::Success(self.enter(Proof::Bound(proof, binding), now))
            }
        }
    }

    /// One round of keyboard-interactive: `None` when the client begins the method, else its answers.
    ///
    /// Returns within about a second. Dropping the future loses nothing.
    pub async fn interactive(&mut self, user: &str, answers: Option<Vec<String>>) -> InteractiveAnswer {
        if !self.turn_to(user) || !self.takes(answers.as_deref()) {
            return InteractiveAnswer::Failure;
        }
        let State::Asking { flow, round, .. } = &mut self.state else {
            return InteractiveAnswer::Failure;
        };
        let question = match news(flow, round).await {
            Progress::Decided(outcome) => return self.decide(outcome).await,
            Progress::Starting => Question::default(),
            Progress::Waiting { answers, .. } if round.told && answers <= round.answers_seen => {
                Question::default()
            }
            Progress::Waiting { invitation, answers, .. } => {
                let again = round.told;
                (round.told, round.answers_seen) = (true, answers);
                self.invite(&invitation, again)
            }
        };
        self.ask(question)
    }

    /// Takes `user` (`alice`, `alice%web1`) as who is signing in. False if it can be nobody.
    fn turn_to(&mut self, user: &str) -> bool {
        if user != self.user {
            user.clone_into(&mut self.user);
            self.name = Caller::parse(user).ok().map(|caller| caller.name.folded());
            self.state = State::Nothing;
        }
        self.name.is_some() && !self.certificates.is_barred
    }

    /// Whether the user name that was given is this one.
    fn is_called(&self, name: &Name) -> bool {
        self.name.as_ref() == Some(&name.folded())
    }

    /// Whether this is the issuer that may vouch for the user name that was given.
    fn is_vouched_by(&self, issuer: &str) -> bool {
        let provider = self.name.as_ref().and_then(|name| self.login.providers.of_name(name));
        provider.is_some_and(|provider| provider.issuer() == issuer)
    }

    /// Whether these answers belong to what was asked last; begins the sign-in where there is none yet.
    fn takes(&mut self, answers: Option<&[String]>) -> bool {
        match (&mut self.state, answers) {
            (State::SignedIn { .. }, _) => false,
            (State::Nothing | State::KeyProven(_), None) => self.begin(),
            (State::Nothing | State::KeyProven(_), Some(_)) => false,
            // The client began the method anew: the same code is shown again, no second one is made.
            (State::Asking { round, .. }, None) => {
                *round = Round { prompts: None, told: false, answers_seen: 0 };
                true
            }
            (State::Asking { round, flow, .. }, Some(given)) => {
                // Who presses Enter has confirmed, as far as she knows. What was asked before that is no answer to it.
                if round.told && !given.is_empty() {
                    round.answers_seen = flow.asked();
                }
                round.prompts.take() == Some(given.len())
            }
            (State::Over { .. }, _) => false,
        }
    }

    fn begin(&mut self) -> bool {
        let Some(provider) = self.name.as_ref().and_then(|name| self.login.providers.of_name(name)).cloned()
        else {
            return false;
        };
        let code = self.login.codes.admit(self.source.ip());
        let Some(code) = code.filter(|_| self.flows < FLOWS_PER_CONNECTION_MAX) else {
            tracing::warn!(source = %self.source, "too many codes that were asked for from here are pending");
            return false;
        };
        self.flows += 1;
        let key = match std::mem::replace(&mut self.state, State::Nothing) {
            State::KeyProven(key) => Some(key),
            _ => None,
        };
        let flow = Flow::begin(provider, code);
        let round = Round { prompts: None, told: false, answers_seen: 0 };
        self.state = State::Asking { key, flow, round };
        true
    }

    fn invite(&self, invitation: &Invitation, again: bool) -> Question {
        let key = self.key();
        match (self.login.settings.prompt, again) {
            (Prompt::Enter, false) => {
                let text = notice::invitation(invitation, self.source.ip().to_canonical(), key);
                Question::prompt(format!("{text}then press Enter: "))
            }
            (Prompt::Enter, true) => Question::prompt(notice::not_yet(invitation)),
            (Prompt::None, false) => {
                let text = notice::invitation(invitation, self.source.ip().to_canonical(), key);
                Question::text(format!("{text}and wait here.\n"))
            }
            (Prompt::None, true) => Question::default(),
        }
    }

    fn ask(&mut self, question: Question) -> InteractiveAnswer {
        let count = Some(question.prompts.len());
        match &mut self.state {
            State::Asking { round, .. } => round.prompts = count,
            State::Over { prompts } => *prompts = count,
            State::Nothing | State::KeyProven(_) | State::SignedIn { .. } => {}
        }
        InteractiveAnswer::Ask(question)
    }

    async fn decide(&mut self, outcome: Outcome) -> InteractiveAnswer {
        self.claimant = match &outcome {
            Outcome::SignedIn(identity, _) => Some(identity.person()),
            _ => None,
        };
        let sentence = match outcome {
            Outcome::SignedIn(identity, _) if !self.is_called(&identity.name) => {
                // Said here and not to the caller: he is told the same whether or not the name he gave is somebody's.
                let (key, user) = (self.key(), audit::shown(&self.user));
                tracing::warn!(source = %self.source, key, user, name = %identity.name, issuer = identity.issuer,
                    subject = identity.subject, "signed in as another");
                notice::NOT_HER_NAME
            }
            Outcome::SignedIn(identity, refresh) => match self.admit(identity, refresh).await {
                Ok(principal) => return InteractiveAnswer::Success(principal),
                Err(sentence) => sentence,
            },
            Outcome::Denied => notice::DENIED,
            Outcome::Expired => notice::EXPIRED,
            Outcome::Failed(ProviderFault::Silent(_)) => notice::PROVIDER_DOWN,
            Outcome::Failed(ProviderFault::Unfit(_)) => notice::PROVIDER_UNFIT,
            Outcome::Failed(ProviderFault::Unproven(_)) => notice::NOT_PROVEN,
        };
        let is_hers = [notice::DENIED, notice::NOT_HER_NAME, notice::ANOTHERS_KEY].contains(&sentence);
        self.failed += usize::from(is_hers);
        self.refused(sentence);
        self.state = State::Over { prompts: None };
        self.ask(match self.login.settings.prompt {
            Prompt::Enter => Question::prompt(format!("{sentence} Press Enter: ")),
            Prompt::None => Question::text(format!("{sentence}\n")),
        })
    }

    fn key(&self) -> Option<&str> {
        match &self.state {
            State::KeyProven(key) | State::Asking { key: Some(key), .. } => Some(&key.fingerprint),
            _ => None,
        }
    }

    fn enter(&mut self, proof: Proof, now: i64) -> Box<Principal> {
        let principal = Box::new(proof.principal(self.source, now));
        let bound = matches!(proof, Proof::Bound(..));
        tracing::info!(
            name = %principal.name, issuer = principal.issuer, subject = principal.subject,
            source = %principal.source, key = principal.key, bound = bound || self.has_bound, "signed in"
        );
        self.state = State::SignedIn { principal: principal.clone(), bound };
        principal
    }
}

/// Waits, one round at most, for something that the client has not been told.
async fn news(flow: &mut Flow, round: &Round) -> Progress {
    let new = |progress: &Progress| match progress {
        Progress::Starting => false,
        Progress::Waiting { answers, .. } => !round.told || *answers > round.answers_seen,
        Progress::Decided(_) => true,
    };
    // Both errors mean "no news": time is up, or the task is gone, as `now` tells.
    drop(tokio::time::timeout(ROUND_TIME_MAX, flow.progress.wait_for(new)).await);
    flow.now()
}

#[cfg(test)]
mod clients;
#[cfg(test)]
mod tests;
