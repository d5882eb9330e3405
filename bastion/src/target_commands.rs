//! `bastion target`: which targets there are, which host keys they have, and what their administrators must do.

use std::{
    io::{BufRead, Write},
    net::{IpAddr, UdpSocket},
    path::Path,
};

use keys::{HostKeyVerdict, KeyInfo, KnownHosts, PublicKey, Vault, fingerprint, successor};
use serde_json::json;

use crate::{
    audit::{Act, By, write_as_command},
    dial::{self, DialProblem},
    failure::Failure,
    own_keys, pins,
    settings::{Auth, DEFAULT_FILE, Settings, SettingsArgs, TARGETS_FOLDER, TargetSettings},
};

/// Where a target keeps what it trusts of the bastion.
const AUTHORITY_FOLDER: &str = "/etc/ssh/bastion";

/// `bastion target`
#[derive(Debug, clap::Args)]
pub struct TargetArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: TargetCommand,
}

/// What to do with targets.
#[derive(Debug, clap::Subcommand)]
pub enum TargetCommand {
    /// List the targets
    #[command(after_help = "Example:\n  bastion target list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a target for its host key, show it, and trust it from now on
    #[command(
        after_help = "Example:\n  bastion target pin web1\n\nCompare the fingerprint with what the target's administrator sees:\n  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    )]
    Pin {
        /// The target
        name: String,
        /// Trust it without asking: only on a network where nobody can stand in between
        #[arg(long)]
        yes: bool,
        /// As JSON; nobody is asked then, so that a new key is pinned with --yes alone
        #[arg(long)]
        json: bool,
    },
    /// Print what a target's administrator must do to let the bastion in
    #[command(after_help = "Example:\n  bastion target setup web1")]
    Setup {
        /// The target
        name: String,
    },
}

/// Runs `bastion target`. `input` answers questions; none if there is nobody to ask.
///
/// # Errors
/// If there is no such target, it cannot be reached, or its host key is not confirmed.
pub async fn run(
    args: &TargetArgs,
    input: Option<&mut (dyn BufRead + Send)>,
    out: &mut (dyn Write + Send),
) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    match &args.command {
        TargetCommand::List { json } => list(&settings, *json, out)?,
        TargetCommand::Pin { name, yes, json } => {
            pin(&settings, name, Asking { yes: *yes, json: *json }, input, out).await?;
        }
        TargetCommand::Setup { name } => setup(&settings, name, out)?,
    }
    Ok(0)
}

fn list(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        let all: Result<serde_json::Value, Failure> =
            settings.targets.iter().map(|target| shown(settings, target)).collect();
        writeln!(out, "{}", all?)?;
        return Ok(());
    }
    if settings.targets.iter().next().is_none() {
        let file = settings.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display();
        writeln!(out, "no target is in {file}, nor in {TARGETS_FOLDER} beside it")?;
    }
    for TargetSettings { target, .. } in settings.targets.iter() {
        let labels: Vec<String> =
            target.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let logins: Vec<&str> = target.logins.iter().map(gate::Name::as_str).collect();
        let (name, address, port) = (&target.name, &target.address, target.port);
        writeln!(out, "{name}  {address}:{port}  {}  {}", logins.join(","), labels.join(","))?;
    }
    Ok(())
}

fn shown(
    settings: &Settings,
    TargetSettings { target, host_keys, auth, weak_algorithms, .. }: &TargetSettings,
) -> Result<serde_json::Value, Failure> {
    let pinned = pins::read(&settings.pins(), &target.name)?;
    let known = |hosts: &KnownHosts| -> Vec<String> {
        hosts.keys(&target.address, target.port).iter().map(fingerprint).collect()
    };
    let mut all = host_keys.clone();
    all.extend(pinned.clone());
    let authorities = all.authorities(&target.address, target.port);
    Ok(json!({
        "name": target.name,
        "address": target.address,
        "port": target.port,
        "labels": target.labels,
        "logins": target.logins,
        "default_login": target.default_login,
        "key": target.key,
        "opened_with": match (auth, settings.keys.authorities.contains(&target.key)) {
            (Auth::Password(_), _) => "password",
            (_, true) => "certificate",
            (_, false) => "key",
        },
        "password": auth.password().map(|password| password.name.as_str()),
        "weak_algorithms": weak_algorithms.names(),
        "host_keys": known(host_keys),
        "pinned": known(&pinned),
        "host_authorities": authorities.iter().map(fingerprint).collect::<Vec<_>>(),
    }))
}

/// How the key is shown, and who confirms it.
#[derive(Clone, Copy)]
struct Asking {
    yes: bool,
    json: bool,
}

