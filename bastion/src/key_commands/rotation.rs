//! `bastion key rotate` and `retire`: a key's successor, and which targets know it.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use gate::Name;
use keys::{KeyInfo, Vault, fingerprint, successor};
use serde_json::{Value, json};

use super::{known, shown, users};
use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    opened::{self, Opened},
    own_keys::open_vault,
    settings::{Settings, TargetSettings},
    times::{local_s, rfc3339_s},
};

/// A login of a target that a key opens, and what the bastion knows of it since the key has a successor.
pub(super) struct Followed {
    target: Name,
    login: Name,
    since: Since,
}

/// With which of the two it was last opened, and when: seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    New(i64),
    Old(i64),
    Never,
}

impl Followed {
    /// What each target of this key was last opened with; nothing if it has no successor.
    pub(super) fn all(settings: &Settings, keys: &[KeyInfo], name: &str) -> Vec<Followed> {
        let named = |name: &str| keys.iter().find(|key| key.name == name);
        let (Some(old), Some(new)) = (named(name), named(&successor(name))) else { return Vec::new() };
        let (folder, made_at) = (settings.opened(), new.made_at.cast_signed());
        let [old, new] = [old, new].map(|key| fingerprint(&key.public));
        let since = |target: &Name, login: &Name| match opened::last(&folder, target, login) {
            Some(Opened { key, at }) if key == new => Since::New(at),
            Some(Opened { key, at }) if key == old && at >= made_at => Since::Old(at),
            _ => Since::Never,
        };
        let followed = |TargetSettings { target, .. }: &TargetSettings| {
            let each = |login: &Name| Followed {
                target: target.name.clone(),
                login: login.clone(),
                since: since(&target.name, login),
            };
            target.logins.iter().map(each).collect::<Vec<_>>()
        };
        of_key(settings, name).flat_map(followed).collect()
    }

    fn place(&self) -> String {
        format!("{}@{}", self.login, self.target)
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let last = match self.since {
            Since::New(at) => format!("last opened with the new key, {}", local_s(at)),
            Since::Old(at) => {
                format!("last opened with the old key, {}: does not know the new one yet", local_s(at))
            }
            Since::Never => "not opened since the new key was made".to_owned(),
        };
        format!("{}  {last}", self.place())
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let (with, at) = match self.since {
            Since::New(at) => (Some("new"), Some(at)),
            Since::Old(at) => (Some("old"), Some(at)),
            Since::Never => (None, None),
        };
        let (target, login) = (&self.target, &self.login);
        json!({ "target": target, "login": login, "opened_with": with, "opened_at": at.map(rfc3339_s) })
    }
}

/// The targets that this key opens.
fn of_key<'a>(settings: &'a Settings, name: &'a str) -> impl Iterator<Item = &'a TargetSettings> {
    settings.targets.iter().filter(move |target| target.auth.has_key() && target.target.key.as_str() == name)
}

/// `bastion key rotate`
pub(super) async fn rotate(
    settings: &Settings,
    name: &str,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    known(settings, name)?;
    Vault::may_be_rotated(name)?;
    let (mut vault, _) = open_vault(settings)?;
    let next = successor(name);
    if vault.successor_of(name).is_some() {
        return Err(Failure::new(
            format!("key {name:?} has a successor already"),
            format!("bastion key retire {name}, once all targets know {next}"),
        ));
    }
    let key = Vault::fresh_key(&next)?;
    let act = Act::KeyMade { name: next.clone(), key: fingerprint(key.public_key()), by: By::me() };
    write_as_command(settings, &[act]).await?;
    let public = vault.rotate_to(name, &key)?;
    if json {
        writeln!(out, "{}", shown(settings, &[], &known(settings, &next)?))?;
        return Ok(());
    }
    writeln!(out, "{}", public.to_openssh().unwrap_or_default())?;
    Ok(write!(out, "{}", next_steps(settings, name))?)
}

fn next_steps(settings: &Settings, name: &str) -> String {
    let next = successor(name);
    let targets: Vec<&str> = of_key(settings, name).map(|target| target.target.name.as_str()).collect();
    let setup = match targets.as_slice() {
        [] => format!("no target is opened with {name} now, so none has to learn {next}"),
        [one] => format!("on {one}: what `bastion target setup {one}` prints"),
        [some @ .., last] => format!(
            "on each of {} and {last}: what `bastion target setup NAME` prints for it",
            some.join(", ")
        ),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = now.saturating_add(settings.keys.overlap).as_secs();
    let end = local_s(i64::try_from(end).unwrap_or(i64::MAX));
    format!(
        "\nNext:\n  1. systemctl reload bastion    (from then on targets are offered {next} first, then {name})\n  2. {setup}\n  \
         3. bastion key list    (which targets were opened with the new key, and which with the old one alone)\n  \
         4. bastion key retire {name}, and a reload, before {end}: from then on {name} is offered no more\n\
         `bastion key remove {next}` calls it off.\n"
    )
}

/// `bastion key retire`. Refused while a target is known to need the old key, because nothing brings that back but a backup;
/// of targets that were not opened since nobody knows, and a machine that is seldom used must not hold up the others: they
/// are named.
pub(super) async fn retire(
    settings: &Settings,
    name: &str,
    (force, json): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let key = known(settings, name)?;
    let next = successor(name);
    let users = users(settings, &next);
    if !users.is_empty() {
        return Err(Failure::new(
            format!("{next} would be gone, and is in use: {}", users.join(", ")),
            format!("name {name} there: it is the same key afterwards"),
        ));
    }
    let (mut vault, _) = open_vault(settings)?;
    let Some((public, _)) = vault.successor_of(name) else {
        return Err(Failure::new(
            format!("key {name:?} has no successor"),
            format!("bastion key rotate {name}"),
        ));
    };
    let followed = Followed::all(settings, &Vault::list(&settings.vault())?, name);
    if !force {
        none_needs_the_old(name, &followed)?;
    }
    let (old, new) = (fingerprint(&key.public), fingerprint(&public));
    let act =
        Act::KeyRetired { name: name.to_owned(), key: old.clone(), successor: new.clone(), by: By::me() };
    write_as_command(settings, &[act]).await?;
    vault.retire(name)?;
    if json {
        let targets: Vec<Value> = followed.iter().map(Followed::json).collect();
        writeln!(out, "{}", json!({ "name": name, "key": old, "successor": new, "targets": targets }))?;
        return Ok(());
    }
    writeln!(out, "{name} is {new} now, and no longer {old}. A server that runs follows on SIGHUP.")?;
    for one in followed.iter().filter(|one| !matches!(one.since, Since::New(_))) {
        writeln!(out, "  {}", one.line())?;
    }
    Ok(())
}

fn none_needs_the_old(name: &str, followed: &[Followed]) -> Result<(), Failure> {
    let needs = |one: &&Followed| matches!(one.since, Since::Old(_));
    let needing: Vec<String> = followed.iter().filter(needs).map(Followed::place).collect();
    let Some(first) = followed.iter().find(needs) else { return Ok(()) };
    Err(Failure::new(
        format!(
            "last opened with the old key alone, so that nothing would open them: {}",
            needing.join(", ")
        ),
        format!(
            "have added there what `bastion target setup {}` prints, and open them once; or bastion key retire {name} --force",
            first.target
        ),
    ))
}
