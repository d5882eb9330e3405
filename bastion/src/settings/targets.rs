//! The machines that can be reached, as bastion.toml and targets.d/*.toml name them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use gate::{Name, Target};
use keys::KnownHosts;
use serde::Deserialize;
use toml::Spanned;

use super::toml_file::{FileRead, Place, Problem, SettingsFault, Source, some_duration};
use super::{auth::Auth, old_algorithms::OldAlgorithms};

/// The key that opens a target which names none: `bastion init` makes it.
pub const DEFAULT_KEY: &str = "gateway";

/// A person waits meanwhile. A machine that has not answered by then is down, or behind a wall.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const SSH_PORT: u16 = 22;

/// RFC 1035, section 2.3.4.
const ADDRESS_BYTES_MAX: usize = 253;

/// Labels are for people and globs, not for documents.
const LABEL_BYTES_MAX: usize = 128;

/// Target tables, before they are checked.
pub type Tables = BTreeMap<Spanned<String>, Spanned<TargetTable>>;

/// One `[targets.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTable {
    address: Spanned<String>,
    port: Option<std::num::NonZeroU16>,
    #[serde(default)]
    labels: BTreeMap<Spanned<String>, Spanned<String>>,
    logins: Spanned<Vec<Name>>,
    default_login: Option<Spanned<Name>>,
    key: Option<Name>,
    auth: Option<Spanned<String>>,
    password: Option<Spanned<Name>>,
    #[serde(default)]
    weak_algorithms: OldAlgorithms,
    #[serde(default)]
    host_keys: Vec<Spanned<String>>,
    host_keys_file: Option<Spanned<PathBuf>>,
    source_address: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "some_duration")]
    connect_timeout: Option<Duration>,
}

/// What a file in targets.d holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetsFile {
    #[serde(default)]
    targets: Tables,
}

/// A target, and how it is opened.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// What policy sees of it.
    pub target: Target,
    /// The host keys that settings trust for it; pins lie apart, in the data folder.
    pub host_keys: KnownHosts,
    /// How long it may take to connect and let us in.
    pub connect_timeout: Duration,
    /// By what it lets us in.
    pub auth: Auth,
    /// What it alone is offered.
    pub weak_algorithms: OldAlgorithms,
    /// The address under which it sees the bastion, where that is not the one that a connection begins from: behind NAT.
    pub source_address: Option<IpAddr>,
}

impl TargetSettings {
    /// A target with the usual timeout, trusted by `host_keys`, opened with its key.
    pub fn new(target: Target, host_keys: KnownHosts) -> Self {
        TargetSettings {
            target,
            host_keys,
            connect_timeout: CONNECT_TIMEOUT,
            auth: Auth::default(),
            weak_algorithms: OldAlgorithms::default(),
            source_address: None,
        }
    }
}

/// All targets, by name.
#[derive(Clone, Debug, Default)]
pub struct Targets(BTreeMap<Name, TargetSettings>);

impl Targets {
    /// The target of this name.
    pub fn get(&self, name: &Name) -> Option<&TargetSettings> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TargetSettings> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds one, or replaces the one of its name.
    pub fn insert(&mut self, settings: TargetSettings) {
        self.0.insert(settings.target.name.clone(), settings);
    }

    /// Checks the tables of `main` and of every `*.toml` in `folder`; answers what was read besides.
    ///
    /// # Errors
    /// If a name is none, or stands in two places, or a value cannot be.
    pub fn read(
        main: &Source,
        tables: Tables,
        folder: &Path,
        by_label: &BTreeMap<String, Name>,
    ) -> Result<(Self, Vec<FileRead>), SettingsFault> {
        let mut files = Vec::new();
        let mut reader = Reader { by_label, targets: BTreeMap::new(), places: BTreeMap::new() };
        reader.take(main, tables)?;
        for file in toml_files(folder)? {
            let source = Source::read(&file)?;
            let tables = source.parse::<TargetsFile>()?.targets;
            reader.take(&source, tables)?;
            files.push(source.as_read());
        }
        Ok((Targets(reader.targets), files))
    }
}

