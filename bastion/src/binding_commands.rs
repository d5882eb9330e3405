//! `bastion bindings` and `bastion names`: who is signed in by which key, and whose a name is.

use std::io::Write;

use archive::control::Request;
use gate::Name;
use serde_json::{Value, json};

use crate::{
    audit::{Act, By, write_into_store},
    failure::Failure,
    fingerprint,
    login::{Binding, Bindings, ListedBinding, NameOwner},
    own_keys,
    place::{Place, PlaceArgs},
    revoke::{Revoked, Which},
    sessions::printable,
    times::{local_s, rfc3339_s},
};

/// `bastion bindings`
#[derive(Debug, clap::Args)]
pub struct BindingsArgs {
    #[command(flatten)]
    place: PlaceArgs,
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
#[command(group = clap::ArgGroup::new("which").args(["user", "key", "all"]).required(true).multiple(true))]
pub struct RevokeArgs {
    /// All keys of this person
    #[arg(long)]
    user: Option<Name>,
    /// The key with this fingerprint
    #[arg(long, value_name = "SHA256:...", value_parser = fingerprint::read)]
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
    place: PlaceArgs,
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
    let place = args.place.find()?;
    match &args.command {
        BindingsCommand::List { user, json } => {
            let mut all: Vec<ListedBinding> = match place.client()? {
                Some(mut client) => client.ask_for(&Request::Bindings)?.unwrap_or_default(),
                None => listed(&place)?,
            };
            let is_hers = |name: &Name| user.as_ref().is_none_or(|user| user.folded() == name.folded());
            all.retain(|listed| is_hers(&listed.binding.name));
            let order =
                |ListedBinding { binding, .. }: &ListedBinding| (binding.name.clone(), binding.created_at);
            all.sort_by_key(order);
            match (json, all.is_empty()) {
                (true, _) => write!(out, "{}", bindings_json(&all))?,
                (false, true) => writeln!(out, "no key signs anybody in at {}", place.data().display())?,
                (false, false) => write!(out, "{}", bindings_table(&all))?,
            }
        }
        BindingsCommand::Revoke(args) => {
            let revoked = revoke(&place, args.user.clone(), args.key.clone()).await?;
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
    let place = args.place.find()?;
    match &args.command {
        NamesCommand::List { json } => {
            let all: Vec<NameOwner> = match place.client()? {
                Some(mut client) => client.ask_for(&Request::Names)?.unwrap_or_default(),
                None => store(&place)?
                    .map(|store| store.owners().map_err(stored))
                    .transpose()?
                    .unwrap_or_default(),
            };
            match (json, all.is_empty()) {
                (true, _) => write!(out, "{}", names_json(&all))?,
                (false, true) => {
                    writeln!(out, "no name belongs to anybody yet at {}", place.data().display())?
                }
                (false, false) => write!(out, "{}", names_table(&all))?,
            }
        }
        NamesCommand::Release { names, json } => {
            let mut released = Vec::new();
            for name in names {
                let was = release(&place, name).await?;
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
fn listed(place: &Place<'_>) -> Result<Vec<ListedBinding>, Failure> {
    let Some(store) = store(place)? else { return Ok(Vec::new()) };
    let now = crate::house::now();
    let (policy, _) = own_keys::policy(&place.settings()?)?;
    let all = store.all(now).map_err(stored)?;
    Ok(all.into_iter().map(|binding| binding.listed(&policy, now)).collect())
}

async fn revoke(place: &Place<'_>, user: Option<Name>, key: Option<String>) -> Result<Revoked, Failure> {
    if let Some(mut client) = place.client()? {
        let request = Request::Revoke { user: user.map(|user| user.to_string()), key };
        return Ok(client.ask_for(&request)?.unwrap_or_default());
    }
    let Some(bindings) = store(place)? else { return Ok(Revoked::default()) };
    let which = Which { user, person: None, key };
    let found: Vec<Binding> = bindings.all(crate::house::now()).map_err(stored)?;
    let found: Vec<Binding> = found.into_iter().filter(|binding| which.is_binding(binding)).collect();
    let revoked = |binding: &Binding| Act::BindingRevoked {
        person: binding.person(),
        key: binding.fingerprint.clone(),
        by: By::me(),
    };
    if found.is_empty() {
        return Ok(Revoked::default());
    }
    write_into_store(place.data(), &found.iter().map(revoked).collect::<Vec<_>>()).await?;
    let keys: Vec<String> = found.into_iter().map(|binding| binding.fingerprint).collect();
    bindings.revoke(&keys).map_err(stored)?;
    Ok(Revoked { keys, connections: 0 })
}

/// Whose it was.
async fn release(place: &Place<'_>, name: &Name) -> Result<Option<NameOwner>, Failure> {
    if let Some(mut client) = place.client()? {
        let was: Option<Option<NameOwner>> = client.ask_for(&Request::Release { name: name.to_string() })?;
        return Ok(was.flatten());
    }
    match store(place)? {
        Some(store) if store.is_owned(name).map_err(stored)? => {}
        _ => return Ok(None),
    }
    revoke(place, Some(name.clone()), None).await?;
    let act = Act::NameReleased { name: name.folded().to_string(), by: By::me() };
    write_into_store(place.data(), &[act]).await?;
    store(place)?.map_or(Ok(None), |store| store.release(name).map_err(stored))
}

/// What is known of people where no server runs; none if nobody has signed in yet.
fn store(place: &Place<'_>) -> Result<Option<Bindings>, Failure> {
    place.state()?.map(|folder| Bindings::open(&folder).map_err(stored)).transpose()
}

fn stored(fault: impl std::fmt::Display) -> Failure {
    let what = format!("the store of bindings cannot be used: {fault}");
    Failure::new(what, "run this as the owner of the data folder, while no other command uses it")
}

/// `1 key`, `2 keys`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn bindings_json(all: &[ListedBinding]) -> String {
    let told = all.iter().map(|ListedBinding { binding, alone_until, why }| {
        json!({
            "key": binding.fingerprint,
            "person": binding.person(),
            "since": rfc3339_s(binding.created_at),
            "until": rfc3339_s(binding.expires_at),
            "alone_until": alone_until.map(rfc3339_s),
            "why_not_alone": why,
            "last_used": rfc3339_s(binding.last_used_at),
            "source": binding.source,
        })
    });
    format!("{}\n", Value::Array(told.collect()))
}

fn bindings_table(all: &[ListedBinding]) -> String {
    let line = |ListedBinding { binding, alone_until, why }: &ListedBinding| {
        let [since, used] = [binding.created_at, binding.last_used_at].map(local_s);
        let until = match alone_until {
            Some(until) => format!("until {}", local_s(*until)),
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
            "since": rfc3339_s(owner.since),
        })
    });
    format!("{}\n", Value::Array(told.collect()))
}

fn names_table(all: &[NameOwner]) -> String {
    let line = |owner: &NameOwner| {
        let NameOwner { name, issuer, subject, since, .. } = owner;
        let (subject, issuer) = (printable(subject), printable(issuer));
        format!("{name:16}  {subject} at {issuer}  since {}\n", local_s(*since))
    };
    all.iter().map(line).collect()
}
