//! The list of targets that is typed in, as `ssh -t alice@bastion` shows it, and the process that draws it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tests::{
    provider::Provider,
    world::{
        Caller, LONG, Program, SHORT, Setup, TestBastion, TestTarget,
        raw::{Answer, Key, Raw, Words, msg, sign_in},
        within,
    },
};

const PROMPT: &str = "target> ";
/// The last thing that is drawn, however narrow the screen is.
const DRAWN: &str = "Enter opens";
/// What a login is not called at the target.
const NOBODY: &str = "nosuchlogin";

/// A gateway with three names for one machine, and on `db1` a default login that the machine does not have.
fn start(more: Setup) -> TestBastion {
    let target = TestTarget::start("");
    let (port, key, login) = (target.port(), target.host_key(), TestTarget::login());
    let at = format!("address = \"127.0.0.1\"\nport = {port}\nhost_keys = [{key:?}]\n");
    let setup = more
        .raw_target("web1", &format!("{at}logins = [{login:?}]\nlabels = {{ env = \"prod\" }}\n"))
        .raw_target("web2", &format!("{at}logins = [{login:?}]\nlabels = {{ env = \"test\" }}\n"))
        .raw_target("db1", &format!("{at}logins = [{NOBODY:?}, {login:?}]\n"));
    let bastion = setup.start_with(Provider::start(), Some(target));
    let key = bastion.gateway_key("web1");
    bastion.target().authorize(&key);
    bastion
}

fn house() -> &'static TestBastion {
    static HOUSE: OnceLock<TestBastion> = OnceLock::new();
    HOUSE.get_or_init(|| start(Setup::default()))
}

/// Calls without naming a target, and waits for the list.
fn list(caller: &Caller, cols: u16, rows: u16) -> Program {
    let no_target: [&str; 0] = [];
    let ssh = caller.ssh(&no_target).options(&["-t"]).on_terminal(cols, rows);
    ssh.out.wait(DRAWN, SHORT);
    ssh
}

#[test]
fn typing_narrows_the_list_and_enter_opens_with_what_was_typed_ahead() {
    let ida = house().caller("ida");

    let ssh = list(&ida, 80, 24);
    ssh.send("web te\rexpr 20 + 3; echo $((40 + 2))\r");
    let at = ssh.out.wait("\r\n23\r\n", SHORT);
    let at = ssh.out.wait_from(at, "42\r\n", SHORT);
    ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send("exit 5\r");
    assert_eq!(ssh.done(SHORT).code, Some(5));

    assert_eq!(house().last_session_of("ida")["target"], "web2");
}

/// Wherever the network cuts it: what the list's process has read, what lies in its terminal, and what has not come
/// so far are joined in order.
#[test]
fn what_is_typed_in_single_keys_while_the_list_closes_arrives_whole() {
    let iva = house().caller("iva");

    for round in 0..5 {
        let ssh = list(&iva, 80, 24);
        let typed = format!("web1\recho {}-{round}; exit\r", "abcdefghij".repeat(8));
        for key in typed.as_bytes() {
            ssh.send([*key]);
        }
        let done = ssh.done(SHORT);
        assert!(
            done.text().contains(&format!("\n{}-{round}\r\n", "abcdefghij".repeat(8))),
            "{}",
            done.text()
        );
    }
}

#[test]
fn tab_turns_to_another_login() {
    let ike = house().caller("ike");

    let ssh = list(&ike, 80, 24);
    ssh.out.wait(&format!("[{NOBODY}] {}", TestTarget::login()), SHORT);
    ssh.send("db1\t\r");
    ssh.out.wait(PROMPT, SHORT);
    ssh.send("exit\r");
    assert_eq!(ssh.done(SHORT).code, Some(0));
    let session = house().last_session_of("ike");
    assert_eq!(
        (session["target"].as_str(), session["login"].as_str()),
        (Some("db1"), Some(&*TestTarget::login()))
    );
}

