//! Input that is wrong on purpose: a sentence with place, value and way out, the right code, a log line, a whole record.

use std::{fs, process::Command, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::world::{Done, SHORT, Setup, TestBastion, within};

use crate::house::house;

#[track_caller]
fn assert_one_line(done: &Done, code: i32) {
    assert_eq!(done.code, Some(code), "{done:?}");
    assert_eq!(done.err.lines().count(), 1, "{:?}", done.err);
    assert!(done.err.len() < 2000, "{} bytes", done.err.len());
    assert!(done.err.trim_end().chars().all(|c| !c.is_control()), "{:?}", done.err);
}

#[test]
fn a_target_that_does_not_exist_looks_like_one_that_is_not_for_you() {
    let bastion = Setup::default()
        .policy("[[rule]]\nname = \"one\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"web1\"]\n")
        .target("secret", 1, "", "")
        .start();
    let ana = bastion.caller("ana");

    let unknown = ana.ssh(&["nonesuch", "true"]).done();
    let denied = ana.ssh(&["secret", "true"]).done();

    assert_one_line(&unknown, 77);
    assert_one_line(&denied, 77);
    assert_eq!(unknown.err.replace("nonesuch", "X"), denied.err.replace("secret", "X"));
    bastion.logged("nonesuch");
    bastion.logged("secret");
}

#[test]
fn odd_target_names_reach_no_host_and_no_terminal() {
    let pat = house().caller("pat");
    let long = "x".repeat(70_000);
    let odd = [
        "../web1",
        "web1/../..",
        "/etc/passwd",
        "$(id)",
        "`id`",
        "web1;id",
        "we\x1b[31mb1",
        "web1\x07",
        "\x1b]0;title\x07",
        "WEB1\u{202e}",
        "\u{ff57}eb1",
        "we b1",
        "@web1",
        "web1@",
        "a@b@web1",
        "%",
        "*",
        long.as_str(),
    ];
    for name in odd {
        let done = pat.ssh(&[name, "echo reached"]).done();
        assert!(matches!(done.code, Some(64 | 77)), "{name:?}: {done:?}");
        assert_one_line(&done, done.code.unwrap());
        assert!(!done.err.contains('\x1b'), "{name:?}: {done:?}");
    }
    for login in ["pat%../web1", "pat%we\x07b1", "pat%-oX", "pat%%web1", "pat%a%b%web1", "pat/"] {
        let done = pat.ssh(&["echo reached"]).login(login).done();
        assert_ne!(done.code, Some(0), "{login:?}");
        assert_eq!(done.out, b"", "{login:?}");
    }
    assert!(!house().log().contains('\x1b'), "nothing raw in the log");
    assert_eq!(house().sessions_of("pat").iter().filter(|session| session["target"] != "web1").count(), 0);
}

#[test]
fn a_mebibyte_of_environment_is_cut_short_and_harms_nothing() {
    let quy = house().caller("quy");
    let before = house().rss_kib();

    // 1,100 variables of 1,000 bytes: OpenSSH sends one request each.
    let mut command = quy.ssh(&["web1", "env | wc -c"]).options(&["-o", "SendEnv=LC_*"]).command();
    command.envs((0..1100).map(|at| (format!("LC_{at}"), "x".repeat(1000))));
    let done = tests::world::Program::start_with(&mut command, std::process::Stdio::null()).done(SHORT);

    let passed: usize = done.text().trim().parse().unwrap_or_else(|_| panic!("{done:?}"));
    assert!(passed < 64 * 1024, "{passed} bytes of environment were passed on");
    assert!(house().rss_kib() < before + 32 * 1024, "memory");
    assert_eq!(house().last_session_of("quy")["state"], "finished");
}

#[test]
fn terminals_of_any_size_work_and_the_record_plays() {
    let ray = house().caller("ray");
    for (cols, rows) in [(1, 1), (65535, 65535), (0, 0)] {
        let ssh = ray.ssh(&["web1", "stty size; seq 50"]).options(&["-tt"]).on_terminal(cols, rows);
        let done = ssh.done(SHORT);
        assert_eq!(done.code, Some(0), "{cols}x{rows}: {}", done.text());

        let session = house().last_session_of("ray");
        let (header, _) = house().cast(session["id"].as_str().unwrap());
        let (width, height) = (header["width"].as_u64().unwrap(), header["height"].as_u64().unwrap());
        assert!((1..=1000).contains(&width) && (1..=500).contains(&height), "{width}x{height}");
        assert!(house().output_of(&session).contains("50\r\n"));
    }
    let ssh = ray.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait("target> ", SHORT);
    ssh.resize(65535, 65535);
    ssh.resize(1, 1);
    ssh.resize(80, 24);
    ssh.send("echo alive; exit\r");
    ssh.out.wait_from(at, "alive\r\n", SHORT);
    ssh.done(SHORT);
}

#[test]
fn without_file_handles_old_sessions_live_and_new_ones_come_back_later() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let shell = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = shell.out.wait("target> ", SHORT);

    let pid = Pid::from_raw(bastion.pid() as i32);
    let hard = handles_max(bastion.pid());
    let none = Rlimit { current: Some(bastion.handles() as u64), maximum: hard };
    let before = prlimit(pid, Resource::Nofile, none).unwrap();
    let refused = ana.ssh(&["web1", "true"]).options(&["-o", "ConnectTimeout=3"]).done();
    assert_ne!(refused.code, Some(0));
    shell.send("echo still-here\r");
    let at = shell.out.wait_from(at, "\nstill-here\r\n", SHORT);
    bastion.logged("Too many open files");

    prlimit(pid, Resource::Nofile, before).unwrap();
    within(SHORT, "new sessions", || (ana.ssh(&["web1", "true"]).done().code == Some(0)).then_some(()));
    shell.send("exit\r");
    shell.out.wait_from(at, "exit", SHORT);
    shell.done(SHORT);
    within(SHORT, "all sessions to be finished", || {
        bastion.sessions_of("ana").iter().all(|session| session["state"] == "finished").then_some(())
    });
}

