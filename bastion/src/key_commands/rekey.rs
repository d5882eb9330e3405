//! `bastion key rekey`: another master key for the vault.

use std::{io::Write, path::Path};

use keys::{MasterKey, MasterKeySource, Vault, VaultFault, secret_file};

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    settings::Settings,
};

/// Runs `bastion key rekey FILE`. Killed at any moment it can be run again: a file that it has made is taken for what it
/// is, and a vault that it has changed is not changed again.
///
/// # Errors
/// If the vault does not open, or cannot be written: then the old master key still opens it.
pub async fn run(settings: &Settings, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    not_among_the_data(&settings.data, file)?;
    let (old, source) = MasterKey::find(settings.keys.master_key_file.as_deref())?;
    let mut vault = match Vault::open(&settings.vault(), old) {
        Ok(vault) => vault,
        Err(fault @ VaultFault::WrongMasterKey { .. }) => {
            let new = if file.exists() { MasterKey::read(file).ok() } else { None };
            return match new.and_then(|new| Vault::open(&settings.vault(), new).ok()) {
                Some(_) => Ok(writeln!(
                    out,
                    "The vault is encrypted under the master key in {} already.{}",
                    file.display(),
                    next(settings, &source, file)
                )?),
                None => Err(fault.into()),
            };
        }
        Err(fault) => return Err(fault.into()),
    };
    let new = match file.symlink_metadata() {
        Ok(_) => MasterKey::read(file)?,
        Err(_) => {
            secret_file::check_folder(file)?;
            let new = MasterKey::generate()?;
            new.write_new(file)?;
            new
        }
    };
    if vault.is_under(&new) {
        return Err(Failure::new(
            format!("{} holds the master key that the vault has now", file.display()),
            "name a file that is not there yet",
        ));
    }
    let (keys, secrets) = (vault.keys()?.len(), vault.secret_names().len());
    let act = Act::MasterKeyChanged { file: file.display().to_string(), keys, secrets, by: By::me() };
    write_as_command(settings, &[act]).await?;
    vault.rekey(new)?;
    writeln!(
        out,
        "{keys} keys and {secrets} secrets are encrypted under the master key in {} now. Nothing else opens the vault.{}",
        file.display(),
        next(settings, &source, file)
    )?;
    Ok(())
}

/// Whoever gets a copy of the data folder would get the key with it.
fn not_among_the_data(data: &Path, file: &Path) -> Result<(), Failure> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (Ok(folder), Ok(data)) = (folder.canonicalize(), data.canonicalize()) else {
        return Ok(()); // what is not there is told by whoever needs it
    };
    match folder.starts_with(&data) {
        false => Ok(()),
        true => Err(Failure::new(
            format!("{} lies in the data folder: a copy of that would open the vault", file.display()),
            "name a file elsewhere",
        )),
    }
}

/// What is left to do, by where the old master key was found.
fn next(settings: &Settings, source: &MasterKeySource, file: &Path) -> String {
    let new = file.display();
    let place = |file: &Path| file.canonicalize().ok();
    let in_settings = settings.keys.master_key_file.as_deref();
    let is_in_place = in_settings.is_some_and(|set| place(set).is_some() && place(set) == place(file));
    let steps = match source {
        MasterKeySource::File(old) => {
            let old = old.display();
            vec![
                format!(
                    "cp -p {old} {old}.old    (older copies of the vault open with it alone: keep it where they are not)"
                ),
                format!("mv {new} {old}"),
                "systemctl reload bastion".into(),
            ]
        }
        MasterKeySource::Environment if is_in_place => {
            vec!["take BASTION_MASTER_KEY out of the environment".into(), "systemctl restart bastion".into()]
        }
        MasterKeySource::Environment => vec![
            format!("set BASTION_MASTER_KEY to what is in {new}"),
            "systemctl restart bastion    (a process keeps its environment: a reload does not do)".into(),
        ],
        MasterKeySource::Credential(_) => vec![
            format!(
                "systemd-creds encrypt --name=master-key {new} CRED, where CRED is what LoadCredentialEncrypted names"
            ),
            "systemctl restart bastion    (a credential is read at the start: a reload does not do)".into(),
            format!("keep a copy of {new} where no copy of the data folder is, and shred it here"),
        ],
    };
    let numbered = steps.iter().zip(1..).map(|(step, number)| format!("\n  {number}. {step}"));
    format!(
        "\nNext:{}\nUntil then a running server goes on with what it has, and one that is started does not start.\n\
         Copies of the vault from before still open with the old master key alone: docs/master-key.md.",
        numbered.collect::<String>()
    )
}
