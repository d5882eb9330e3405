//! `bastion serve`: from settings to a running gateway, and to its orderly end.

use std::{io, net::SocketAddr, sync::Arc};

use archive::{Archive, control::Request};
use keys::{DataKey, Vault};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    audit::{Act, Audit, By},
    control::{Control, Order, Reply},
    failure::Failure,
    house::{House, Rules},
    login::{Clock, Login},
    orders, own_keys, recheck,
    recorder::{Durability, Recorder, RecorderSettings},
    server,
    settings::{self, Settings},
};

/// The vault's secret that refresh tokens are encrypted with.
const REFRESH_SECRET: &str = "refresh-tokens";

/// Orders that wait while one is carried out.
const ORDERS_MAX: usize = 4;

/// A gateway that listens.
pub struct Gateway {
    /// What its connections share.
    pub house: Arc<House>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Where it is asked by commands and players.
    pub control: Control,
    orders: mpsc::Receiver<Order>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    rechecking: JoinHandle<()>,
}

impl Gateway {
    /// Opens the store, takes up what a crash left open, and listens.
    ///
    /// # Errors
    /// If a key, the store or an address cannot be had.
    pub async fn start(rules: Rules, mut vault: Vault) -> Result<Gateway, Failure> {
        let settings = &rules.settings;
        let host_keys = own_keys::host_keys(settings, &vault)?;
        let data = settings.data.display().to_string();
        let way_out =
            || format!("end the other server on {data}, or give this one another folder with --data");
        let archive =
            Archive::open_exclusive(&settings.data).map_err(|fault| Failure::new(fault, way_out()))?;
        let mut doors = Vec::new();
        for address in settings.listen.ssh.iter().copied() {
            let listening = TcpListener::bind(address).await;
            doors.push(listening.map_err(|fault| cannot_listen(address, &fault))?);
        }
        let addresses = doors.iter().filter_map(|door| door.local_addr().ok()).collect();
        let look = |fault: &dyn std::fmt::Display| Failure::new(fault, format!("look at the folder {data}"));
        let recorder = Recorder::start(archive.clone(), recorder_settings(settings));
        let recorder = recorder.map_err(|fault| look(&fault))?;
        let audit = Audit::begin(&recorder);
        let started =
            Act::ServerStarted { version: env!("CARGO_PKG_VERSION").into(), process: std::process::id() };
        audit.write(started).await.map_err(|fault| look(&fault))?;
        audit.write_rules(By::Bastion, &rules.files).await.map_err(|fault| look(&fault))?;
        let state = settings.data.join("state");
        let data_key = match settings.login.recheck.is_zero() {
            true => None,
            false => DataKey::new(&vault.secret_or_new(REFRESH_SECRET, 32)?),
        };
        let login = Login::new(settings.login.clone(), &state, data_key, Clock::system(), audit.clone());
        let login = Arc::new(login.map_err(|fault| Failure::new(fault, "look at [login] in the settings"))?);
        let (order, orders) = mpsc::channel(ORDERS_MAX);
        let control = Control::start(&settings.data, archive, recorder.clone(), order);
        let control = control.map_err(|fault| look(&format!("cannot listen for commands: {fault}")))?;
        let house = Arc::new(House::new(rules, host_keys, vault, login, recorder, audit));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(server::serve(house.clone(), doors, stopped));
        let rechecking = tokio::spawn(recheck::run(house.clone()));
        Ok(Gateway { house, addresses, control, orders, stop, accepting, rechecking })
    }

    /// Accepts nobody new, ends the open sessions, and closes their recordings.
    pub async fn stop(self, by: By) {
        self.stop.send_replace(true);
        if let Err(fault) = self.accepting.await {
            tracing::error!("the accept loop failed: {fault}");
        }
        self.rechecking.abort();
        // It stops whether or not that can be written.
        self.house.audit.tell_what_is_left_out().await;
        if let Err(fault) = self.house.audit.write(Act::ServerStopped { by }).await {
            tracing::error!("{fault}");
        }
        self.house.audit.end().await;
        let recorder = self.house.recorder.clone();
        if let Err(fault) = tokio::task::spawn_blocking(move || recorder.shutdown()).await {
            tracing::error!("the recorder did not shut down: {fault}");
        }
    }
}

/// Serves until a signal says stop: SIGTERM or SIGINT. SIGHUP reads settings and policy again.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    // A core would hold keys and what was typed.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(fault) = setrlimit(Resource::Core, none) {
        tracing::warn!("core dumps cannot be switched off: {fault}");
    }
    let signals = Signals::hear()?;
    let (vault, _) = own_keys::open_vault(&settings)?;
    let mut gateway = Gateway::start(Rules::read(settings)?, vault).await?;
    for address in &gateway.addresses {
        tracing::info!("listening on {address}");
    }
    let by = until_told(&mut gateway, signals).await;
    tracing::info!("stopping");
    gateway.stop(by).await;
    Ok(())
}

/// The signals that a server obeys. Before anybody can connect they must be heard: one that comes earlier kills the process
/// without an orderly end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they are heard, and wait for [`until_told`].
    ///
    /// # Errors
    /// If the system does not let us hear them.
    pub fn hear() -> Result<Signals, Failure> {
        let hear = |kind| {
            signal(kind)
                .map_err(|fault| Failure::new(format!("cannot hear signals: {fault}"), "start it anew"))
        };
        Ok(Signals {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
            hang_up: hear(SignalKind::hangup())?,
        })
    }
}

/// Waits for the signal or the order that ends the program, and answers whose it was; reloads at SIGHUP, or when
/// ordered, meanwhile.
pub async fn until_told(gateway: &mut Gateway, mut signals: Signals) -> By {
    let by = |name: &str| By::Signal(name.into());
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return by("TERM"),
            _ = signals.interrupt.recv() => return by("INT"),
            _ = signals.hang_up.recv() => {
                if gateway.house.rules().settings.file.is_none() {
                    return by("HUP"); // a demo has no settings to read again: its terminal was closed
                }
                drop(orders::reload(&gateway.house, by("HUP")).await); // it says in the log what is wrong
            }
            Some(order) = gateway.orders.recv() => {
                let by = By::local(order.uid);
                if order.what == Request::Shutdown {
                    drop(order.tell.send(Ok(Reply::Done("stopping".into())))); // whoever asked may be gone by now
                    return by;
                }
                tokio::spawn(orders::carry_out(gateway.house.clone(), order, by));
            }
        }
    }
}

fn cannot_listen(address: SocketAddr, fault: &io::Error) -> Failure {
    let way_out = match fault.kind() {
        io::ErrorKind::AddrInUse => "--listen with another port; somebody listens on this one",
        io::ErrorKind::PermissionDenied => "--listen with a port above 1023",
        _ => "--listen with an address of this machine",
    };
    Failure::new(format!("cannot listen on {address}: {fault}"), way_out)
}

fn recorder_settings(settings: &Settings) -> RecorderSettings {
    let durability = match settings.recording.durability {
        settings::Durability::Written => Durability::Written,
        settings::Durability::Synced => Durability::Synced,
    };
    RecorderSettings { durability, ..RecorderSettings::default() }
}
