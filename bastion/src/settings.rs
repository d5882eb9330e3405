//! Where to listen, who vouches for people, which targets there are, where to write. Parsed once, checked once.

mod auth;
mod certificates;
mod env_allow;
mod limits;
mod login;
mod old_algorithms;
mod ssh;
mod targets;
mod toml_file;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use gate::Name;
use keys::HOST_KEY;
use serde::{Deserialize, Deserializer, de::Error as _};

pub use auth::{Auth, Password};
pub use certificates::Certificates;
pub use env_allow::EnvAllow;
pub use limits::Limits;
pub use login::{Algorithm, Flow, Issuer, Login, Prompt};
pub use old_algorithms::{OldAlgorithms, misses_no_message};
pub use ssh::{Ssh, is_gcm};
pub use targets::{DEFAULT_KEY, TargetSettings, Targets};
pub use toml_file::{FileRead, Place, SettingsFault};

use targets::Tables;
use toml_file::Source;

/// All that `bastion serve` is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file they were read from; none if they were made by the program (the demo).
    pub file: Option<PathBuf>,
    /// That file and those of targets.d/, as they were read.
    pub read: Vec<FileRead>,
    /// Keys of the file that the command line or the environment says instead.
    pub given: Vec<&'static str>,
    /// Where to listen.
    pub listen: Listen,
    /// The folder for recordings, keys and state.
    pub data: PathBuf,
    /// The policy file.
    pub policy: PathBuf,
    /// How the vault is opened.
    pub keys: Keys,
    /// Who vouches for people.
    pub login: Login,
    /// How SSH is spoken.
    pub ssh: Ssh,
    /// How much is allowed at once.
    pub limits: Limits,
    /// How recordings are kept.
    pub recording: Recording,
    /// Variables that a client may set on a target.
    pub env_allow: EnvAllow,
    /// What is logged.
    pub log: Log,
    /// What can be reached.
    pub targets: Targets,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Addresses with ports; port 0 takes a free one.
    #[serde(deserialize_with = "addresses")]
    pub ssh: Vec<SocketAddr>,
}

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The file with the vault's master key, used if neither the environment nor systemd has it.
    pub master_key_file: Option<PathBuf>,
    /// Which key opens the targets with a label (`env=prod`) that name none themselves.
    pub by_label: BTreeMap<String, Name>,
    /// The keys that open a target not by themselves, but by a certificate that they sign for each session.
    #[serde(deserialize_with = "authorities")]
    pub authorities: BTreeSet<Name>,
    /// For how long a key is offered beside the successor that `bastion key rotate` made.
    #[serde(deserialize_with = "toml_file::duration")]
    pub overlap: Duration,
}

/// Long enough to reach every machine, short enough to be kept in mind.
const OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

impl Default for Keys {
    fn default() -> Self {
        Keys {
            master_key_file: None,
            by_label: BTreeMap::new(),
            authorities: BTreeSet::new(),
            overlap: OVERLAP,
        }
    }
}

/// `[recording]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recording {
    /// What a byte waits for.
    pub durability: Durability,
}

/// How far the record of a byte must be before the byte is relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The kernel has it: survives `kill -9`. The disk has it within 200 ms.
    #[default]
    Written,
    /// The disk has it: survives a power cut.
    Synced,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is logged, as tracing-subscriber's `EnvFilter` reads it.
    #[serde(deserialize_with = "crate::log::filter")]
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::default(), filter: "info".into() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line and the environment say instead of the file. Command line first, then environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingsArgs {
    /// The settings file
    #[arg(
        long = "config",
        visible_alias = "settings",
        global = true,
        value_name = "FILE",
        env = "BASTION_CONFIG",
        default_value = DEFAULT_FILE
    )]
    pub settings: PathBuf,
    /// Listen here instead (may be repeated): 127.0.0.1:2222
    #[arg(long, global = true, value_name = "ADDRESS:PORT", env = "BASTION_LISTEN", value_delimiter = ',', value_parser = address)]
    pub listen: Vec<SocketAddr>,
    /// Keep recordings, keys and state here instead
    #[arg(long, global = true, value_name = "FOLDER", env = "BASTION_DATA")]
    pub data: Option<PathBuf>,
    /// Log this instead: info, debug, bastion=debug
    #[arg(long, global = true, value_name = "FILTER", env = "BASTION_LOG", value_parser = crate::log::checked)]
    pub log: Option<String>,
}

impl SettingsArgs {
    /// The file, with what was said instead.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load(&self) -> Result<Settings, SettingsFault> {
        let mut settings = Settings::load(&self.settings)?;
        let given =
            [("listen", !self.listen.is_empty()), ("data", self.data.is_some()), ("log", self.log.is_some())];
        settings.given = given.into_iter().filter_map(|(key, is_given)| is_given.then_some(key)).collect();
        if !self.listen.is_empty() {
            settings.listen.ssh.clone_from(&self.listen);
        }
        if let Some(data) = &self.data {
            settings.data.clone_from(data);
        }
        if let Some(filter) = &self.log {
            settings.log.filter.clone_from(filter);
        }
        Ok(settings)
    }
}

/// bastion.toml, before its targets are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    listen: Listen,
    #[serde(default = "File::data")]
    data: PathBuf,
    #[serde(default = "File::policy")]
    policy: PathBuf,
    #[serde(default)]
    keys: Keys,
    #[serde(deserialize_with = "login::login")]
    login: Login,
    #[serde(default)]
    ssh: Ssh,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    recording: Recording,
    #[serde(default)]
    env_allow: EnvAllow,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    targets: Tables,
}

impl File {
    fn data() -> PathBuf {
        "data".into()
    }

    fn policy() -> PathBuf {
        "policy.toml".into()
    }
}

