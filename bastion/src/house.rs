//! What all connections share: settings, policy, keys, sign-in, recorder, and the sessions that are open now.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use gate::{Decision, Denial, Ending, Grant, Policy, Reason, Request, Target};
use keys::Vault;
use russh::{Disconnect, MethodKind, Preferred, SshId, client, keys::PrivateKey, server};
use tokio::sync::Notify;

use crate::{
    audit::{Audit, By},
    dial::{self, DialContext, Traffic},
    failure::Failure,
    hello,
    last_use::LastUses,
    live::{Known, Live, Orders, Standing},
    login::Login,
    own_keys,
    recorder::Recorder,
    session::{Dialled, Dialling},
    settings::{FileRead, Settings, Targets},
    squeeze::WINDOW_BYTES,
    strangers::failed::FailedProofs,
};

/// What can be changed while sessions live: read together, swapped together.
pub struct Rules {
    /// The settings.
    pub settings: Settings,
    /// Who may reach what.
    pub policy: Arc<Policy>,
    /// The files of both, as they were read.
    pub files: Vec<FileRead>,
    /// The targets of the settings, for lists.
    pub targets: Vec<Target>,
    /// The same with their host keys, for dials.
    dialled: Arc<Targets>,
}

impl Rules {
    /// These settings, and the policy that they name.
    ///
    /// # Errors
    /// If the policy cannot be read, or is wrong.
    pub fn read(settings: Settings) -> Result<Rules, Failure> {
        let (policy, read) = own_keys::policy(&settings)?;
        Ok(Rules::new(settings, policy, read))
    }

    /// These settings, and this policy, which was read so.
    pub fn new(settings: Settings, policy: Policy, read: FileRead) -> Rules {
        let files = settings.read.iter().cloned().chain([read]).collect();
        let targets = settings.targets.iter().map(|target| target.target.clone()).collect();
        let dialled = Arc::new(settings.targets.clone());
        Rules { settings, policy: Arc::new(policy), files, targets, dialled }
    }

    /// Decides a request that was decided before, perhaps by other rules: as these know its target, and as at its time.
    pub fn decide_anew(&self, request: &Request) -> Decision {
        let Some(target) = self.settings.targets.get(&request.target.name) else {
            return Decision::Deny(Denial::unknown_target());
        };
        self.policy.decide(&Request { target: target.target.clone(), ..request.clone() })
    }
}

/// What all connections share.
pub struct House {
    rules: ArcSwap<Rules>,
    ssh: ArcSwap<SshConfigs>,
    host_keys: Vec<PrivateKey>,
    /// The gateway's keys.
    vault: ArcSwap<Vault>,
    /// Signing in.
    pub login: Arc<Login>,
    /// Writes down what is decided and done.
    pub audit: Audit,
    /// Records.
    pub recorder: Recorder,
    /// The sessions that are open now.
    pub live: Arc<Live<Standing>>,
    /// Proofs that failed, by address.
    pub failed_proofs: FailedProofs,
    /// The connections whose person is known.
    pub connected: Arc<Live<Arc<Known>>>,
    /// Told when a connection has ended.
    pub ended: Notify,
    /// Who last opened which target.
    pub last_uses: LastUses,
}

/// Why sessions end that a policy which was read anew does not allow.
pub const POLICY_CHANGED: &str = "policy was changed and does not allow it any more";

/// A refusal takes this long, whatever its reason, so that its time tells nothing.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// How long after the last moment of a sign-in a silent client is asked whether it is still there, and how often it may not
/// answer. OpenSSH takes the question for an error while it signs in, so it must not come before; a machine that is
/// gone is noticed sooner, by its kernel's silence (server.rs).
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(30), 3);
/// Bytes of an SSH packet's payload at most.
const PACKET_BYTES_MAX: u32 = 32 * 1024;

