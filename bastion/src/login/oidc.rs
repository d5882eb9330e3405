//! The sign-in provider as seen from here: discovery, its keys, and what its ID token proves.

mod fault;
mod refresh;
mod set_up;
mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gate::Name;
use openidconnect::{
    AdditionalProviderMetadata, Client, ClientId, ClientSecret, DeviceAuthorizationUrl,
    EmptyAdditionalClaims, EndpointNotSet, EndpointSet, IssuerUrl, JsonWebKeySet, ProviderMetadata, Scope,
    StandardErrorResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
        CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
        CoreRevocableToken, CoreRevocationErrorResponse, CoreSubjectIdentifierType,
        CoreTokenIntrospectionResponse,
    },
};
use recording::Person;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use fault::place_of;
use fault::{ClaimsFault, discovery_fault};
use set_up::{auth_type, read_secret};
use token::Expected;
pub(super) use token::Tokens;

use crate::{
    audit,
    settings::{Issuer, Login as Settings},
};

use super::{
    clock::Clock,
    http::{Http, is_safe},
};

/// What discovery told is asked for again after this long, so that withdrawn keys do not live on.
const KNOWN_SECONDS_MAX: i64 = 3600;

/// While the provider does not answer, what it told last is good for this long: people go on signing in where only
/// its discovery is down. What it answers wrongly is never passed over like that.
const KNOWN_UNREACHED_SECONDS_MAX: i64 = 24 * 3600;

/// An unknown key id brings at most one new discovery in this time: forged ids must not become a storm.
const REFETCH_SECONDS_MIN: i64 = 60;

/// A provider that just failed is not asked again at once by the next person: he is told the same, now.
const FAILURE_SECONDS: i64 = 3;

/// Clocks of provider and bastion may differ by this much.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// More groups than this, or larger claims, are refused: policy asks about each on every channel.
const GROUPS_MAX: usize = 500;
const CLAIMS_BYTES_MAX: usize = 64 * 1024;

/// A sign-in takes one or two ways of proving who one is, and RFC 8176 names about twenty.
const AMR_MAX: usize = 32;

/// RFC-like bound of OpenID Connect Core, section 2: `sub` has at most 255 ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// The scope that brings a refresh token (OpenID Connect Core, section 11).
const OFFLINE: &str = "offline_access";

/// Who the provider says is signing in. Made by [`Provider::prove`] alone, from a verified ID token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) name: Name,
    pub(super) email: Option<String>,
    pub(super) groups: BTreeSet<String>,
    pub(super) amr: BTreeSet<String>,
    pub(super) acr: Option<String>,
}

impl Identity {
    /// Her, for an entry of the trail.
    pub(super) fn person(&self) -> Person {
        audit::person_of(&self.issuer, &self.subject, &self.name, self.email.as_deref(), &self.groups)
    }
}

/// Why a provider could not be used, or its word not be taken. Holds no token and nothing of a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It does not answer.
    #[error("{0}")]
    Silent(String),
    /// It answers, but not what the protocol asks for.
    #[error("{0}")]
    Unfit(String),
    /// Its ID token does not prove what it says.
    #[error("the ID token is refused: {0}")]
    Unproven(String),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct MoreMetadata {
    /// Optional here, so that its absence can be told apart from a document that is no discovery at all.
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
}
impl AdditionalProviderMetadata for MoreMetadata {}

type Metadata = ProviderMetadata<
    MoreMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// openidconnect's client, with the two endpoints set that a device sign-in needs.
pub(super) type DeviceClient = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// What discovery told.
#[derive(Clone)]
pub(super) struct Known {
    /// Asks the device and token endpoints.
    pub client: DeviceClient,
    /// What is asked for besides `openid`.
    pub scopes: Vec<Scope>,
    keys: JsonWebKeySet<CoreJsonWebKey>,
    fetched_at: i64,
}

#[derive(Default)]
struct Memory {
    known: Option<Known>,
    /// When an unknown key id last brought a new discovery.
    refetched_at: Option<i64>,
    failed: Option<(i64, ProviderFault)>,
}

/// One sign-in provider.
pub(super) struct Provider {
    issuer: IssuerUrl,
    client_id: ClientId,
    secret: Option<ClientSecret>,
    settings: Issuer,
    /// What stands before the groups that it names: those of a further provider are no namesakes of the main one's.
    prefix: String,
    /// What its groups must not begin with.
    reserved: Vec<String>,
    /// A refresh token is wanted, for the re-check.
    offline: bool,
    pub http: Http,
    clock: Clock,
    memory: Mutex<Memory>,
    // Held while discovery runs: a hundred people who arrive at once cause one fetch, not a hundred. What is known already
    // is read without it, or one token with an unknown key and a provider that hangs would stop everybody else.
    turn: tokio::sync::Mutex<()>,
}