#[test]
fn escape_and_ctrl_c_leave_and_give_the_screen_back() {
    let jan = house().caller("jan");

    for key in ["\x1b", "\x03", "web\x03"] {
        let ssh = list(&jan, 80, 24);
        ssh.send(key);
        let done = ssh.done(SHORT);
        assert_eq!(done.code, Some(0), "{key:?}: {}", done.text());
        assert!(
            done.text().contains("\x1b[?1049h") && done.text().contains("\x1b[?1049l"),
            "{}",
            done.text()
        );
    }
    assert!(house().sessions_of("jan").is_empty());
}

#[test]
fn the_list_follows_the_window_and_the_target_gets_its_last_size() {
    let jon = house().caller("jon");

    let ssh = list(&jon, 80, 24);
    let at = ssh.out.wait("LABELS", SHORT);
    ssh.resize(20, 5);
    let at = ssh.out.wait_from(at, "Enter opens  Tab oth", SHORT);
    ssh.resize(101, 30);
    let at = ssh.out.wait_from(at, "LABELS", SHORT);
    ssh.resize(20, 5);
    let at = ssh.out.wait_from(at, "Enter opens  Tab oth", SHORT);
    ssh.send("web1\rstty size; exit\r");
    ssh.out.wait_from(at, "\n5 20\r\n", SHORT);
    ssh.done(SHORT);
}

#[test]
fn a_terminal_too_small_for_it_gets_the_numbered_list() {
    let kai = house().caller("kai");

    let no_target: [&str; 0] = [];
    let ssh = kai.ssh(&no_target).options(&["-t"]).on_terminal(19, 4);
    ssh.out.wait("number or name", SHORT);
    ssh.send("web2\rexit 6\r");
    assert_eq!(ssh.done(SHORT).code, Some(6));
    assert_eq!(house().last_session_of("kai")["target"], "web2");
}

#[test]
fn what_was_used_last_stands_first_and_says_when() {
    let bastion = start(Setup::default());
    let (lea, max) = (bastion.caller("lea"), bastion.caller("max"));

    let ssh = list(&lea, 80, 24);
    assert!(!ssh.out.text().contains("just now"), "{}", ssh.out.text());
    ssh.send("web2\rexit\r");
    ssh.done(SHORT);

    bastion.stop();
    bastion.start_again();
    let ssh = list(&lea, 80, 24);
    ssh.out.wait("just now", SHORT);
    // At the top now, so Enter alone will do.
    ssh.send("\rexit 7\r");
    assert_eq!(ssh.done(SHORT).code, Some(7));
    assert_eq!(bastion.last_session_of("lea")["target"], "web2");

    let ssh = list(&max, 80, 24);
    assert!(!ssh.out.text().contains("just now"), "another person's use: {}", ssh.out.text());
    ssh.send("\x03");
    ssh.done(SHORT);
}

#[test]
fn ten_thousand_targets_are_typed_in() {
    let mut setup = Setup::default();
    for at in 0..10_000 {
        setup = setup.raw_target(&format!("host{at:05}"), "address = \"192.0.2.1\"\nlogins = [\"root\"]\n");
    }
    let bastion = start(setup);
    let mia = bastion.caller("mia");

    let no_target: [&str; 0] = [];
    let ssh = mia.ssh(&no_target).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait("10003 of 10003", LONG);
    ssh.send("host 0777");
    // Its name is drawn anew, for it is the chosen one now.
    ssh.out.wait_from(at, "host00777", SHORT);
    ssh.send("\x15web1\rexit 8\r");
    assert_eq!(ssh.done(SHORT).code, Some(8));
}

/// The processes that draw lists for this gateway.
fn children(bastion: &TestBastion) -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&bastion.pid().to_string())
    };
    pids.filter(is_child).collect()
}

/// A gateway of its own, a caller who looks at the list, and the process that draws it.
fn looking() -> (TestBastion, Caller, Program, i32) {
    let bastion = start(Setup::default());
    let nia = bastion.caller("nia");
    let ssh = list(&nia, 80, 24);
    let pid = match children(&bastion)[..] {
        [one] => one,
        ref others => panic!("one process draws, found {others:?}"),
    };
    (bastion, nia, ssh, pid)
}

