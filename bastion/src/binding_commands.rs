//! `bastion bindings` and `bastion names`: who is signed in by which key, and whose a name is.

use std::io::Write;

use archive::control::{Client, ControlFault, Request, SOCKET};
use gate::Name;
use serde_json::{Value, json};

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    login::{Binding, Bindings, NameOwner},
    revoke::Which,
    sessions::{local, printable, rfc3339},
    settings::{Settings, SettingsArgs},
};

/// `bastion bindings`
#[derive(Debug, clap::Args)]
pub struct BindingsArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: BindingsCommand,
}

/// What to do with bindings.
#[derive(Debug, clap::Subcommand)]
pub enum BindingsCommand {
    /// List the keys that sign somebody in
    #[command(after_help = "Example:\n  bastion bindings list --user alice --json")]
    List {
        /// Of this person
        #[arg(long)]
        user: Option<Name>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the right to sign in from keys; what they opened ends within seconds
    #[command(
        after_help = "Examples:\n  bastion bindings revoke --user alice\n  bastion bindings revoke --key SHA256:...\n  bastion bindings revoke --all"
    )]
    Revoke(RevokeArgs),
}

/// Which.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct RevokeArgs {
    /// All keys of this person
    #[arg(long)]
    user: Option<Name>,
    /// The key with this fingerprint
    #[arg(long, value_name = "SHA256:...")]
    key: Option<String>,
    /// Every key of everybody
    #[arg(long, conflicts_with_all = ["user", "key"])]
    all: bool,
}

/// `bastion names`
#[derive(Debug, clap::Args)]
pub struct NamesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: NamesCommand,
}

/// What to do with names.
#[derive(Debug, clap::Subcommand)]
pub enum NamesCommand {
    /// List whose the names are
    #[command(after_help = "Example:\n  bastion names list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let names be anybody's again; their keys and connections end
    #[command(after_help = "Example:\n  bastion names release alice")]
    Release {
        /// The names
        #[arg(required = true)]
        names: Vec<Name>,
    },
}

/// Runs `bastion bindings`.
///
/// # Errors
/// If neither a server nor the store answers.
pub async fn bindings(args: &BindingsArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    match &args.command {
        BindingsCommand::List { user, json } => {
            let mut all: Vec<Binding> = match server(&settings) {
                Some(mut client) => client.ask_for(&Request::Bindings)?.unwrap_or_default(),
                None => store(&settings)?.all(crate::house::now()).map_err(stored)?,
            };
            all.retain(|binding| user.as_ref().is_none_or(|user| user.folded() == binding.name.folded()));
            all.sort_by(|a, b| (&a.name, a.created_at).cmp(&(&b.name, b.created_at)));
            write!(out, "{}", if *json { bindings_json(&all) } else { bindings_table(&all) })?;
        }
        BindingsCommand::Revoke(RevokeArgs { user, key, .. }) => {
            let keys = revoke(&settings, user.clone(), key.clone()).await?;
            for key in &keys {
                writeln!(out, "{key} signs nobody in any more")?;
            }
            writeln!(out, "{} revoked", counted(keys.len(), "key"))?;
        }
    }
    Ok(0)
}

/// Runs `bastion names`.
///
/// # Errors
/// As [`bindings`].
pub async fn names(args: &NamesArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    match &args.command {
        NamesCommand::List { json } => {
            let all: Vec<NameOwner> = match server(&settings) {
                Some(mut client) => client.ask_for(&Request::Names)?.unwrap_or_default(),
                None => store(&settings)?.owners().map_err(stored)?,
            };
            write!(out, "{}", if *json { names_json(&all) } else { names_table(&all) })?;
        }
        NamesCommand::Release { names } => {
            for name in names {
                match release(&settings, name).await? {
                    true => writeln!(out, "{name} belongs to nobody now")?,
                    false => writeln!(out, "{name} belonged to nobody")?,
                }
            }
        }
    }
    Ok(0)
}

