//! Who is who: keys that are taken back, names that stay the first one's, and the trail of it all.

use std::time::Duration;

use serde_json::{Value, json};
use tests::world::{LONG, SHORT, TestBastion, person, press_enter_until_done, user_code, within};

/// The audit trail, as `bastion audit ARGS --json` tells it.
#[track_caller]
fn trail(bastion: &TestBastion, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["audit", "--json"].iter().chain(args).copied().collect();
    let told = bastion.command(&args).expect_ok("bastion audit").text();
    serde_json::from_str(&told).expect("it is a JSON list")
}

fn acts(trail: &[Value]) -> Vec<&str> {
    trail.iter().filter_map(|entry| entry["act"].as_str()).collect()
}

#[test]
fn an_administrator_takes_a_persons_keys_back_and_what_they_opened_ends() {
    let bastion = TestBastion::start();
    let (ana, bea) = (bastion.caller("ana"), bastion.caller("bea"));
    let [anas, beas] = [&ana, &bea].map(|caller| {
        let ssh = caller.ssh(&["web1", "echo in; sleep 600"]).start();
        ssh.out.wait("in\n", SHORT);
        ssh
    });
    let listed = bastion.command(&["bindings", "list", "--json"]).expect_ok("bindings list").text();
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.iter().map(|one| &one["person"]["name"]).collect::<Vec<_>>(), ["ana", "bea"]);

    let control = ana.path("mux").display().to_string();
    let shared = ["-o", "ControlMaster=auto", "-o", &format!("ControlPath={control}")];
    let master = ana.ssh(&["web1", "echo in; sleep 600"]).options(&shared).start();
    master.out.wait("in\n", SHORT);
    ana.ssh(&[":whoami"]).options(&shared).done().expect_ok("a channel of the same connection");

    let revoked = bastion.command(&["bindings", "revoke", "--user", "ana"]).expect_ok("bindings revoke");
    let late = ana.ssh(&["web1", "echo late"]).options(&shared).done();
    assert!(late.code != Some(0) && !late.text().contains("late"), "while it is told of its end: {late:?}");
    assert!(revoked.text().contains("1 key revoked"), "{}", revoked.text());
    let done = anas.done(SHORT);
    assert_eq!(done.code, Some(75), "{done:?}");
    for said in ["this session ends in 2 seconds", "this session was ended"] {
        assert!(done.err.contains(&format!("{said}: the sign-in that opened it was revoked\n")), "{done:?}");
    }
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "she signs in anew");
    bea.ssh(&["web1", "true"]).done().expect_ok("another person's key");
    drop(beas);

    // What hits nothing is not written down as done.
    let ended = || trail(&bastion, &["--act", "connections-ended"]).len();
    assert_eq!(ended(), 1);
    assert_eq!(bastion.command(&["bindings", "revoke", "--user", "carol"]).code, Some(1));
    assert_eq!(bastion.command(&["bindings", "revoke", "--user", "ana"]).code, Some(1), "not twice");
    assert_eq!(ended(), 1);
    let trail = trail(&bastion, &["--act", "binding-revoked"]);
    assert_eq!(trail.len(), 1);
    assert_eq!((&trail[0]["person"]["name"], &trail[0]["by"]["local"]["uid"]), (&json!("ana"), &json!(0)));
    assert_eq!(bastion.last_session_of("ana")["reason"], "the sign-in that opened it was revoked");
}

#[test]
fn a_list_whose_reader_has_enough_ends_quietly_and_with_its_own_code() {
    let bastion = TestBastion::start();
    let denied = ["explain", "--user", "ana", "--target", "web1", "--login", "nobodys"];
    let lists =
        [&["audit", "--json"][..], &["audit"], &["sessions"], &["bindings", "list"], &["names", "list"]];
    let more = [&["key", "list"][..], &["target", "list"], &["check"]];
    let all = lists.into_iter().chain(more).map(|words| (words, 0)).chain([(&denied[..], 4)]);
    for (words, code) in all {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = bastion.program("bastion", words).stdout(writer).output().unwrap();
        assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(code), &[][..]), "{words:?}");
    }
}

