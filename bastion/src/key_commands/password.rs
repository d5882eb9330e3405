//! `bastion key password`: passwords for targets, in the vault. None is ever shown.

use std::io::{self, IsTerminal, Read, Write};

use keys::Vault;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    audit::{Act, By, write_as_command},
    failure::Failure,
    own_keys::{PASSWORD, open_vault, password_secret},
    settings::Settings,
};

/// No target asks for a longer one; PAM takes 512.
const BYTES_MAX: usize = 1024;

const CTRL_C: u8 = 3;

/// What to do with passwords.
#[derive(Debug, clap::Subcommand)]
pub enum PasswordCommand {
    /// Keep a password, in the place of one of that name: asked for without echo, or one line of standard input
    #[command(
        after_help = "Examples:\n  bastion key password set old-switch\n  pass show old-switch | bastion key password set old-switch\n\nThen name it in a target: auth = \"password\" (or \"keyboard-interactive\"), password = \"old-switch\""
    )]
    Set {
        /// Its name
        name: gate::Name,
    },
    /// List the names of the passwords, and the targets that use them
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a password out of the vault, for good
    #[command(
        after_help = "Example:\n  bastion key password remove old-switch\n\nRefused while a target uses it."
    )]
    Remove {
        /// Its name
        name: gate::Name,
    },
}

/// Runs `bastion key password`.
///
/// # Errors
/// If the vault cannot be read or written, what was given is no password, or one that is in use is to be removed.
pub async fn run(settings: &Settings, command: &PasswordCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        PasswordCommand::Set { name } => {
            // The vault first: nobody types a password for nothing.
            let (mut vault, _) = open_vault(settings)?;
            let password = ask(name.as_str())?;
            let act = Act::PasswordSet { name: name.to_string(), by: By::me() };
            write_as_command(settings, &[act]).await?;
            vault.put_secret(&password_secret(name.as_str()), password.as_bytes())?;
            writeln!(out, "Password {name} is in the vault. A server that runs takes it up on SIGHUP.")?;
        }
        PasswordCommand::List { json } => list(settings, *json, out)?,
        PasswordCommand::Remove { name } => {
            let users = users(settings, name.as_str());
            if !users.is_empty() {
                return Err(Failure::new(
                    format!("password {:?} is in use: target {}", name.as_str(), users.join(", ")),
                    "name another one there, reload the server, and then remove this one",
                ));
            }
            let (mut vault, _) = open_vault(settings)?;
            let secret = password_secret(name.as_str());
            if !vault.has_secret(&secret) {
                return Err(Failure::new(
                    format!("there is no password {:?} in the vault", name.as_str()),
                    "bastion key password list",
                ));
            }
            let act = Act::PasswordRemoved { name: name.to_string(), by: By::me() };
            write_as_command(settings, &[act]).await?;
            vault.remove_secret(&secret)?;
            writeln!(out, "Removed password {name}. A server that runs forgets it on SIGHUP.")?;
        }
    }
    Ok(())
}

fn list(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let secrets = Vault::list_secrets(&settings.vault())?;
    let names: Vec<&str> = secrets.iter().filter_map(|secret| secret.strip_prefix(PASSWORD)).collect();
    if json {
        let all = names.iter().map(|name| json!({ "name": name, "targets": users(settings, name) }));
        writeln!(out, "{}", all.collect::<serde_json::Value>())?;
        return Ok(());
    }
    if names.is_empty() {
        writeln!(out, "no password is in the vault in {}", settings.vault().display())?;
    }
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    for name in names {
        writeln!(out, "{}", format!("{name:width$}  {}", users(settings, name).join(", ")).trim_end())?;
    }
    Ok(())
}

/// The targets whose settings name this password.
fn users(settings: &Settings, name: &str) -> Vec<String> {
    let uses = |target: &&crate::settings::TargetSettings| {
        target.auth.password().is_some_and(|password| password.name.as_str() == name)
    };
    settings.targets.iter().filter(uses).map(|target| target.target.name.to_string()).collect()
}

/// Asks for it twice on a terminal, else reads a line.
fn ask(name: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return password(&line(&mut stdin.lock())?);
    }
    let quiet = Quiet::begin()?;
    let asked = |what: &str| -> Result<Zeroizing<String>, Failure> {
        eprint!("{what}");
        let typed = line(&mut io::stdin().lock());
        eprintln!();
        password(&typed?)
    };
    let first = asked(&format!("Password {name}: "))?;
    let again = asked("Again: ")?;
    drop(quiet);
    match first == again {
        true => Ok(first),
        false => Err(Failure::new("the two passwords differ", "type it again")),
    }
}

/// One line, or all there is; read byte by byte, so that no buffer keeps a copy.
fn line(input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 2));
    let mut byte = Zeroizing::new([0; 1]);
    let unreadable = |cause: io::Error| Failure::new(format!("standard input: {cause}"), "give one line");
    while line.len() < BYTES_MAX + 2 && input.read(byte.as_mut_slice()).map_err(unreadable)? == 1 {
        match *byte {
            [b'\n'] => break,
            [CTRL_C] => return Err(Failure::new("called off", "type the password, then Enter")),
            [other] => line.push(other),
        }
    }
    Ok(line)
}

fn password(line: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let none = |why: &str| Err(Failure::new(format!("that is no password: {why}"), "give one line of text"));
    match std::str::from_utf8(line) {
        _ if line.is_empty() => none("it is empty"),
        _ if line.len() > BYTES_MAX => none(&format!("it has more than {BYTES_MAX} bytes")),
        Err(_) => none("it is not UTF-8"),
        Ok(text) if text.contains(char::is_control) => none("it has a control character"),
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// A terminal that does not show what is typed; as it was once this is dropped. Ctrl-C is read like a key, because a
/// program that dies of it would leave the terminal so.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Quiet, Failure> {
        let fault = |cause: rustix::io::Errno| {
            Failure::new(format!("the terminal: {cause}"), "give it on standard input")
        };
        let before = tcgetattr(io::stdin()).map_err(fault)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(fault)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It was the terminal a moment ago; if it is gone, nobody is there to miss its echo.
        tcsetattr(io::stdin(), OptionalActions::Flush, &self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut input: &[u8]) -> Result<String, String> {
        let line = line(&mut input).and_then(|line| password(&line));
        line.map(|password| password.to_string()).map_err(|failure| failure.what)
    }

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for input in ["hush hush", "hush hush\n", "hush hush\r\n", "hush hush\nmore\n"] {
            assert_eq!(read(input.as_bytes()).as_deref(), Ok("hush hush"), "{input:?}");
        }
        assert_eq!(read(" ü ".as_bytes()).as_deref(), Ok(" ü "));
        assert_eq!(read(&[b'x'; BYTES_MAX]).map(|text| text.len()), Ok(BYTES_MAX));
    }

    #[test]
    fn what_is_no_password_is_refused_and_not_repeated() {
        for (input, why) in [
            (&b""[..], "it is empty"),
            (b"\n", "it is empty"),
            (b"hush\xff\n", "not UTF-8"),
            (b"hush\x1b[A\n", "control character"),
            (b"hush\0", "control character"),
            (&[b'x'; BYTES_MAX + 1], "more than 1024 bytes"),
            (b"hush\x03\n", "called off"),
        ] {
            let fault = read(input).unwrap_err();
            assert!(fault.contains(why) && !fault.contains("hush") && !fault.contains("xx"), "{fault}");
        }
    }
}
