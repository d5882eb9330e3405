//! Targets that are opened by certificates, and targets that show one.

use std::process::Command;

use tests::world::{SHORT, Setup, TestBastion, TestTarget, make_key, scratch, within};

/// Runs what `bastion target setup` prints, as the target's administrator does, but with `folder` in the place of
/// /etc/ssh, and without the sshd of this machine.
#[track_caller]
fn set_up(bastion: &TestBastion, target: &str, folder: &str) {
    let told = bastion.command(&["target", "setup", target]).expect_ok("bastion target setup").text();
    assert!(told.contains("TrustedUserCAKeys"), "{told}");
    let here =
        |line: &&str| !["sshd ", "systemctl ", "ssh-keygen "].iter().any(|word| line.starts_with(word));
    let script = told.lines().filter(here).collect::<Vec<_>>().join("\n").replace("/etc/ssh", folder);
    let ran = Command::new("sh").args(["-ec", &script]).output().expect("sh runs");
    assert!(ran.status.success(), "{}\n{script}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_certificate_opens_a_target_whose_own_log_names_person_and_session() {
    let folder = scratch();
    let etc = folder.path().display().to_string();
    std::fs::create_dir(folder.path().join("sshd_config.d")).unwrap();
    let target = TestTarget::start(&format!("Include {etc}/sshd_config.d/*.conf"));
    let bastion = Setup::default()
        .keys("authorities = [\"ca\"]")
        .target("certified", target.port(), &target.host_key(), "key = \"ca\"")
        .start();
    bastion.command(&["key", "new", "ca"]).expect_ok("bastion key new");
    set_up(&bastion, "certified", &etc);
    let ana = bastion.caller("ana");

    // The running gateway knows the new key once it has read the vault again; the target, its new settings.
    target.reload();
    within(SHORT, "the certificate to open it", || {
        bastion.reload();
        (ana.ssh(&["certified", "echo reached"]).done().out == b"reached\n").then_some(())
    });

    let session = bastion.last_session_of("ana");
    let host = bastion.provider().issuer();
    let host = host.split("//").nth(1).unwrap().split('/').next().unwrap();
    let id = format!("ID ana@{host} {} (serial ", session["id"].as_str().unwrap());
    within(SHORT, &format!("{id:?} in the target's log"), || {
        let accepted = |line: &str| line.contains("Accepted publickey") && line.contains(&id);
        target.log().lines().any(accepted).then_some(())
    });
    let tty = ana.ssh(&["certified", "tty"]).options(&["-t"]).on_terminal(80, 24).done(SHORT);
    assert!(tty.text().contains("/dev/pts/"), "{}", tty.text());
}

#[test]
fn a_target_that_does_not_trust_the_authority_is_said_with_what_to_do() {
    let target = TestTarget::start("");
    let bastion = Setup::default()
        .keys("authorities = [\"gateway\"]")
        .target("certified", target.port(), &target.host_key(), "key = \"gateway\"")
        .start();
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["certified", "true"]).done();

    assert_eq!(done.code, Some(69), "{done:?}");
    assert!(done.err.contains("bastion target setup certified"), "{}", done.err);
    bastion.logged("signed by gateway (SHA256:");
    assert!(!target.log().contains("Accepted"), "{}", target.log());
}

#[test]
fn a_target_is_known_by_its_host_certificate_and_by_no_others() {
    let folder = scratch();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let line = format!("@cert-authority [127.0.0.1]:* {}", make_key(&ours).trim());
    make_key(&theirs);
    let mut target = TestTarget::start("");
    target.certify_host_key(&ours, "web1.example,127.0.0.1");
    let bastion = Setup::default().target("vouched", target.port(), &line, "").start();
    target.authorize(&bastion.gateway_key("vouched"));
    let ana = bastion.caller("ana");
    ana.ssh(&["vouched", "true"]).done().expect_ok("with the certificate");

    for (authority, names) in [(&theirs, "127.0.0.1"), (&ours, "web2.example,127.0.0.*")] {
        target.certify_host_key(authority, names);
        let done = ana.ssh(&["vouched", "echo reached"]).done();
        assert_eq!((done.code, done.out.as_slice()), (Some(69), &b""[..]), "{done:?}");
        let said = done.err.contains(&target.fingerprint()) && done.err.contains("@cert-authority");
        assert!(said, "{}", done.err);
        assert!(!target.log().contains("Accepted"), "{}", target.log());
    }
}