#[test]
fn a_person_sees_her_keys_and_signs_herself_out() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let keys = ana.ssh(&[":keys", "--json"]).done().expect_ok(":keys").text();
    let keys: Vec<Value> = serde_json::from_str(&keys).unwrap();
    assert_eq!((keys.len(), &keys[0]["current"]), (1, &json!(true)));
    let key = keys[0]["key"].as_str().unwrap().to_owned();
    let wrong = ana.ssh(&[":revoke", "SHA256:nobodys"]).done();
    assert_eq!(wrong.code, Some(64), "{wrong:?}");

    let shell = ana.ssh(&["web1", "echo in; sleep 600"]).start();
    shell.out.wait("in\n", SHORT);
    let out = ana.ssh(&[":logout"]).done().expect_ok(":logout").text();
    assert!(out.contains(&format!("{key} signs nobody in any more")), "{out}");
    assert_eq!(shell.done(SHORT).code, Some(75));
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255));

    let by_herself = trail(&bastion, &["--act", "binding-revoked", "--user", "ana"]);
    assert_eq!((&by_herself[0]["key"], &by_herself[0]["by"]["person"]["name"]), (&json!(key), &json!("ana")));
}

#[test]
fn a_name_is_the_first_ones_until_an_administrator_releases_it() {
    let bastion = TestBastion::start();
    bastion.caller("ana");
    let mut another = person("ana");
    another["sub"] = "another".into();
    let stranger = bastion.stranger("ana");
    let sign_in = || {
        let ssh = stranger.ssh(&[":whoami"]).attended().on_terminal(100, 30);
        bastion.provider().approve_as(&user_code(&ssh), another.clone());
        press_enter_until_done(&ssh)
    };
    let refused = sign_in();
    assert_eq!(refused.code, Some(255));
    assert!(refused.text().contains("does not go with the user name"), "{}", refused.text());
    bastion.logged("the name is another person's");

    let names = bastion.command(&["names", "list"]).expect_ok("names list").text();
    assert!(names.starts_with("ana  ") && names.lines().count() == 1, "{names}");
    bastion.command(&["names", "release", "ana"]).expect_ok("names release");
    assert_eq!(sign_in().code, Some(0));
}

#[test]
fn what_is_decided_and_done_is_in_the_trail_with_the_rules_that_were_in_force() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["nowhere", "true"]).done();
    let policy =
        "# changed\n[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
    bastion.write_policy(policy);
    bastion.reload();
    within(LONG, "the new policy in the trail", || {
        (acts(&trail(&bastion, &["--act", "rules-in-force"])).len() == 2).then_some(())
    });
    bastion.write_policy("[[rule]]\n");
    bastion.reload();
    within(LONG, "the refusal in the trail", || {
        (!trail(&bastion, &["--act", "rules-refused"]).is_empty()).then_some(())
    });
    bastion.write_policy(policy);
    bastion.kill();
    bastion.start_again();
    bastion.stop();

    let all = trail(&bastion, &[]);
    let seen: Vec<&str> = acts(&all).into_iter().filter(|act| *act != "file-text").collect();
    let begins =
        ["server-started", "rules-in-force", "name-taken", "key-bound", "signed-in", "signed-in", "denied"];
    assert_eq!(seen[..begins.len()], begins, "{seen:?}");
    let ends = ["rules-in-force", "rules-refused", "server-started", "rules-in-force", "server-stopped"];
    assert_eq!(seen[begins.len()..], ends, "{seen:?}");
    let texts: Vec<&str> = all.iter().filter_map(|entry| entry["text"].as_str()).collect();
    assert!(texts.contains(&policy), "the policy's very text");
    let named = all.iter().filter(|entry| entry["act"] == "rules-in-force");
    let known: Vec<&Value> = all.iter().map(|entry| &entry["sha256"]).collect();
    for file in named.flat_map(|entry| entry["files"].as_array().unwrap()) {
        assert!(known.contains(&&file["sha256"]), "{file} has a text in the trail");
    }
    assert!(bastion.sessions().iter().all(|session| session["channel"] != "audit"));

    let line = bastion.command(&["audit", "--act", "denied"]).expect_ok("bastion audit").text();
    assert!(line.contains("person=ana") && line.contains("target=nowhere"), "{line}");
}

