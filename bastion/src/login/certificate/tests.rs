//! One certificate for each thing that can be wrong with one, and those that hold.

use russh::keys::{
    PrivateKey,
    ssh_key::{
        certificate::Builder,
        private::{Ed25519Keypair, KeypairData},
    },
};

use super::*;

/// 21 November 2026, half past twelve (UTC): the fixtures beside this file are valid from twelve to one.
pub const NOW: i64 = 1_795_264_200;
const HOUR: i64 = 3600;

/// What is asked of an authority; by default for the certificate that lets alice in.
pub struct Draft {
    pub signer: u8,
    pub host: bool,
    pub principals: Vec<&'static str>,
    pub valid: (u64, u64),
    pub options: Vec<(&'static str, &'static str)>,
    pub extensions: Vec<&'static str>,
}

pub fn draft() -> Draft {
    Draft {
        signer: 1,
        host: false,
        principals: vec!["bob", "alice"],
        valid: (at(-60), at(HOUR)),
        options: vec![],
        extensions: vec!["permit-pty", "permit-X11-forwarding", "login@example.org"],
    }
}

fn at(seconds: i64) -> u64 {
    u64::try_from(NOW + seconds).unwrap()
}

fn key(nth: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[nth; 32])), "").unwrap()
}

impl Draft {
    pub fn signed(self) -> Certificate {
        let mut builder =
            Builder::new([7; 32], key(9).public_key().clone(), self.valid.0, self.valid.1).unwrap();
        builder.serial(42).unwrap().key_id("alice's\nlaptop").unwrap();
        builder.cert_type(if self.host { CertType::Host } else { CertType::User }).unwrap();
        builder.all_principals_valid().unwrap();
        for principal in self.principals {
            builder.valid_principal(principal).unwrap();
        }
        for (option, value) in self.options {
            builder.critical_option(option, value).unwrap();
        }
        for extension in self.extensions {
            builder.extension(extension, "").unwrap();
        }
        builder.sign(&key(self.signer)).unwrap()
    }
}

pub fn trusted() -> Certificates {
    Certificates { authorities: vec![key(1).public_key().clone()], ..Certificates::default() }
}

fn checked(certificate: &Certificate) -> Result<Certified, CertificateFault> {
    check(certificate, &trusted(), &"alice".parse().unwrap(), [10, 1, 2, 3].into(), NOW)
}

fn fault(draft: Draft) -> CertificateFault {
    checked(&draft.signed()).unwrap_err()
}

#[test]
fn the_one_that_holds_says_who_which_key_and_until_when() {
    let certified = checked(&draft().signed()).unwrap();

    let expected = Certified {
        principal: "alice".parse().unwrap(),
        key: key(9).fingerprint(HashAlg::Sha256).to_string(),
        begins_at: NOW - 60,
        certificate: gate::Certificate {
            authority: key(1).fingerprint(HashAlg::Sha256).to_string(),
            serial: 42,
            key_id: "alice's\\u{a}laptop".into(),
            ends_at: NOW + HOUR,
            command: None,
            permits_terminal: true,
        },
    };
    assert_eq!(certified, expected);
}

#[test]
fn an_authority_that_is_not_ours_is_foreign_also_if_ours_has_certified_it() {
    let foreign = Draft { signer: 2, ..draft() }.signed();
    assert!(matches!(checked(&foreign), Err(CertificateFault::Foreign(_))));

    // As it would be if a certified key could sign: the signer's place holds a certificate of our authority.
    let inner = draft().signed().to_bytes().unwrap();
    let (signer, whole) = (key(1).public_key().to_bytes().unwrap(), draft().signed().to_bytes().unwrap());
    let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let nested = replaced(&whole, &field(&signer), &field(&inner));
    let nested = Certificate::from_bytes(&nested).unwrap();
    assert!(nested.signature_key().algorithm().as_str().contains("ed25519"), "it was read");
    assert!(matches!(checked(&nested), Err(CertificateFault::Foreign(_))));
}

#[test]
fn without_authorities_every_certificate_is_foreign() {
    let found = check(
        &draft().signed(),
        &Certificates::default(),
        &"alice".parse().unwrap(),
        [10, 1, 2, 3].into(),
        NOW,
    );
    assert!(matches!(found, Err(CertificateFault::Foreign(_))));
}

#[test]
fn one_bit_that_the_authority_did_not_sign_is_a_forgery() {
    let whole = draft().signed().to_bytes().unwrap();
    let forged = replaced(&whole, b"bob", b"eve");
    assert_eq!(checked(&Certificate::from_bytes(&forged).unwrap()), Err(CertificateFault::Forged));
}

#[test]
fn a_signature_with_sha_1_is_refused_and_with_sha_2_taken() {
    let ours = PublicKey::from_openssh(include_str!("rsa_ca.pub")).unwrap();
    let trusted = Certificates { authorities: vec![ours], ..Certificates::default() };
    let check = |text: &str| {
        let certificate = Certificate::from_openssh(text).unwrap();
        check(&certificate, &trusted, &"alice".parse().unwrap(), [10, 1, 2, 3].into(), NOW)
    };
    assert_eq!(check(include_str!("by_sha1.pub")), Err(CertificateFault::Weak("ssh-rsa".into())));
    assert!(check(include_str!("by_sha512.pub")).is_ok());
}

#[test]
fn a_hosts_certificate_is_no_users() {
    assert_eq!(fault(Draft { host: true, ..draft() }), CertificateFault::Host);
}

