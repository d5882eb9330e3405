use std::time::Duration;

use russh_keys::keys::{
    PrivateKey,
    ssh_key::{certificate::Builder, private::Ed25519Keypair},
};

use super::*;

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn authority() -> PrivateKey {
    key(1)
}

fn host_key() -> PrivateKey {
    key(2)
}

fn line(markers_and_hosts: &str, key: &PrivateKey) -> String {
    format!("{markers_and_hosts} {}\n", key.public_key().to_openssh().unwrap())
}

fn trusting(lines: &str) -> KnownHosts {
    KnownHosts::parse(lines).unwrap()
}

/// A good one for `web.example`, but for what `change` does; signed by `signer`.
fn certificate(signer: &PrivateKey, kind: CertType, change: impl FnOnce(&mut Builder)) -> Certificate {
    let mut builder = Builder::new([7; 32], host_key().public_key(), NOW - 60, NOW + 60).unwrap();
    builder.cert_type(kind).unwrap().key_id("web").unwrap();
    change(&mut builder);
    builder.sign(signer).unwrap()
}

fn named(names: &[&str]) -> Certificate {
    certificate(&authority(), CertType::Host, |builder| {
        for name in names {
            builder.valid_principal(*name).unwrap();
        }
    })
}

fn check_at(lines: &str, certificate: &Certificate, now: u64) -> Result<(), HostCertificateFault> {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    trusting(lines).check_certificate("Web.example", 22, certificate, now)
}

fn check(certificate: &Certificate) -> Result<(), HostCertificateFault> {
    check_at(&line("@cert-authority *.example", &authority()), certificate, NOW)
}

#[test]
fn a_certificate_of_a_trusted_authority_for_this_host_counts() {
    assert_eq!(check(&named(&["web.example"])), Ok(()));
    assert_eq!(check(&named(&["10.0.0.5", "web.example"])), Ok(()));
}

#[test]
fn an_authority_counts_for_the_hosts_of_its_line_alone() {
    let good = named(&["web.example"]);
    let unknown = Err(HostCertificateFault::UnknownAuthority);

    assert_eq!(check_at(&line("@cert-authority db.example", &authority()), &good, NOW), unknown);
    assert_eq!(check_at(&line("@cert-authority *.example,!web.example", &authority()), &good, NOW), unknown);
    assert_eq!(check_at(&line("@cert-authority [web.example]:2200", &authority()), &good, NOW), unknown);
    assert_eq!(check_at(&line("@cert-authority *", &key(9)), &good, NOW), unknown);
    // As a host key it vouches for nobody.
    assert_eq!(check_at(&line("web.example", &authority()), &good, NOW), unknown);
}

/// The key in a certificate is not trusted by itself: its certificate was shown, and its certificate must hold.
#[test]
fn a_pinned_key_does_not_excuse_a_certificate_of_another_authority() {
    let lines = line("@cert-authority *", &key(9)) + &line("web.example", &host_key());
    assert_eq!(check_at(&lines, &named(&["web.example"]), NOW), Err(HostCertificateFault::UnknownAuthority));
}

#[test]
fn a_certificate_is_for_the_hosts_that_it_names_letter_by_letter() {
    for names in [vec!["db.example"], vec!["*.example"], vec!["*"], vec!["db.example,web.example"], vec![""]]
    {
        let principals = names.iter().map(|name| (*name).to_owned()).collect();
        let fault = HostCertificateFault::NotForThisHost { principals };
        assert_eq!(check(&named(&names)), Err(fault), "{names:?}");
    }
}

#[test]
fn a_certificate_for_whichever_host_is_for_none() {
    let any = certificate(&authority(), CertType::Host, |builder| {
        builder.all_principals_valid().unwrap();
    });
    let fault = check(&any).unwrap_err();

    assert_eq!(fault, HostCertificateFault::NotForThisHost { principals: vec![] });
    assert!(fault.to_string().ends_with("but to nobody by name"));
}

#[test]
fn a_certificate_for_a_user_is_no_hosts() {
    let user = certificate(&authority(), CertType::User, |builder| {
        builder.valid_principal("web.example").unwrap();
    });
    assert_eq!(check(&user), Err(HostCertificateFault::NotForAHost));
}

#[test]
fn a_certificate_counts_from_its_first_second_and_until_before_its_last() {
    let at = |now| {
        let lines = line("@cert-authority *", &authority());
        check_at(&lines, &named(&["web.example"]), now)
    };

    assert_eq!(at(NOW - 61), Err(HostCertificateFault::NotNow));
    assert_eq!(at(NOW - 60), Ok(()));
    assert_eq!(at(NOW + 59), Ok(()));
    assert_eq!(at(NOW + 60), Err(HostCertificateFault::NotNow));
}

#[test]
fn an_unknown_critical_option_refuses() {
    let bound = certificate(&authority(), CertType::Host, |builder| {
        builder.valid_principal("web.example").unwrap();
        builder.critical_option("only-on-tuesdays\n", "").unwrap();
    });
    let fault = check(&bound).unwrap_err();

    assert!(matches!(fault, HostCertificateFault::CriticalOption { .. }));
    assert!(fault.to_string().ends_with("only-on-tuesdays?"), "{fault}");
}

/// A certificate for `web.example`, with no end, as ssh-keygen makes it with an authority of this kind.
fn made_by_ssh_keygen(authority: &[&str], sign: &[&str]) -> (String, Certificate) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let keygen = |arguments: &[&str]| {
        let ran = std::process::Command::new("ssh-keygen").arg("-q").args(arguments).output();
        let ran = ran.expect("ssh-keygen is installed");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let (ca, host) = (at("ca"), at("host"));
    keygen(&[authority, &["-N", "", "-f", &ca]].concat());
    keygen(&["-t", "ecdsa", "-N", "", "-f", &host]);
    let host = host + ".pub";
    keygen(&[sign, &["-h", "-I", "web", "-n", "web.example", "-s", &ca, &host]].concat());
    let line = format!("@cert-authority * {}", std::fs::read_to_string(ca + ".pub").unwrap());
    (line, std::fs::read_to_string(at("host-cert.pub")).unwrap().parse().unwrap())
}

#[test]
fn authorities_of_every_kind_count_and_signatures_with_sha_1_do_not() {
    let rsa = ["-t", "rsa", "-b", "2048"];
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &rsa,
    ];
    for kind in kinds {
        let (line, certificate) = made_by_ssh_keygen(kind, &[]);
        assert_eq!(check_at(&line, &certificate, NOW), Ok(()), "{kind:?}");
    }

    let (line, certificate) = made_by_ssh_keygen(&rsa, &["-t", "ssh-rsa"]);
    assert_eq!(check_at(&line, &certificate, NOW), Err(HostCertificateFault::Signature));
}

#[test]
fn a_revoked_host_key_and_a_revoked_authority_refuse() {
    let trusted = line("@cert-authority *", &authority());
    for key in [host_key(), authority()] {
        let fault = HostCertificateFault::Revoked { fingerprint: fingerprint(key.public_key()) };
        let lines = trusted.clone() + &line("@revoked *.example", &key);
        assert_eq!(check_at(&lines, &named(&["web.example"]), NOW), Err(fault));
    }
}

#[test]
fn a_flipped_byte_anywhere_is_never_accepted() {
    let good = named(&["web.example"]);
    let bytes = good.to_bytes().unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        if let Ok(read) = Certificate::from_bytes(&flipped) {
            assert!(check(&read).is_err(), "byte {at}");
        }
    }
}
