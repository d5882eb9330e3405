//! `bastion key`: the keys in the vault, by their public halves alone.

use std::io::Write;

use keys::{KeyInfo, Vault, fingerprint};
use serde_json::json;

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    own_keys::open_vault,
    settings::SettingsArgs,
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
            let (mut vault, _) = open_vault(&settings)?;
            let key = Vault::fresh_key(name)?;
            let act = Act::KeyMade { name: name.clone(), key: fingerprint(key.public_key()), by: By::me() };
            write_as_command(&settings, act).await?;
            let public = vault.put(name, &key)?;
            writeln!(out, "{}", public.to_openssh().unwrap_or_default())?;
        }
        KeyCommand::Show { name, json } => {
            let keys = Vault::list(&settings.vault())?;
            let key = keys.iter().find(|key| key.name == *name).ok_or_else(|| {
                Failure::new(format!("there is no key {name:?} in the vault"), "bastion key list")
            })?;
            match json {
                true => writeln!(out, "{}", shown(key))?,
                false => writeln!(out, "{}", key.public.to_openssh().unwrap_or_default())?,
            }
        }
    }
    Ok(0)
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
    })
}
