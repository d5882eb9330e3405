//! Signing in: at a real provider, with the clients that people have.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tests::{
    provider::{Provider, Sky},
    world::{
        Caller, LONG, Program, SHORT, Setup, TestBastion, files_below, have, person, press_enter_until_done,
        user_code, within,
    },
};

#[test]
fn a_person_signs_in_once_and_her_key_is_enough_afterwards() {
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");
    let unknown = alice.ssh(&["web1", "true"]).done();
    assert_eq!(unknown.code, Some(255), "a program cannot sign in: {}", unknown.err);

    let ssh = alice.ssh(&["web1", "echo in; exit 3"]).attended().on_terminal(100, 30);
    let code = user_code(&ssh);
    let shown = ssh.out.text();
    let facts = [bastion.provider().issuer(), "127.0.0.1", "SHA256:", "minutes"];
    facts.iter().for_each(|fact| assert!(shown.contains(fact), "{fact} in {shown}"));
    assert!(shown.contains(&format!("user_code={code}")), "the complete address: {shown}");
    bastion.provider().approve_as(&code, person("alice"));
    let done = press_enter_until_done(&ssh);
    assert_eq!(done.code, Some(3), "{}", done.text());
    assert!(done.text().contains("in\r\n") || done.text().contains("in\n"), "{}", done.text());

    bastion.provider().sky(Sky::Down);
    for _ in 0..3 {
        alice.ssh(&["web1", "true"]).done().expect_ok("without a prompt, and without the provider");
    }
    bastion.kill();
    bastion.start_again();
    alice.ssh(&["web1", "true"]).done().expect_ok("a sign-in outlives the server");
}

#[test]
fn who_has_no_key_signs_in_each_time() {
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");
    for _ in 0..2 {
        let ssh = alice.ssh(&["web1", "echo in"]).attended().options(&["-o", "PubkeyAuthentication=no"]);
        let ssh = ssh.on_terminal(100, 30);
        bastion.provider().approve_as(&user_code(&ssh), person("alice"));
        assert_eq!(press_enter_until_done(&ssh).code, Some(0));
    }
}

#[test]
fn a_sign_in_lasts_as_long_as_the_settings_say() {
    let bastion = Setup::default().login("binding = \"0s\"").start();
    let alice = bastion.caller("alice");

    assert_eq!(alice.ssh(&["web1", "true"]).done().code, Some(255), "it is asked for anew each time");
}

/// A client that does not begin anew by itself.
const ONCE: &[&str] = &["-o", "NumberOfPasswordPrompts=1"];

/// One sign-in that fails, and what the person saw.
#[track_caller]
fn fails(bastion: &TestBastion, caller: &Caller, rule: impl FnOnce(&Provider, &str)) -> String {
    let ssh = caller.ssh(&["web1", "echo reached"]).attended().options(ONCE).on_terminal(100, 30);
    let code = user_code(&ssh);
    rule(bastion.provider(), &code);
    let done = press_enter_until_done(&ssh);
    assert_eq!(done.code, Some(255), "{}", done.text());
    assert!(!done.text().contains("reached"), "{}", done.text());
    done.text()
}

#[test]
fn who_is_denied_or_too_late_is_told_and_does_not_get_in() {
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");

    let denied = fails(&bastion, &alice, |provider, code| provider.deny(code));
    assert!(denied.contains("denied"), "{denied}");
    let expired = fails(&bastion, &alice, |provider, code| provider.expire(code));
    assert!(expired.contains("expired"), "{expired}");

    assert_eq!(bastion.sessions_of("alice").len(), 0);
    assert_eq!(alice.ssh(&["web1", "true"]).done().code, Some(255), "nothing was bound");
}

#[test]
fn a_sign_in_as_somebody_else_reaches_no_target_and_tells_nothing_of_who_exists() {
    let bastion = TestBastion::start();
    bastion.caller("bea");
    let mallory = person("mallory");
    let before = bastion.target().log().matches("Connection from").count();

    let known = fails(&bastion, &bastion.stranger("bea"), |provider, code| {
        provider.approve_as(code, mallory.clone())
    });
    let unknown =
        fails(&bastion, &bastion.stranger("nobody"), |provider, code| provider.approve_as(code, mallory));

    let last = |text: &str| {
        let mut lines = text.lines().map(str::trim).filter(|line| line.contains("user name"));
        // OpenSSH puts the login and host in front of each prompt.
        lines.next_back().and_then(|line| line.split_once(") ")).unwrap_or_default().1.to_owned()
    };
    assert_eq!(last(&known), last(&unknown));
    assert!(!last(&known).is_empty(), "it is said why: {known}");
    assert!(!known.contains("mallory"), "{known}");
    bastion.logged("mallory");
    let dialled = bastion.target().log().matches("Connection from").count();
    assert_eq!(dialled, before, "no target was dialled: {}", bastion.target().log());
}

