//! The conformance scripts, through a gateway: what the stock clients do with a plain sshd, they do with this.

use std::process::{Command, Stdio};

use tests::world::{Program, Setup, TestTarget, project, tier};

/// The slowest script takes four minutes on a machine that is busy otherwise.
const BOUND: std::time::Duration = std::time::Duration::from_secs(2700);

/// Both forms go at once: a good part of each is waiting.
#[test]
fn stock_clients_behave_in_the_percent_form_as_with_a_plain_sshd() {
    conforms("percent");
}

#[test]
fn stock_clients_behave_in_the_exec_form_as_with_a_plain_sshd() {
    conforms("exec");
}

fn conforms(form: &str) {
    // The scripts count on a target that takes many connections at once.
    let bastion = Setup::default().table("[limits]\nunauthenticated_per_address = 100").start();
    let ana = bastion.caller("ana");
    let scripts = project().join("tests/conformance");
    let mut run = Command::new(scripts.join("run.sh"));
    run.current_dir(&scripts)
        .env("FORM", form)
        .env("SSH_HOST", "127.0.0.1")
        .env("SSH_PORT", bastion.port().to_string());
    run.env("SSH_USER", ana.name()).env("SSH_KEY", ana.path("id")).env("TARGET", "web1");
    run.env("TARGET_USER", "").env("LOGDIR", ana.path("logs")).env("TMPDIR", ana.path(""));
    run.env("BIG_MB", tier().conformance_mb.to_string()).env("PY", python());
    if let Ok(only) = std::env::var("BASTION_CONFORMANCE_ONLY") {
        run.args(only.split_whitespace());
    }
    run.env("REMOTE_DIR", format!("/tmp/conf-remote-{}-{}", TestTarget::login(), bastion.port()));

    let done = Program::start_with(&mut run, Stdio::null()).done(BOUND);

    println!("{}", done.text());
    assert_eq!(done.code, Some(0), "{}{}\n{}", done.text(), done.err, failures(&ana.path("logs")));
}

/// A python that has pexpect.
fn python() -> String {
    std::env::var("PY").unwrap_or_else(|_| "/usr/bin/python3".to_owned())
}

/// The lines of all logs that say FAIL or are remarks of a script that broke.
fn failures(logs: &std::path::Path) -> String {
    let mut told = String::new();
    for log in std::fs::read_dir(logs).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(log.path()).unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| !["PASS", "SKIP", "INFO", "SUM "].iter().any(|kind| line.starts_with(kind)));
        told.extend(lines.map(|line| format!("{}: {line}\n", log.file_name().to_string_lossy())));
    }
    told
}
