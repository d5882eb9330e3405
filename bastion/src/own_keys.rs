//! The bastion's own keys, found where settings say.

use std::path::Path;

use gate::{Name, Policy};
use keys::{HOST_KEY, MasterKey, MasterKeySource, PrivateKey, Vault, secret_file};

use crate::{
    failure::Failure,
    settings::{FileRead, Settings, TargetSettings},
};

/// What passwords for targets are called among the secrets of the vault, so that none has the name of another secret.
pub const PASSWORD: &str = "password.";

/// What the password of this name is called among the secrets of the vault.
pub fn password_secret(name: &str) -> String {
    format!("{PASSWORD}{name}")
}

/// Opens the vault, and says where its master key was found.
///
/// # Errors
/// If there is no master key, or the vault does not open with it.
pub fn open_vault(settings: &Settings) -> Result<(Vault, MasterKeySource), Failure> {
    let (master, source) = MasterKey::find(settings.keys.master_key_file.as_deref())?;
    Ok((Vault::open(&settings.vault(), master)?, source))
}

/// The keys by which clients know us: the files in settings, or else the key `host` of the vault.
///
/// # Errors
/// If one cannot be read, or others could read it too.
pub fn host_keys(settings: &Settings, vault: &Vault) -> Result<Vec<PrivateKey>, Failure> {
    if settings.ssh.host_keys.is_empty() {
        return Ok(vec![vault.load(HOST_KEY)?]);
    }
    settings.ssh.host_keys.iter().map(|file| host_key(file)).collect()
}

fn host_key(file: &Path) -> Result<PrivateKey, Failure> {
    let text = secret_file::read(file)?;
    let fault = |why: &str, way_out: &str| Failure::new(format!("{}: {why}", file.display()), way_out);
    let key = PrivateKey::from_openssh(text.as_slice()).map_err(|_| {
        fault("is no private key in OpenSSH's format", "ssh-keygen -t ed25519 -N '' -f FILE makes one")
    })?;
    if key.is_encrypted() {
        return Err(fault("is encrypted with a passphrase", "ssh-keygen -p -N '' -f FILE removes it"));
    }
    Ok(key)
}

/// The policy that settings name, and what was read.
///
/// # Errors
/// If it cannot be read, or is wrong.
pub fn policy(settings: &Settings) -> Result<(Policy, FileRead), Failure> {
    let file = settings.policy.display().to_string();
    let text = std::fs::read_to_string(&settings.policy).map_err(|cause| {
        Failure::new(
            format!("{file}: cannot be read: {cause}"),
            "set `policy` to the policy's file; `bastion init` writes one",
        )
    })?;
    let policy = Policy::parse(&text, &file)?;
    Ok((policy, FileRead { file: settings.policy.clone(), text: text.into() }))
}

/// The target of this name.
///
/// # Errors
/// If there is none; the nearest name is the way out.
pub fn target<'a>(settings: &'a Settings, name: &str) -> Result<&'a TargetSettings, Failure> {
    let found = name.parse::<Name>().ok().and_then(|name| settings.targets.get(&name));
    found.ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let names = settings.targets.iter().map(|target| target.target.name.as_str());
        let way_out = match gate::nearest(name, names) {
            Some(name) => format!("{name:?}"),
            None => "bastion target list".into(),
        };
        Failure::new(format!("there is no target {shown:?}"), way_out)
    })
}
