//! `bastion bindings` and `bastion names`: who is signed in by which key, and whose a name is.

use std::io::Write;

use archive::control::{Client, ControlFault, Request, SOCKET};
use gate::Name;
use serde_json::{Value, json};

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    login::{Binding, Bindings, ListedBinding, NameOwner},
    own_keys,
    revoke::{Revoked, Which},
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
        after_help = "Examples:\n  bastion bindings revoke --user alice\n  bastion bindings revoke --key SHA256:...\n  bastion bindings revoke --all --json\n\nExit code: 0 something was revoked, or --all; 1 there was no such key and nothing that it opened."
    )]
    Revoke(RevokeArgs),
}

/// Which.
#[derive(Debug, clap::Args)]
pub struct RevokeArgs {
    /// All keys of this person
    #[arg(long, required_unless_present_any = ["key", "all"])]
    user: Option<Name>,
    /// The key with this fingerprint
    #[arg(long, value_name = "SHA256:...")]
    key: Option<String>,
    /// Every key of everybody
    #[arg(long, conflicts_with_all = ["user", "key"])]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
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
    #[command(
        after_help = "Example:\n  bastion names release alice --json\n\nExit code: 0 done, 1 if one of them belonged to nobody."
    )]
    Release {
        /// The names
        #[arg(required = true)]
        names: Vec<Name>,
        /// As JSON
        #[arg(long)]
        json: bool,
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
            let mut all: Vec<ListedBinding> = match server(&settings) {
                Some(mut client) => client.ask_for(&Request::Bindings)?.unwrap_or_default(),
                None => listed(&settings)?,
            };
            let is_hers = |name: &Name| user.as_ref().is_none_or(|user| user.folded() == name.folded());
            all.retain(|listed| is_hers(&listed.binding.name));
            let order =
                |ListedBinding { binding, .. }: &ListedBinding| (binding.name.clone(), binding.created_at);
            all.sort_by_key(order);
            write!(out, "{}", if *json { bindings_json(&all) } else { bindings_table(&all) })?;
        }
        BindingsCommand::Revoke(args) => {
            let revoked = revoke(&settings, args.user.clone(), args.key.clone()).await?;
            match args.json {
                true => writeln!(out, "{}", json!(revoked))?,
                false => write!(out, "{}", revoked_text(&revoked))?,
            }
            if !args.all && revoked.keys.is_empty() && revoked.connections == 0 {
                return Err(args.hit_nothing());
            }
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
        NamesCommand::Release { names, json } => {
            let mut released = Vec::new();
            for name in names {
                let was = release(&settings, name).await?;
                released.push((name, was.is_some()));
            }
            if *json {
                let told = released.iter().map(|(name, was)| json!({ "name": name, "released": was }));
                writeln!(out, "{}", Value::Array(told.collect()))?;
            } else {
                for (name, _) in released.iter().filter(|(_, was)| *was) {
                    writeln!(out, "{name} belongs to nobody now")?;
                }
            }
            let nobodys: Vec<&str> =
                released.iter().filter(|(_, was)| !was).map(|(name, _)| name.as_str()).collect();
            if !nobodys.is_empty() {
                let what = format!("{} belonged to nobody, so nothing was released", nobodys.join(" and "));
                return Err(Failure::new(what, "bastion names list"));
            }
        }
    }
    Ok(0)
}

impl RevokeArgs {
    /// Most likely a slip in the name or the key: whoever wanted to lock somebody out must not believe that it is done.
    fn hit_nothing(&self) -> Failure {
        let named = [
            self.key.as_ref().map(|key| format!("key {key}")),
            self.user.as_ref().map(|user| format!("person {user}")),
        ];
        let named: Vec<String> = named.into_iter().flatten().collect();
        let what = format!("nothing was revoked: no binding and no connection is of {}", named.join(" and "));
        Failure::new(what, "bastion bindings list")
    }
}

fn revoked_text(Revoked { keys, connections }: &Revoked) -> String {
    let mut text: String = keys.iter().map(|key| format!("{key} signs nobody in any more\n")).collect();
    if *connections > 0 {
        text.push_str(&format!("{} ended\n", counted(*connections, "connection")));
    }
    text.push_str(&format!("{} revoked\n", counted(keys.len(), "key")));
    text
}

/// The bindings of a bastion that does not run, with what its policy file makes of them.
fn listed(settings: &Settings) -> Result<Vec<ListedBinding>, Failure> {
    let now = crate::house::now();
    let (policy, _) = own_keys::policy(settings)?;
    let all = store(settings)?.all(now).map_err(stored)?;
    Ok(all.into_iter().map(|binding| binding.listed(&policy, now)).collect())
}

async fn revoke(settings: &Settings, user: Option<Name>, key: Option<String>) -> Result<Revoked, Failure> {
    if let Some(mut client) = server(settings) {
        let request = Request::Revoke { user: user.map(|user| user.to_string()), key };
        return Ok(client.ask_for(&request)?.unwrap_or_default());
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
    Ok(Revoked { keys, connections: 0 })
}

/// Whose it was.
async fn release(settings: &Settings, name: &Name) -> Result<Option<NameOwner>, Failure> {
    if let Some(mut client) = server(settings) {
        let was: Option<Option<NameOwner>> = client.ask_for(&Request::Release { name: name.to_string() })?;
        return Ok(was.flatten());
    }
    if !store(settings)?.is_owned(name).map_err(stored)? {
        return Ok(None);
    }
    revoke(settings, Some(name.clone()), None).await?;
    let act = Act::NameReleased { name: name.folded().to_string(), by: By::me() };
    write_as_command(settings, &[act]).await?;
    store(settings)?.release(name).map_err(stored)
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

fn bindings_json(all: &[ListedBinding]) -> String {
    let told = all.iter().map(|ListedBinding { binding, alone_until, why }| {
        json!({
            "key": binding.fingerprint,
            "person": binding.person(),
            "since": rfc3339(micros(binding.created_at)),
            "until": rfc3339(micros(binding.expires_at)),
            "alone_until": alone_until.map(|until| rfc3339(micros(until))),
            "why_not_alone": why,
            "last_used": rfc3339(micros(binding.last_used_at)),
            "source": binding.source,
        })
    });
    format!("{}\n", Value::Array(told.collect()))
}

fn bindings_table(all: &[ListedBinding]) -> String {
    if all.is_empty() {
        return "no key signs anybody in\n".into();
    }
    let line = |ListedBinding { binding, alone_until, why }: &ListedBinding| {
        let [since, used] = [binding.created_at, binding.last_used_at].map(|at| local(micros(at)));
        let until = match alone_until {
            Some(until) => format!("until {}", local(micros(*until))),
            None => format!("not alone: {}", why.as_deref().unwrap_or("policy")),
        };
        let Binding { name, fingerprint, source, .. } = binding;
        format!("{name:16}  {fingerprint}  since {since}  {until}  last used {used} from {source}\n")
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