#[test]
fn commands_that_change_something_are_in_the_trail_whether_or_not_a_server_runs() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    bastion.caller("bea");
    bastion.command(&["key", "new", "one"]).expect_ok("key new");
    let refused = [["key", "new", "bad name"], ["key", "rotate", "host"], ["names", "release", "nobody"]];
    // What is refused has not happened: the trail below has none of it.
    let are_refused = || refused.iter().all(|command| bastion.command(command).code == Some(1));
    assert!(are_refused(), "by a server");
    bastion.stop();
    assert!(are_refused(), "without one");
    bastion.command(&["key", "new", "two"]).expect_ok("key new");
    assert_eq!(
        bastion.command(&["key", "new", "two"]).code,
        Some(1),
        "it is there; the trail has one entry below"
    );

    let revoked = bastion.command(&["bindings", "revoke", "--all"]).expect_ok("bindings revoke").text();
    assert!(revoked.ends_with("2 keys revoked\n"), "{revoked}");
    bastion.command(&["names", "release", "ana"]).expect_ok("names release");
    let taken_back = trail(&bastion, &["--act", "binding-revoked", "--act", "name-released"]);
    assert_eq!(acts(&taken_back), ["binding-revoked", "binding-revoked", "name-released"]);
    let made = trail(&bastion, &["--act", "key-made"]);
    assert_eq!(made.iter().map(|entry| &entry["name"]).collect::<Vec<_>>(), ["one", "two"]);
    assert!(
        made.iter().all(|entry| entry["by"]["local"]["uid"].is_u64() && entry["key"].is_string()),
        "{made:?}"
    );

    bastion.start_again();
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "her key is forgotten");
}

#[test]
fn who_comes_in_batch_mode_without_a_binding_is_named_in_log_and_trail() {
    let bastion = TestBastion::start();
    let ana = bastion.stranger("ana");
    let refused = ana.ssh(&["web1", "true"]).options(&["-o", "BatchMode=yes"]).done();
    assert_eq!(refused.code, Some(255));
    assert!(refused.err.contains("Permission denied (keyboard-interactive)"), "{}", refused.err);

    bastion.logged("the key does not sign in alone");
    let entry = within(Duration::from_secs(20), "the refusal in the trail", || {
        trail(&bastion, &["--act", "sign-in-refused"]).pop()
    });
    assert_eq!(entry["user"], "ana");
    assert!(entry["key"].as_str().is_some_and(|key| key.starts_with("SHA256:")), "{entry}");
}

#[test]
fn a_key_that_is_bound_is_told_in_open_terminals_and_at_the_next_sign_in() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let open = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(100, 30);
    open.out.wait("target> ", SHORT);
    let program = ana.ssh(&["web1", "echo in; sleep 600"]).start();
    program.out.wait("in\n", SHORT);

    let other = bastion.caller("ana");
    let told = "signs you in from now on, by a sign-in from 127.0.0.1; if that was not you: ssh BASTION :revoke SHA256:";
    open.out.wait(told, SHORT);
    assert_eq!(program.err.text(), "", "programs read what a session without a terminal says");

    let by_the_new = other.ssh(&["web1"]).options(&["-t"]).on_terminal(100, 30);
    by_the_new.out.wait("target> ", SHORT);
    let by_the_old = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(100, 30);
    by_the_old.out.wait(told, SHORT);
    by_the_old.out.wait("target> ", SHORT);
    let keys = ana.ssh(&[":keys", "--json"]).done().text();
    let keys: Vec<Value> = serde_json::from_str(&keys).unwrap();
    let new = keys.iter().find(|key| key["current"] == false).unwrap()["key"].as_str().unwrap();
    assert!(by_the_old.out.text().contains(&format!(":revoke {new}")), "{}", by_the_old.out.text());
    assert!(!by_the_new.out.text().contains(&format!(":revoke {new}")), "{}", by_the_new.out.text());
}

