//! Settings as sentences.

use std::{path::PathBuf, time::Duration};

use gate::Name;
use keys::{PublicKey, fingerprint};

use crate::{
    binding_commands::counted,
    settings::{Auth, Durability, Flow, Keys, LogFormat, Login, Password, Prompt, Settings, TargetSettings},
};

/// What the settings mean, in plain sentences.
pub fn settings(settings: &Settings) -> Vec<String> {
    let Settings { listen, login, ssh, limits, log, .. } = settings;
    let listens: Vec<String> = listen.ssh.iter().map(ToString::to_string).collect();
    let names = |names: &[&str]| names.join(", ");
    let ciphers: Vec<&str> = ssh.ciphers.iter().map(AsRef::as_ref).collect();
    let kex: Vec<&str> = ssh.kex.iter().map(AsRef::as_ref).collect();
    let env: Vec<&str> = settings.env_allow.patterns().collect();
    let mut said = vec![
        format!("It listens on {}.", listens.join(" and ")),
        format!("Recordings, keys and state lie in {}.", settings.data.display()),
        format!("The policy is {}, for {}.", settings.policy.display(), counted(settings.targets.len(), "target")),
        format!("People sign in at {} as client {:?}; their name is the claim {:?}, their groups {:?}.", login.issuer, login.client_id, login.name_claim, login.groups_claim),
        match login.flow {
            Flow::Device => "They do so in any browser, by an address and a code that they are shown.".into(),
        },
        binding(login.binding),
        recheck(login.recheck),
        match login.prompt {
            Prompt::Enter => "The prompt asks for Enter, so that every client shows it.".into(),
            Prompt::None => "No key press is asked for; clients that hide instructions show nothing.".into(),
        },
        match settings.recording.durability {
            Durability::Written => "A byte is relayed once its record is written: it survives a killed process, and within 200 ms a power cut.".into(),
            Durability::Synced => "A byte is relayed once its record is on the disk: it survives a power cut.".into(),
        },
        format!("Ciphers, most wanted first: {}.", names(&ciphers)),
        format!("Key exchanges: {}.", names(&kex)),
        format!("Clients may set {}.", listed("variable", &env)),
        format!(
            "At most {} may wait to sign in, {} of one address, each {} ({} while its owner is at the provider); of an address of which {} in a minute only bound keys and certificates come in until that is over.",
            counted(limits.unauthenticated, "connection"),
            limits.unauthenticated_per_address,
            time(limits.login_grace),
            time(limits.sign_in_grace),
            match limits.failed_proofs {
                1 => "a proof fails".to_owned(),
                several => format!("{several} proofs fail"),
            }
        ),
        format!(
            "A session that policy does not allow any more is warned, and ends after {}; a connection has at most {}, {} to sign in and {} of a key; a person {} and {}; a session {}.",
            time(limits.warning),
            counted(limits.channels_per_connection, "channel"),
            counted(limits.attempts, "attempt"),
            counted(limits.key_offers, "offer"),
            counted(limits.connections_per_person, "connection"),
            counted(limits.sessions_per_person, "session"),
            counted(limits.env, "variable")
        ),
        match log.format {
            LogFormat::Text => format!("The log has what {:?} lets through, as text.", log.filter),
            LogFormat::Json => format!("The log has what {:?} lets through, as JSON.", log.filter),
        },
    ];
    said.extend(login.more.iter().map(|(name, more)| {
        let users: Vec<String> = more.users.iter().map(ToString::to_string).collect();
        format!(
            "People called {} sign in at {} as client {:?}; their groups are called {name}:...",
            users.join(" or "),
            more.issuer,
            more.client_id
        )
    }));
    said.extend(slashes(login));
    said.extend(only_if_set(settings));
    said
}

/// An issuer that differs from the provider's own by its last slash lets nobody in, and the slash is easily overlooked.
fn slashes(login: &Login) -> impl Iterator<Item = String> {
    let issuers = std::iter::once(&login.issuer).chain(login.more.values().map(|more| &more.issuer));
    issuers.filter(|issuer| issuer.ends_with('/')).map(|issuer| {
        let without = issuer.trim_end_matches('/');
        format!(
            "The issuer {issuer} has a slash at its end: `curl {without}/.well-known/openid-configuration` must show it in \
             \"issuer\" too."
        )
    })
}