/// Gone, and reaped by its parent; whoever inherits an orphan may take its time.
fn is_gone(pid: i32, orphan: bool) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    orphan && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[test]
fn the_process_ends_when_the_client_is_gone() {
    let (_bastion, _nia, ssh, pid) = looking();

    ssh.kill();

    within(SHORT, "the end of the process", || is_gone(pid, false).then_some(()));
}

#[test]
fn the_process_ends_when_the_gateway_is_killed() {
    let (bastion, _nia, _ssh, pid) = looking();

    bastion.kill();

    within(SHORT, "the end of the process", || is_gone(pid, true).then_some(()));
}

#[test]
fn a_process_that_dies_is_told_and_the_screen_given_back() {
    let (bastion, _nia, ssh, pid) = looking();

    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();

    let done = ssh.done(SHORT);
    assert_eq!(done.code, Some(70), "{}", done.text());
    let (_, after) =
        done.text().rsplit_once("\x1b[?1049l").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(after.contains("bastion: the list of targets failed"), "{after:?}");
    bastion.logged("the list of targets: signal: 9");
    within(SHORT, "the process to be reaped", || is_gone(pid, false).then_some(()));
}

#[test]
fn a_paste_that_the_process_does_not_read_is_refused_whole() {
    let (_bastion, _nia, ssh, pid) = looking();

    kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    // The caller's terminal takes it in pieces, and less of it once she is refused.
    drop((0..100).try_for_each(|_| ssh.try_send("x".repeat(1000))));

    let done = ssh.done(SHORT);
    assert_eq!(done.code, Some(64), "{}", done.text());
    assert!(done.text().contains("bastion: more than 65536 bytes were typed"), "{}", done.text());
    within(SHORT, "the end of the process", || is_gone(pid, false).then_some(()));
}

/// A gateway of its own that closes a list soon.
fn impatient() -> TestBastion {
    start(Setup::default().table("[limits]\nlist_idle = \"3s\""))
}

#[test]
fn a_list_at_which_nobody_types_is_closed_and_the_process_ends() {
    let bastion = impatient();
    let ona = bastion.caller("ona");
    let ssh = list(&ona, 80, 24);
    let pid = children(&bastion)[0];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let at = ssh.out.text().len();
        ssh.send("zzz\x15");
        within(SHORT, "the list to follow", || (ssh.out.text().len() > at).then_some(()));
    }

    let done = ssh.done(SHORT);
    assert_eq!(done.code, Some(75), "{}", done.text());
    let (_, after) =
        done.text().rsplit_once("\x1b[?1049l").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(after.contains("bastion: closed, for nothing was typed for 3 s"), "{after:?}");
    within(SHORT, "the end of the process", || is_gone(pid, false).then_some(()));
}

/// Nobody takes all places: who has many lists open gets the next one as numbers, and others get theirs.
#[test]
fn one_person_has_so_many_lists_and_others_have_theirs() {
    let bastion = start(Setup::default());
    let (pam, quin) = (bastion.caller("pam"), bastion.caller("quin"));
    let lists: Vec<Program> = (0..8).map(|_| list(&pam, 80, 24)).collect();

    let no_target: [&str; 0] = [];
    let ninth = pam.ssh(&no_target).options(&["-t"]).on_terminal(80, 24);
    ninth.out.wait("number or name", SHORT);
    bastion.logged("8 of one person");
    assert_eq!(children(&bastion).len(), 8);
    let others = list(&quin, 80, 24);

    for ssh in lists.iter().chain([&others]) {
        ssh.send("\x03");
    }
    within(SHORT, "their end", || children(&bastion).is_empty().then_some(()));
    list(&pam, 80, 24);
}

