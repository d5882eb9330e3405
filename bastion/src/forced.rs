//! What a caller's certificate makes of what she asks for: another command in its place, and no terminal.

use gate::{Notice, Opening, Opens, Principal, Printable};

use crate::{
    answer::Answer,
    audit::{self, Act},
    connection::Shared,
    house::House,
};

/// Holds an opening to what the certificate of `principal` allows. Answers what she had asked for, if another command is to
/// be opened in its place, once that stands in the audit trail.
///
/// # Errors
/// If the trail does not take it: then nothing is opened.
pub async fn hold(
    house: &House,
    shared: &Shared,
    principal: &Principal,
    opening: &mut Opening,
) -> Result<Option<String>, Notice> {
    let Some((command, asked)) = held(principal, opening) else { return Ok(None) };
    tracing::info!(connection = %shared.id, user = %principal.name, command, asked, "a certificate forces its command");
    let written = house.audit.write(Act::CommandForced {
        person: audit::person(principal),
        connection: shared.id.clone(),
        command,
        asked: asked.clone(),
    });
    match written.await {
        Ok(()) => Ok(Some(asked)),
        Err(fault) => {
            tracing::error!(connection = %shared.id, "a forced command is not run: {fault}");
            Err(Notice::RecordingFailed)
        }
    }
}

/// What is said in place of a refusal, if it was a forced command that is refused: its words are the authority's, and not for
/// whoever the certificate was given to. The log has them.
const REFUSED: &str = "bastion: the command that your certificate forces is not possible here; ask whoever issued the certificate";

/// The same answer, or a refusal that quotes nothing of a command that was put in the place of what was `asked` for.
pub fn discreet(asked: Option<&str>, answer: Answer) -> Answer {
    match asked {
        Some(asked) if answer.code != 0 => {
            tracing::info!(asked, "a forced command is refused: {}", answer.err.trim_end());
            Answer::refusal(REFUSED, answer.code)
        }
        _ => answer,
    }
}

/// Changes the opening; answers, in print, the forced command and what had been asked for.
fn held(principal: &Principal, opening: &mut Opening) -> Option<(String, String)> {
    if !principal.may_have_terminal() {
        opening.pty = None;
    }
    let command = principal.certificate.as_ref()?.command.clone()?;
    let asked = match &opening.opens {
        Opens::Shell => "shell".to_owned(),
        Opens::Exec(asked) => format!("exec {}", Printable::sentence(asked)),
        Opens::Subsystem(name) => format!("subsystem {}", Printable::sentence(name)),
    };
    let shown = Printable::sentence(&command).to_string();
    opening.opens = Opens::Exec(command.into());
    Some((shown, asked))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gate::{Certificate, Pty};

    use super::*;

    fn caller(command: Option<&str>, permits_terminal: bool) -> Principal {
        let certificate = Certificate {
            authority: "SHA256:ca".into(),
            serial: 7,
            key_id: "backup".into(),
            ends_at: 2000,
            command: command.map(str::to_owned),
            permits_terminal,
        };
        Principal {
            issuer: "ssh-ca:SHA256:ca".into(),
            subject: "ana".into(),
            name: "ana".parse().unwrap(),
            email: None,
            groups: Default::default(),
            source: "127.0.0.1".parse().unwrap(),
            key: None,
            signed_in_at: 1000,
            amr: Default::default(),
            acr: None,
            certificate: Some(certificate),
        }
    }

    fn opening(opens: Opens) -> Opening {
        let pty = Pty { term: "xterm".into(), cols: 80, rows: 24, width_px: 0, height_px: 0, modes: vec![] };
        Opening { pty: Some(pty), env: vec![], refused: vec![], opens }
    }

    #[test]
    fn a_forced_command_takes_the_place_of_a_shell_a_command_and_a_subsystem() {
        let exec = |text: &'static [u8]| Opens::Exec(Bytes::from_static(text));
        for (opens, told) in [
            (Opens::Shell, "shell"),
            (exec(b":help"), "exec :help"),
            (exec(b"web1 \x1b[2Jrm\n"), "exec web1 \\u{1b}[2Jrm\\u{a}"),
            (Opens::Subsystem("sftp".into()), "subsystem sftp"),
        ] {
            let mut opening = opening(opens);
            let held = held(&caller(Some("web1 backup"), true), &mut opening);
            assert_eq!(held, Some(("web1 backup".into(), told.into())));
            assert_eq!(opening.opens, exec(b"web1 backup"));
            assert!(opening.pty.is_some());
        }
    }

    #[test]
    fn a_refusal_quotes_nothing_of_a_forced_command_and_everything_of_ones_own() {
        let refused = || Answer::refusal("bastion: no word is called \":sekrit\"", 64);
        let said = discreet(Some("shell"), Answer { out: "sekrit".into(), ..refused() });
        assert_eq!((said.code, said.out.as_str()), (64, ""));
        assert!(said.err.contains("your certificate forces") && !said.err.contains("sekrit"), "{}", said.err);
        assert_eq!(discreet(None, refused()), refused());
        assert_eq!(discreet(Some("shell"), Answer::out("web1\n")), Answer::out("web1\n"));
    }

    #[test]
    fn without_permit_pty_there_is_no_terminal_and_a_certificate_without_options_changes_nothing() {
        let mut without = opening(Opens::Shell);
        assert_eq!(held(&caller(None, false), &mut without), None);
        assert_eq!((without.pty, without.opens), (None, Opens::Shell));

        let mut with = opening(Opens::Shell);
        assert_eq!(held(&caller(None, true), &mut with), None);
        assert_eq!(with, opening(Opens::Shell));

        let mut signed_in = opening(Opens::Shell);
        assert_eq!(held(&Principal { certificate: None, ..caller(None, false) }, &mut signed_in), None);
        assert_eq!(signed_in, opening(Opens::Shell));
    }
}