/// What is said only of settings that somebody has made, and what few ask for.
fn only_if_set(settings: &Settings) -> Vec<String> {
    let Settings { login, ssh, keys, .. } = settings;
    let shown = |path: &PathBuf| path.display().to_string();
    let algorithms: Vec<String> = login.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    let host_keys: Vec<String> = ssh.host_keys.iter().map(shown).collect();
    let macs: Vec<&str> = ssh.macs.iter().map(AsRef::as_ref).collect();
    let always = [
        format!(
            "The provider is asked for {}; an ID token may be signed with {}; the claim {:?} is an e-mail address.",
            login.scopes.join(" "),
            algorithms.join(" or "),
            login.email_claim
        ),
        format!("MACs, where a cipher needs one: {}.", macs.join(", ")),
    ];
    let sometimes = [
        (!host_keys.is_empty()).then(|| format!("It shows {}.", listed("host key", &host_keys))),
        ssh.banner.as_ref().map(|banner| format!("Whoever connects is shown the banner {banner:?}.")),
        login
            .client_secret_file
            .as_ref()
            .map(|file| format!("Its secret at the provider is in {}.", shown(file))),
        login
            .ca_file
            .as_ref()
            .map(|file| format!("Certificates in {} may vouch for the provider.", shown(file))),
        keys.master_key_file.as_ref().map(|file| {
            format!("The master key is in {}, unless the environment or systemd has it.", shown(file))
        }),
    ];
    let by_label = |(label, key): (&String, &Name)| {
        format!("Targets with {label} are opened with key {:?}.", key.as_str())
    };
    let overlap =
        format!("A key that is replaced is offered beside its successor for {}.", time(keys.overlap));
    let authority = |key: &Name| {
        format!(
            "Key {:?} is an authority: it signs a certificate of minutes for each session of its targets.",
            key.as_str()
        )
    };
    let certificates = &login.certificates;
    let vouches = |authority: &PublicKey| {
        format!(
            "A certificate of {} lets in whom it is made out to, for {} at most.",
            fingerprint(authority),
            time(certificates.length_max)
        )
    };
    always
        .into_iter()
        .chain(sometimes.into_iter().flatten())
        .chain(keys.by_label.iter().map(by_label))
        .chain(keys.authorities.iter().map(authority))
        .chain(certificates.authorities.iter().map(vouches))
        .chain([overlap])
        .collect()
}

/// One target in a sentence.
pub fn target(settings: &TargetSettings, keys: &Keys) -> String {
    let TargetSettings { target, host_keys, connect_timeout, auth, weak_algorithms, source_address } =
        settings;
    let logins: Vec<String> = target
        .logins
        .iter()
        .map(|login| match target.default_login.as_ref() == Some(login) {
            true => format!("{login} (default)"),
            false => login.to_string(),
        })
        .collect();
    let labels: Vec<String> = target.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(" [{}]", labels.join(", ")) };
    let authorities: Vec<String> =
        host_keys.authorities(&target.address, target.port).iter().map(fingerprint).collect();
    let certified = match authorities.is_empty() {
        true => String::new(),
        false => format!(" {} may vouch for its host key.", authorities.join(" or ")),
    };
    let key = match keys.authorities.contains(&target.key) {
        true => format!("a certificate signed by key {:?}", target.key.as_str()),
        false => format!("key {:?}", target.key.as_str()),
    };
    let with = match auth {
        Auth::Key => key,
        Auth::Password(password) => shown(password),
        Auth::KeyThenPassword(password) => format!("{key}, and then {}", shown(password)),
    };
    let weak = match weak_algorithms.names().as_slice() {
        [] => String::new(),
        names => format!(" It alone is offered {}.", names.join(", ")),
    };
    let seen = source_address.map(|outer| format!(" It sees the bastion as {outer}.")).unwrap_or_default();
    format!(
        "{}{labels} is {}:{}, opened as {} with {with} within {}.{certified}{weak}{seen}",
        target.name,
        target.address,
        target.port,
        logins.join(" or "),
        time(*connect_timeout)
    )
}

fn recheck(every: Duration) -> String {
    if every.is_zero() {
        return "The provider is not asked again about who is in.".into();
    }
    format!(
        "Where it gives a refresh token, the provider is asked every {} whether it still vouches for who is in.",
        time(every)
    )
}

fn shown(Password { name, interactive }: &Password) -> String {
    let asked = if *interactive { ", when it asks for it" } else { "" };
    format!("password {:?}{asked}", name.as_str())
}

fn binding(length: Duration) -> String {
    if length.is_zero() {
        return "Each connection signs in through the browser.".into();
    }
    format!("After a sign-in its key signs in alone for {}.", time(length))
}

/// `the host key a`, `the host keys a, b`, `no host keys`.
fn listed(what: &str, items: &[impl AsRef<str>]) -> String {
    let all: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match all.as_slice() {
        [] => format!("no {what}s"),
        [one] => format!("the {what} {one}"),
        several => format!("the {what}s {}", several.join(", ")),
    }
}

/// As one would write it into the settings.
fn time(length: Duration) -> String {
    let (hours, minutes, seconds) =
        (length.as_secs() / 3600, length.as_secs() / 60 % 60, length.as_secs() % 60);
    let parts: Vec<String> = [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    match parts.is_empty() {
        true => format!("{length:?}"),
        false => parts.join(" "),
    }
}
