//! Opens a granted target and checks its host key.
//!
//! Each session has an SSH connection of its own to its target. Nobody is asked about a host key while a session
//! waits: a key that no pin names ends the dial before the gateway's own key is shown.

mod certificate;
mod fault;
mod log_in;
mod proof;
mod watched;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

pub use certificate::key_id;
use fault::printable;
pub use fault::{DialFault, DialProblem, Stage};
use gate::{Grant, Name};
use keys::{Certificate, HostKeyVerdict, KnownHosts, PublicKey, Vault, fingerprint};
use log_in::log_in;
use russh::{
    Channel, Preferred, SshId,
    client::{self, ChannelOpenHandle, Msg},
    keys::{Algorithm, PublicKeyOrCertificate},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use watched::Watched;

use crate::{
    hello::IDENT,
    pins,
    settings::{Targets, is_gcm, misses_no_message},
    wire,
};

/// Bytes that a target may send before we have taken them.
///
/// Behind a terminal sits a person: what is under way when he presses Ctrl-C is still shown to him, so it is kept
/// short. (Measured under a flood to a slow reader: 2.9 s with 2 MiB, 1.2 to 1.7 s with 128 KiB.)
const TERMINAL_WINDOW_BYTES: u32 = 256 * 1024;

/// Enough for 1 Gbit/s over 16 ms.
const BULK_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// What OpenSSH uses.
const PACKET_BYTES_MAX: u32 = 32 * 1024;

/// A target that is gone without a word is noticed after three of these.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// If the target has left the settings between the grant and the dial, the dial ends here anyway.
const TIMEOUT_WITHOUT_SETTINGS: Duration = Duration::from_secs(10);

/// What a session is for, as far as the way there is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A person at a terminal.
    Terminal,
    /// Anything else.
    Bulk,
}

/// What all dials need.
#[derive(Clone)]
pub struct DialContext {
    /// The gateway's keys.
    pub vault: Arc<Vault>,
    /// Which of them open targets by certificates that they sign.
    pub authorities: BTreeSet<Name>,
    /// For how long a key is offered beside its successor.
    pub overlap: Duration,
    /// Host keys and timeouts by settings.
    pub targets: Arc<Targets>,
    /// The folder of pins.
    pub pins: PathBuf,
    /// The folder of notes on what was opened while its key is being replaced.
    pub opened: PathBuf,
    /// Algorithms.
    pub preferred: Preferred,
}

/// An open target.
pub struct Dialled {
    /// The session channel; nothing was asked on it yet.
    pub channel: Channel<Msg>,
    /// Its connection. When this is dropped, what was sent still leaves, and then the connection ends.
    pub handle: client::Handle<TargetHandler>,
}

/// Opens the granted target: connects, checks its host key, logs in, opens a session channel. Where a certificate opens
/// it, `key_id` is what its log calls the caller.
///
/// # Errors
/// One [`DialFault`] for each thing that can go wrong. If the future is dropped, its connection is closed.
pub async fn dial(
    grant: &Grant,
    traffic: Traffic,
    key_id: &str,
    context: &DialContext,
) -> Result<Dialled, DialFault> {
    let target = grant.target();
    let within = context.targets.get(&target.name).map_or(TIMEOUT_WITHOUT_SETTINGS, |t| t.connect_timeout);
    let stage = StageNow::default();
    let open = open(grant, traffic, key_id, context, within, &stage);
    let opened = match timeout_at(Instant::now() + within, open).await {
        Ok(opened) => opened,
        Err(_) => Err(DialProblem::TimedOut { stage: stage.get(), within }),
    };
    opened.map_err(|problem| DialFault {
        target: target.name.clone(),
        address: format!("{}:{}", target.address, target.port),
        problem: match problem {
            DialProblem::Lost { cause, .. } => DialProblem::Lost { stage: stage.get(), cause },
            problem => problem,
        },
    })
}

/// Connects and asks for nothing but the host key, whatever it is: for `bastion target pin`.
///
/// # Errors
/// As [`dial`], but for the host key and the login.
pub async fn scan(
    address: &str,
    port: u16,
    within: Duration,
    preferred: Preferred,
) -> Result<PublicKey, DialProblem> {
    let stage = StageNow::default();
    let shown = Arc::new(Mutex::new(None));
    let scan = async {
        let stream = connect(address, port, within).await?;
        stage.set(Stage::Greeting);
        let handler = TargetHandler { trust: Trust::Anybody(shown.clone()) };
        let (stream, _hold) = Watched::new(wire::buffered(stream));
        let connected =
            client::connect_stream(Arc::new(config(preferred, Traffic::Terminal)), stream, handler).await;
        let key = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (key, connected) {
            (Some(key), _) => Ok(key),
            (None, Err(problem)) => Err(problem),
            (None, Ok(_)) => {
                Err(DialProblem::Lost { stage: Stage::Greeting, cause: "it showed no host key".into() })
            }
        }
    };
    timeout_at(Instant::now() + within, scan)
        .await
        .unwrap_or_else(|_| Err(DialProblem::TimedOut { stage: stage.get(), within }))
}

