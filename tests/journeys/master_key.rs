//! The vault's master key: changed, lost, the wrong one, or of another day than the vault. What docs/master-key.md says
//! is run from the page itself.

use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use tests::world::{Done, LONG, Program, SHORT, Setup, TestBastion, built, project, tier, within};

const WRONG: &str = "was made with another master key";
const READ_AGAIN: &str = "settings and policy read again";
const CLOSED: &str = "[[rule]]\nname = \"closed\"\naction = \"deny\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";

/// The first commands that stand below this on the page.
#[track_caller]
fn page(from: &str) -> Vec<String> {
    let page = fs::read_to_string(project().join("docs/master-key.md")).unwrap();
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("{from:?} is not on the page"));
    let commands = rest.lines().skip_while(|line| !line.starts_with("    "));
    let commands: Vec<String> =
        commands.map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect();
    assert!(!commands.is_empty(), "nothing is to be done below {from:?}");
    commands
}

/// Does what the page says, on this machine instead of the page's.
#[track_caller]
fn follow(bastion: &TestBastion, commands: &[String]) {
    for command in commands {
        match command.as_str() {
            "systemctl stop bastion" => assert_eq!(bastion.stop().code, Some(0)),
            "systemctl start bastion" => bastion.start_again(),
            "systemctl reload bastion" => reload(bastion),
            command => drop(shell(bastion, command).expect_ok(command)),
        }
    }
}

#[track_caller]
fn shell(bastion: &TestBastion, command: &str) -> Done {
    let folder = bastion.folder().display().to_string();
    let data = bastion.data().display().to_string();
    let command = command.replace("/var/lib/bastion", &data).replace("/etc/bastion", &folder);
    let program = built("bastion");
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut sh = Command::new("sh");
    sh.args(["-c", &command]).env("PATH", path).current_dir("/");
    Program::start_with(&mut sh, Stdio::null()).done(LONG)
}

#[track_caller]
fn reload(bastion: &TestBastion) {
    let times = || bastion.log().matches(READ_AGAIN).count();
    let before = times();
    bastion.reload();
    within(SHORT, "a reload", || (times() > before).then_some(()));
}

/// Does the vault open with the master key in this file?
#[track_caller]
fn opens_with(bastion: &TestBastion, file: &str) -> bool {
    let Ok(key) = fs::read_to_string(bastion.path(file)) else { return false };
    let mut check = bastion.program("bastion", &["check"]);
    let done = Program::start_with(check.env("BASTION_MASTER_KEY", key.trim()), Stdio::null()).done(LONG);
    match done.code {
        Some(0) => true,
        Some(1) if done.text().contains(WRONG) => false,
        _ => panic!("{done:?}"),
    }
}

/// How often such an entry is in the audit trail.
#[track_caller]
fn acts(bastion: &TestBastion, act: &str) -> usize {
    let told = bastion.command(&["audit", "--json", "--act", act]).expect_ok("bastion audit").text();
    serde_json::from_str::<Vec<serde_json::Value>>(&told).expect("it is a JSON list").len()
}

#[test]
fn the_master_key_is_changed_by_the_page_while_a_session_lives() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let shell = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = shell.out.wait("target> ", SHORT);

    follow(&bastion, &page("## Changing it"));

    shell.send("echo still-here\r");
    shell.out.wait_from(at, "\nstill-here\r\n", SHORT);
    ana.ssh(&["web1", "true"]).done().expect_ok("a session under the new master key");
    assert_eq!(acts(&bastion, "master-key-changed"), 1);
    assert!(opens_with(&bastion, "master.key") && !opens_with(&bastion, "master.key.old"));
    bastion.stop();
    bastion.start_again();
    ana.ssh(&["web1", "true"]).done().expect_ok("a session after a new start");
}

/// The entry stands in the trail before the vault changes: whoever cannot write it changes nothing.
#[test]
fn a_change_that_cannot_be_written_into_the_trail_does_not_happen() {
    let bastion = TestBastion::start();
    bastion.stop();
    fs::rename(bastion.data().join("tails"), bastion.path("tails.away")).unwrap();
    fs::write(bastion.data().join("tails"), "no folder").unwrap();

    let done = bastion.command(&["key", "rekey", "new.key"]);

    assert!(done.code == Some(1) && done.err.contains("audit trail cannot be written"), "{done:?}");
    assert!(opens_with(&bastion, "master.key") && !opens_with(&bastion, "new.key"));
}