#[test]
fn a_client_that_stops_reading_holds_a_process_no_longer_than_one_that_stops_typing() {
    let bastion = impatient();
    let key = Key::of(1);
    drop(sign_in(&bastion, "rae", &key));
    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.prove("rae", &key), Answer::Success);
    // It takes so many bytes, and never more.
    let open = Words::of(msg::CHANNEL_OPEN).string("session").number(0).number(64).number(1 << 15);
    raw.send(&open.done()).unwrap();
    let confirmed = raw.hear_kind(msg::CHANNEL_OPEN_CONFIRMATION);
    let channel = u32::from_be_bytes(confirmed[5..9].try_into().unwrap());
    let request = |what: &str| Words::of(msg::CHANNEL_REQUEST).number(channel).string(what).truth(true);
    let size = request("pty-req").string("xterm").number(80).number(24).number(0).number(0);
    raw.send(&size.string([0]).done()).unwrap();
    raw.send(&request("shell").done()).unwrap();
    let pid = within(SHORT, "a process that draws", || children(&bastion).first().copied());

    within(SHORT, "the end of the process", || is_gone(pid, false).then_some(()));
    bastion.logged("nothing was typed for 3 s");
    assert!(raw.lives(SHORT), "the connection goes on");
    assert_eq!(children(&bastion).len(), 0);
}

#[test]
fn the_process_has_no_secret_no_file_and_narrow_limits() {
    const SECRET: &str = "a-secret-of-the-gateways";
    let setup =
        Setup::default().env("BASTION_TEST_SECRET", SECRET).env("CREDENTIALS_DIRECTORY", "/run/credentials");
    let bastion = start(setup);
    let oda = bastion.caller("oda");
    let ssh = list(&oda, 80, 24);
    let pid = children(&bastion)[0];
    let of = |what: &str| {
        fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_else(|fault| panic!("{fault}"))
    };

    let status = of("status");
    for line in ["NoNewPrivs:\t1", "Threads:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let limits = of("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    assert_eq!(limit("Max address space"), ["536870912", "536870912"]);
    assert_eq!(limit("Max processes"), ["0", "0"]);
    assert_eq!(limit("Max file size"), ["0", "0"]);
    assert_eq!(limit("Max open files"), ["32", "32"]);
    assert_eq!(limit("Max cpu time"), ["120", "120"]);

    // Nobody else may look any deeper: only who may trace every process.
    let looked = fs::read(format!("/proc/{pid}/environ"));
    if rustix::process::geteuid().is_root() {
        holds_nothing(pid, &looked.unwrap());
    } else {
        assert_eq!(looked.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }

    ssh.send("\x03");
    assert_eq!(ssh.done(SHORT).code, Some(0));
    bastion.logged("text interfaces are confined by limits");
}

/// Its environment is harmless, and what it has open is its terminal, pipes, and what waiting takes.
#[track_caller]
fn holds_nothing(pid: i32, environment: &[u8]) {
    let environment = String::from_utf8_lossy(environment);
    let names: Vec<&str> =
        environment.split_terminator('\0').filter_map(|pair| pair.split('=').next()).collect();
    let harmless = |name: &&str| matches!(*name, "TERM" | "COLORTERM" | "LANG") || name.starts_with("LC_");
    assert!(names.contains(&"TERM") && names.iter().all(harmless), "{names:?}");
    let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .map(|fd| fs::read_link(fd.path()).unwrap())
        .collect();
    // What the gateway itself was started with may be among them, from whoever ran this test: devices and pipes.
    let kinds = ["pipe:", "anon_inode:", "socket:", "/dev/"];
    let is_plain = |path: &PathBuf| kinds.iter().any(|kind| path.to_string_lossy().starts_with(kind));
    assert!(open.iter().all(is_plain), "{open:?}");
    // The two ends with which it hears signals, and nobody's connection.
    let sockets: BTreeSet<&PathBuf> =
        open.iter().filter(|path| path.to_string_lossy().starts_with("socket:")).collect();
    assert!(sockets.len() <= 2, "{open:?}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
}