struct Reader<'a> {
    /// The keys of targets that name none, by a label of theirs.
    by_label: &'a BTreeMap<String, Name>,
    targets: BTreeMap<Name, TargetSettings>,
    places: BTreeMap<Name, Place>,
}

impl Reader<'_> {
    fn take(&mut self, source: &Source, tables: Tables) -> Result<(), SettingsFault> {
        for (name, table) in tables {
            let place = source.place(Some(name.span()));
            let name: Name = name.as_ref().parse().map_err(|fault: gate::NameFault| {
                source.wrong(name.span(), "targets", name.as_ref(), &fault.to_string(), "\"web1\"")
            })?;
            if let Some(first) = self.places.get(&name) {
                let problem = Problem::TargetTwice { name: name.to_string(), first: first.clone() };
                return Err(SettingsFault { place, problem });
            }
            let settings = check(source, &name, table.into_inner(), self.by_label)?;
            self.places.insert(name.clone(), place);
            self.targets.insert(name, settings);
        }
        Ok(())
    }
}

fn check(
    source: &Source,
    name: &Name,
    table: TargetTable,
    by_label: &BTreeMap<String, Name>,
) -> Result<TargetSettings, SettingsFault> {
    let address = check_address(source, name, &table.address)?;
    let labels = check_labels(source, name, &table.labels)?;
    let default_login = check_logins(source, name, &table)?;
    let key = match table.key.clone() {
        Some(key) => key,
        None => key_by_label(source, name, &table, by_label)?,
    };
    let target = Target {
        name: name.clone(),
        address,
        port: table.port.map_or(SSH_PORT, std::num::NonZeroU16::get),
        labels,
        logins: table.logins.as_ref().clone(),
        default_login,
        key,
    };
    let host_keys = check_host_keys(source, &target, &table)?;
    let connect_timeout = table.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let auth = Auth::read(source, name, table.auth.as_ref(), table.password.as_ref())?;
    let source_address = check_source_address(source, name, table.source_address.as_ref())?;
    let weak_algorithms = table.weak_algorithms;
    Ok(TargetSettings { target, host_keys, connect_timeout, auth, weak_algorithms, source_address })
}

/// One address of ours: a certificate counts from there alone.
fn check_source_address(
    source: &Source,
    name: &Name,
    address: Option<&Spanned<String>>,
) -> Result<Option<IpAddr>, SettingsFault> {
    let Some(text) = address else { return Ok(None) };
    let is_ones = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    match text.as_ref().parse::<IpAddr>().map(|address| address.to_canonical()).ok().filter(is_ones) {
        Some(address) => Ok(Some(address)),
        None => Err(source.wrong(
            text.span(),
            &format!("targets.{name}.source_address"),
            text.as_ref(),
            "is no address that a connection comes from",
            "the one that the target's log shows for the bastion, as in \"203.0.113.7\"; without a network's length",
        )),
    }
}

/// The key of a target that names none: that of a label which it has, or the default one.
fn key_by_label(
    source: &Source,
    name: &Name,
    table: &TargetTable,
    by_label: &BTreeMap<String, Name>,
) -> Result<Name, SettingsFault> {
    let of = |(label, value): (&Spanned<String>, &Spanned<String>)| {
        by_label.get(&format!("{}={}", label.as_ref(), value.as_ref())).map(|key| (label.span(), key))
    };
    let mut keys = table.labels.iter().filter_map(of);
    let Some((_, key)) = keys.next() else { return Ok(DEFAULT_KEY.parse().expect("a constant name")) };
    match keys.find(|(_, other)| *other != key) {
        None => Ok(key.clone()),
        Some((span, other)) => Err(source.wrong(
            span,
            &format!("targets.{name}.labels"),
            &format!("{key} and {other}"),
            "two of its labels have different keys",
            &format!("key = \"{key}\""),
        )),
    }
}

