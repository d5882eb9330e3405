//! `bastion check`: looks at settings, policy, targets and keys, says what is wrong, and reads them aloud.

mod aloud;
mod modes;
mod sign_in;

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use gate::{Policy, Target};
use keys::{HOST_KEY, Vault, secret_file, successor};
use serde::Serialize;

use crate::{
    failure::Failure,
    own_keys, pins,
    settings::{Password, Settings, SettingsArgs, TargetSettings},
    times::local_s,
};

/// `bastion check`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bastion check\n  bastion check --config /etc/bastion/bastion.toml --json\n\nExit code: 0 if nothing is wrong (warnings allowed), 1 otherwise."
)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// The bastion works, and something in it does not.
    Warning,
    /// The bastion does not start.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    what: String,
    #[serde(rename = "try")]
    way_out: Option<String>,
}

/// All that is said.
#[derive(Default, Serialize)]
struct Report {
    ok: bool,
    findings: Vec<Finding>,
    settings: Vec<String>,
    targets: Vec<String>,
    policy: Vec<String>,
}

/// Runs `bastion check`. Answers 0 if the bastion can start, 1 if not.
///
/// # Errors
/// If the answer cannot be written: what is wrong is part of the answer.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let report = look(&args.settings);
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&report).map_err(std::io::Error::other)?)?,
        false => report.print(out)?,
    }
    Ok(u8::from(!report.ok))
}

fn look(args: &SettingsArgs) -> Report {
    let mut report = Report::default();
    if let Some(settings) = report.unless_wrong(args.load().map_err(Failure::from)) {
        report.settings = aloud::settings(&settings);
        report.targets =
            settings.targets.iter().map(|target| aloud::target(target, &settings.keys)).collect();
        report.look_at_policy(&settings);
        report.look_at_keys(&settings);
        report.look_at_files(&settings);
        report.look_at_providers(&settings);
        report.look_at_modes(&settings);
    }
    report.ok = !report.findings.iter().any(|finding| finding.level == Level::Error);
    report
}

impl Report {
    fn look_at_policy(&mut self, settings: &Settings) {
        let Some((policy, _)) = self.unless_wrong(own_keys::policy(settings)) else { return };
        self.policy = policy.sentences().collect();
        if self.policy.is_empty() {
            let file = settings.policy.display();
            self.warn(
                format!("{file}: no rule: nobody may reach anything"),
                "add a rule; docs/policy.md has examples",
            );
        }
        let targets: Vec<Target> = settings.targets.iter().map(|target| target.target.clone()).collect();
        self.rules_without_target(settings, &policy, &targets);
        self.exceptions_without_target(settings, &policy, &targets);
        self.look_at_sign_in(settings, &policy);
    }

    fn rules_without_target(&mut self, settings: &Settings, policy: &Policy, targets: &[Target]) {
        for (rule, line) in policy.rules_without_target(targets) {
            let file = settings.policy.display();
            self.warn(
                format!("{file}:{line}: rule {rule:?} is about no target that there is"),
                "correct its targets and labels, or add the target",
            );
        }
    }

    fn exceptions_without_target(&mut self, settings: &Settings, policy: &Policy, targets: &[Target]) {
        for (rule, number, line) in policy.exceptions_without_target(targets) {
            let file = settings.policy.display();
            self.warn(
                format!(
                    "{file}:{line}: exception {number} of rule {rule:?} is about no target that there is"
                ),
                "correct its targets and labels, or leave it out",
            );
        }
    }

    fn look_at_keys(&mut self, settings: &Settings) {
        let Some((vault, _)) = self.unless_wrong(own_keys::open_vault(settings)) else { return };
        self.unless_wrong(own_keys::host_keys(settings, &vault));
        for name in
            vault.keys().unwrap_or_default().iter().map(|key| &key.name).filter(|name| *name != HOST_KEY)
        {
            self.unless_wrong(vault.load(name).map_err(Failure::from));
        }
        for name in vault.secret_names() {
            self.unless_wrong(vault.secret(&name).map_err(Failure::from));
        }
        self.look_at_successors(settings, &vault);
        for name in &settings.keys.authorities {
            if settings.targets.iter().all(|target| target.target.key != *name) {
                self.warn(
                    format!(
                        "keys.authorities names {:?}, and no target is opened with that key",
                        name.as_str()
                    ),
                    format!("key = \"{name}\" in a target, or a label of it in keys.by_label"),
                );
            }
        }
        for target in settings.targets.iter() {
            self.look_at_target(settings, &vault, target);
        }
    }

