//! Signing in to a target, by what its settings say it wants.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use gate::{Grant, Name};
use keys::{Vault, VaultFault, fingerprint};
use russh::{
    MethodSet,
    client::{self, AuthResult, KeyboardInteractiveAuthResponse, Prompt},
    keys::PrivateKeyWithHashAlg,
};
use zeroize::Zeroizing;

use super::{
    DialContext, DialProblem, TargetHandler, certificate,
    fault::{methods, printable},
};
use crate::{
    house,
    opened::{self, Opened},
    own_keys::password_secret,
    settings::{Auth, Password},
};

/// PAM sends what it has to say in rounds without a question, before and after the one with it.
const ROUNDS_MAX: usize = 8;

/// How far a key has come.
pub(super) enum Step {
    /// We are in.
    In,
    /// It was taken, and is not enough: what the target goes on with.
    More(String),
}

impl Step {
    /// What a target answered to a key; its refusal if it did not take it.
    pub(super) fn of(answer: AuthResult) -> Result<Step, MethodSet> {
        match answer {
            AuthResult::Success => Ok(Step::In),
            AuthResult::Failure { remaining_methods, partial_success: true } => {
                Ok(Step::More(methods(&remaining_methods)))
            }
            AuthResult::Failure { remaining_methods, .. } => Err(remaining_methods),
        }
    }
}

/// Signs in. The password is read first: a target that wants one is not shown the key if there is none.
pub(super) async fn log_in(
    handle: &mut client::Handle<TargetHandler>,
    grant: &Grant,
    key_id: &str,
    ours: IpAddr,
    context: &DialContext,
) -> Result<(), DialProblem> {
    let settings = context.targets.get(&grant.target().name);
    let auth = settings.map(|settings| settings.auth.clone()).unwrap_or_default();
    let password = auth.password().map(|password| read(&context.vault, password)).transpose()?;
    if auth.has_key() {
        match (with_key(handle, grant, key_id, ours, context).await?, &auth) {
            (Step::In, _) => return Ok(()),
            (Step::More(_), Auth::KeyThenPassword(_)) => {}
            (Step::More(wants), _) => {
                return Err(DialProblem::WantsMore { login: grant.login().clone(), wants });
            }
        }
    }
    match (auth.password(), password) {
        (Some(named), Some(password)) => with_password(handle, grant.login(), named, &password).await,
        _ => Ok(()),
    }
}

fn read(vault: &Vault, password: &Password) -> Result<Zeroizing<String>, DialProblem> {
    let bytes = vault.secret(&password_secret(password.name.as_str())).map_err(|fault| match fault {
        VaultFault::Unknown { .. } => DialProblem::NoPassword(password.name.clone()),
        fault => DialProblem::Key(fault),
    })?;
    // Only `bastion key password set` writes one, and it takes text alone.
    let text = std::str::from_utf8(&bytes).map_err(|_| DialProblem::NoPassword(password.name.clone()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// With the target's key, or while that is being replaced with its successor first.
async fn with_key(
    handle: &mut client::Handle<TargetHandler>,
    grant: &Grant,
    key_id: &str,
    ours: IpAddr,
    context: &DialContext,
) -> Result<Step, DialProblem> {
    let target = grant.target();
    let signs = context.authorities.contains(&target.key);
    let (first, then) = context.vault.offered(target.key.as_str(), context.overlap, SystemTime::now());
    let mut log_in_with = async |name: &str| match signs {
        true => certificate::log_in(handle, grant, &context.vault, name, key_id, ours).await,
        false => with_this_key(handle, grant, &context.vault, name).await,
    };
    let (step, with) = match (log_in_with(&first).await, then) {
        (Err(DialProblem::LoginRefused { .. } | DialProblem::CertificateRefused { .. }), Some(old)) => {
            tracing::warn!("{} does not know {first} yet; {old} is offered, which it replaces", target.name);
            (log_in_with(&old).await?, old)
        }
        (answer, _) => (answer?, first.clone()),
    };
    if first != target.key.as_str() {
        note(context, grant, &with).await;
    }
    Ok(step)
}

/// Notes which of the two keys it was. Waited for, so that who has seen a session can rely on it; what cannot be noted keeps
/// nobody out.
async fn note(context: &DialContext, grant: &Grant, with: &str) {
    let (folder, target, login) =
        (context.opened.clone(), grant.target().name.clone(), grant.login().clone());
    let Ok(key) = context.vault.public(with).map(|public| fingerprint(&public)) else { return };
    let now = Opened { key, at: house::now() };
    let noted = tokio::task::spawn_blocking(move || opened::note(&folder, &target, &login, now)).await;
    if let Ok(Err(fault)) = noted {
        tracing::warn!(%fault, "`bastion key list` does not know that {} was opened", grant.target().name);
    }
}

async fn with_this_key(
    handle: &mut client::Handle<TargetHandler>,
    grant: &Grant,
    vault: &Vault,
    name: &str,
) -> Result<Step, DialProblem> {
    let key = vault.load(name)?;
    let shown = fingerprint(key.public_key());
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let answer = handle.authenticate_publickey(grant.login().as_str(), key).await?;
    Step::of(answer).map_err(|remaining| DialProblem::LoginRefused {
        login: grant.login().clone(),
        key: name.to_owned(),
        fingerprint: shown,
        wants: methods(&remaining),
    })
}

async fn with_password(
    handle: &mut client::Handle<TargetHandler>,
    login: &Name,
    named: &Password,
    password: &str,
) -> Result<(), DialProblem> {
    let refused = |wants: &MethodSet| DialProblem::PasswordRefused {
        login: login.clone(),
        password: named.name.clone(),
        wants: methods(wants),
    };
    if !named.interactive {
        return match handle.authenticate_password(login.as_str(), password).await? {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { remaining_methods, .. } => Err(refused(&remaining_methods)),
        };
    }
    let mut answer = handle.authenticate_keyboard_interactive_start(login.as_str(), None).await?;
    let mut is_asked = false;
    for _ in 0..ROUNDS_MAX {
        let responses = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(()),
            KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                return Err(refused(&remaining_methods));
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.as_slice() {
                [] => vec![],
                [Prompt { echo: false, .. }] if !is_asked => {
                    is_asked = true;
                    vec![password.to_owned()]
                }
                _ => return Err(not_a_password(login, is_asked, &prompts)),
            },
        };
        answer = handle.authenticate_keyboard_interactive_respond(responses).await?;
    }
    Err(DialProblem::Questions { login: login.clone(), what: "it comes to no end".into() })
}

/// Whoever asks for something else, or again, would be told the password in the place of that.
fn not_a_password(login: &Name, is_asked: bool, prompts: &[Prompt]) -> DialProblem {
    let shown: Vec<String> = prompts.iter().take(4).map(|prompt| printable(&prompt.prompt)).collect();
    let what = match (is_asked, prompts) {
        (true, _) => format!("after the password it asks {shown:?}"),
        (false, [_]) => format!("it asks {shown:?}, and would show the answer"),
        (false, _) => format!("it asks {} things at once, {shown:?}", prompts.len()),
    };
    DialProblem::Questions { login: login.clone(), what }
}