#[test]
fn a_provider_that_is_down_is_said_and_those_who_signed_in_go_on() {
    let bastion = TestBastion::start();
    let alice = bastion.caller("alice");

    for sky in [Sky::Down, Sky::Troubled] {
        bastion.provider().sky(sky);
        let bea = bastion.stranger("bea");
        let ssh = bea.ssh(&["web1", "true"]).attended().options(ONCE).on_terminal(100, 30);
        let done = press_enter_until_done(&ssh);
        assert_eq!(done.code, Some(255), "{}", done.text());
        assert!(done.text().contains("provider"), "{}", done.text());
        alice.ssh(&["web1", "true"]).done().expect_ok("who signed in before");
    }
    bastion.provider().sky(Sky::Clear);
    bastion.caller("bea");
}

#[test]
fn the_prompt_reaches_those_who_hide_everything_else() {
    let bastion = TestBastion::start();
    for quiet in [["-q", "-T"], ["-oLogLevel=ERROR", "-T"], ["-oLogLevel=QUIET", "-T"]] {
        let alice = bastion.stranger("alice");
        let ssh = alice.ssh(&["web1", "echo in"]).attended().options(&quiet).on_terminal(100, 30);
        let code = user_code(&ssh);
        assert!(ssh.out.text().contains(bastion.provider().issuer()), "{}", ssh.out.text());
        ssh.out.wait("press Enter: ", SHORT);
        // Too early is asked again, not failed.
        ssh.send("\r");
        ssh.out.wait("Not confirmed yet", SHORT);
        bastion.provider().approve_as(&code, person("alice"));
        let done = press_enter_until_done(&ssh);
        assert_eq!(done.code, Some(0), "{quiet:?}: {}", done.text());
    }
}

#[test]
fn a_setting_spares_the_key_press() {
    let bastion = Setup::default().login("prompt = \"none\"").start();
    let alice = bastion.stranger("alice");

    let ssh = alice.ssh(&["web1", "echo in"]).attended().options(&["-oLogLevel=INFO"]).on_terminal(100, 30);
    bastion.provider().approve_as(&user_code(&ssh), person("alice"));

    let done = ssh.done(LONG);
    assert_eq!(done.code, Some(0), "{}", done.text());
}

#[test]
fn a_caller_who_hangs_up_is_asked_for_no_more() {
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");
    let ssh = alice.ssh(&["web1", "true"]).attended().on_terminal(100, 30);
    user_code(&ssh);
    within(SHORT, "the first poll", || (!bastion.provider().seen().polls.is_empty()).then_some(()));

    ssh.kill();
    drop(ssh);

    // Once it is noticed, polls end: then none comes in four intervals.
    within(LONG, "the end of polling", || {
        let before = bastion.provider().seen().polls.len();
        let until = std::time::Instant::now() + Duration::from_secs(4);
        within(SHORT, "four intervals", || (std::time::Instant::now() >= until).then_some(()));
        (bastion.provider().seen().polls.len() == before).then_some(())
    });
}

#[test]
fn slow_down_is_obeyed() {
    let bastion = TestBastion::start();
    bastion.provider().slow_down(1);
    let alice = bastion.stranger("alice");
    let ssh = alice.ssh(&["web1", "true"]).attended().on_terminal(100, 30);
    let code = user_code(&ssh);

    within(LONG, "three polls", || (bastion.provider().seen().polls.len() >= 3).then_some(()));
    bastion.provider().approve_as(&code, person("alice"));
    assert_eq!(press_enter_until_done(&ssh).code, Some(0));

    let polls = bastion.provider().seen().polls;
    let gaps: Vec<u64> = polls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 5_500), "an interval of 1 s, and 5 s more: {gaps:?}");
}