    /// A rotation that nobody ends stays half done, and then locks out whichever target was forgotten.
    fn look_at_successors(&mut self, settings: &Settings, vault: &Vault) {
        for key in vault.keys().unwrap_or_default() {
            let Some((_, made_at)) = vault.successor_of(&key.name) else { continue };
            let ends = made_at + settings.keys.overlap;
            let since_1970 = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
            let end = local_s(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX));
            let (name, way_out) = (&key.name, format!("bastion key retire {}", key.name));
            match ends > SystemTime::now() {
                true => self.settings.push(format!(
                    "Key {name:?} is being replaced by {:?}: both are offered until {end}.",
                    successor(name)
                )),
                false => self.warn(
                    format!(
                        "key {name:?} is offered no more since {end}: {:?} takes its place",
                        successor(name)
                    ),
                    way_out,
                ),
            }
        }
    }

    fn look_at_target(&mut self, settings: &Settings, vault: &Vault, target: &TargetSettings) {
        let mut known = target.host_keys.clone();
        self.look_at_what_opens(vault, target);
        let Target { name, address, port, .. } = &target.target;
        if !target.weak_algorithms.is_empty() {
            self.warn(
                format!(
                    "target {name} is offered {}: {}",
                    match target.weak_algorithms.names().len() {
                        1 => "a weak algorithm",
                        _ => "weak algorithms",
                    },
                    target.weak_algorithms.names().join(", ")
                ),
                "update its SSH server, then take weak_algorithms out",
            );
        }
        let Some(pinned) = self.unless_wrong(pins::read(&settings.pins(), name).map_err(Failure::from))
        else {
            return;
        };
        known.extend(pinned);
        if known.keys(address, *port).is_empty() && known.authorities(address, *port).is_empty() {
            self.warn(
                format!("target {name} at {address}:{port} has no known host key: no session will open it"),
                format!("bastion target pin {name}"),
            );
        }
    }

    fn look_at_what_opens(&mut self, vault: &Vault, target: &TargetSettings) {
        let Target { name, key, .. } = &target.target;
        if target.auth.has_key() && !vault.has(key.as_str()) {
            self.warn(
                format!("target {name} names key {:?}, which is not in the vault", key.as_str()),
                format!("bastion key new {key}"),
            );
        }
        if let Some(Password { name: password, .. }) = target.auth.password()
            && !vault.has_secret(&own_keys::password_secret(password.as_str()))
        {
            self.warn(
                format!("target {name} names password {:?}, which is not in the vault", password.as_str()),
                format!("bastion key password set {password}"),
            );
        }
    }

    fn look_at_files(&mut self, settings: &Settings) {
        for issuer in std::iter::once(&settings.login.main()).chain(settings.login.more.values()) {
            if let Some(file) = &issuer.client_secret_file {
                self.unless_wrong(secret_file::check(file).map_err(Failure::from));
            }
            if let Some(file) = &issuer.ca_file
                && let Err(cause) = fs::metadata(file)
            {
                self.wrong(Failure::new(format!("{}: {cause}", file.display()), "set ca_file to a PEM file"));
            }
        }
        self.look_at_data(&settings.data);
        if let Some(master_key) = &settings.keys.master_key_file
            && master_key.starts_with(&settings.data)
        {
            self.warn(
                format!(
                    "{} lies in the data folder: whoever gets a copy of that folder can open the vault",
                    master_key.display()
                ),
                "move it out, and set keys.master_key_file",
            );
        }
    }

    fn look_at_data(&mut self, data: &Path) {
        let shown = data.display();
        match fs::metadata(data) {
            Err(cause) => {
                self.wrong(Failure::new(format!("{shown}: {cause}"), "set `data`, or run `bastion init`"))
            }
            Ok(about) if !about.is_dir() => {
                self.wrong(Failure::new(format!("{shown} is no folder"), "set `data` to a folder"));
            }
            Ok(about) if about.mode() & 0o077 != 0 => self.wrong(Failure::new(
                format!("{shown} has mode {:04o}, and others can enter it", about.mode() & 0o7777),
                format!("chmod 700 {shown}"),
            )),
            Ok(_) => {}
        }
    }

    /// The value, or a finding.
    fn unless_wrong<T>(&mut self, found: Result<T, Failure>) -> Option<T> {
        found.map_err(|failure| self.wrong(failure)).ok()
    }

    fn wrong(&mut self, failure: Failure) {
        self.findings.push(Finding { level: Level::Error, what: failure.what, way_out: failure.way_out });
    }

    fn warn(&mut self, what: String, way_out: impl Into<String>) {
        self.findings.push(Finding { level: Level::Warning, what, way_out: Some(way_out.into()) });
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), Failure> {
        for (title, lines) in
            [("Settings", &self.settings), ("Targets", &self.targets), ("Policy", &self.policy)]
        {
            if !lines.is_empty() {
                writeln!(out, "{title}")?;
            }
            for line in lines {
                writeln!(out, "  {line}")?;
            }
        }
        for finding in &self.findings {
            let level = if finding.level == Level::Error { "error" } else { "warning" };
            writeln!(out, "{level}: {}", finding.what)?;
            if let Some(way_out) = &finding.way_out {
                writeln!(out, "  try: {way_out}")?;
            }
        }
        writeln!(
            out,
            "{}",
            if self.ok { "The bastion can start." } else { "The bastion cannot start like this." }
        )?;
        Ok(())
    }
}