async fn pin(
    settings: &Settings,
    name: &str,
    Asking { yes, json }: Asking,
    input: Option<&mut (dyn BufRead + Send)>,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let TargetSettings { target, connect_timeout, weak_algorithms, host_keys, .. } =
        own_keys::target(settings, name)?;
    let preferred = weak_algorithms.beside(&settings.ssh.preferred());
    let pinned = pins::read(&settings.pins(), &target.name)?;
    let before = pinned.keys(&target.address, target.port);
    let key = dial::scan(&target.address, target.port, *connect_timeout, preferred)
        .await
        .map_err(|problem| unreachable(target, &problem))?;

    let is_pinned = before.iter().any(|old| old.key_data() == key.key_data());
    if !json {
        show_key(target, &before, &key, out)?;
    }
    if [host_keys, &pinned].iter().any(|known| is_revoked(known, target, &key)) {
        let what =
            format!("a @revoked line for {} names this very key, so no pin would let it in", target.name);
        return Err(Failure::new(what, "find out who answers there; the target needs a new host key"));
    }
    if is_pinned {
        return tell(json, &pinned_json(target, &before, &key, true), "It is pinned already.", out);
    }
    if json && !yes {
        writeln!(out, "{}", pinned_json(target, &before, &key, false))?;
    }
    if !yes {
        confirm(target, input.filter(|_| !json), out)?;
    }
    let keys = vec![fingerprint(&key)];
    let act = Act::TargetPinned { target: target.name.to_string(), keys, by: By::me() };
    write_as_command(settings, &[act]).await?;
    pins::write(&settings.pins(), &target.name, &KnownHosts::line(&target.address, target.port, &key))?;
    let told = pinned_json(target, &before, &key, true);
    tell(json, &told, "Pinned. It holds from the next session on.", out)
}

fn tell(json: bool, value: &serde_json::Value, line: &str, out: &mut dyn Write) -> Result<(), Failure> {
    match json {
        true => writeln!(out, "{value}")?,
        false => writeln!(out, "{line}")?,
    }
    Ok(())
}

/// The key that a target shows, those that were pinned before, and whether it is pinned now.
fn pinned_json(
    target: &gate::Target,
    before: &[PublicKey],
    key: &PublicKey,
    is_pinned: bool,
) -> serde_json::Value {
    json!({
        "target": target.name,
        "address": target.address,
        "port": target.port,
        "algorithm": key.algorithm().as_str(),
        "fingerprint": fingerprint(key),
        "pinned_before": before.iter().map(fingerprint).collect::<Vec<_>>(),
        "pinned": is_pinned,
    })
}

fn is_revoked(known: &KnownHosts, target: &gate::Target, key: &PublicKey) -> bool {
    known.check(&target.address, target.port, key) == HostKeyVerdict::Revoked
}

fn show_key(
    target: &gate::Target,
    before: &[PublicKey],
    key: &PublicKey,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let gate::Target { name, address, port, .. } = target;
    writeln!(out, "{name} at {address}:{port} shows this host key:")?;
    writeln!(out, "  {}  {}", key.algorithm().as_str(), fingerprint(key))?;
    for old in before {
        writeln!(out, "Pinned until now:\n  {}  {}", old.algorithm().as_str(), fingerprint(old))?;
    }
    Ok(())
}

