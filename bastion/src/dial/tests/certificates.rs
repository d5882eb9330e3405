//! Certificates, ours and the target's, before a real sshd.

use std::{net::IpAddr, os::unix::fs::PermissionsExt, process::Output};

use keys::{Errand, HostCertificateFault};

use super::*;

const TRUSTING: &str = "TrustedUserCAKeys FOLDER/ca.pub\nAuthorizedKeysFile none\nLogLevel VERBOSE";

const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Bench {
    /// An sshd that lets in by certificates of the authority `ca` alone, and is known.
    fn that_trusts_the_authority() -> Self {
        let bench = Bench::prepared();
        let authority = bench.vault.public("ca").unwrap().to_openssh().unwrap();
        fs::write(bench.path("ca.pub"), authority).unwrap();
        bench.running(TRUSTING).trusting_it()
    }

    /// An sshd whose Ed25519 host key has a certificate: signed by `signer` with these arguments of ssh-keygen.
    fn certified(signer: &str, arguments: &[&str]) -> Self {
        let bench = Bench::prepared();
        for authority in ["host_ca", "other_ca"] {
            ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &bench.path(authority));
        }
        let signer = bench.path(signer).display().to_string();
        let sign = ["-q", "-h", "-I", "web1", "-s", &signer];
        ssh_keygen(&[&sign, arguments].concat(), &bench.path("host_ed25519.pub"));
        bench.running("HostCertificate FOLDER/host_ed25519-cert.pub")
    }

    /// Trusts what the authority `host_ca` says of hosts on 127.0.0.1.
    fn trusting_its_authority(self) -> Self {
        let line = self.authority_line();
        self.trusting(&line)
    }

    fn authority_line(&self) -> String {
        let key = fs::read_to_string(self.path("host_ca.pub")).unwrap();
        format!("@cert-authority [127.0.0.1]:{} {key}", self.port)
    }

    /// What stock ssh says that shows a certificate made at `now` for `login`, from the address `from`.
    fn ssh_with_certificate(&self, login: &str, now: SystemTime, from: &str) -> Output {
        let errand = Errand { login, key_id: KEY_ID, source: OURS, now };
        let (key, certificate) = self.vault.certify("ca", &errand).unwrap();
        let (file, shown) = (self.path("key"), self.path("key-cert.pub"));
        fs::write(&file, key.to_openssh(Default::default()).unwrap()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&shown, certificate.to_openssh().unwrap()).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
        ]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-b", from, "-i"]);
        ssh.arg(file).arg("-o").arg(format!("CertificateFile={}", shown.display()));
        ssh.args(["-p", &self.port.to_string(), &format!("{}@127.0.0.1", whoami()), "echo let in"]);
        ssh.stdin(Stdio::null()).output().expect("openssh-client is installed")
    }
}

fn is_let_in(ssh: &Output) -> bool {
    ssh.stdout == b"let in\n"
}

#[tokio::test]
async fn a_certificate_opens_a_target_that_trusts_its_authority_and_the_targets_log_says_who_came() {
    let bench = Bench::that_trusts_the_authority();
    let dialled = bench.dial_with("ca").await.unwrap();

    assert_eq!(run(dialled, "echo here").await, "here\n");
    let line = bench.logged("Accepted publickey");
    assert!(line.contains(&format!("ID {KEY_ID} (serial ")), "{line}");
    assert!(line.contains(&fingerprint(&bench.vault.public("ca").unwrap())), "{line}");
}

#[tokio::test]
async fn a_certificate_opens_a_terminal_and_no_forwarding() {
    let bench = Bench::that_trusts_the_authority();
    let dialled = bench.dial_with("ca").await.unwrap();

    let forward = dialled.handle.channel_open_direct_tcpip("127.0.0.1", bench.port.into(), "127.0.0.1", 1);
    assert!(matches!(forward.await, Err(russh::Error::ChannelOpenFailure(_))));
    let plain = Bench::with_sshd().trusting_it();
    let handle = plain.dial().await.unwrap().handle;
    let forward = handle.channel_open_direct_tcpip("127.0.0.1", plain.port.into(), "127.0.0.1", 1).await;
    assert!(forward.is_ok(), "with a plain key without restrictions it is open");

    dialled.channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(run(dialled, "tty").await.starts_with("/dev/pts/"));
}

#[tokio::test]
async fn a_target_that_trusts_another_authority_refuses_ours_by_name() {
    let bench = Bench::prepared();
    let other = bench.vault.public("other").unwrap().to_openssh().unwrap();
    fs::write(bench.path("ca.pub"), other).unwrap();
    let bench = bench.running(TRUSTING).trusting_it();
    let fault = bench.dial_with("ca").await.err().unwrap();

    let DialProblem::CertificateRefused { authority, fingerprint: shown, ours, .. } = &fault.problem else {
        panic!("{fault}");
    };
    assert_eq!((authority.as_str(), *ours), ("ca", OURS));
    assert_eq!(*shown, fingerprint(&bench.vault.public("ca").unwrap()));
    assert!(fault.told().contains("bastion target setup web1") && !fault.told().contains("127.0.0.1"));
    // Even so its log says who came.
    assert!(bench.logged("Failed publickey").contains(KEY_ID));
}

/// The authority is no key: where it is authorized as one, it opens nothing.
#[tokio::test]
async fn an_authority_never_signs_in_by_itself() {
    let bench = Bench::prepared();
    let authority = bench.vault.public("ca").unwrap().to_openssh().unwrap();
    fs::write(bench.path("authorized_keys"), authority).unwrap();
    let bench = bench.running("").trusting_it();

    let fault = bench.dial_with("ca").await.err().unwrap();
    assert!(matches!(fault.problem, DialProblem::CertificateRefused { .. }), "{fault}");
}

