//! `bastion demo`: the whole thing on one machine, on loopback, with nothing to prepare.
//!
//! Gateway, policy, keys, a development issuer with two people, and one target: this machine's shell. It leaves
//! nothing behind but what `--data` asks it to keep.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use gate::{Name, Policy, Target};
use keys::{HOST_KEY, KnownHosts, MasterKey, Vault};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    cli,
    demo_issuer::{self, DemoIssuer},
    demo_target::DemoTarget,
    failure::Failure,
    house::Rules,
    log,
    serve::{self, Gateway, Signals},
    settings::{DEFAULT_KEY, FileRead, Log, Login, Settings, TargetSettings},
};

/// Where the demo listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2222);
/// The demo's one target.
const TARGET: &str = "web1";
/// Name of the demo target's own host key in the vault.
const TARGET_HOST_KEY: &str = "demo-target";

/// Who may do what in the demo.
const POLICY: &str = r#"
[groups]
sre = { provider = "sre" }
reviewers = { provider = "reviewers" }

[[rule]]
name = "demo"
action = "allow"
groups = ["sre", "reviewers"]
targets = ["*"]
"#;

/// What the demo is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Keep recordings, keys and state in this folder; else they go when the demo ends
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Listen here; loopback only
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN, value_parser = crate::settings::address)]
    listen: SocketAddr,
    /// Log this: warn, info, debug
    #[arg(long, value_name = "FILTER", default_value = "warn", value_parser = log::checked)]
    log: String,
}

/// Runs the demo until it is interrupted.
///
/// # Errors
/// If something of it cannot be made or listened on.
pub fn run(arguments: &Args) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        let what = format!("the demo listens on loopback only, not on {}", arguments.listen);
        return Err(Failure::usage(what, format!("--listen {LISTEN}")));
    }
    log::begin(&Log { filter: arguments.log.clone(), ..Log::default() }).map_err(cannot)?;
    let (folder, throw_away) = match &arguments.data {
        Some(folder) => (folder.clone(), None),
        None => {
            let made = TempDir::with_prefix("bastion-demo-").map_err(cannot)?;
            (made.path().to_owned(), Some(made))
        }
    };
    prepare(&folder)?;
    let done = cli::runtime().map_err(cannot)?.block_on(serve_demo(arguments, &folder));
    if let Some(folder) = throw_away {
        folder.close().map_err(cannot)?;
    }
    done
}

/// Makes the folder, or takes one that is empty or was a demo's before. It becomes ours alone; what else lies in folders
/// is nothing that a demo may write over.
fn prepare(folder: &Path) -> Result<(), Failure> {
    let fails = |cause: io::Error| cannot(format!("{}: {cause}", folder.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fails)?;
    let is_empty = fs::read_dir(folder).map_err(fails)?.next().is_none();
    let was_a_demos = fs::read_to_string(folder.join("policy.toml")).is_ok_and(|policy| policy == POLICY);
    if !is_empty && !was_a_demos {
        let what = format!("{} is not empty, and no demo's folder", folder.display());
        return Err(Failure::usage(what, "--data with a new folder"));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(fails)
}

async fn serve_demo(arguments: &Args, folder: &Path) -> Result<(), Failure> {
    let issuer = DemoIssuer::start().await.map_err(cannot)?;
    let vault = vault(folder)?;
    let me = who_runs_this().map_err(cannot)?;
    let target = DemoTarget::start(vault.load(TARGET_HOST_KEY)?, vault.public(DEFAULT_KEY)?, me.clone())
        .await
        .map_err(cannot)?;
    let login = Login::new(issuer.issuer_url.clone(), issuer.client_id.to_owned());
    let mut settings = Settings::embedded(folder, arguments.listen, login);
    let host_key = KnownHosts::line("127.0.0.1", target.address.port(), &vault.public(TARGET_HOST_KEY)?);
    let pinned = KnownHosts::parse(&host_key).map_err(cannot)?;
    settings.targets.insert(TargetSettings::new(describe(&target, &me).map_err(cannot)?, pinned));
    fs::write(&settings.policy, POLICY).map_err(cannot)?;
    let read = FileRead { file: settings.policy.clone(), text: POLICY.into() };
    forget_state(folder)?;
    let rules = Rules::new(settings, Policy::parse(POLICY, "the demo's policy")?, read);

    let signals = Signals::hear()?;
    let mut gateway = Gateway::start(rules, vault).await?;
    // So that `replay -- last` finds it without being told where.
    let announcement = archive::announce(gateway.control.socket()).map_err(cannot)?;
    let listens = gateway.addresses.first().copied().unwrap_or(arguments.listen);
    say(&welcome(listens, &issuer, arguments.data.as_deref()));
    tokio::spawn(tell_words(issuer.words()));
    let by = serve::until_told(&mut gateway, signals).await;
    drop(announcement);
    gateway.stop(by).await;
    drop((target, issuer));
    Ok(())
}

/// Whose keys and names are was said by a provider that is gone: every demo has one of its own.
fn forget_state(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder.join("state")) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(cannot(fault)),
        _ => Ok(()),
    }
}