impl Default for Listen {
    /// Port 22 is the machine's own sshd's, and needs a privilege.
    fn default() -> Self {
        Listen { ssh: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2222)] }
    }
}

/// The settings file, where none is named.
pub const DEFAULT_FILE: &str = "bastion.toml";

/// The folder beside the settings file whose `*.toml` hold more targets.
pub const TARGETS_FOLDER: &str = "targets.d";

impl Settings {
    /// Reads and checks `file`, and the targets beside it. To reload, call it again: nothing is changed before all is
    /// known to be right, so a fault leaves the old settings in force.
    ///
    /// # Errors
    /// At the first thing that is wrong, with file and line.
    pub fn load(file: &Path) -> Result<Settings, SettingsFault> {
        let source = Source::read(file)?;
        let File { listen, data, policy, keys, login, ssh, limits, recording, env_allow, log, targets } =
            source.parse()?;
        let (targets, more) =
            Targets::read(&source, targets, &source.beside(Path::new(TARGETS_FOLDER)), &keys.by_label)?;
        let (certificates, authorities) = login.certificates.clone().with_file(&source)?;
        let beside = |path: Option<PathBuf>| path.map(|path| source.beside(&path));
        Ok(Settings {
            file: Some(file.to_owned()),
            read: std::iter::once(source.as_read()).chain(more).chain(authorities).collect(),
            given: Vec::new(),
            listen,
            data: source.beside(&data),
            policy: source.beside(&policy),
            keys: Keys { master_key_file: beside(keys.master_key_file), ..keys },
            login: Login { certificates, ..login.beside(|path| source.beside(path)) },
            ssh: Ssh { host_keys: ssh.host_keys.iter().map(|path| source.beside(path)).collect(), ..ssh },
            limits,
            recording,
            env_allow,
            log,
            targets,
        })
    }

    /// These, read anew while the server runs, but for what takes a new start: that stays as in `old`, and the log names
    /// what was changed in vain.
    pub fn with_what_stays_of(self, old: &Settings) -> Settings {
        // Who may vouch is asked anew of each certificate.
        let login = Login { certificates: self.login.certificates.clone(), ..old.login.clone() };
        let changed = [
            ("listen", self.listen != old.listen && !old.given.contains(&"listen")),
            ("data", self.data != old.data && !old.given.contains(&"data")),
            ("log", self.log != old.log && !old.given.contains(&"log")),
            ("recording", self.recording != old.recording),
            ("ssh.host_keys", self.ssh.host_keys != old.ssh.host_keys),
        ];
        let changed = changed.iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| (*key).to_owned());
        for key in changed.chain(self.login.changed(&old.login)) {
            tracing::warn!("{key} stays as it was until the program starts anew");
        }
        Settings {
            listen: old.listen.clone(),
            data: old.data.clone(),
            log: old.log.clone(),
            login,
            recording: old.recording,
            ssh: Ssh { host_keys: old.ssh.host_keys.clone(), ..self.ssh },
            given: old.given.clone(),
            ..self
        }
    }

    /// Settings that no file names: all in `data`, listening at `listen`, people vouched for as `login` says, no
    /// targets yet.
    pub fn embedded(data: &Path, listen: SocketAddr, login: Login) -> Settings {
        Settings {
            file: None,
            read: Vec::new(),
            given: Vec::new(),
            listen: Listen { ssh: vec![listen] },
            data: data.to_owned(),
            policy: data.join("policy.toml"),
            keys: Keys { master_key_file: Some(data.join("master.key")), ..Keys::default() },
            login,
            ssh: Ssh::default(),
            limits: Limits::default(),
            recording: Recording::default(),
            env_allow: EnvAllow::default(),
            log: Log::default(),
            targets: Targets::default(),
        }
    }

    /// Where a key of the settings file stands, by its tables and its name; none if it is not there.
    pub fn place(&self, path: &[&str]) -> Option<Place> {
        let read = self.read.iter().find(|read| Some(&read.file) == self.file.as_ref())?;
        read.place(path)
    }

    /// Where `bastion target pin` writes the host keys of targets.
    pub fn pins(&self) -> PathBuf {
        self.data.join("pins")
    }

    /// Where the server notes with which key targets were opened while it is being replaced.
    pub fn opened(&self) -> PathBuf {
        self.data.join("opened")
    }

    /// Where the vault lies.
    pub fn vault(&self) -> PathBuf {
        self.data.join("keys")
    }
}

/// Names of keys. The host key is none: what it signs, it signs as the bastion itself.
fn authorities<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Name>, D::Error> {
    let names = BTreeSet::<Name>::deserialize(from)?;
    match names.iter().any(|name| name.as_str() == HOST_KEY) {
        true => Err(D::Error::custom(format!(
            "{HOST_KEY:?} is the key by which clients know the bastion, and signs no certificates: write \"ca\", \
             which `bastion key new ca` makes"
        ))),
        false => Ok(names),
    }
}

/// An address with its port, as the command line has it.
///
/// # Errors
/// If it is none; a port alone is told how to stand.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => {
            format!("no address with a port; write 0.0.0.0:{port} for every network, or 127.0.0.1:{port}")
        }
        Err(_) => "no address with a port; write 0.0.0.0:2222 or [::]:2222, numbers and no names".to_owned(),
    })
}

/// One address with its port, or a list of them.
fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an address with its port, or a list of them: \"0.0.0.0:2222\"")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let texts = match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    if texts.is_empty() {
        return Err(D::Error::custom("nothing to listen on: write \"0.0.0.0:2222\""));
    }
    let parse = |text: &String| address(text).map_err(|why| D::Error::custom(format!("{text:?} is {why}")));
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