#[test]
fn killed_at_any_moment_of_the_change_the_vault_opens_with_exactly_one_of_both_keys() {
    let bastion = TestBastion::start();
    fs::copy(bastion.path("master.key"), bastion.path("0.key")).unwrap();
    let rekey = |from: usize, to: usize| {
        let mut command = bastion.program("bastion", &["key", "rekey", &format!("{to}.key")]);
        let old = fs::read_to_string(bastion.path(&format!("{from}.key"))).unwrap();
        command.env("BASTION_MASTER_KEY", old.trim());
        command
    };
    let began = Instant::now();
    Program::start_with(&mut rekey(0, 1), Stdio::null()).done(LONG).expect_ok("bastion key rekey");
    let whole = began.elapsed();

    let rounds = tier().kills * 4;
    let mut changed = 0;
    for round in 1..=rounds {
        // From the first moment to the last, and a little beyond.
        let share = u32::try_from(round).unwrap() * 5 / 4;
        let after = whole * share / u32::try_from(rounds).unwrap();
        let (began, program) =
            (Instant::now(), Program::start_with(&mut rekey(round, round + 1), Stdio::null()));
        // Looking again after a pause would miss most of what takes microseconds.
        while began.elapsed() < after {
            std::hint::spin_loop();
        }
        program.kill();

        let (old, new) = (format!("{round}.key"), format!("{}.key", round + 1));
        let open = (opens_with(&bastion, &old), opens_with(&bastion, &new));
        assert!(open.0 != open.1, "round {round}, killed after {after:?}: {open:?}");
        changed += usize::from(open.1);
        // Run again it comes to its end, whether or not it had.
        Program::start_with(&mut rekey(round, round + 1), Stdio::null()).done(LONG).expect_ok("again");
        assert!(opens_with(&bastion, &new) && !opens_with(&bastion, &old), "round {round}");
    }
    println!("{changed} of {rounds} were killed after the change, which took {whole:?}");
}

#[test]
fn a_reload_with_the_wrong_master_key_changes_nothing_and_says_so() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let file = bastion.path("master.key");
    let right = fs::read_to_string(&file).unwrap();
    let in_force = acts(&bastion, "rules-in-force");
    fs::write(&file, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    bastion.write_policy(CLOSED);

    bastion.reload();

    bastion.logged("settings and policy stay as they were: ");
    bastion.logged(WRONG);
    ana.ssh(&["web1", "true"]).done().expect_ok("a session as before");
    assert_eq!((acts(&bastion, "rules-refused"), acts(&bastion, "rules-in-force")), (1, in_force));
    assert!(bastion.command(&["check"]).text().contains(WRONG));

    fs::write(&file, right).unwrap();
    reload(&bastion);
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(77), "the new policy holds now");
}

#[test]
fn a_server_does_not_start_with_the_wrong_master_key_nor_without_one() {
    let bastion = TestBastion::start();
    bastion.stop();
    let file = bastion.path("master.key");
    let refused = |why: &str| {
        let done = bastion.command(&["serve"]);
        assert!(done.code == Some(1) && done.err.contains(why) && done.err.contains("try: "), "{done:?}");
    };

    fs::write(&file, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    refused(WRONG);
    fs::write(&file, "AAEC\n").unwrap();
    refused("holds no master key");
    fs::remove_file(&file).unwrap();
    refused("master.key: No such file");
}

#[test]
fn a_lost_master_key_costs_the_keys_and_no_recording() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "echo before"]).done().expect_ok("a session before");
    let before = bastion.last_session_of("ana");
    fs::remove_file(bastion.path("master.key")).unwrap();

    follow(&bastion, &page("## It is lost"));

    bastion.target().forget_all_keys();
    let key = bastion.gateway_key("web1");
    bastion.target().authorize(&key);
    let refused = ana.ssh(&["web1", "true"]).done();
    assert!(refused.err.contains("IDENTIFICATION HAS CHANGED"), "the host key is another: {refused:?}");
    let host = format!("[127.0.0.1]:{}", bastion.port());
    let mut forget = Command::new("ssh-keygen");
    let known = ana.path("known");
    Program::start_with(forget.arg("-R").arg(host).arg("-f").arg(known), Stdio::null()).done(SHORT);
    ana.ssh(&["web1", "echo after"]).done().expect_ok("a session afterwards");
    let after = bastion.last_session_of("ana");
    assert_eq!(bastion.output_of(&before), "before\n");
    assert_eq!(bastion.output_of(&after), "after\n");
    assert!(acts(&bastion, "signed-in") >= 3, "the trail from before is there too");
    assert!(bastion.data().join("keys.lost/vault.json").exists());
}