#[tokio::test]
async fn a_certificate_is_refused_from_any_address_but_ours() {
    let bench = Bench::that_trusts_the_authority();
    let now = SystemTime::now();

    assert!(is_let_in(&bench.ssh_with_certificate(&whoami(), now, "127.0.0.1")));
    assert!(!is_let_in(&bench.ssh_with_certificate(&whoami(), now, "127.0.0.2")));
    bench.logged("not from a permitted source address (127.0.0.2)");
}

/// Here the target sees us as we are: a certificate for another address is refused, so it was made out to that one.
#[tokio::test]
async fn a_certificate_is_made_out_to_the_address_under_which_its_target_sees_us() {
    let bench = Bench::that_trusts_the_authority();
    let seen_as = async |outer: &str| {
        let (grant, mut context) = bench.grant("ca");
        let settings = context.targets.get(&grant.target().name).unwrap().clone();
        let outer = Some(outer.parse().unwrap());
        Arc::make_mut(&mut context.targets).insert(TargetSettings { source_address: outer, ..settings });
        dial(&grant, Traffic::Bulk, KEY_ID, &context).await
    };

    assert_eq!(run(seen_as("127.0.0.1").await.unwrap(), "echo here").await, "here\n");
    let fault = seen_as("127.0.0.2").await.err().unwrap();
    let DialProblem::CertificateRefused { ours, .. } = &fault.problem else { panic!("{fault}") };
    assert_eq!(ours.to_string(), "127.0.0.2");
    bench.logged("not from a permitted source address (127.0.0.1)");
}

#[tokio::test]
async fn a_certificate_is_refused_before_its_time_and_after_it() {
    let bench = Bench::that_trusts_the_authority();
    let now = SystemTime::now();

    assert!(!is_let_in(&bench.ssh_with_certificate(&whoami(), now - Duration::from_secs(250), "127.0.0.1")));
    bench.logged("Certificate invalid: expired");
    assert!(!is_let_in(&bench.ssh_with_certificate(&whoami(), now + Duration::from_secs(120), "127.0.0.1")));
    bench.logged("Certificate invalid: not yet valid");
}

#[tokio::test]
async fn a_certificate_opens_no_login_but_its_own() {
    let bench = Bench::that_trusts_the_authority();

    assert!(!is_let_in(&bench.ssh_with_certificate("somebody", SystemTime::now(), "127.0.0.1")));
    bench.logged("Certificate invalid: name is not a listed principal");
}

#[test]
fn a_key_id_names_person_provider_and_session() {
    let id: recording::SessionId = archive::new_id();
    let said = |issuer: &str| key_id(&Principal { issuer: issuer.into(), ..somebody() }, id);

    assert_eq!(said("https://id.example/realms/x"), format!("alice@id.example {id}"));
    assert_eq!(said("https://id.example:8443"), format!("alice@id.example:8443 {id}"));
    assert_eq!(said("ssh-ca:SHA256:a/b+c"), format!("alice@ssh-ca:SHA256:a/b+c {id}"));
}

#[tokio::test]
async fn a_host_certificate_of_a_trusted_authority_is_as_good_as_a_pin() {
    let bench = Bench::certified("host_ca", &["-n", "web1,127.0.0.1"]).trusting_its_authority();

    assert_eq!(run(bench.dial().await.unwrap(), "echo here").await, "here\n");
}

#[tokio::test]
async fn a_host_certificate_that_does_not_hold_is_refused_with_both_fingerprints() {
    let for_us = ["-n", "127.0.0.1"];
    let cases: [(&str, &[&str], &str); 4] = [
        ("other_ca", &for_us, "its authority is not one that is trusted"),
        ("host_ca", &["-n", "web2,127.0.0.*"], "it is not made out to the address"),
        ("host_ca", &[], "but to nobody by name"),
        ("host_ca", &["-n", "127.0.0.1", "-V", "20200101:20200201"], "it is not valid at this time"),
    ];
    for (signer, arguments, why) in cases {
        let bench = Bench::certified(signer, arguments).trusting_its_authority();
        let fault = bench.fault().await;

        assert!(fault.to_string().contains(why), "{why:?} in {fault}");
        let signer: PublicKey =
            fs::read_to_string(bench.path(&format!("{signer}.pub"))).unwrap().parse().unwrap();
        for key in [&bench.host_key("ed25519"), &signer] {
            assert!(
                fault.to_string().contains(&fingerprint(key)) && fault.told().contains(&fingerprint(key))
            );
        }
        assert!(
            fault.told().contains("@cert-authority") && !fault.told().contains("127.0.0"),
            "{}",
            fault.told()
        );
    }
}

#[tokio::test]
async fn a_revoked_authority_vouches_for_nobody() {
    let bench = Bench::certified("host_ca", &["-n", "127.0.0.1"]);
    let revoked = format!("@revoked * {}", fs::read_to_string(bench.path("host_ca.pub")).unwrap());
    let lines = bench.authority_line() + &revoked;

    let problem = bench.trusting(&lines).problem().await;
    let DialProblem::HostCertificate { why, .. } = &problem else { panic!("{problem}") };
    assert!(matches!(why, HostCertificateFault::Revoked { .. }), "{problem}");
}

#[tokio::test]
async fn a_target_without_a_certificate_is_known_by_its_pin_beside_an_authority() {
    let bench = Bench::prepared();
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &bench.path("host_ca"));
    let bench = bench.running("").trusting_its_authority();
    assert!(matches!(bench.problem().await, DialProblem::UnknownHostKey { .. }));

    let lines = bench.authority_line() + &KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ecdsa"));
    bench.trusting(&lines).dial().await.unwrap();
}