#[test]
fn wrong_settings_are_refused_with_file_line_and_way_out() {
    let bastion = TestBastion::start();
    bastion.stop();
    let right = fs::read_to_string(bastion.settings()).unwrap();

    let wrong = [
        (right.replace("[listen]\n", "[listen]\nodd_key = 1\n"), "odd_key"),
        (right.replace("policy.toml", "nonesuch.toml"), "nonesuch.toml"),
        (right.replace("[login]", "[login"), "bastion.toml:"),
        (format!("{right}\n[targets.\"../x\"]\naddress = \"a\"\nlogins = [\"b\"]\n"), "../x"),
        ("\0".repeat(1000), "bastion.toml"),
    ];
    for (text, word) in wrong {
        fs::write(bastion.settings(), text).unwrap();
        for command in ["check", "serve"] {
            let done = bastion.command(&[command]);
            assert_eq!(done.code, Some(1), "{command} {word}: {done:?}");
            // `check` reads all aloud, what is wrong among it.
            let told = done.text() + &done.err;
            assert!(told.contains(word) && told.contains("error: "), "{command}: {word:?} in {told:?}");
            assert!(done.err.lines().count() <= 4, "{:?}", done.err);
        }
    }
    fs::remove_file(bastion.settings()).unwrap();
    let done = bastion.command(&["serve"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("bastion init"), "the way out: {}", done.err);
}

#[test]
fn a_torn_store_still_opens_and_tells_what_is_missing() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "seq 100000"]).done().expect_ok("a recording");
    let whole = bastion.last_session_of("ana");
    bastion.stop();

    let id = whole["id"].as_str().unwrap();
    let files = tests::world::files_below(&bastion.data().join("recordings"));
    let sealed =
        files.iter().find(|file| file.to_string_lossy().contains(id)).expect("a finished session is sealed");
    let len = fs::metadata(sealed).unwrap().len();
    let text = sealed.to_string_lossy().into_owned();
    assert!(Command::new("chmod").args(["u+w", &text]).status().unwrap().success());
    fs::OpenOptions::new().write(true).open(sealed).unwrap().set_len(len / 2).unwrap();
    bastion.start_again();

    let mut export = bastion.program("replay", &["export", id]);
    let done = tests::world::Program::start_with(&mut export, std::process::Stdio::null()).done(SHORT);
    assert_ne!(done.code, Some(0), "half a recording is not a whole one");
    assert!(done.err.starts_with("error: ") || done.err.contains("error: "), "{:?}", done.err);
    ana.ssh(&["web1", "true"]).done().expect_ok("others go on");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let bastion = TestBastion::start();

    let mut second = bastion.program("bastion", &["serve", "--listen", "127.0.0.1:0"]);
    let done = tests::world::Program::start_with(&mut second, std::process::Stdio::null())
        .done(Duration::from_secs(30));

    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("error: "), "{:?}", done.err);
}

/// The hard limit of a process's file handles; none is without one.
fn handles_max(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok())
}