async fn revoke(
    settings: &Settings,
    user: Option<Name>,
    key: Option<String>,
) -> Result<Vec<String>, Failure> {
    if let Some(mut client) = server(settings) {
        let request = Request::Revoke { user: user.map(|user| user.to_string()), key };
        let revoked: Value = client.ask_for(&request)?.unwrap_or_default();
        let keys = revoked.get("keys").and_then(Value::as_array).into_iter().flatten();
        return Ok(keys.filter_map(|key| key.as_str().map(str::to_owned)).collect());
    }
    let bindings = store(settings)?;
    let which = Which { user, person: None, key };
    let found: Vec<Binding> = bindings.all(crate::house::now()).map_err(stored)?;
    let found: Vec<Binding> = found.into_iter().filter(|binding| which.is_binding(binding)).collect();
    let revoked = |binding: &Binding| Act::BindingRevoked {
        person: binding.person(),
        key: binding.fingerprint.clone(),
        by: By::me(),
    };
    write_as_command(settings, &found.iter().map(revoked).collect::<Vec<_>>()).await?;
    let keys: Vec<String> = found.into_iter().map(|binding| binding.fingerprint).collect();
    bindings.revoke(&keys).map_err(stored)?;
    Ok(keys)
}

async fn release(settings: &Settings, name: &Name) -> Result<bool, Failure> {
    if let Some(mut client) = server(settings) {
        let was: Option<Option<NameOwner>> = client.ask_for(&Request::Release { name: name.to_string() })?;
        return Ok(was.flatten().is_some());
    }
    revoke(settings, Some(name.clone()), None).await?;
    let act = Act::NameReleased { name: name.folded().to_string(), by: By::me() };
    write_as_command(settings, &[act]).await?;
    Ok(store(settings)?.release(name).map_err(stored)?.is_some())
}

fn server(settings: &Settings) -> Option<Client> {
    Client::connect(&settings.data.join(SOCKET)).ok()
}

fn store(settings: &Settings) -> Result<Bindings, Failure> {
    let folder = settings.data.join("state");
    if !folder.exists() {
        let what = format!("nobody has signed in here yet: there is no {}", folder.display());
        return Err(Failure::new(what, "--data FOLDER or --config FILE"));
    }
    Bindings::open(&folder).map_err(stored)
}

fn stored(fault: impl std::fmt::Display) -> Failure {
    let what = format!("the store of bindings cannot be used: {fault}");
    Failure::new(what, "run this as the owner of the data folder, while no other command uses it")
}

impl From<ControlFault> for Failure {
    fn from(fault: ControlFault) -> Self {
        Failure::new(fault, "see whether the server runs, and look at its log")
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn micros(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000)
}

fn bindings_json(all: &[Binding]) -> String {
    let told = all.iter().map(|binding| {
        json!({
            "key": binding.fingerprint,
            "person": binding.person(),
            "since": rfc3339(micros(binding.created_at)),
            "until": rfc3339(micros(binding.expires_at)),
            "last_used": rfc3339(micros(binding.last_used_at)),
            "source": binding.source,
        })
    });
    format!("{}\n", Value::Array(told.collect()))
}

fn bindings_table(all: &[Binding]) -> String {
    if all.is_empty() {
        return "no key signs anybody in\n".into();
    }
    let line = |binding: &Binding| {
        let [since, until, used] =
            [binding.created_at, binding.expires_at, binding.last_used_at].map(|at| local(micros(at)));
        let Binding { name, fingerprint, source, .. } = binding;
        format!("{name:16}  {fingerprint}  since {since}  until {until}  last used {used} from {source}\n")
    };
    all.iter().map(line).collect()
}

fn names_json(all: &[NameOwner]) -> String {
    let told = all.iter().map(|owner| {
        json!({
            "name": owner.name, "issuer": owner.issuer, "subject": owner.subject,
            "since": rfc3339(micros(owner.since)),
        })
    });
    format!("{}\n", Value::Array(told.collect()))
}

fn names_table(all: &[NameOwner]) -> String {
    if all.is_empty() {
        return "no name belongs to anybody yet\n".into();
    }
    let line = |owner: &NameOwner| {
        let NameOwner { name, issuer, subject, since, .. } = owner;
        let (subject, issuer) = (printable(subject), printable(issuer));
        format!("{name:16}  {subject} at {issuer}  since {}\n", local(micros(*since)))
    };
    all.iter().map(line).collect()
}
