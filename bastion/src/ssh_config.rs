//! `bastion ssh-config`: what a person puts into ~/.ssh/config, so that plain `ssh web1` goes through the bastion.

use std::{fs, io::Write};

use gate::Name;

use crate::{
    failure::Failure,
    own_keys,
    settings::{Settings, SettingsArgs, TargetSettings},
};

/// `bastion ssh-config`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  bastion ssh-config --user alice --host bastion.example > ~/.ssh/bastion.conf\n  echo 'Include bastion.conf' >> ~/.ssh/config\n\nThen ssh, scp, sftp, rsync and git work by the names of the targets."
)]
pub struct SshConfigArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Whose it is
    #[arg(long, env = "USER")]
    user: Name,
    /// The bastion, as clients reach it [default: this machine's name]
    #[arg(long)]
    host: Option<String>,
    /// Its port, as clients reach it [default: the first that it listens on]
    #[arg(long)]
    port: Option<u16>,
    /// These targets alone
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs `bastion ssh-config`.
///
/// # Errors
/// If settings are wrong, or a target is not there.
pub fn run(args: &SshConfigArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let settings = args.settings.load()?;
    let targets: Vec<&TargetSettings> = if args.targets.is_empty() {
        settings.targets.iter().collect()
    } else {
        args.targets.iter().map(|name| own_keys::target(&settings, name)).collect::<Result<_, _>>()?
    };
    let host = match &args.host {
        Some(host) => checked(host)?,
        None => this_machine()?,
    };
    let port = args.port.or_else(|| port_of(&settings)).unwrap_or(22);
    out.write_all(block(&args.user, &host, port, &targets).as_bytes())?;
    Ok(0)
}

fn port_of(settings: &Settings) -> Option<u16> {
    settings.listen.ssh.first().map(|address| address.port())
}

/// The user is `alice/web1`: with `/` and not `%`, because newer OpenSSH expands `%` in a User line.
///
/// A login written on the command line (`ssh root@web1`) takes the place of the whole User line, so each login that is
/// not the default has a name of its own: `web1+root`. A `+` stands in no target's name.
fn block(user: &Name, host: &str, port: u16, targets: &[&TargetSettings]) -> String {
    let mut names = Vec::new();
    let mut users = String::new();
    for TargetSettings { target, .. } in targets {
        let name = &target.name;
        users += &format!("\nHost {name}\n    User {user}/{name}\n");
        names.push(name.to_string());
        for login in target.logins.iter().filter(|login| target.default_login.as_ref() != Some(login)) {
            users += &format!("Host {name}+{login}\n    User {user}/{login}/{name}\n");
            names.push(format!("{name}+{login}"));
        }
    }
    let all = if names.is_empty() { "none-yet".to_owned() } else { names.join(" ") };
    format!(
        "# Targets behind the bastion {host}, for {user}. Written by `bastion ssh-config`.
#
# ssh, scp, sftp, rsync and git work by these names. A login that is not a target's default has a name of its own
# (web1+root): `ssh root@web1` would send root as your name at the bastion.
#
# The first connection signs you in through a browser; after that your key does for some hours. Programs that cannot
# ask (BatchMode=yes, Ansible, an editor) fail until then with \"Permission denied (keyboard-interactive)\". Sign in first:
#     ssh -t -p {port} {user}@{host} :login
Host {all}
    HostName {host}
    Port {port}
    PreferredAuthentications publickey,keyboard-interactive
    ForwardAgent no
    ForwardX11 no
    # Many short commands go faster over one connection for each target. Take away the # if you like that:
    # ControlMaster auto
    # ControlPath ~/.ssh/control-%C
    # ControlPersist 10m
{users}"
    )
}

/// It goes into a file that ssh reads, so it may be nothing but a host.
fn checked(host: &str) -> Result<String, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let begins = host.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b':');
    if begins && host.len() <= 253 && host.bytes().all(plain) {
        return Ok(host.to_owned());
    }
    let shown: String = host.chars().take(80).collect();
    Err(Failure::usage(
        format!("{shown:?} is no host name and no IP address"),
        "--host bastion.example --port 2222",
    ))
}

fn this_machine() -> Result<String, Failure> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    checked(name.trim())
        .map_err(|_| Failure::usage("this machine's name is not known", "--host bastion.example"))
}
