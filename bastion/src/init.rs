//! `bastion init`: settings to begin with, a host key, and a vault. What is there is never overwritten.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use keys::{HOST_KEY, MasterKey, SecretFileFault, Vault, fingerprint, secret_file};

use crate::{failure::Failure, settings::DEFAULT_KEY};

const SETTINGS: &str = include_str!("init/bastion.toml");
const POLICY: &str = include_str!("init/policy.toml");

/// `bastion init`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  bastion init /etc/bastion --data /var/lib/bastion --issuer https://id.example --client-id bastion\n\nThen add targets to bastion.toml, and look at all of it with: bastion check"
)]
pub struct InitArgs {
    /// Where to write; made if it is not there
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Where recordings, keys and state shall lie [default: data in FOLDER]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The issuer URL of your OIDC provider
    #[arg(long, value_name = "URL", default_value = "https://id.example")]
    issuer: String,
    /// The bastion's client id there
    #[arg(long, value_name = "ID", default_value = "bastion")]
    client_id: String,
}

/// Runs `bastion init`.
///
/// # Errors
/// If anything of it is there already, or cannot be written.
pub fn run(args: &InitArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let folder = &args.folder;
    let at = |name: &str| folder.join(name);
    let data = args.data.as_deref().unwrap_or(Path::new("data"));
    let (settings, policy, master_key) = (at("bastion.toml"), at("policy.toml"), at("master.key"));
    let vault_folder = folder.join(data).join("keys");
    for file in [&settings, &policy, &master_key, &vault_folder.join("vault.json")] {
        nothing_at(file)?;
    }
    let text = SETTINGS
        .replace("@DATA@", quoted(&data.to_string_lossy())?)
        .replace("@ISSUER@", quoted(&args.issuer)?)
        .replace("@CLIENT_ID@", quoted(&args.client_id)?);

    secret_file::make_folder(folder)?;
    secret_file::check_folder(&master_key)?;
    let master = MasterKey::generate()?;
    master.write_new(&master_key)?;
    let mut vault = Vault::create(&vault_folder, master)?;
    let host = vault.generate(HOST_KEY)?;
    let gateway = vault.generate(DEFAULT_KEY)?;
    write_new(&policy, POLICY)?;
    // Last: what is begun and not done has no settings, and starts nothing.
    write_new(&settings, &text)?;

    writeln!(
        out,
        "Wrote {}, {}, {} and the vault in {}.",
        settings.display(),
        policy.display(),
        master_key.display(),
        vault_folder.display()
    )?;
    writeln!(out, "Host key:              {}", fingerprint(&host))?;
    writeln!(out, "Key towards targets:   {}", gateway.to_openssh().unwrap_or_default())?;
    writeln!(out, "\nNext:")?;
    writeln!(out, "  1. In bastion.toml: the provider in [login], and your targets.")?;
    let config = format!("--config {}", settings.display());
    writeln!(
        out,
        "  2. bastion target setup NAME {config}, then bastion target pin NAME {config}, for each target."
    )?;
    writeln!(out, "  3. bastion check {config}")?;
    writeln!(out, "  4. bastion serve {config}")?;
    writeln!(out, "Keep a copy of {} where no copy of the data folder is.", master_key.display())?;
    Ok(0)
}

fn nothing_at(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(SecretFileFault::Io { file: file.to_owned(), cause }.into()),
        Ok(_) => Err(Failure::new(
            format!("{} is there already, and init overwrites nothing", file.display()),
            "another folder, or `bastion check` to look at what is there",
        )),
    }
}

/// As it stands between the quotes of a TOML string.
fn quoted(text: &str) -> Result<&str, Failure> {
    if text.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        return Err(Failure::usage(
            format!("{text:?} has characters that settings cannot have"),
            "--issuer https://id.example",
        ));
    }
    Ok(text)
}

fn write_new(file: &Path, text: &str) -> Result<(), Failure> {
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o640).open(file);
    let written = open.as_mut().map_err(|cause| std::io::Error::from(cause.kind())).and_then(|open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written.map_err(|cause| SecretFileFault::Io { file: file.to_owned(), cause }.into())
}
