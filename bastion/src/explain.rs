//! `bastion explain`: what would be decided, and by which rule.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

use gate::{Name, Opening, Opens, Principal, Pty, Request};
use jiff::Timestamp;

use crate::{failure::Failure, own_keys, settings::SettingsArgs};

/// `bastion explain`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bastion explain --user alice --groups sre --target web1\n  bastion explain --user alice --groups sre --target web1 --login root --at 2026-11-21T23:00:00Z\n  bastion explain --user alice --target web1 -- systemctl restart nginx\n\nExit code: 0 allowed, 4 denied."
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
    /// terminal, shell, exec, or the name of a subsystem [default: terminal; exec if there is a command]
    #[arg(long)]
    channel: Option<String>,
    /// The address she calls from
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    source: IpAddr,
    /// When, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
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
    let policy = own_keys::policy(&settings)?;
    let target = own_keys::target(&settings, &args.target)?.target.clone();
    let now = args.at.unwrap_or_else(Timestamp::now).as_second();
    let principal = Principal {
        issuer: settings.login.issuer.clone(),
        subject: String::new(),
        name: args.user.clone(),
        email: None,
        groups: args.groups.iter().cloned().collect(),
        source: args.source,
        key: None,
        signed_in_at: now,
        amr: Default::default(),
        acr: None,
    };
    let explanation = policy.explain(&Request {
        principal,
        target,
        login: args.login.clone(),
        opening: opening(args)?,
        now,
    });
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&explanation).map_err(std::io::Error::other)?)?,
        false => write!(out, "{explanation}")?,
    }
    Ok(if explanation.decision == "allow" { 0 } else { DENIED })
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
        subsystem => (None, Opens::Subsystem(subsystem.to_owned())),
    };
    Ok(Opening { pty, env: Vec::new(), refused: Vec::new(), opens })
}
