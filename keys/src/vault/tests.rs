use std::{fs, os::unix::fs::PermissionsExt};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

/// A folder for a vault, and the key it will be made with.
fn bench() -> (tempfile::TempDir, PathBuf, MasterKey) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    (folder, keys, MasterKey::generate().unwrap())
}

/// A vault with keys, its folder, and its master key.
pub(super) fn filled() -> (tempfile::TempDir, PathBuf, MasterKey, Vault) {
    let (temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master.clone()).unwrap();
    vault.generate("host").unwrap();
    vault.generate("gateway").unwrap();
    (temporary, folder, master, vault)
}

fn edit(folder: &Path, edit: impl Fn(String) -> String) {
    let file = folder.join(FILE);
    let text = edit(fs::read_to_string(&file).unwrap());
    secret_file::replace(&file, text.as_bytes()).unwrap();
}

#[test]
fn a_key_made_is_a_key_loaded_after_the_vault_was_closed() {
    let (_temporary, folder, master) = bench();
    let public = Vault::create(&folder, master.clone()).unwrap().generate("gateway").unwrap();

    let vault = Vault::open(&folder, master).unwrap();
    assert_eq!(vault.load("gateway").unwrap().public_key().key_data(), public.key_data());
    assert_eq!(vault.public("gateway").unwrap(), public);
    assert_eq!(vault.keys().unwrap(), Vault::list(&folder).unwrap());
    assert!(vault.has("gateway") && !vault.has("other"));
    assert!(matches!(vault.load("other"), Err(VaultFault::Unknown { .. })));
}

#[test]
fn nothing_secret_lies_in_the_vault_in_plain() {
    let (_temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master.clone()).unwrap();
    vault.generate("gateway").unwrap();

    let text = fs::read(folder.join(FILE)).unwrap();
    let key = vault.load("gateway").unwrap();
    let seed = key.key_data().ed25519().unwrap().private.to_bytes();
    for secret in [seed.as_slice(), master.bytes()] {
        let plain = [secret.to_vec(), BASE64_STANDARD.encode(secret).into_bytes()];
        for shape in plain {
            assert!(!text.windows(shape.len()).any(|window| window == shape));
        }
    }
    assert!(!String::from_utf8(text).unwrap().contains("OPENSSH PRIVATE KEY"));
}

#[test]
fn a_wrong_master_key_is_told_from_a_damaged_vault() {
    let (_temporary, folder, master) = bench();
    Vault::create(&folder, master).unwrap();

    let fault = Vault::open(&folder, MasterKey::generate().unwrap()).err().unwrap();
    assert!(matches!(fault, VaultFault::WrongMasterKey { .. }), "{fault}");
}

#[test]
fn a_vault_cut_anywhere_is_named_as_damaged() {
    let (_temporary, folder, master) = bench();
    Vault::create(&folder, master.clone()).unwrap().generate("gateway").unwrap();
    let whole = fs::read(folder.join(FILE)).unwrap();

    for length in 0..whole.len() - 2 {
        fs::write(folder.join(FILE), &whole[..length]).unwrap();
        let fault = Vault::open(&folder, master.clone()).err().unwrap();
        assert!(matches!(fault, VaultFault::Damaged { .. }), "cut at {length}: {fault}");
    }
}

#[test]
fn a_newer_vault_is_not_called_damaged() {
    let (_temporary, folder, master) = bench();
    Vault::create(&folder, master.clone()).unwrap();
    edit(&folder, |text| text.replace("\"version\": 1,", "\"version\": 3, \"new\": true,"));

    let fault = Vault::open(&folder, master).err().unwrap();
    assert!(matches!(fault, VaultFault::Version { version: 3, .. }), "{fault}");
}

#[test]
fn no_key_can_be_given_the_name_of_another() {
    let (_temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master.clone()).unwrap();
    vault.generate("weak").unwrap();
    vault.generate("root").unwrap();
    edit(&folder, |text| {
        text.replace("\"weak\"", "\"x\"").replace("\"root\"", "\"weak\"").replace("\"x\"", "\"root\"")
    });

    let swapped = Vault::open(&folder, master).unwrap();
    for name in ["weak", "root"] {
        assert!(matches!(swapped.load(name), Err(VaultFault::EntryDamaged { .. })), "{name}");
    }
}

