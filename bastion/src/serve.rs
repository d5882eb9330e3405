//! `bastion serve`: from settings to a running gateway, and to its orderly end.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use archive::Archive;
use keys::{HOST_KEY, MasterKey, Vault};
use russh::keys::PrivateKey;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    house::{House, Rules, RulesFault},
    login::{Clock, Login, LoginFault},
    recorder::{Durability, Recorder, RecorderFault, RecorderSettings},
    server,
    settings::{self, Settings},
};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// Settings or policy are wrong.
    #[error(transparent)]
    Rules(#[from] RulesFault),
    /// The store does not open.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveFault),
    /// Recording cannot begin.
    #[error(transparent)]
    Recorder(#[from] RecorderFault),
    /// Signing in cannot be set up.
    #[error(transparent)]
    Login(#[from] LoginFault),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] keys::VaultFault),
    /// The master key cannot be had.
    #[error(transparent)]
    MasterKey(#[from] keys::MasterKeyFault),
    /// A secret file is not safe, or cannot be read.
    #[error(transparent)]
    Secret(#[from] keys::SecretFileFault),
    /// A host key file holds no key.
    #[error("{file}: no private key in OpenSSH's format: {fault}")]
    HostKey {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {fault}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        fault: io::Error,
    },
    /// Signals cannot be heard.
    #[error("cannot hear signals: {0}")]
    Signals(io::Error),
}

/// A gateway that listens.
pub struct Gateway {
    /// What its connections share.
    pub house: Arc<House>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Opens the store, takes up what a crash left open, and listens.
    pub async fn start(rules: Rules, vault: Vault) -> Result<Gateway, ServeFault> {
        let settings = &rules.settings;
        let host_keys = host_keys(settings, &vault)?;
        let login =
            Arc::new(Login::new(settings.login.clone(), &settings.data.join("state"), Clock::system())?);
        let mut doors = Vec::new();
        for address in settings.listen.ssh.iter().copied() {
            let listening = TcpListener::bind(address).await;
            doors.push(listening.map_err(|fault| ServeFault::Listen { address, fault })?);
        }
        let addresses = doors.iter().filter_map(|door| door.local_addr().ok()).collect();
        let archive = Archive::open_exclusive(&settings.data)?;
        let recorder = Recorder::start(archive, recorder_settings(settings))?;
        let house = Arc::new(House::new(rules, host_keys, vault, login, recorder));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(server::serve(house.clone(), doors, stopped));
        Ok(Gateway { house, addresses, stop, accepting })
    }

    /// Accepts nobody new, ends the open sessions, and closes their recordings.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(fault) = self.accepting.await {
            tracing::error!("the accept loop failed: {fault}");
        }
        let recorder = self.house.recorder.clone();
        if let Err(fault) = tokio::task::spawn_blocking(move || recorder.shutdown()).await {
            tracing::error!("the recorder did not shut down: {fault}");
        }
    }
}

/// Serves until a signal says stop: SIGTERM or SIGINT. SIGHUP reads settings and policy again.
pub async fn run(settings: Settings) -> Result<(), ServeFault> {
    let vault = open_vault(&settings)?;
    let gateway = Gateway::start(Rules::read(settings)?, vault).await?;
    for address in &gateway.addresses {
        tracing::info!("listening on {address}");
    }
    until_told(&gateway.house).await.map_err(ServeFault::Signals)?;
    tracing::info!("stopping");
    gateway.stop().await;
    Ok(())
}

/// Waits for the signal that ends the program; reloads at SIGHUP meanwhile.
pub async fn until_told(house: &House) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => match house.reload() {
                Ok(()) => tracing::info!("settings and policy read again"),
                Err(fault) => tracing::error!("settings and policy stay as they were: {fault}"),
            },
        }
    }
}

/// The host key that the vault has, and those that the settings name.
fn host_keys(settings: &Settings, vault: &Vault) -> Result<Vec<PrivateKey>, ServeFault> {
    let mut host_keys = vec![vault.load(HOST_KEY)?];
    for file in &settings.ssh.host_keys {
        let text = keys::secret_file::read(file)?;
        let key = PrivateKey::from_openssh(text.as_slice());
        host_keys
            .push(key.map_err(|fault| ServeFault::HostKey { file: file.clone(), fault: fault.to_string() })?);
    }
    Ok(host_keys)
}

fn open_vault(settings: &Settings) -> Result<Vault, ServeFault> {
    let (master, _) = MasterKey::find(settings.keys.master_key_file.as_deref())?;
    Ok(Vault::open(&settings.vault(), master)?)
}

fn recorder_settings(settings: &Settings) -> RecorderSettings {
    let durability = match settings.recording.durability {
        settings::Durability::Written => Durability::Written,
        settings::Durability::Synced => Durability::Synced,
    };
    RecorderSettings { durability, ..RecorderSettings::default() }
}