/// What fails here has one cause: this machine.
fn cannot(fault: impl std::fmt::Display) -> Failure {
    Failure { code: 1, what: format!("the demo cannot start: {fault}"), way_out: None }
}

/// Each word confirms one sign-in; the next one is shown here, and nowhere else. Ends with the issuer.
async fn tell_words(mut words: watch::Receiver<String>) {
    while words.changed().await.is_ok() {
        say(&format!("One-time word for the next sign-in:   {}", *words.borrow_and_update()));
    }
}

fn say(line: &str) {
    drop(writeln!(io::stdout(), "{line}")); // whoever reads no further still wants the demo
}

/// The demo's keys: made the first time, found again in a folder that was kept.
fn vault(folder: &Path) -> Result<Vault, Failure> {
    let (file, keys) = (folder.join("master.key"), folder.join("keys"));
    if file.exists() {
        let (master, _) = MasterKey::find(Some(&file))?;
        return Ok(Vault::open(&keys, master)?);
    }
    let master = MasterKey::generate()?;
    master.write_new(&file)?;
    let mut vault = Vault::create(&keys, master)?;
    for name in [HOST_KEY, DEFAULT_KEY, TARGET_HOST_KEY] {
        vault.generate(name)?;
    }
    Ok(vault)
}

/// The login on the demo's target: whoever runs the demo.
fn who_runs_this() -> io::Result<String> {
    let uid = fs::metadata("/proc/self")?.uid();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = users.find(|user| user.get(2) == Some(&uid.to_string().as_str()));
    Ok(own
        .and_then(|user| user.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| format!("uid{uid}")))
}

fn describe(target: &DemoTarget, login: &str) -> Result<Target, gate::NameFault> {
    let login: Name = login.parse()?;
    Ok(Target {
        name: TARGET.parse()?,
        address: target.address.ip().to_string(),
        port: target.address.port(),
        labels: BTreeMap::from([("env".into(), "demo".into())]),
        logins: vec![login.clone()],
        default_login: Some(login),
        key: DEFAULT_KEY.parse()?,
    })
}

/// The lines to type.
fn welcome(listens: SocketAddr, issuer: &DemoIssuer, kept: Option<&Path>) -> String {
    let port = listens.port();
    let people =
        demo_issuer::PEOPLE.map(|person| format!("{} (group {})", person.name, person.group)).join(" or ");
    let kept = match kept {
        Some(folder) => format!(
            "What is recorded stays in {0} (cargo run --release -p replay -- last --data {0}).",
            folder.display()
        ),
        None => "What is recorded goes when this ends; --data FOLDER keeps it.".to_owned(),
    };
    format!(
        "bastion demo: listening on {listens}, development sign-in at {url}\n\
         \n\
         A shell on the target, in another terminal:   ssh -t -p {port} alice@localhost {TARGET}\n\
         Sign in as {people}; one-time word:   {word}\n\
         Watch it back:                                 cargo run --release -p replay -- last\n\
         What you can say:                              ssh -p {port} alice@localhost :help\n\
         \n\
         A key makes one sign-in enough for 8 hours:    ssh-keygen -t ed25519\n\
         If ssh knows an earlier demo's host key:       ssh-keygen -R '[localhost]:{port}'\n\
         {kept} Ctrl-C ends it.",
        url = issuer.issuer_url,
        word = issuer.word(),
    )
}