#[test]
fn policy_takes_the_right_of_bound_keys_and_codes_and_gives_it_back() {
    const ALL: &str = "[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
    let bastion = TestBastion::start();
    let (ana, bea) = (bastion.caller("ana"), bastion.caller("bea"));
    let open = ana.ssh(&["web1", "echo in; read line; echo $line"]).start();
    open.out.wait("in\n", SHORT);

    let rules = "[groups]\npeople = { provider = \"people\" }\n\
                 [[sign_in]]\nname = \"no-keys\"\nusers = [\"ana\"]\nbinding = \"0s\"\n\
                 [[sign_in]]\nname = \"no-codes\"\nusers = [\"carol\"]\ndevice_flow = false\n";
    bastion.write_policy(&format!("{rules}{ALL}"));
    bastion.reload();
    within(SHORT, "the new policy", || (ana.ssh(&["web1", "true"]).done().code == Some(255)).then_some(()));
    bastion.logged("its owner signs in anew: rule no-keys lets no key sign in alone");
    let why = within(SHORT, "the refusal in the trail", || {
        trail(&bastion, &["--act", "sign-in-refused", "--user", "ana"])
            .pop()
            .map(|entry| entry["why"].clone())
    });
    assert!(
        why.as_str().is_some_and(|why| why.ends_with("; rule no-keys lets no key sign in alone")),
        "{why}"
    );
    bea.ssh(&["web1", "true"]).done().expect_ok("a key that no rule is about");
    let carol = bastion.stranger("carol");
    let ssh = carol.ssh(&[":whoami"]).attended().on_terminal(100, 30);
    bastion.provider().approve_as(&user_code(&ssh), person("carol"));
    let refused = press_enter_until_done(&ssh);
    assert_eq!(refused.code, Some(255), "{}", refused.text());
    assert!(refused.text().contains("Policy does not let you sign in by a code"), "{}", refused.text());
    let names = bastion.command(&["names", "list", "--json"]).expect_ok("names list").text();
    assert!(!names.contains("carol"), "{names}");

    open.send("fine\n");
    open.out.wait("fine\n", SHORT);
    assert_eq!(open.done(SHORT).code, Some(0), "what is open goes on");
    bastion.write_policy(ALL);
    bastion.reload();
    within(SHORT, "the old policy", || (ana.ssh(&["web1", "true"]).done().code == Some(0)).then_some(()));
}

#[test]
fn a_sign_in_that_a_stop_ends_is_in_the_trail_with_that_reason_and_the_stop_behind_it() {
    let bastion = TestBastion::start();
    let bea = bastion.stranger("bea");
    let ssh = bea.ssh(&["web1", "true"]).attended().options(&["-o", "NumberOfPasswordPrompts=1"]);
    let ssh = ssh.on_terminal(100, 30);
    user_code(&ssh);
    bastion.stop();

    let acts = trail(&bastion, &[]);
    let [.., refused, stopped] = acts.as_slice() else { panic!("{acts:?}") };
    assert_eq!((&refused["act"], &refused["user"]), (&"sign-in-refused".into(), &"bea".into()));
    assert_eq!(refused["why"], "the bastion was stopped before the sign-in was confirmed");
    assert_eq!(stopped["act"], "server-stopped");
    let log = bastion.log();
    assert!(!log.contains("left before") && !log.contains("audit trail"), "{log}");
}