#[test]
fn no_token_and_no_device_code_is_kept_or_logged() {
    let bastion = Setup::default().table("[log]\nfilter = \"trace\"").start();
    let alice = bastion.caller("alice");
    alice.ssh(&["web1", "true"]).done().expect_ok("a session");
    let secrets = bastion.provider().seen().secrets;
    assert!(secrets.len() >= 3, "a device code, an ID token, an access token: {}", secrets.len());

    let log = bastion.log();
    let key = std::fs::read_to_string(alice.path("id")).unwrap();
    let middle = key.lines().nth(2).unwrap();
    for secret in secrets.iter().map(String::as_str).chain([middle]) {
        // A token's signature alone is a token's worth.
        let tail = &secret[secret.len().saturating_sub(40)..];
        assert!(!log.contains(tail), "a secret in the log");
        for file in files_below(&bastion.data()) {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let found = bytes.windows(tail.len()).any(|window| window == tail.as_bytes());
            assert!(!found, "a secret in {}", file.display());
        }
    }
}

#[test]
fn plink_gets_in() {
    assert!(have("plink"), "tests/run installs putty-tools");
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");
    let key = alice.path("id.ppk");
    let id = alice.path("id");
    let made = Command::new("puttygen").arg(&id).args(["-O", "private", "-o"]).arg(&key).status();
    assert!(made.is_ok_and(|status| status.success()), "puttygen converts a key");
    let fingerprint = host_fingerprint(bastion.port());

    let words = |command: &str| -> Vec<String> {
        let port = bastion.port().to_string();
        let head = ["-ssh", "-no-antispoof", "-P", &port, "-l", "alice", "-hostkey", &fingerprint, "-i"];
        let mut words: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
        words.extend([key.to_string_lossy().into_owned(), "127.0.0.1".to_owned(), command.to_owned()]);
        words
    };
    let home = [("HOME".to_owned(), alice.path("").to_string_lossy().into_owned())];
    let plink = Program::on_terminal("plink", &words("web1 echo in; exit 5"), &home, 100, 30);
    bastion.provider().approve_as(&user_code(&plink), person("alice"));
    let done = press_enter_until_done(&plink);
    assert_eq!(done.code, Some(5), "{}", done.text());

    let mut bound = Command::new("plink");
    bound.arg("-batch").args(words("web1 echo in; exit 6")).env("HOME", alice.path(""));
    let done = Program::start_with(&mut bound, Stdio::null()).done(LONG);
    assert_eq!((done.code, done.text().as_str()), (Some(6), "in\n"), "{}", done.err);
}

#[test]
fn a_program_whose_key_is_not_bound_fails_at_once_and_the_banner_says_what_to_do() {
    let banner = "To sign in: ssh -t NAME@bastion.example :login";
    let bastion = Setup::default().table(&format!("[ssh]\nbanner = {banner:?}\n")).start();
    let alice = bastion.stranger("alice");
    let ssh = |options: &[&str]| alice.ssh(&["web1", "true"]).options(options).done();
    let denied = "alice@127.0.0.1: Permission denied (keyboard-interactive).";

    // As docs/login.md has it.
    let shown = [
        (ssh(&["-o", "LogLevel=INFO"]), format!("{banner}\n{denied}")),
        (ssh(&[]), denied.to_owned()),
        (ssh(&["-q"]), String::new()),
    ];
    for (done, shown) in shown {
        // What ssh says of a host that it has not met before is no matter here.
        let told =
            done.err.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Warning: "));
        let lines: Vec<&str> = told.collect();
        assert_eq!((done.code, lines.join("\n")), (Some(255), shown), "{done:?}");
    }

    let key = alice.path("id.ppk");
    let made =
        Command::new("puttygen").arg(alice.path("id")).args(["-O", "private", "-o"]).arg(&key).status();
    assert!(made.is_ok_and(|status| status.success()), "puttygen converts a key");
    let mut plink = Command::new("plink");
    plink.args(["-ssh", "-batch", "-P", &bastion.port().to_string(), "-l", "alice", "-hostkey"]);
    plink.arg(host_fingerprint(bastion.port())).arg("-i").arg(&key).args(["127.0.0.1", "web1", "true"]);
    let done = Program::start_with(plink.env("HOME", alice.path("")), Stdio::null()).done(SHORT);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("Cannot answer interactive prompts in batch mode"), "{done:?}");
}

