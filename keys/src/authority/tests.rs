use std::net::{Ipv4Addr, Ipv6Addr};

use russh_keys::keys::ssh_key::certificate::OptionsMap;

use super::*;
use crate::{HOST_KEY, MasterKey};

const NOW: u64 = 1_800_000_000;

fn vault() -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let mut vault = Vault::create(&folder.path().join("keys"), MasterKey::generate().unwrap()).unwrap();
    vault.generate("ca").unwrap();
    vault.generate(HOST_KEY).unwrap();
    (folder, vault)
}

fn errand() -> Errand<'static> {
    Errand {
        login: "deploy",
        key_id: "alice@id.example 01JD0000000000000000000000",
        source: Ipv4Addr::new(10, 0, 0, 7).into(),
        now: UNIX_EPOCH + Duration::from_secs(NOW),
    }
}

/// Read from its text, as a stranger reads it.
fn minted(errand: &Errand<'_>) -> (PrivateKey, Certificate, Vault) {
    let (_folder, vault) = vault();
    let (key, certificate) = vault.certify("ca", errand).unwrap();
    (key, certificate.to_openssh().unwrap().parse().unwrap(), vault)
}

#[test]
fn a_certificate_opens_one_login_from_one_address_for_minutes_and_nothing_else() {
    let (key, certificate, vault) = minted(&errand());
    let told = |options: &OptionsMap| options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();

    assert_eq!(certificate.cert_type(), CertType::User);
    assert_eq!(certificate.valid_principals(), ["deploy"]);
    assert_eq!(told(certificate.critical_options()), ["source-address=10.0.0.7/32"]);
    assert_eq!(told(certificate.extensions()), ["permit-pty="]);
    assert_eq!((certificate.valid_after(), certificate.valid_before()), (NOW - 60, NOW + 240));
    assert_eq!(certificate.key_id(), errand().key_id);
    assert_eq!(certificate.public_key(), key.public_key().key_data());

    let authority = vault.public("ca").unwrap();
    assert_eq!(certificate.signature_key(), authority.key_data());
    certificate.validate_at(NOW, &[authority.fingerprint(Default::default())]).unwrap();
}

#[test]
fn no_two_certificates_share_key_serial_or_nonce() {
    let (_folder, vault) = vault();
    let (key, one) = vault.certify("ca", &errand()).unwrap();
    let (other_key, other) = vault.certify("ca", &errand()).unwrap();

    assert_ne!(key.public_key().key_data(), other_key.public_key().key_data());
    assert_ne!(one.serial(), other.serial());
    assert_ne!(one.nonce(), other.nonce());
    assert_eq!(one.nonce().len(), NONCE_BYTES);
}

#[test]
fn an_address_is_bound_as_the_target_sees_it() {
    let source = |address: IpAddr| {
        let (_, certificate, _) = minted(&Errand { source: address, ..errand() });
        certificate.critical_options().get("source-address").unwrap().clone()
    };

    assert_eq!(source(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7).into()), "fd00::7/128");
    assert_eq!(source(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()), "127.0.0.1/32");
}

/// It stands in the target's log, where a line feed would begin a line of somebody else's.
#[test]
fn a_key_id_is_printable_and_bounded() {
    let key_id = format!("ali\nce\u{1b}[2J@ü {}", "x".repeat(1000));
    let (_, certificate, _) = minted(&Errand { key_id: &key_id, ..errand() });

    assert!(certificate.key_id().starts_with("ali?ce?[2J@? xxx"), "{}", certificate.key_id());
    assert_eq!(certificate.key_id().len(), KEY_ID_CHARS_MAX);
}

#[test]
fn an_authority_that_is_not_there_is_named() {
    let (_folder, vault) = vault();
    let fault = vault.certify("other", &errand()).unwrap_err();
    assert!(matches!(&fault, VaultFault::Unknown { name, .. } if name == "other"), "{fault}");
}

#[test]
fn an_authority_of_each_kind_that_a_vault_takes_can_sign() {
    let (folder, mut vault) = vault();
    for bits in ["256", "384", "521"] {
        let file = folder.path().join(bits);
        let keygen = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f"])
            .arg(&file)
            .status();
        assert!(keygen.expect("ssh-keygen is installed").success());
        let public = vault.import(bits, &std::fs::read(&file).unwrap()).unwrap();

        let (_, certificate) = vault.certify(bits, &errand()).unwrap();
        certificate.validate_at(NOW, &[public.fingerprint(Default::default())]).unwrap();
    }
}

#[test]
fn ssh_keygen_reads_what_was_minted() {
    let (_, certificate, _) = minted(&errand());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.to_openssh().unwrap()).unwrap();
    let told = std::process::Command::new("ssh-keygen").arg("-Lf").arg(file.path()).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();

    for line in ["user certificate", errand().key_id, "deploy", "source-address 10.0.0.7/32", "permit-pty"] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
}
