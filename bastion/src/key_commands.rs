//! `bastion key`: the keys in the vault, by their public halves alone.

mod password;
mod rekey;
mod rotation;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use keys::{HOST_KEY, KeyInfo, SUCCESSOR, Vault, VaultFault, fingerprint, secret_file};
use password::PasswordCommand;
use rotation::Followed;
use serde_json::json;

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    own_keys::open_vault,
    settings::{Settings, SettingsArgs},
    times::rfc3339_s,
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
        /// As JSON
        #[arg(long)]
        json: bool,
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
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key out of the vault, for good
    #[command(
        after_help = "Example:\n  bastion key remove gateway-2025\n\nRefused while the settings use it. There is no way back but a backup of the vault."
    )]
    Remove {
        /// Its name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key's successor: both are offered to targets for a while (keys.overlap)
    #[command(
        after_help = "Example:\n  bastion key rotate gateway\n  systemctl reload bastion\n  bastion target setup web1     (for each target: prints the successor)\n  bastion key retire gateway    (once all targets know it)\n\nIts successor is called gateway.next until then. `bastion key remove gateway.next` calls it off."
    )]
    Rotate {
        /// The key's name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a key's name to its successor; the old key is gone for good
    #[command(
        after_help = "Example:\n  bastion key list              (which targets know the successor)\n  bastion key retire gateway\n  systemctl reload bastion\n\nRefused while a target was last opened with the old key alone. There is no way back but a backup of the vault."
    )]
    Retire {
        /// The key's name
        name: String,
        /// Also if targets were last opened with the old key alone: they are locked until they are given the new one
        #[arg(long)]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
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
        KeyCommand::List { json } => list(&settings, *json, out)?,
        KeyCommand::New { name, json } => {
            not_a_successor(name)?;
            Vault::may_be_called(name)?;
            is_free(&settings, name)?;
            let (mut vault, _) = open_vault(&settings)?;
            let key = Vault::fresh_key(name)?;
            let act = Act::KeyMade { name: name.clone(), key: fingerprint(key.public_key()), by: By::me() };
            write_as_command(&settings, &[act]).await?;
            vault.put(name, &key)?;
            show(&settings, name, *json, out)?;
        }
        KeyCommand::Rotate { name, json } => rotation::rotate(&settings, name, *json, out).await?,
        KeyCommand::Retire { name, force, json } => {
            rotation::retire(&settings, name, (*force, *json), out).await?;
        }
        KeyCommand::Import { name, file, json } => {
            not_a_successor(name)?;
            Vault::may_be_called(name)?;
            is_free(&settings, name)?;
            let (mut vault, _) = open_vault(&settings)?;
            let key = Vault::read_key(&secret_file::read(file)?).map_err(|fault| in_file(file, &fault))?;
            let act =
                Act::KeyImported { name: name.clone(), key: fingerprint(key.public_key()), by: By::me() };
            write_as_command(&settings, &[act]).await?;
            vault.put(name, &key)?;
            show(&settings, name, *json, out)?;
        }
        KeyCommand::Remove { name, json } => remove(&settings, name, *json, out).await?,
        KeyCommand::Password { command } => password::run(&settings, command, out).await?,
        KeyCommand::Rekey { file } => rekey::run(&settings, file, out).await?,
        KeyCommand::Show { name, json } => show(&settings, name, *json, out)?,
    }
    Ok(0)
}

fn show(settings: &Settings, name: &str, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let key = known(settings, name)?;
    match json {
        true => writeln!(out, "{}", shown(settings, &Vault::list(&settings.vault())?, &key))?,
        false => writeln!(out, "{}", key.public.to_openssh().unwrap_or_default())?,
    }
    Ok(())
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

async fn remove(settings: &Settings, name: &str, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
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
    let print = fingerprint(&key.public);
    match json {
        true => writeln!(out, "{}", json!({ "name": name, "removed": print }))?,
        false => writeln!(out, "Removed {name}  {print}. A server that runs forgets it on SIGHUP.")?,
    }
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

fn list(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let keys = Vault::list(&settings.vault())?;
    if json {
        let told = keys.iter().map(|key| shown(settings, &keys, key)).collect::<serde_json::Value>();
        writeln!(out, "{told}")?;
        return Ok(());
    }
    if keys.is_empty() {
        writeln!(out, "no key is in the vault in {}", settings.vault().display())?;
    }
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or_default();
    for key in &keys {
        let algorithm = key.public.algorithm();
        writeln!(out, "{:width$}  {}  {}", key.name, algorithm.as_str(), fingerprint(&key.public))?;
        for one in Followed::all(settings, &keys, &key.name) {
            writeln!(out, "{:width$}    {}", "", one.line())?;
        }
    }
    Ok(())
}

fn shown(settings: &Settings, keys: &[KeyInfo], key: &KeyInfo) -> serde_json::Value {
    let targets = Followed::all(settings, keys, &key.name);
    json!({
        "name": key.name,
        "algorithm": key.public.algorithm().as_str(),
        "fingerprint": fingerprint(&key.public),
        "public": key.public.to_openssh().unwrap_or_default(),
        "made_at": rfc3339_s(key.made_at.cast_signed()),
        "replaces": key.name.strip_suffix(SUCCESSOR),
        "targets": targets.iter().map(Followed::json).collect::<Vec<_>>(),
    })
}