/// Puts the vault away, and brings it back.
struct Backup(Vec<u8>);

impl Backup {
    fn of(bastion: &TestBastion) -> Backup {
        Backup(fs::read(bastion.data().join("keys/vault.json")).unwrap())
    }

    fn restore(&self, bastion: &TestBastion) {
        bastion.stop();
        fs::write(bastion.data().join("keys/vault.json"), &self.0).unwrap();
    }
}

#[test]
fn a_vault_older_than_the_master_key_is_brought_up_to_today() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let backup = Backup::of(&bastion);
    follow(&bastion, &page("## Changing it"));

    backup.restore(&bastion);
    assert!(bastion.command(&["serve"]).err.contains(WRONG));
    follow(&bastion, &page("**The vault is older than the master key**"));

    ana.ssh(&["web1", "true"]).done().expect_ok("a session after the backup was restored");
    assert!(opens_with(&bastion, "master.key") && !opens_with(&bastion, "master.key.old"));
}

#[test]
fn a_master_key_older_than_the_vault_opens_nothing_and_harms_nothing() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    follow(&bastion, &page("## Changing it"));
    bastion.stop();
    let today = fs::read(bastion.path("master.key")).unwrap();

    fs::copy(bastion.path("master.key.old"), bastion.path("master.key")).unwrap();
    let done = bastion.command(&["serve"]);
    assert!(done.code == Some(1) && done.err.contains(WRONG), "{done:?}");
    assert!(bastion.command(&["key", "new", "late"]).err.contains(WRONG));

    fs::write(bastion.path("master.key"), today).unwrap();
    bastion.start_again();
    ana.ssh(&["web1", "true"]).done().expect_ok("a session with today's master key");
}

#[test]
fn a_vault_that_lacks_a_key_of_the_settings_is_told_and_mended() {
    let bastion = Setup::default().keys("by_label = { \"env=prod\" = \"prod\" }").start();
    let ana = bastion.caller("ana");
    let backup = Backup::of(&bastion);
    bastion.command(&["key", "new", "prod"]).expect_ok("bastion key new");
    let settings = fs::read_to_string(bastion.settings()).unwrap();
    let labelled = settings.replace("[targets.web1]\n", "[targets.web1]\nlabels = { env = \"prod\" }\n");
    fs::write(bastion.settings(), labelled).unwrap();

    backup.restore(&bastion);
    bastion.start_again();
    let told = bastion.command(&["check"]).text();
    assert!(told.contains("target web1 names key \"prod\", which is not in the vault"), "{told}");
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(78));

    let commands = page("**The vault opens, and is older than the settings.**");
    let named = |command: &String| command.replace("NAME", "prod").replace("TARGET", "web1");
    follow(&bastion, &commands.iter().map(named).collect::<Vec<_>>());
    let key = bastion.gateway_key("web1");
    bastion.target().authorize(&key);
    ana.ssh(&["web1", "true"]).done().expect_ok("a session with the key made again");
}

/// What is asked for and cannot be is named, and nothing has changed.
#[test]
fn a_change_to_what_is_no_new_master_key_is_refused() {
    let bastion = TestBastion::start();
    let refused = |file: &str, why: &str| {
        let done = bastion.command(&["key", "rekey", file]);
        assert!(done.code == Some(1) && done.err.contains(why) && done.err.contains("try: "), "{done:?}");
        assert!(opens_with(&bastion, "master.key"));
    };
    fs::write(bastion.path("words"), "no key\n").unwrap();

    refused("words", "words has mode");
    Command::new("chmod").args(["600"]).arg(bastion.path("words")).status().unwrap();
    refused("words", "words holds no master key");
    refused("master.key", "holds the master key that the vault has now");
    refused("data/new.key", "data/new.key lies in the data folder");
    refused("nowhere/new.key", "nowhere");
    assert_eq!(acts(&bastion, "master-key-changed"), 0);
    assert!(!bastion.path("data/new.key").exists());
}