#[test]
fn a_public_half_that_was_changed_is_seen() {
    let (_temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master.clone()).unwrap();
    let a = vault.generate("a").unwrap().to_openssh().unwrap();
    let b = vault.generate("b").unwrap().to_openssh().unwrap();
    edit(&folder, |text| text.replace(a.trim(), b.trim()));

    assert!(matches!(Vault::open(&folder, master).unwrap().load("a"), Err(VaultFault::EntryDamaged { .. })));
}

#[test]
fn a_vault_is_never_made_over_another() {
    let (_temporary, folder, master) = bench();
    let public = Vault::create(&folder, master.clone()).unwrap().generate("gateway").unwrap();

    let fault = Vault::create(&folder, MasterKey::generate().unwrap()).err().unwrap();
    assert!(matches!(fault, VaultFault::File(SecretFileFault::Exists { .. })), "{fault}");
    assert_eq!(Vault::open(&folder, master).unwrap().public("gateway").unwrap(), public);
}

#[test]
fn two_processes_that_add_keys_lose_none() {
    let (_temporary, folder, master) = bench();
    let mut one = Vault::create(&folder, master.clone()).unwrap();
    let mut other = Vault::open(&folder, master).unwrap();
    one.generate("a").unwrap();
    other.generate("b").unwrap();

    assert!(matches!(one.generate("b"), Err(VaultFault::NameTaken { .. })));
    assert_eq!(one.keys().unwrap().len(), 2);
}

#[test]
fn a_key_removed_is_gone_from_the_file_and_the_others_are_not() {
    let (_temporary, folder, master) = bench();
    let mut one = Vault::create(&folder, master.clone()).unwrap();
    let mut other = Vault::open(&folder, master.clone()).unwrap();
    one.generate("a").unwrap();
    one.generate("b").unwrap();

    other.remove("a").unwrap();
    assert!(matches!(other.remove("a"), Err(VaultFault::Unknown { .. })));
    let left = Vault::list(&folder).unwrap();
    assert_eq!(left.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["b"]);
    Vault::open(&folder, master).unwrap().load("b").unwrap();
}

#[test]
fn a_vault_that_others_can_read_is_refused() {
    let (_temporary, folder, master) = bench();
    Vault::create(&folder, master.clone()).unwrap();
    fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let fault = Vault::open(&folder, master.clone()).err().unwrap();
    assert!(matches!(fault, VaultFault::File(SecretFileFault::Mode { .. })), "{fault}");

    fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    let fault = Vault::open(&folder, master).err().unwrap();
    assert!(matches!(fault, VaultFault::File(SecretFileFault::Folder { .. })), "{fault}");
}

#[test]
fn a_name_that_is_a_path_or_an_option_makes_no_key() {
    let (_temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master).unwrap();

    for name in ["", "-oProxyCommand=x", "../x", "a/b", "a\0b", "a\u{1b}[2J", &"a".repeat(65), "ü"] {
        assert!(matches!(vault.generate(name), Err(VaultFault::NotAName { .. })), "{name:?}");
    }
}

#[test]
fn a_key_in_openssh_format_is_imported_and_anything_else_is_named() {
    let (_temporary, folder, master) = bench();
    let mut vault = Vault::create(&folder, master).unwrap();
    let mine = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));

    let public = vault.import("mine", mine.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    assert_eq!(public.key_data(), mine.public_key().key_data());
    assert_eq!(vault.load("mine").unwrap().key_data(), mine.key_data());

    let fault = |vault: &mut Vault, text: &[u8]| match vault.import("other", text) {
        Err(VaultFault::NotAKey(why)) => why,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(fault(&mut vault, b"no key"), NotAKey::Format);
    assert_eq!(fault(&mut vault, &[0xff; 70]), NotAKey::Format);
    assert_eq!(
        fault(&mut vault, made_by_ssh_keygen(&["-t", "ed25519", "-N", "secret"]).as_slice()),
        NotAKey::Passphrase
    );
    assert_eq!(
        fault(&mut vault, made_by_ssh_keygen(&["-t", "rsa", "-b", "2048", "-N", ""]).as_slice()),
        NotAKey::Kind
    );
    vault.import("other", &made_by_ssh_keygen(&["-t", "ecdsa", "-N", ""])).unwrap();
}

/// No private key lies in the repository: each is made where it is needed.
fn made_by_ssh_keygen(arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let made =
        std::process::Command::new("ssh-keygen").arg("-q").args(arguments).arg("-f").arg(&file).status();
    assert!(made.expect("ssh-keygen is installed").success());
    fs::read(file).unwrap()
}