/// A name or an address, never an option and never a path.
fn check_address(source: &Source, name: &Name, address: &Spanned<String>) -> Result<String, SettingsFault> {
    let text = address.as_ref();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b':');
    // "web1:22" would else be asked of DNS at every dial.
    let no_port = !text.contains(':') || text.parse::<std::net::Ipv6Addr>().is_ok();
    if begins && no_port && text.len() <= ADDRESS_BYTES_MAX && text.bytes().all(plain) {
        return Ok(text.clone());
    }
    Err(source.wrong(
        address.span(),
        &format!("targets.{name}.address"),
        text,
        "is no host name and no IP address",
        "\"web1.example\", \"10.0.0.5\" or \"fd00::5\"; the port has a key of its own",
    ))
}

fn check_labels(
    source: &Source,
    name: &Name,
    labels: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> Result<BTreeMap<String, String>, SettingsFault> {
    let right = |text: &str| (1..=LABEL_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    let parts = labels.iter().flat_map(|(label, value)| [label, value]);
    if let Some(part) = parts.into_iter().find(|part| !right(part.as_ref())) {
        return Err(source.wrong(
            part.span(),
            &format!("targets.{name}.labels"),
            part.as_ref(),
            "a label and its value have 1 to 128 bytes without control characters",
            "labels = { env = \"prod\" }",
        ));
    }
    Ok(labels.iter().map(|(label, value)| (label.as_ref().clone(), value.as_ref().clone())).collect())
}

/// The default login: the one named, or the only one.
fn check_logins(source: &Source, name: &Name, table: &TargetTable) -> Result<Option<Name>, SettingsFault> {
    let logins = table.logins.as_ref();
    if logins.is_empty() {
        return Err(source.wrong(
            table.logins.span(),
            &format!("targets.{name}.logins"),
            "[]",
            "nobody could log in there",
            "logins = [\"deploy\"]",
        ));
    }
    match &table.default_login {
        Some(login) if !logins.contains(login.as_ref()) => Err(source.wrong(
            login.span(),
            &format!("targets.{name}.default_login"),
            login.as_ref().as_str(),
            "is not among the logins of this target",
            "add it to logins, or name one of them",
        )),
        Some(login) => Ok(Some(login.as_ref().clone())),
        None => Ok(logins.first().filter(|_| logins.len() == 1).cloned()),
    }
}

fn check_host_keys(
    source: &Source,
    target: &Target,
    table: &TargetTable,
) -> Result<KnownHosts, SettingsFault> {
    let key = format!("targets.{}.host_keys", target.name);
    let mut known = KnownHosts::default();
    for line in &table.host_keys {
        // A bare public key means this target: its address and port are known already.
        let text = line.as_ref().trim();
        let whole = match text.parse::<keys::PublicKey>() {
            Ok(public) => KnownHosts::line(&target.address, target.port, &public),
            Err(_) => text.to_owned(),
        };
        known.extend(
            KnownHosts::parse(&whole).map_err(|fault| {
                source.wrong(line.span(), &key, text, &fault.to_string(), HOST_KEY_WAY_OUT)
            })?,
        );
    }
    if let Some(file) = &table.host_keys_file {
        let path = source.beside(file.as_ref());
        let shown = path.display().to_string();
        let wrong =
            |fault: &str, way_out| source.wrong(file.span(), &format!("{key}_file"), &shown, fault, way_out);
        let text = Source::read(&path).map_err(|fault| {
            wrong(&fault.problem.to_string(), "name a file that is there and may be read")
        })?;
        known.extend(
            KnownHosts::parse(text.as_str()).map_err(|fault| wrong(&fault.to_string(), HOST_KEY_WAY_OUT))?,
        );
    }
    Ok(known)
}

const HOST_KEY_WAY_OUT: &str =
    "a line as `ssh-keyscan HOST` prints it, or as /etc/ssh/ssh_host_ed25519_key.pub on the target has it";

/// In the order of their names; a folder that is not there holds none.
fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, SettingsFault> {
    let unreadable = |cause| SettingsFault {
        place: Place { file: folder.to_owned(), line: None },
        problem: Problem::Unreadable(cause),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(unreadable(cause)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
