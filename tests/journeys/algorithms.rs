//! What is offered on both legs, as ssh-audit judges it.

use std::{path::Path, process::Command, process::Stdio};

use serde_json::Value;
use tests::world::{LONG, Program, SHORT, Setup, TestBastion, free_port, scratch};

/// `ssh-audit`, which `tests/run` installs beside its python.
fn ssh_audit(args: &[&str]) -> Program {
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with ssh-audit, as tests/run installs it");
    let program = Path::new(&python).with_file_name("ssh-audit");
    Program::start_with(Command::new(program).args(args), Stdio::null())
}

/// What it finds to fail, and how many algorithms it looked at.
#[track_caller]
fn failures(audit: Program) -> (Vec<String>, usize) {
    let done = audit.done(LONG);
    let told: Value = serde_json::from_slice(&done.out).unwrap_or_else(|_| panic!("it is JSON: {done:?}"));
    let kinds = ["kex", "key", "enc", "mac"];
    let all: Vec<&Value> = kinds.iter().filter_map(|kind| told[kind].as_array()).flatten().collect();
    let fails = |one: &&&Value| one["notes"]["fail"].as_array().is_some_and(|notes| !notes.is_empty());
    let failures: Vec<String> = all.iter().filter(fails).map(ToString::to_string).collect();
    assert_eq!(told["cves"].as_array().map_or(0, Vec::len), 0, "{told}");
    (failures, all.len())
}

#[test]
fn ssh_audit_finds_nothing_to_fail_in_what_clients_are_offered() {
    let bastion = TestBastion::start();
    let port = bastion.port().to_string();
    let (failures, looked_at) = failures(ssh_audit(&["-j", "--skip-rate-test", "-p", &port, "127.0.0.1"]));

    assert_eq!(failures, Vec::<String>::new());
    assert!(looked_at >= 6, "{looked_at} algorithms");
}

#[test]
fn ssh_audit_finds_nothing_to_fail_in_what_targets_are_offered() {
    let folder = scratch();
    let key = folder.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let pin = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let port = free_port();
    let bastion = Setup::default().target("auditor", port, pin.trim(), "").start();
    let ana = bastion.caller("ana");

    let audit = ssh_audit(&["-c", "-j", "-p", &port.to_string(), "-t", "60"]);
    // It listens when it is ready, and says so to nobody: until then the target refuses.
    let done = tests::world::within(SHORT, "the auditor to listen", || {
        let done = ana.ssh(&["auditor", "true"]).done();
        (!done.err.contains("connection refused")).then_some(done)
    });
    assert_eq!(done.code, Some(69), "{done:?}");
    let (failures, looked_at) = failures(audit);

    assert_eq!(failures, Vec::<String>::new());
    assert!(looked_at >= 6, "{looked_at} algorithms");
}
