//! The gateway's own keys, while it runs.

use tests::world::{SHORT, TestBastion, within};

/// The fingerprint of a key in the gateway's vault.
#[track_caller]
fn fingerprint(bastion: &TestBastion, name: &str) -> String {
    let told = bastion.command(&["key", "list", "--json"]).expect_ok("bastion key list").text();
    let keys: Vec<serde_json::Value> = serde_json::from_str(&told).expect("it is a JSON list");
    let key = keys.into_iter().find(|key| key["name"] == name).expect("the vault has that key");
    key["fingerprint"].as_str().expect("a fingerprint is text").to_owned()
}

#[test]
fn a_key_is_replaced_while_sessions_come_and_none_is_refused() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let session = || ana.ssh(&["web1", "true"]).done().expect_ok("a session");
    session();

    bastion.command(&["key", "rotate", "gateway"]).expect_ok("bastion key rotate");
    let next = fingerprint(&bastion, "gateway.next");
    within(SHORT, "a target that does not know the successor to be named", || {
        bastion.reload();
        session();
        bastion.log().contains("web1 does not know gateway.next yet").then_some(())
    });
    let early = bastion.command(&["key", "retire", "gateway"]);
    assert!(early.code == Some(1) && early.err.contains("last opened with the old key alone"), "{early:?}");

    bastion.target().forget_all_keys();
    let line = bastion.gateway_key("web1");
    bastion.target().authorize(&line);
    session();
    within(SHORT, "the target's log to name the successor", || {
        bastion.target().log().contains(&format!("ED25519 {next}")).then_some(())
    });

    bastion.command(&["key", "retire", "gateway"]).expect_ok("bastion key retire");
    assert_eq!(fingerprint(&bastion, "gateway"), next);
    bastion.reload();
    session();
    let refused = bastion.command(&["key", "remove", "gateway"]);
    assert!(refused.code == Some(1) && refused.err.contains("is in use: target web1"), "{refused:?}");
}