/// Tries two keys with paramiko, one after the other, as its SSHClient does; says with which it is in.
const PARAMIKO: &str = r#"
import sys, paramiko
port, transport = int(sys.argv[1]), {"usual": paramiko.Transport, "new": paramiko.ServiceRequestingTransport}[sys.argv[2]]
for files in [[sys.argv[3]], sys.argv[3:]]:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    try:
        options = dict(allow_agent=False, look_for_keys=False, transport_factory=transport)
        client.connect("127.0.0.1", port, "alice", key_filename=files, **options)
        print("in with", len(files), flush=True)
    except Exception as fault:
        print(type(fault).__name__, len(files), flush=True)
    finally:
        client.close()
"#;

/// As docs/login.md has it: it asks for the service anew before the second key, which russh does not answer.
#[test]
fn paramiko_gets_in_with_its_first_key_and_with_its_second_only_by_its_newer_transport() {
    let grace = "[ssh]\nmacs = [\"hmac-sha2-256-etm@openssh.com\", \"hmac-sha2-256\"]\n[limits]\nlogin_grace = \"3s\"";
    let bastion = Setup::default().table(grace).start();
    let (alice, other) = (bastion.caller("alice"), bastion.stranger("alice"));
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with paramiko, as tests/run installs it");
    let tried = |transport: &str, files: [&Path; 2]| {
        let mut client = Command::new(&python);
        client.args(["-W", "ignore", "-c", PARAMIKO, &bastion.port().to_string(), transport]).args(files);
        Program::start_with(&mut client, Stdio::null()).done(LONG).text()
    };

    let (bound, unbound) = (alice.path("id"), other.path("id"));
    assert_eq!(tried("usual", [&bound, &unbound]), "in with 1\nin with 2\n");
    let second = tried("usual", [&unbound, &bound]);
    assert!(!second.contains("in with"), "{second}");
    assert!(
        tried("new", [&unbound, &bound]).ends_with("in with 2\n"),
        "{}",
        tried("new", [&unbound, &bound])
    );
}

/// What ssh-keygen calls the gateway's host key.
fn host_fingerprint(port: u16) -> String {
    let scan = format!("ssh-keyscan -t ed25519 -p {port} 127.0.0.1 2>/dev/null | ssh-keygen -lf -");
    let told = Command::new("sh").args(["-c", &scan]).output().unwrap();
    String::from_utf8_lossy(&told.stdout).split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// Signs in with asyncssh: the code goes to standard output, Enter is pressed for every prompt.
const ASYNCSSH: &str = r#"
import asyncio, sys, warnings
warnings.filterwarnings("ignore")
import asyncssh

class Person(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ""

    async def kbdint_challenge_received(self, name, instructions, lang, prompts):
        print(name, instructions, *(prompt for prompt, _ in prompts), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        return ["" for _ in prompts]

async def main():
    port, key, exchanges = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    options = dict(kex_algs=exchanges or (), username="alice", client_keys=[key], known_hosts=None, client_factory=Person)
    async with asyncssh.connect("127.0.0.1", port, **options) as connection:
        done = await connection.run("web1 cat; exit 7", input="through asyncssh")
        print("<%s> %s" % (done.stdout, done.exit_status), flush=True)

asyncio.run(main())
"#;

#[test]
fn asyncssh_gets_in() {
    with_asyncssh(&std::env::var("PY").unwrap_or_else(|_| "/usr/bin/python3".to_owned()), &[]);
}

#[test]
fn a_client_with_post_quantum_key_exchange_gets_in_with_it_alone() {
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with asyncssh 2.24, as tests/run installs it");
    with_asyncssh(&python, &["mlkem768x25519-sha256"]);
}

fn with_asyncssh(python: &str, exchanges: &[&str]) {
    let bastion = TestBastion::start();
    let alice = bastion.stranger("alice");
    let mut command = Command::new(python);
    command.args(["-W", "ignore", "-c", ASYNCSSH, &bastion.port().to_string()]).arg(alice.path("id"));
    let client = Program::start(command.args(exchanges));

    bastion.provider().approve_as(&user_code(&client), person("alice"));
    // Each prompt is answered with a line; more lines than prompts are left unread.
    client.send("\n".repeat(200));
    let done = client.done(LONG);
    assert!(done.text().contains("<through asyncssh> 7"), "{} {}", done.text(), done.err);
}
