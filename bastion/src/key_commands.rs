//! `bastion key`: the keys in the vault, by their public halves alone.

mod password;
mod rekey;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use keys::{HOST_KEY, KeyInfo, SUCCESSOR, Vault, VaultFault, fingerprint, secret_file, successor};
use password::PasswordCommand;
use serde_json::json;

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    own_keys::open_vault,
    settings::{Settings, SettingsArgs},
};

/// `bastion key`
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub enum KeyCommand {
    /// List the keys in the vault
    #[command(after_help = "Example:\n  bastion key list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new Ed25519 key in the vault
    #[command(
        after_help = "Example:\n  bastion key new gateway-2026\n\nThen name it in a target: key = \"gateway-2026\""
    )]
    New {
        /// Its name
        name: String,
    },
    /// Take a private key from a file into the vault
    #[command(
        after_help = "Example:\n  bastion key import gateway-2026 ./id_ed25519\n\nEd25519 or ECDSA, in OpenSSH's format, without a passphrase, mode 0600. The file stays where it is: destroy it."
    )]
    Import {
        /// Its name in the vault
        name: String,
        /// The file
        file: PathBuf,
    },
    /// Take a key out of the vault, for good
    #[command(
        after_help = "Example:\n  bastion key remove gateway-2025\n\nRefused while the settings use it. There is no way back but a backup of the vault."
    )]
    Remove {
        /// Its name
        name: String,
    },
    /// Make a key's successor: both are offered to targets for a while (keys.overlap)
    #[command(
        after_help = "Example:\n  bastion key rotate gateway\n  systemctl reload bastion\n  bastion target setup web1     (for each target: prints the successor)\n  bastion key retire gateway    (once all targets know it)\n\nIts successor is called gateway.next until then. `bastion key remove gateway.next` calls it off."
    )]
    Rotate {
        /// The key's name
        name: String,
    },
    /// Give a key's name to its successor; the old key is gone for good
    #[command(after_help = "Example:\n  bastion key retire gateway\n  systemctl reload bastion")]
    Retire {
        /// The key's name
        name: String,
    },
    /// Passwords for targets that take no key
    Password {
        #[command(subcommand)]
        command: PasswordCommand,
    },
    /// Encrypt the vault anew, under a new master key
    #[command(
        after_help = "Example:\n  bastion key rekey /etc/bastion/master.key.new\n\nIt says what to do next. docs/master-key.md says what this protects, and what it does not."
    )]
    Rekey {
        /// The file for the new master key: made if it is not there, else it must hold one
        file: PathBuf,
    },
    /// Show the public half of a key
    #[command(after_help = "Example:\n  bastion key show gateway")]
    Show {
        /// Its name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs `bastion key`.
///
/// # Errors
/// If the vault cannot be read, or for a new key, opened.
pub async fn run(args: &KeyArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    match &args.command {
        KeyCommand::List { json } => list(&Vault::list(&settings.vault())?, *json, out)?,
        KeyCommand::New { name } => {
            not_a_successor(name)?;
            Vault::may_be_called(name)?;
            is_free(&settings, name)?;
            let (mut vault, _) = open_vault(&settings)?;
            let key = Vault::fresh_key(name)?;
            let act = Act::KeyMade { name: name.clone(), key: fingerprint(key.public_key()), by: By::me() };
            write_as_command(&settings, &[act]).await?;
            let public = vault.put(name, &key)?;
            writeln!(out, "{}", public.to_openssh().unwrap_or_default())?;
        }
        KeyCommand::Rotate { name } => rotate(&settings, name, out).await?,
        KeyCommand::Retire { name } => retire(&settings, name, out).await?,
        KeyCommand::Import { name, file } => {
            not_a_successor(name)?;
            Vault::may_be_called(name)?;
            is_free(&settings, name)?;
            let (mut vault, _) = open_vault(&settings)?;
            let key = Vault::read_key(&secret_file::read(file)?).map_err(|fault| in_file(file, &fault))?;
            let act =
                Act::KeyImported { name: name.clone(), key: fingerprint(key.public_key()), by: By::me() };
            write_as_command(&settings, &[act]).await?;
            let public = vault.put(name, &key)?;
            writeln!(out, "{}", public.to_openssh().unwrap_or_default())?;
        }
        KeyCommand::Remove { name } => remove(&settings, name, out).await?,
        KeyCommand::Password { command } => password::run(&settings, command, out).await?,
        KeyCommand::Rekey { file } => rekey::run(&settings, file, out).await?,
        KeyCommand::Show { name, json } => {
            let key = known(&settings, name)?;
            match json {
                true => writeln!(out, "{}", shown(&key))?,
                false => writeln!(out, "{}", key.public.to_openssh().unwrap_or_default())?,
            }
        }
    }
    Ok(0)
}

/// A fault of the file is told with its name.
fn in_file(file: &Path, fault: &VaultFault) -> Failure {
    match fault {
        VaultFault::NotAKey(_) => Failure::new(format!("{}: {fault}", file.display()), fault.way_out()),
        _ => Failure::new(fault, fault.way_out()),
    }
}

/// A key that was only called so would open targets in the place of another.
fn not_a_successor(name: &str) -> Result<(), Failure> {
    match name.strip_suffix(SUCCESSOR) {
        Some(old) => Err(Failure::new(
            format!("{name:?} is the name of a successor"),
            format!("bastion key rotate {old}, or a name with another ending"),
        )),
        None => Ok(()),
    }
}

/// The trail must not tell of a key that is never made.
fn is_free(settings: &Settings, name: &str) -> Result<(), Failure> {
    match Vault::list(&settings.vault())?.iter().any(|key| key.name == name) {
        true => Err(VaultFault::NameTaken { name: name.into() }.into()),
        false => Ok(()),
    }
}

async fn rotate(settings: &Settings, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
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
    let act = Act::KeyMade { name: next, key: fingerprint(key.public_key()), by: By::me() };
    write_as_command(settings, &[act]).await?;
    let public = vault.rotate_to(name, &key)?;
    writeln!(out, "{}", public.to_openssh().unwrap_or_default())?;
    Ok(())
}

async fn retire(settings: &Settings, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
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
    let (old, new) = (fingerprint(&key.public), fingerprint(&public));
    let act =
        Act::KeyRetired { name: name.to_owned(), key: old.clone(), successor: new.clone(), by: By::me() };
    write_as_command(settings, &[act]).await?;
    vault.retire(name)?;
    writeln!(out, "{name} is {new} now, and no longer {old}. A server that runs follows on SIGHUP.")?;
    Ok(())
}

async fn remove(settings: &Settings, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let key = known(settings, name)?;
    let users = users(settings, name);
    if !users.is_empty() {
        return Err(Failure::new(
            format!("key {name:?} is in use: {}", users.join(", ")),
            "name another key there, reload the server, and then remove this one",
        ));
    }
    let (mut vault, _) = open_vault(settings)?;
    let act = Act::KeyRemoved { name: name.to_owned(), key: fingerprint(&key.public), by: By::me() };
    write_as_command(settings, &[act]).await?;
    vault.remove(name)?;
    writeln!(out, "Removed {name}  {}. A server that runs forgets it on SIGHUP.", fingerprint(&key.public))?;
    Ok(())
}

/// What in the settings asks for this key.
fn users(settings: &Settings, name: &str) -> Vec<String> {
    let is_host_key = name == HOST_KEY && settings.ssh.host_keys.is_empty();
    let host_key = is_host_key.then(|| "it is the key by which clients know the bastion".to_owned());
    let authority = settings.keys.authorities.iter().any(|key| key.as_str() == name);
    let labels = settings.keys.by_label.iter().filter(|(_, key)| key.as_str() == name);
    let targets =
        settings.targets.iter().filter(|target| target.auth.has_key() && target.target.key.as_str() == name);
    host_key
        .into_iter()
        .chain(authority.then(|| "keys.authorities".to_owned()))
        .chain(labels.map(|(label, _)| format!("keys.by_label {label:?}")))
        .chain(targets.map(|target| format!("target {}", target.target.name)))
        .collect()
}

fn known(settings: &Settings, name: &str) -> Result<KeyInfo, Failure> {
    let mut keys = Vault::list(&settings.vault())?.into_iter();
    keys.find(|key| key.name == name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Failure::new(format!("there is no key {shown:?} in the vault"), "bastion key list")
    })
}

fn list(keys: &[KeyInfo], json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        writeln!(out, "{}", keys.iter().map(shown).collect::<serde_json::Value>())?;
        return Ok(());
    }
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or_default();
    for key in keys {
        let algorithm = key.public.algorithm();
        writeln!(out, "{:width$}  {}  {}", key.name, algorithm.as_str(), fingerprint(&key.public))?;
    }
    Ok(())
}

fn shown(key: &KeyInfo) -> serde_json::Value {
    json!({
        "name": key.name,
        "algorithm": key.public.algorithm().as_str(),
        "fingerprint": fingerprint(&key.public),
        "public": key.public.to_openssh().unwrap_or_default(),
        "made_at": key.made_at,
        "replaces": key.name.strip_suffix(SUCCESSOR),
    })
}
