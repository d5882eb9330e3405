//! `bastion explain`: what would be decided, and by which rule.

use std::{
    io::Write,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use gate::{Name, Opening, Opens, Policy, Principal, Pty, Request, Wanted};
use jiff::{SignedDuration, Timestamp};

use crate::{failure::Failure, fingerprint, own_keys, settings::SettingsArgs};

/// `bastion explain`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bastion explain --user alice --groups sre --target web1\n  bastion explain --user alice --groups sre --target web1 --login root --at 2026-11-21T23:00:00Z\n  bastion explain --user alice --target web1 -- systemctl restart nginx\n  bastion explain --user alice --target db1 --from 10.1.2.3 --signed-in-ago 10m --amr mfa\n\nExit code: 0 allowed, 4 denied."
)]
pub struct ExplainArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Who
    #[arg(long)]
    user: Name,
    /// The groups that the provider tells of her (comma-separated)
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// The target
    #[arg(long)]
    target: String,
    /// The login there, if not the one that is meant
    #[arg(long)]
    login: Option<Name>,
    /// terminal, shell, exec, sftp or subsystem:NAME [default: terminal; exec if there is a command]
    #[arg(long)]
    channel: Option<String>,
    /// The address she calls from [default: unknown, and in no network]
    #[arg(long, alias = "source", value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// How long before that she signed in: 90s, 10m, 8h [default: just now]
    #[arg(long, value_name = "TIME", value_parser = length)]
    signed_in_ago: Option<Duration>,
    /// How she signed in, as the provider tells it in the claim amr (comma-separated) [default: it tells nothing]
    #[arg(long, value_name = "WAY", value_delimiter = ',')]
    amr: Vec<String>,
    /// The level of her sign-in, as the provider tells it in the claim acr [default: it tells none]
    #[arg(long, value_name = "LEVEL")]
    acr: Option<String>,
    /// The fingerprint of her key, for rules about registered keys [default: none is known]
    #[arg(long, value_name = "SHA256:...", value_parser = fingerprint::read)]
    key: Option<String>,
    /// When: 2026-11-21T23:00:00Z, in RFC 3339 with its zone [default: now]
    #[arg(long, value_name = "TIME", value_parser = at)]
    at: Option<Timestamp>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

/// The code of a command that was denied.
const DENIED: u8 = 4;

/// Runs `bastion explain`. Answers 0 if it would be allowed, 4 if denied.
///
/// # Errors
/// If settings or policy are wrong, or there is no such target.
pub fn run(args: &ExplainArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    let (policy, _) = own_keys::policy(&settings)?;
    let target = own_keys::target(&settings, &args.target)?.target.clone();
    let now = args.at.unwrap_or_else(Timestamp::now).as_second();
    let principal = principal(args, settings.login.issuer.clone(), now);
    let sign_in = policy.explain_sign_in(&principal, settings.login.binding);
    let mut explanation = policy.explain(&Request {
        principal,
        target,
        login: args.login.clone(),
        opening: opening(args)?,
        now,
    });
    explanation.assumed = assumed(args, &policy);
    explanation.sign_in = Some(sign_in);
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&explanation).map_err(std::io::Error::other)?)?,
        false => write!(out, "{explanation}")?,
    }
    Ok(if explanation.decision == "allow" { 0 } else { DENIED })
}

fn principal(args: &ExplainArgs, issuer: String, now: i64) -> Principal {
    let ago = args.signed_in_ago.map_or(0, |ago| i64::try_from(ago.as_secs()).unwrap_or(i64::MAX));
    Principal {
        issuer,
        subject: String::new(),
        name: args.user.folded(),
        email: None,
        groups: args.groups.iter().cloned().collect(),
        // The unspecified address lies in no network: a rule that asks for one does not hold.
        source: args.from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        key: args.key.clone(),
        signed_in_at: now.saturating_sub(ago),
        amr: args.amr.iter().cloned().collect(),
        acr: args.acr.clone(),
        certificate: None,
    }
}

/// What nobody said, where the policy asks for it.
fn assumed(args: &ExplainArgs, policy: &Policy) -> Vec<String> {
    let unsaid = [
        (
            Wanted::Source,
            args.from.is_none(),
            "where she calls from is unknown, so no condition on networks holds; --from ADDRESS",
        ),
        (Wanted::Age, args.signed_in_ago.is_none(), "she signed in just now; --signed-in-ago 10m"),
        (Wanted::Amr, args.amr.is_empty(), "the provider tells no way of signing in (amr); --amr mfa"),
        (Wanted::Acr, args.acr.is_none(), "the provider tells no level of the sign-in (acr); --acr LEVEL"),
        (
            Wanted::Key,
            args.key.is_none(),
            "which key is hers is unknown, so none counts as registered; --key SHA256:...",
        ),
    ];
    let needed = unsaid.into_iter().filter(|(wanted, is_unsaid, _)| *is_unsaid && policy.wants(*wanted));
    needed.map(|(.., says)| says.to_owned()).collect()
}

fn length(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    read.ok_or_else(|| "no length of time; write 90s, 10m or 8h".to_owned())
}

/// A moment, and not a day: policy asks for hours.
fn at(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        "no time with its zone; write 2026-11-21T23:00:00Z or 2026-11-21T23:00:00+01:00, or leave it out to mean this moment"
            .to_owned()
    })
}

fn opening(args: &ExplainArgs) -> Result<Opening, Failure> {
    let command = args.command.join(" ");
    let channel = args.channel.as_deref().unwrap_or(if command.is_empty() { "terminal" } else { "exec" });
    if channel != "exec" && !command.is_empty() {
        return Err(Failure::usage(
            format!("a {channel} channel has no command, and {command:?} is one"),
            "--channel exec, or leave out the command",
        ));
    }
    if matches!(channel, "scp" | "rsync" | "git" | "ssh") {
        return Err(Failure::usage(
            format!("{channel} is a program and no channel"),
            "--channel terminal for ssh, sftp for scp (exec for scp -O), exec for rsync and git",
        ));
    }
    let (pty, opens) = match channel {
        "terminal" => (Some(Pty::default()), Opens::Shell),
        "shell" => (None, Opens::Shell),
        "exec" => (None, Opens::Exec(command.into_bytes().into())),
        "sftp" => (None, Opens::Subsystem("sftp".to_owned())),
        other => match other.strip_prefix("subsystem:").filter(|name| !name.is_empty()) {
            Some(name) => (None, Opens::Subsystem(name.to_owned())),
            None => {
                let what = format!("{other:?} is no kind of channel");
                return Err(Failure::usage(what, "--channel terminal, shell, exec, sftp or subsystem:NAME"));
            }
        },
    };
    Ok(Opening { pty, env: Vec::new(), refused: Vec::new(), opens })
}