fn confirm(
    target: &gate::Target,
    input: Option<&mut (dyn BufRead + Send)>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Some(input) = input else {
        return Err(Failure::usage(
            "nobody can be asked whether to trust the host key",
            format!("compare the fingerprint above, then: bastion target pin {} --yes", target.name),
        ));
    };
    write!(out, "Compare it with what its administrator sees. Trust it? Type yes: ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::new(format!("{} was not pinned", target.name), "answer with the whole word yes"))
}

fn unreachable(target: &gate::Target, problem: &DialProblem) -> Failure {
    let gate::Target { name, address, port, .. } = target;
    Failure::new(
        format!("{name} at {address}:{port}: {problem}"),
        format!("ssh-keyscan -p {port} {address} from this machine shows whether it is reachable"),
    )
}

fn setup(settings: &Settings, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let TargetSettings { target, auth, source_address, .. } = own_keys::target(settings, name)?;
    if let Some(password) = auth.password() {
        let login = target.logins.iter().map(gate::Name::as_str).collect::<Vec<_>>().join(" and ");
        let password = &password.name;
        writeln!(out, "# On {name}: {login} must have the password that the bastion keeps as {password}.")?;
        writeln!(out, "# On the bastion:\n#   bastion key password set {password}")?;
    }
    if auth.has_key() {
        let ours = source_address.or_else(|| our_address(&target.address, target.port));
        setup_keys(settings, target, ours, out)?;
    }
    writeln!(out, "\n# Then show the fingerprint of the host key, to be compared when the bastion pins it:")?;
    writeln!(out, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")?;
    writeln!(out, "\n# On the bastion:\n#   bastion target pin {name}")?;
    Ok(())
}

/// What lets the bastion in with a key, or with what that signs.
fn setup_keys(
    settings: &Settings,
    target: &gate::Target,
    ours: Option<IpAddr>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let keys = Vault::list(&settings.vault())?;
    let key = keys.iter().find(|key| key.name == target.key.as_str()).ok_or_else(|| {
        let (name, key) = (target.name.as_str(), target.key.as_str());
        let what = format!("target {name:?} names key {key:?}, which is not in the vault");
        Failure::new(what, format!("bastion key new {}", target.key))
    })?;
    let next = keys.iter().find(|next| next.name == successor(&key.name));
    let line = |key: &KeyInfo| {
        let public = PublicKey::new(key.public.key_data().clone(), format!("bastion-{}", key.name));
        public.to_openssh().unwrap_or_default()
    };
    if let Some(next) = next {
        writeln!(out, "# {} takes the place of {}, which is offered too for a while.", next.name, key.name)?;
    }
    match settings.keys.authorities.contains(&target.key) {
        true => {
            let lines: Vec<String> = [Some(key), next].into_iter().flatten().map(line).collect();
            setup_authority(target, &lines.join("\n"), ours, out)?;
        }
        false => setup_key(target, &line(next.unwrap_or(key)), ours, out)?,
    }
    Ok(())
}

/// What lets the bastion in with its own key.
fn setup_key(
    target: &gate::Target,
    public: &str,
    from: Option<IpAddr>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let name = &target.name;
    let (address, port) = (&target.address, target.port);

    writeln!(
        out,
        "# On {name} ({address}:{port}), as root: let the bastion in, and nobody else with its key."
    )?;
    match &from {
        Some(_) => writeln!(
            out,
            "# from= is this machine's address on the way to {address}; behind NAT, set source_address to the outer one."
        )?,
        None => writeln!(out, "# Write the bastion's address, as {name} sees it, into from=.")?,
    }
    let from = from.map_or("ADDRESS-OF-THE-BASTION".to_owned(), |address| address.to_string());
    for login in &target.logins {
        writeln!(out, "\n# for the login {login}")?;
        writeln!(out, "install -d -m 700 -o {login} ~{login}/.ssh")?;
        writeln!(out, "cat >> ~{login}/.ssh/authorized_keys <<'END'")?;
        writeln!(out, "from=\"{from}\",restrict,pty {public}")?;
        writeln!(out, "END")?;
        writeln!(
            out,
            "chown {login} ~{login}/.ssh/authorized_keys && chmod 600 ~{login}/.ssh/authorized_keys"
        )?;
    }
    Ok(())
}

/// What lets the bastion in with certificates: its authority, and a list of logins for which it counts. Without the list
/// a certificate would open whichever login it names.
fn setup_authority(
    target: &gate::Target,
    public: &str,
    ours: Option<IpAddr>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let gate::Target { name, address, port, logins, .. } = target;
    writeln!(
        out,
        "# On {name} ({address}:{port}), as root: let in whom the bastion certifies, for these logins alone."
    )?;
    match ours {
        Some(ours) => writeln!(
            out,
            "# A certificate counts from {ours} alone: {name} must see the bastion under that address; behind NAT, set source_address to the outer one."
        )?,
        None => writeln!(
            out,
            "# {name} must see the bastion under its own address, or as the target's source_address has it."
        )?,
    }
    writeln!(out, "# It counts for five minutes: both clocks must be right, to the minute.")?;
    writeln!(out, "\ninstall -d -m 755 {AUTHORITY_FOLDER} {AUTHORITY_FOLDER}/principals")?;
    writeln!(out, "cat > {AUTHORITY_FOLDER}/authority.pub <<'END'\n{public}\nEND")?;
    for login in logins {
        writeln!(out, "echo {login} > {AUTHORITY_FOLDER}/principals/{login}")?;
    }
    writeln!(
        out,
        "\n# sshd takes the first TrustedUserCAKeys that it reads: if there is one, add what stands above to its file."
    )?;
    writeln!(out, "cat > /etc/ssh/sshd_config.d/10-bastion.conf <<'END'")?;
    writeln!(out, "TrustedUserCAKeys {AUTHORITY_FOLDER}/authority.pub")?;
    writeln!(out, "AuthorizedPrincipalsFile {AUTHORITY_FOLDER}/principals/%u\nEND")?;
    writeln!(out, "sshd -t && sshd -T | grep -i -e trustedusercakeys -e authorizedprincipalsfile")?;
    writeln!(out, "systemctl reload ssh || systemctl reload sshd")?;
    writeln!(
        out,
        "\n# Its log then has the person and the session of each login: \"ID alice@id.example 01J...\"."
    )?;
    Ok(())
}

/// The address that we would come from. Connecting a UDP socket asks the routing table, and sends nothing.
fn our_address(address: &str, port: u16) -> Option<IpAddr> {
    let local = |bind: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect((address, port)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    local("0.0.0.0:0").or_else(|| local("[::]:0"))
}