async fn open(
    grant: &Grant,
    traffic: Traffic,
    key_id: &str,
    context: &DialContext,
    within: Duration,
    stage: &StageNow,
) -> Result<Dialled, DialProblem> {
    let target = grant.target();
    let trusted = trusted(context, &target.name).await?;
    let stream = connect(&target.address, target.port, within).await?;
    let ours = match context.targets.get(&target.name).and_then(|settings| settings.source_address) {
        Some(outer) => outer,
        None => stream.local_addr().map_err(DialProblem::Network)?.ip().to_canonical(),
    };

    stage.set(Stage::Greeting);
    let preferred = offered(&context.preferred, &trusted, &target.address, target.port);
    let old = context.targets.get(&target.name).map(|t| t.weak_algorithms.clone()).unwrap_or_default();
    if !old.is_empty() {
        tracing::warn!("{} is offered weak algorithms too: {}", target.name, old.names().join(", "));
    }
    let preferred = old.beside(&preferred);
    let is_old = !old.is_empty();
    let trust = Trust::Known { trusted, address: target.address.clone(), port: target.port, is_old };
    let (stream, hold) = Watched::new(wire::buffered(stream));
    let config = Arc::new(config(preferred, traffic));
    let mut handle = client::connect_stream(config.clone(), stream, TargetHandler { trust }).await?;
    proof::check(handle.agent_session_binding(), &config.preferred)?;

    stage.set(Stage::LoggingIn);
    log_in(&mut handle, grant, key_id, ours, context).await?;

    stage.set(Stage::Opening);
    let channel = handle.channel_open_session().await.map_err(|fault| match fault {
        russh::Error::ChannelOpenFailure(why) => DialProblem::ChannelRefused(format!("{why:?}")),
        other => DialProblem::from(other),
    })?;
    hold.let_go();
    Ok(Dialled { channel, handle })
}

/// Host keys by settings, and those that were pinned.
async fn trusted(context: &DialContext, target: &Name) -> Result<KnownHosts, DialProblem> {
    let mut trusted = context.targets.get(target).map(|t| t.host_keys.clone()).unwrap_or_default();
    let (folder, name) = (context.pins.clone(), target.clone());
    let pinned = tokio::task::spawn_blocking(move || pins::read(&folder, &name)).await;
    let lost = |cause: tokio::task::JoinError| DialProblem::Lost {
        stage: Stage::Connecting,
        cause: printable(&cause.to_string()),
    };
    trusted.extend(pinned.map_err(lost)??);
    Ok(trusted)
}

/// Tries every address of the name. A first one that swallows packets leaves its share of the time to the others.
async fn connect(host: &str, port: u16, within: Duration) -> Result<TcpStream, DialProblem> {
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(DialProblem::NoSuchHost)?.collect();
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut problem = DialProblem::NoSuchHost(io::Error::other("the name has no address"));
    for address in addresses {
        problem = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A key press is a packet: waiting to fill one costs 40 ms.
                stream.set_nodelay(true).map_err(DialProblem::Network)?;
                return Ok(stream);
            }
            Ok(Err(fault)) => network(fault),
            Err(_) => DialProblem::TimedOut { stage: Stage::Connecting, within },
        };
    }
    Err(problem)
}

fn network(fault: io::Error) -> DialProblem {
    use rustix::io::Errno;
    let is = |errno: Errno| fault.raw_os_error() == Some(errno.raw_os_error());
    match fault.kind() {
        io::ErrorKind::ConnectionRefused => DialProblem::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => DialProblem::NoRoute(fault),
        _ if is(Errno::MFILE) || is(Errno::NFILE) => DialProblem::NoHandles,
        _ => DialProblem::Network(fault),
    }
}

fn config(preferred: Preferred, traffic: Traffic) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(IDENT)),
        window_size: match traffic {
            Traffic::Terminal => TERMINAL_WINDOW_BYTES,
            Traffic::Bulk => BULK_WINDOW_BYTES,
        },
        maximum_packet_size: PACKET_BYTES_MAX,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        nodelay: true,
        ..client::Config::default()
    }
}