#[test]
fn it_is_valid_from_its_first_second_to_the_one_before_its_last() {
    for (from, until, found) in [
        (0, HOUR, Ok(())),
        (-HOUR, 1, Ok(())),
        (1, HOUR, Err(CertificateFault::Early)),
        (-HOUR, 0, Err(CertificateFault::Late)),
        (-2 * HOUR, -HOUR, Err(CertificateFault::Late)),
    ] {
        let certificate = Draft { valid: (at(from), at(until)), ..draft() }.signed();
        assert_eq!(checked(&certificate).map(drop), found, "{from} to {until}");
    }
    // The SSH library takes a beginning beyond all time for none.
    let whole = draft().signed().to_bytes().unwrap();
    let never = replaced(&whole, &at(-60).to_be_bytes(), &u64::MAX.to_be_bytes());
    assert_eq!(checked(&Certificate::from_bytes(&never).unwrap()), Err(CertificateFault::Early));
}

#[test]
fn it_is_valid_for_as_long_as_the_settings_allow_and_some_minutes_before() {
    let most = Duration::from_secs(24 * 3600);
    let day = i64::try_from(most.as_secs()).unwrap();
    let long = |found| CertificateFault::Long { found, most };
    let ok = Draft { valid: (at(-299), at(day)), ..draft() }.signed();
    assert!(checked(&ok).is_ok());
    let valid = (at(-301), at(day));
    assert_eq!(fault(Draft { valid, ..draft() }), long(most.as_secs() + 301));
    assert_eq!(fault(Draft { valid: (at(0), u64::MAX), ..draft() }), long(u64::MAX - at(0)));
    assert_eq!(fault(Draft { valid: (0, u64::MAX), ..draft() }), long(u64::MAX));
    let told = long(most.as_secs() + 301).to_string();
    assert_eq!(told, "it is valid for 86701 s in all, and login.certificates.length_max is 86400 s");

    let for_ever = Certificates { length_max: Duration::MAX, ..trusted() };
    let always = Draft { valid: (0, u64::MAX), ..draft() }.signed();
    let found = check(&always, &for_ever, &"alice".parse().unwrap(), [10, 1, 2, 3].into(), NOW);
    assert!(matches!(found, Err(CertificateFault::Long { .. })));
}

#[test]
fn it_is_made_out_to_the_user_name_and_to_nothing_like_it() {
    assert_eq!(fault(Draft { principals: vec![], ..draft() }), CertificateFault::Anyone);
    let unlike = [
        "*",
        "al*",
        "alic?",
        "alice,bob",
        "bob,alice",
        " alice",
        "alice ",
        "alice\0",
        "alice%web1",
        "ALICE\u{130}",
        "",
        "!bob",
        "al\u{131}ce",
    ];
    for principal in unlike {
        let found = fault(Draft { principals: vec![principal], ..draft() });
        assert!(matches!(found, CertificateFault::Another(_)), "{principal:?}: {found:?}");
    }
    let found = fault(Draft { principals: vec!["bob", "x\x1b[2J"], ..draft() });
    assert_eq!(found.to_string(), "it is made out to bob, x\\u{1b}[2J");

    let large = checked(&Draft { principals: vec!["Alice"], ..draft() }.signed()).unwrap();
    assert_eq!(large.principal.as_str(), "alice", "small letters are what every rule is held against");
}

#[test]
fn a_critical_option_that_is_not_understood_refuses_and_an_extension_does_not() {
    for option in ["verify-required", "Source-Address", "force-command\n", "x@example.org"] {
        let found = fault(Draft { options: vec![(option, "")], ..draft() });
        assert!(matches!(found, CertificateFault::Option(_)), "{option:?}: {found:?}");
    }
    let without = Draft { extensions: vec!["permit-PTY", "unknown@example.org"], ..draft() }.signed();
    assert!(!checked(&without).unwrap().certificate.permits_terminal);
}

#[test]
fn it_may_be_shown_from_the_addresses_that_it_names_and_no_other() {
    let from = |list| checked(&Draft { options: vec![("source-address", list)], ..draft() }.signed());
    for list in ["10.0.0.0/8", "10.1.2.3", "192.0.2.0/24,10.1.2.0/24", "::ffff:10.1.2.3", "0.0.0.0/0"] {
        assert!(from(list).is_ok(), "{list}");
    }
    for list in ["192.0.2.0/24", "10.1.2.4", "::/0", "10.1.2.0/31,2001:db8::/32"] {
        assert_eq!(from(list), Err(CertificateFault::Elsewhere(list.into())));
    }
    // An entry that cannot be read may be the one that was meant to shut somebody out.
    for list in ["", "10.0.0.0/8,", "10.0.0.0/8, 10.1.2.3", "10.0.0.0/8,!10.1.2.3", "10.*", "10.1.2.3/8", "*"]
    {
        let unreadable = CertificateFault::Unreadable("source-address", list.into());
        assert_eq!(from(list), Err(unreadable));
    }
}

#[test]
fn a_forced_command_is_kept_as_it_is_and_an_empty_one_refused() {
    let forcing = |command| Draft { options: vec![("force-command", command)], ..draft() };
    let held = checked(&forcing("  web1 tar -c  /srv\n").signed()).unwrap();
    assert_eq!(held.certificate.command.as_deref(), Some("  web1 tar -c  /srv\n"));
    for command in ["", " \t", "web1 a\0b"] {
        assert!(
            matches!(fault(forcing(command)), CertificateFault::Unreadable("force-command", _)),
            "{command:?}"
        );
    }
}

fn replaced(whole: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = whole.windows(from.len()).position(|window| window == from).expect("it is in there");
    [&whole[..at], to, &whole[at + from.len()..]].concat()
}