impl Provider {
    /// Checks the settings; asks nobody yet, so that a provider that is down does not stop the start.
    pub fn new(
        settings: Issuer,
        name: Option<&Name>,
        offline: bool,
        clock: Clock,
    ) -> Result<Provider, ProviderFault> {
        let issuer = IssuerUrl::new(settings.issuer.clone())
            .map_err(|_| ProviderFault::Unfit(format!("login.issuer {:?} is no address", settings.issuer)))?;
        if !is_safe(issuer.url()) {
            return Err(ProviderFault::Unfit(format!(
                "login.issuer {} is neither https nor loopback",
                settings.issuer
            )));
        }
        let secret = settings.client_secret_file.as_deref().map(read_secret).transpose()?;
        Ok(Provider {
            issuer,
            client_id: ClientId::new(settings.client_id.clone()),
            secret,
            http: Http::new(settings.ca_file.as_deref()).map_err(|f| ProviderFault::Unfit(f.to_string()))?,
            prefix: name.map(|name| format!("{name}:")).unwrap_or_default(),
            reserved: Vec::new(),
            settings,
            offline,
            clock,
            memory: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Its issuer, as it stands in the settings.
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// The provider's endpoints and keys, at most [`KNOWN_SECONDS_MAX`] old if it can be reached, and never older than
    /// [`KNOWN_UNREACHED_SECONDS_MAX`].
    pub async fn known(&self) -> Result<Known, ProviderFault> {
        if let Some(told) = self.remembered() {
            return told;
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before has asked the same.
        if let Some(told) = self.remembered() {
            return told;
        }
        let fault = match self.fetch().await {
            Ok(known) => return Ok(known),
            Err(fault) => fault,
        };
        self.remembered().unwrap_or(Err(fault))
    }

    /// What there is without asking the provider: what is known of it, or that nothing can be had.
    fn remembered(&self) -> Option<Result<Known, ProviderFault>> {
        let memory = self.memory();
        let now = self.clock.now();
        let known = |seconds| memory.known.as_ref().filter(|known| is_within(now, known.fetched_at, seconds));
        if let Some(known) = known(KNOWN_SECONDS_MAX) {
            return Some(Ok(known.clone()));
        }
        let (at, fault) = memory.failed.as_ref()?;
        match (known(KNOWN_UNREACHED_SECONDS_MAX), fault) {
            (Some(old), ProviderFault::Silent(_)) if is_within(now, *at, REFETCH_SECONDS_MIN) => {
                Some(Ok(old.clone()))
            }
            _ => is_within(now, *at, FAILURE_SECONDS).then(|| Err(fault.clone())),
        }
    }

    /// The provider's keys once more, because a token names one that is not among them.
    async fn known_anew(&self, old: &Known) -> Result<Known, ProviderFault> {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        {
            let mut memory = self.memory();
            match &memory.known {
                Some(newer) if newer.fetched_at > old.fetched_at => return Ok(newer.clone()),
                Some(same)
                    if memory.refetched_at.is_some_and(|at| is_within(now, at, REFETCH_SECONDS_MIN)) =>
                {
                    return Ok(same.clone());
                }
                _ => memory.refetched_at = Some(now),
            }
        }
        self.fetch().await
    }

    /// To be called by whoever has the turn.
    async fn fetch(&self) -> Result<Known, ProviderFault> {
        let found = self.discover().await;
        let mut memory = self.memory();
        match &found {
            Ok(known) => (memory.known, memory.failed) = (Some(known.clone()), None),
            Err(fault) => {
                tracing::warn!(issuer = %*self.issuer, %fault, "discovery fails");
                memory.failed = Some((self.clock.now(), fault.clone()));
            }
        }
        found
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn discover(&self) -> Result<Known, ProviderFault> {
        let found = Metadata::discover_async(self.issuer.clone(), &self.http)
            .await
            .map_err(|error| discovery_fault(&self.issuer, error))?;
        let unfit = |what: &str| ProviderFault::Unfit(format!("the provider {} {what}", *self.issuer));
        let device = found.additional_metadata().device_authorization_endpoint.clone();
        let device = device.ok_or_else(|| unfit("offers no device sign-in (RFC 8628)"))?;
        let token = found.token_endpoint().cloned().ok_or_else(|| unfit("names no token endpoint"))?;
        for url in [device.url(), token.url(), found.jwks_uri().url()] {
            if !is_safe(url) {
                return Err(unfit("names an endpoint that is neither https nor loopback"));
            }
        }
        let mut client = Client::new(self.client_id.clone(), self.issuer.clone(), found.jwks().clone());
        if let Some(secret) = &self.secret {
            client = client.set_client_secret(secret.clone()).set_auth_type(auth_type(&found));
        }
        Ok(Known {
            client: client.set_device_authorization_url(device).set_token_uri(token),
            scopes: self.scopes(&found),
            keys: found.jwks().clone(),
            fetched_at: self.clock.now(),
        })
    }

    /// What the settings ask for. Providers refuse a scope that they do not know, so what is asked for by default alone
    /// is asked for only where it is listed; openidconnect adds `openid` by itself.
    fn scopes(&self, found: &Metadata) -> Vec<Scope> {
        let is_asked = |scope: &&String| *scope != "openid" && (self.offline || *scope != OFFLINE);
        let wanted = self.settings.scopes.iter().filter(is_asked).cloned().map(Scope::new);
        let is_default = self.settings.scopes == Settings::scopes();
        match found.scopes_supported() {
            Some(listed) if is_default => wanted.filter(|s| listed.contains(s)).collect(),
            None if is_default => wanted.filter(|s| s.as_str() != OFFLINE).collect(),
            _ => wanted.collect(),
        }
    }

    /// What the token endpoint's answer proves: who she is, or why it is not believed.
    ///
    /// The tokens end here. Nothing of them is kept or logged.
    pub async fn prove(&self, known: Known, tokens: &Tokens) -> Result<Identity, ProviderFault> {
        match self.claims(&known, tokens) {
            Err(ClaimsFault::UnknownKey) => {
                let known = self.known_anew(&known).await?;
                self.claims(&known, tokens).map_err(ClaimsFault::into_fault)
            }
            checked => checked.map_err(ClaimsFault::into_fault),
        }
        .and_then(|claims| self.identity(&claims))
    }

    fn claims(&self, known: &Known, tokens: &Tokens) -> Result<Map<String, Value>, ClaimsFault> {
        let token = tokens.signed().ok_or(ClaimsFault::Wrong("there is none".into()))?;
        token.claims(&Expected {
            issuer: self.issuer.as_str(),
            client_id: self.client_id.as_str(),
            algorithms: &self.settings.algorithms,
            keys: &known.keys,
            now: self.clock.now(),
        })
    }

    /// The main provider, which names no group that would be taken for one of a further one.
    pub fn without_groups_of(mut self, more: &BTreeMap<Name, Issuer>) -> Provider {
        self.reserved = more.keys().map(|name| format!("{name}:")).collect();
        self
    }

    fn prefixed(&self, mut groups: BTreeSet<String>, subject: &str, name: &Name) -> BTreeSet<String> {
        if !self.prefix.is_empty() {
            return groups.into_iter().map(|group| format!("{}{group}", self.prefix)).collect();
        }
        let count = groups.len();
        groups.retain(|group| !self.reserved.iter().any(|prefix| group.starts_with(prefix)));
        if groups.len() < count {
            tracing::warn!(issuer = %*self.issuer, subject, %name, "groups that are called like those of login.more do not count");
        }
        groups
    }

    fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, ProviderFault> {
        let wrong = |what: String| ProviderFault::Unproven(what);
        if serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len()) > CLAIMS_BYTES_MAX {
            return Err(wrong("its claims pass 64 KiB".into()));
        }
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let subject = text("sub").unwrap_or_default();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
            return Err(wrong("its subject is empty, too long or no plain text".into()));
        }
        let claim = &self.settings.name_claim;
        let name =
            text(claim).ok_or_else(|| wrong(format!("it has no claim {claim:?} to name the person")))?;
        let name = name
            .parse::<Name>()
            .map(|name| name.folded())
            .map_err(|_| wrong(format!("its claim {claim:?} is no name that can be used here")))?;
        // An address that the provider has not confirmed could be anybody's.
        let confirmed = claims.get("email_verified").and_then(Value::as_bool).unwrap_or(false);
        let email = text(&self.settings.email_claim).filter(|_| confirmed).filter(|e| is_plain(e));
        let groups = texts(claims, &self.settings.groups_claim, GROUPS_MAX)?;
        Ok(Identity {
            issuer: self.issuer.as_str().to_owned(),
            subject: subject.to_owned(),
            groups: self.prefixed(groups, subject, &name),
            name,
            email: email.map(str::to_owned),
            amr: texts(claims, "amr", AMR_MAX)?,
            acr: acr(claims)?,
        })
    }
}

/// A claim that lists texts, or has one alone; none if it is not there.
fn texts(
    claims: &Map<String, Value>,
    claim: &str,
    count_max: usize,
) -> Result<BTreeSet<String>, ProviderFault> {
    let wrong = |what: &str| ProviderFault::Unproven(format!("its claim {claim:?} {what}"));
    let listed: Vec<&str> = match claims.get(claim) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("holds more than texts"))?,
        Some(_) => return Err(wrong("is no list of texts")),
    };
    if listed.len() > count_max {
        return Err(wrong(&format!("lists more than {count_max}")));
    }
    if !listed.iter().all(|text| is_plain(text)) {
        return Err(wrong("has a text that is empty, too long or with control characters"));
    }
    Ok(listed.into_iter().map(str::to_owned).collect())
}

fn acr(claims: &Map<String, Value>) -> Result<Option<String>, ProviderFault> {
    match claims.get("acr") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(acr)) if is_plain(acr) => Ok(Some(acr.clone())),
        Some(_) => Err(ProviderFault::Unproven("its claim \"acr\" is no plain text".into())),
    }
}

/// Both ways round: a clock that was set back must not hold anything for hours.
fn is_within(now: i64, at: i64, seconds: i64) -> bool {
    now.abs_diff(at) < seconds.unsigned_abs()
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control)
}

pub use refresh::{Refresh, RefreshFault};

#[cfg(test)]
mod tests;