/// Certificates are asked for first where an authority is known that could have signed one; a host that has none goes on
/// with a plain key.
fn offered(ours: &Preferred, trusted: &KnownHosts, address: &str, port: u16) -> Preferred {
    let certified = !trusted.authorities(address, port).is_empty();
    Preferred {
        host_key_certificates: if certified { ours.key.clone() } else { Cow::Borrowed(&[]) },
        key: known_first(&ours.key, &trusted.algorithms(address, port)),
        ..ours.clone()
    }
}

/// A host with several keys shows the one that is asked for first: ask for the one we know.
fn known_first(ours: &[Algorithm], known: &[Algorithm]) -> Cow<'static, [Algorithm]> {
    let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
    let is_known = |ours: &Algorithm| known.iter().any(|key| key == ours || (is_rsa(key) && is_rsa(ours)));
    let (first, mut rest): (Vec<_>, Vec<_>) = ours.iter().cloned().partition(is_known);
    // NIST's curves are for a host that is known by such a key, or not at all yet.
    rest.retain(|other| known.is_empty() || !matches!(other, Algorithm::Ecdsa { .. }));
    first.into_iter().chain(rest).collect::<Vec<_>>().into()
}

/// Hears what a target says that belongs to no channel. It lets nothing in: a target opens no channels to us.
pub struct TargetHandler {
    trust: Trust,
}

enum Trust {
    /// These keys, for this address; and whether its settings offer it weak algorithms.
    Known { trusted: KnownHosts, address: String, port: u16, is_old: bool },
    /// Nobody: the key is kept here, and the connection ended.
    Anybody(Arc<Mutex<Option<PublicKey>>>),
}

impl TargetHandler {
    fn opens_channel(&self) -> DialProblem {
        if let Trust::Known { address, port, .. } = &self.trust {
            tracing::warn!("target {address}:{port}: {}", DialProblem::OpensChannels);
        }
        DialProblem::OpensChannels
    }
}

impl client::Handler for TargetHandler {
    type Error = DialProblem;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, DialProblem> {
        match (&self.trust, shown) {
            (Trust::Anybody(place), shown) => {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.public_key());
                return Ok(false);
            }
            (Trust::Known { trusted, address, port, .. }, PublicKeyOrCertificate::PublicKey { key, .. }) => {
                check_key(trusted, address, *port, key)?;
            }
            (
                Trust::Known { trusted, address, port, .. },
                PublicKeyOrCertificate::Certificate(certificate),
            ) => {
                check_certificate(trusted, address, *port, certificate)?;
            }
        }
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &russh::Names,
        _session: &mut client::Session,
    ) -> Result<(), DialProblem> {
        // Strict key exchange is younger than what is offered to an old target.
        let is_old = matches!(self.trust, Trust::Known { is_old: true, .. });
        let safe = names.strict_kex() || is_gcm(&names.cipher) || (is_old && misses_no_message(names));
        if safe { Ok(()) } else { Err(DialProblem::Terrapin) }
    }

    // A target has no channel to open: nothing was asked of it that would need one. russh takes them by default, as many
    // as are sent, so each kind that it knows is refused here, with the connection.

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), DialProblem> {
        Err(self.opens_channel())
    }
}

fn check_key(trusted: &KnownHosts, address: &str, port: u16, key: &PublicKey) -> Result<(), DialProblem> {
    let shown = fingerprint(key);
    match trusted.check(address, port, key) {
        HostKeyVerdict::Known => Ok(()),
        HostKeyVerdict::Unknown => Err(DialProblem::UnknownHostKey { shown }),
        HostKeyVerdict::Revoked => Err(DialProblem::RevokedHostKey { shown }),
        HostKeyVerdict::Changed(known) => {
            Err(DialProblem::ChangedHostKey { shown, known: known.iter().map(fingerprint).collect() })
        }
    }
}

fn check_certificate(
    trusted: &KnownHosts,
    address: &str,
    port: u16,
    certificate: &Certificate,
) -> Result<(), DialProblem> {
    trusted.check_certificate(address, port, certificate, SystemTime::now()).map_err(|why| {
        DialProblem::HostCertificate {
            shown: fingerprint(&certificate.public_key().clone().into()),
            authority: fingerprint(&certificate.signature_key().clone().into()),
            why,
        }
    })
}

/// The stage that a timeout or a lost connection is told with.
#[derive(Default)]
struct StageNow(Mutex<Option<Stage>>);

impl StageNow {
    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    fn get(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Stage::Connecting)
    }
}

#[cfg(test)]
mod tests;