impl House {
    /// A house that is ready for its first connection.
    pub fn new(
        rules: Rules,
        host_keys: Vec<PrivateKey>,
        vault: Vault,
        login: Arc<Login>,
        recorder: Recorder,
        audit: Audit,
    ) -> House {
        let ssh = SshConfigs::new(&rules.settings, &host_keys);
        login.obey(rules.policy.clone());
        let last_uses = LastUses::new(login.bindings().last_use());
        let old = last_uses.clone();
        tokio::task::spawn_blocking(move || old.forget_old(now()));
        House {
            rules: ArcSwap::from_pointee(rules),
            ssh: ArcSwap::from_pointee(ssh),
            host_keys,
            vault: ArcSwap::from_pointee(vault),
            login,
            audit,
            recorder,
            live: Arc::default(),
            failed_proofs: FailedProofs::default(),
            connected: Arc::default(),
            ended: Notify::new(),
            last_uses,
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// How SSH is spoken with a client that can do AES-GCM, or with one that cannot.
    pub fn ssh_config(&self, has_gcm: bool) -> Arc<server::Config> {
        let configs = self.ssh.load();
        if has_gcm { configs.with_gcm.clone() } else { configs.all.clone() }
    }

    /// Reads the settings file, its targets, the policy and the vault again.
    ///
    /// # Errors
    /// If one of them is wrong, or the audit trail does not take it: then all of the old ones stay in force.
    pub async fn reload(&self, by: By) -> Result<(), Failure> {
        let old = self.rules();
        let settings = match &old.settings.file {
            Some(file) => Settings::load(file)?.with_what_stays_of(&old.settings),
            None => old.settings.clone(),
        };
        let rules = Rules::read(settings)?;
        // Before the trail says that these rules are in force: a vault that does not open keeps them out.
        let vault = match rules.settings.file {
            Some(_) => Some(own_keys::open_vault(&rules.settings)?.0),
            None => None,
        };
        let written = self.audit.write_rules(by, &rules.files).await;
        written.map_err(|fault| Failure::new(fault, "look at the disk of the data folder"))?;
        if let Some(vault) = vault {
            self.vault.store(Arc::new(vault));
        }
        self.ssh.store(Arc::new(SshConfigs::new(&rules.settings, &self.host_keys)));
        self.login.obey(rules.policy.clone());
        self.rules.store(Arc::new(rules));
        self.review(POLICY_CHANGED);
        Ok(())
    }

    /// Asks the policy about every open session anew. What it does not allow any more is told why, and ends after
    /// `limits.warning`. Hours and the age of a sign-in are taken as they were when it was opened.
    pub fn review(&self, why: &str) {
        let rules = self.rules();
        self.live.review(|_, standing| review(&rules, standing, why));
    }

    /// Begins to dial a granted target, by the rules under which it was granted. `key_id` says for whom.
    pub fn dial(&self, rules: &Rules, grant: Grant, key_id: String, terminal: bool) -> Dialling {
        let context = DialContext {
            vault: self.vault.load_full(),
            authorities: rules.settings.keys.authorities.clone(),
            overlap: rules.settings.keys.overlap,
            targets: rules.dialled.clone(),
            pins: rules.settings.pins(),
            opened: rules.settings.opened(),
            preferred: rules.settings.ssh.preferred(),
        };
        let traffic = if terminal { Traffic::Terminal } else { Traffic::Bulk };
        Box::pin(async move {
            match dial::dial(&grant, traffic, &key_id, &context).await {
                Ok(dial::Dialled { channel, handle }) => {
                    Ok(Dialled { channel, hang_up: Box::pin(hang_up(handle)) })
                }
                Err(fault) => {
                    tracing::warn!("{fault}");
                    Err(fault.heard())
                }
            }
        })
    }
}

/// What the rules say of a session now, if that is news.
pub fn review(rules: &Rules, standing: &mut Standing, why: &str) -> Option<Orders> {
    match rules.decide_anew(&standing.request) {
        Decision::Allow(grant) => {
            let is_new = standing.grant.as_ref().is_none_or(|old| old.limits() != grant.limits());
            standing.grant = Some(grant.clone());
            is_new.then_some(Orders::Regranted(grant))
        }
        Decision::Deny(denial) => {
            let Request { principal, target, .. } = &standing.request;
            standing.grant.take()?; // withdrawn already
            tracing::info!(user = %principal.name, target = %target.name, "a session is to end: {why}: {}", denial.why());
            let after = rules.settings.limits.warning;
            Some(Orders::End(Ending { why: why.to_owned(), reason: Reason::Withdrawn, after }))
        }
    }
}

/// Ends a target's connection politely.
async fn hang_up(handle: client::Handle<dial::TargetHandler>) {
    if let Err(fault) = handle.disconnect(Disconnect::ByApplication, "", "").await {
        tracing::debug!("a target's connection was gone before its goodbye: {fault}");
    }
}

/// Seconds since 1970 (UTC).
pub fn now() -> i64 {
    since_1970().as_secs().cast_signed()
}

/// Microseconds since 1970 (UTC).
pub fn now_us() -> u64 {
    u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    // A clock before 1970 is a clock that was never set.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// 16 random bytes in hex, so that a header's hash tells nothing about the names in it.
pub fn salt() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How SSH is spoken: hello.rs says why there are two ways.
struct SshConfigs {
    all: Arc<server::Config>,
    with_gcm: Arc<server::Config>,
}

impl SshConfigs {
    fn new(settings: &Settings, host_keys: &[PrivateKey]) -> Self {
        let all = Arc::new(ssh_config(settings, host_keys, settings.ssh.preferred()));
        let with_gcm = match settings.ssh.preferred_with_gcm() {
            Some(preferred) => Arc::new(ssh_config(settings, host_keys, preferred)),
            None => all.clone(),
        };
        SshConfigs { all, with_gcm }
    }
}

fn ssh_config(settings: &Settings, host_keys: &[PrivateKey], preferred: Preferred) -> server::Config {
    server::Config {
        server_id: SshId::Standard(hello::IDENT.into()),
        methods: [MethodKind::PublicKey, MethodKind::KeyboardInteractive].as_slice().into(),
        auth_rejection_time: REFUSAL_TIME,
        // OpenSSH opens with a "none" that is always refused: not a guess, so not slowed down.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: host_keys.to_vec(),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        preferred,
        max_auth_attempts: settings.limits.attempts,
        inactivity_timeout: None, // it would end idle sessions; policy has a limit of its own for those
        keepalive_interval: Some(
            settings.limits.sign_in_grace.max(settings.limits.login_grace) + KEEPALIVE.0,
        ),
        keepalive_max: KEEPALIVE.1,
        ..server::Config::default()
    }
}
