//! A key and its successor, before a real sshd.

use super::*;

impl Bench {
    /// An sshd that lets in the gateway's key or its successor, by these names.
    fn that_knows(names: &[&str]) -> Self {
        let mut bench = Bench::prepared();
        let vault = Arc::get_mut(&mut bench.vault).unwrap();
        vault.rotate("gateway").unwrap();
        let lines: String =
            names.iter().map(|name| vault.public(name).unwrap().to_openssh().unwrap() + "\n").collect();
        fs::write(bench.path("authorized_keys"), lines).unwrap();
        bench.running("LogLevel VERBOSE").trusting_it()
    }

    /// With which key its sshd let us in.
    #[track_caller]
    fn let_in(&self, name: &str) {
        let key = fingerprint(&self.vault.public(name).unwrap());
        assert!(self.logged("Accepted publickey").contains(&key), "{name}");
    }
}

#[tokio::test]
async fn a_successor_opens_the_targets_that_know_it_and_the_old_key_the_others() {
    for (known, opens) in [
        (&["gateway"][..], "gateway"),
        (&["gateway.next"], "gateway.next"),
        (&["gateway", "gateway.next"], "gateway.next"),
    ] {
        let bench = Bench::that_knows(known);
        bench.dial().await.unwrap();
        bench.let_in(opens);

        let (grant, context) = bench.grant("gateway");
        let noted = crate::opened::last(&context.opened, &grant.target().name, grant.login()).unwrap();
        assert_eq!(noted.key, fingerprint(&bench.vault.public(opens).unwrap()), "{opens} is noted");
    }
}

#[tokio::test]
async fn nothing_is_noted_of_a_key_that_is_not_replaced() {
    let bench = Bench::with_sshd().trusting_it();
    bench.dial().await.unwrap();
    assert!(!bench.folder.path().join("opened").exists());
}

#[tokio::test]
async fn an_old_key_opens_nothing_once_the_overlap_is_over() {
    let bench = Bench::that_knows(&["gateway"]);
    let (grant, mut context) = bench.grant("gateway");
    context.overlap = Duration::ZERO;

    let fault = dial(&grant, Traffic::Bulk, KEY_ID, &context).await.err().unwrap();
    assert!(
        matches!(&fault.problem, DialProblem::LoginRefused { key, .. } if key == "gateway.next"),
        "{fault}"
    );
}

#[tokio::test]
async fn of_an_authority_and_its_successor_one_that_the_target_trusts_is_enough() {
    let mut bench = Bench::prepared();
    let vault = Arc::get_mut(&mut bench.vault).unwrap();
    vault.rotate("ca").unwrap();
    let old = vault.public("ca").unwrap();
    fs::write(bench.path("ca.pub"), old.to_openssh().unwrap()).unwrap();
    let bench = bench.running("TrustedUserCAKeys FOLDER/ca.pub\nAuthorizedKeysFile none").trusting_it();

    bench.dial_with("ca").await.unwrap();
    assert!(bench.logged("Accepted publickey").contains(&fingerprint(&old)));
}
