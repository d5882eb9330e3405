//! The gateway: the real program, with settings, policy and targets of its own, and a provider to sign in at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Caller, Done, LONG, Program, SHORT, TestTarget, built, bytes_of, free_port, raw::code_of, scratch,
    target::greets, within,
};
use crate::provider::Provider;

/// Everyone may do everything.
const POLICY: &str = r#"
[[rule]]
name = "everyone"
action = "allow"
users = ["*"]
targets = ["*"]
"#;

/// What a gateway is set up with. [`Setup::start`] fills in what is not said.
#[derive(Default)]
pub struct Setup {
    policy: Option<String>,
    top: String,
    tables: String,
    keys: String,
    login: String,
    env: Vec<(String, String)>,
    targets: Vec<(String, String)>,
}

impl Setup {
    /// Another policy than that everyone may do everything.
    pub fn policy(mut self, text: &str) -> Setup {
        self.policy = Some(text.to_owned());
        self
    }

    /// Lines at the top of bastion.toml, above its tables.
    pub fn top(mut self, lines: &str) -> Setup {
        self.top += lines;
        self.top += "\n";
        self
    }

    /// Tables of bastion.toml.
    pub fn table(mut self, lines: &str) -> Setup {
        self.tables += lines;
        self.tables += "\n";
        self
    }

    /// Further lines of its `[keys]`.
    pub fn keys(mut self, lines: &str) -> Setup {
        self.keys += lines;
        self.keys += "\n";
        self
    }

    /// Further lines of its `[login]`.
    pub fn login(mut self, lines: &str) -> Setup {
        self.login += lines;
        self.login += "\n";
        self
    }

    /// A variable in the gateway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A target with this name, at this port of 127.0.0.1, pinned to this host key. The first one named is instead
    /// of `web1`, which is a [`TestTarget`].
    pub fn target(self, name: &str, port: u16, host_key: &str, more: &str) -> Setup {
        let login = TestTarget::login();
        let pin = if host_key.is_empty() { String::new() } else { format!("host_keys = [{host_key:?}]\n") };
        self.raw_target(
            name,
            &format!("address = \"127.0.0.1\"\nport = {port}\nlogins = [{login:?}]\n{pin}{more}\n"),
        )
    }

    /// A target with these lines in its table.
    pub fn raw_target(mut self, name: &str, lines: &str) -> Setup {
        self.targets.push((name.to_owned(), lines.to_owned()));
        self
    }

    /// Starts it, with a provider and a target of its own.
    #[track_caller]
    pub fn start(self) -> TestBastion {
        let target = TestTarget::start("");
        let own = self.targets.iter().all(|(name, _)| name != "web1");
        let setup = if own { self.target("web1", target.port(), &target.host_key(), "") } else { self };
        let bastion = setup.start_with(Provider::start(), Some(target));
        let key = bastion.gateway_key("web1");
        bastion.target().authorize(&key);
        bastion
    }

    /// Starts it with this provider, and with this target or none of its own.
    #[track_caller]
    pub fn start_with(self, provider: Provider, target: Option<TestTarget>) -> TestBastion {
        // By default a provider is asked every five seconds.
        provider.interval(1);
        let folder = scratch();
        let bastion = TestBastion {
            port: free_port(),
            env: self.env.clone(),
            provider,
            target: Mutex::new(target),
            running: Mutex::new(None),
            past: Mutex::new(String::new()),
            folder,
        };
        bastion.command(&["init", "."]).expect_ok("bastion init");
        bastion.write_policy(self.policy.as_deref().unwrap_or(POLICY));
        bastion.write_settings(&self);
        bastion.run();
        bastion
    }
}

/// Unless a test is about it, no address is turned away: all callers of all tests have the same.
fn with_many_failures(tables: &str) -> String {
    const MANY: &str = "failed_proofs = 100000";
    match tables.split_once("[limits]\n") {
        _ if tables.contains("failed_proofs") => tables.to_owned(),
        Some((before, after)) => format!("{before}[limits]\n{MANY}\n{after}"),
        None => format!("{tables}\n[limits]\n{MANY}\n"),
    }
}

/// A gateway that runs.
pub struct TestBastion {
    // The program goes first when this is dropped, its folder last.
    running: Mutex<Option<Program>>,
    port: u16,
    env: Vec<(String, String)>,
    provider: Provider,
    target: Mutex<Option<TestTarget>>,
    past: Mutex<String>,
    folder: TempDir,
}

impl TestBastion {
    /// Starts one, with a target called `web1` that everybody may reach.
    #[track_caller]
    pub fn start() -> TestBastion {
        Setup::default().start()
    }

    fn write_settings(&self, setup: &Setup) {
        let tables = setup.targets.iter().map(|(name, lines)| format!("[targets.{name}]\n{lines}\n"));
        let more = with_many_failures(&setup.tables);
        let text = format!(
            "data = \"data\"\npolicy = \"policy.toml\"\n{top}\n[listen]\nssh = \"127.0.0.1:{port}\"\n\n\
             [keys]\nmaster_key_file = \"master.key\"\n{keys}\n\
             [login]\nissuer = {issuer:?}\nclient_id = \"bastion\"\n{login}\n{more}\n{targets}",
            top = setup.top,
            keys = setup.keys,
            port = self.port,
            issuer = self.provider.issuer(),
            login = setup.login,
            targets = tables.collect::<String>(),
        );
        fs::write(self.settings(), text).unwrap();
    }

    #[track_caller]
    fn run(&self) {
        let mut command = self.program("bastion", &["serve"]);
        command.stdin(Stdio::null());
        let program = Program::keep(command);
        let (err, out) = (program.err.clone(), program.out.clone());
        within(LONG, "the gateway to greet", || {
            assert!(program.ended().is_none(), "it did not start: {}{}", out.text(), err.text());
            greets(self.port).then_some(())
        });
        *self.running.lock().unwrap() = Some(program);
    }

    /// One of our programs, told where the settings are.
    pub fn program(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(built(name));
        command.args(args).current_dir(self.folder.path());
        if name == "replay" {
            // It knows nothing of settings, and would ask any server of this machine.
            command.env("BASTION_DATA", self.data());
        }
        command
            .env("BASTION_CONFIG", self.settings())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `bastion ARGS` to its end.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Done {
        Program::start_with(&mut self.program("bastion", args), Stdio::null()).done(LONG)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its provider.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Its target, `web1`.
    ///
    /// # Panics
    /// If it was started without one.
    pub fn target(&self) -> impl std::ops::DerefMut<Target = TestTarget> + '_ {
        Held(self.target.lock().unwrap())
    }

    /// Its settings file.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("bastion.toml")
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Another policy, not in force before a reload.
    pub fn write_policy(&self, text: &str) {
        fs::write(self.folder.path().join("policy.toml"), text).unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.lock().unwrap().as_ref().expect("the gateway runs").pid()
    }

    /// All that it logged, in all its lives.
    pub fn log(&self) -> String {
        let now = self.running.lock().unwrap().as_ref().map(said).unwrap_or_default();
        self.past.lock().unwrap().clone() + &now
    }

    /// Waits until it has logged this.
    #[track_caller]
    pub fn logged(&self, text: &str) {
        within(SHORT, &format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    /// Memory that it holds, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the gateway runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has an RSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("the RSS is a number")
    }

    /// Its open file handles.
    pub fn handles(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the gateway runs").count()
    }

    /// Kills it as a power cut would, and starts nothing.
    pub fn kill(&self) {
        if let Some(program) = self.running.lock().unwrap().take() {
            program.kill();
            self.past.lock().unwrap().push_str(&said(&program));
        }
    }

    /// Tells it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&self) -> Done {
        let program = self.running.lock().unwrap().take().expect("the gateway runs");
        program.signal(Signal::TERM);
        let done = program.done(LONG);
        self.past.lock().unwrap().push_str(&said(&program));
        done
    }

    /// Starts it again, on the same data.
    #[track_caller]
    pub fn start_again(&self) {
        self.run();
    }

    /// Tells it to read targets and policy again. What comes of it stands in the log.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.lock().unwrap().as_ref().expect("the gateway runs").signal(signal);
    }

    /// Somebody who has not signed in yet.
    pub fn stranger(&self, name: &str) -> Caller {
        Caller::new(name, self.port)
    }

    /// Somebody who has signed in once, so that her key is enough from now on.
    #[track_caller]
    pub fn caller(&self, name: &str) -> Caller {
        let caller = self.stranger(name);
        self.sign_in(&caller);
        caller
    }

    /// A first sign-in: on a terminal, at the provider, as a person does it.
    #[track_caller]
    pub fn sign_in(&self, caller: &Caller) {
        let ssh = caller.ssh(&[":whoami"]).attended().on_terminal(100, 30);
        self.provider.approve_as(&user_code(&ssh), person(caller.name()));
        let done = press_enter_until_done(&ssh);
        assert_eq!(done.code, Some(0), "signing in: {}", done.text());
    }

    /// The line that the administrator of a target puts into authorized_keys, as `bastion target setup` prints it.
    #[track_caller]
    pub fn gateway_key(&self, target: &str) -> String {
        let told = self.command(&["target", "setup", target]).expect_ok("bastion target setup").text();
        let key = told.lines().find(|line| line.contains("ssh-ed25519 "));
        key.unwrap_or_else(|| panic!("no key in: {told}")).trim().to_owned()
    }

    /// All sessions, as `bastion sessions --json` tells them, the oldest first.
    #[track_caller]
    pub fn sessions(&self) -> Vec<Value> {
        let told = self.command(&["sessions", "--json"]).expect_ok("bastion sessions --json").text();
        let mut sessions: Vec<Value> = serde_json::from_str(&told).expect("it is a JSON list");
        sessions.sort_by_key(|session| session["id"].as_str().unwrap_or_default().to_owned());
        sessions
    }

    /// The sessions of one person, the oldest first.
    #[track_caller]
    pub fn sessions_of(&self, name: &str) -> Vec<Value> {
        self.sessions().into_iter().filter(|session| session["person"] == name).collect()
    }

    /// The last session of one person, once it has ended.
    #[track_caller]
    pub fn last_session_of(&self, name: &str) -> Value {
        within(SHORT, &format!("the last session of {name} to have ended"), || {
            self.sessions_of(name).pop().filter(|session| session["state"] != "live")
        })
    }

    /// What the recording of this session has as output: all of it, joined.
    #[track_caller]
    pub fn output_of(&self, session: &Value) -> String {
        String::from_utf8_lossy(&bytes_of(self, session).output).into_owned()
    }

    /// What the recording of this session has as input.
    #[track_caller]
    pub fn input_of(&self, session: &Value) -> String {
        String::from_utf8_lossy(&bytes_of(self, session).input).into_owned()
    }

    /// A recording as asciicast lines, as `replay export` prints it: its header, and its events.
    #[track_caller]
    pub fn cast(&self, session: &str) -> (Value, Vec<Value>) {
        let mut export = self.program("replay", &["export", session]);
        let told = Program::start_with(&mut export, Stdio::null()).done(LONG).expect_ok("replay export");
        let text = told.text();
        let mut lines = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
        (lines.next().expect("a recording has a header"), lines.collect())
    }

    /// Waits until its memory has not grown by more than `kib` over `before` for this long; answers the growth.
    #[track_caller]
    pub fn grows_less_than(&self, before: u64, kib: u64, watched: Duration) -> u64 {
        let began = Instant::now();
        let mut most = 0;
        within(watched * 4 + SHORT, "memory to be watched", || {
            most = most.max(self.rss_kib().saturating_sub(before));
            assert!(most < kib, "grown by {most} KiB, which is over {kib} KiB, from {before} KiB");
            (began.elapsed() >= watched).then_some(most)
        })
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The data of all events of one kind, joined.
pub fn joined(events: &[Value], kind: &str) -> String {
    events.iter().filter(|event| event[1] == kind).filter_map(|event| event[2].as_str()).collect()
}

/// The target of a gateway, while somebody looks at it.
struct Held<'t>(MutexGuard<'t, Option<TestTarget>>);

impl std::ops::Deref for Held<'_> {
    type Target = TestTarget;

    fn deref(&self) -> &TestTarget {
        self.0.as_ref().expect("the gateway has a target of its own")
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut TestTarget {
        self.0.as_mut().expect("the gateway has a target of its own")
    }
}

fn said(program: &Program) -> String {
    program.out.text() + &program.err.text()
}

/// What the provider knows of the person who goes by this name.
pub fn person(name: &str) -> Value {
    json!({ "sub": format!("id-of-{name}"), "preferred_username": name, "groups": ["people"],
            "email": format!("{name}@example.org"), "email_verified": true })
}

/// The code that a sign-in shows: two groups of letters, with a hyphen.
#[track_caller]
pub fn user_code(ssh: &Program) -> String {
    within(LONG, &format!("a code in {:?}", ssh.out.text()), || code_of(&ssh.out.text()))
}

/// Presses Enter at every prompt until the program has ended.
#[track_caller]
pub fn press_enter_until_done(ssh: &Program) -> Done {
    let (mut answered, began) = (0, Instant::now());
    while ssh.ended().is_none() {
        let text = ssh.out.text();
        assert!(began.elapsed() < LONG, "a sign-in that does not end: {}", text.escape_debug());
        let asked = text.matches("ress Enter").count();
        if asked > answered {
            answered = asked;
            // It may have ended since it asked.
            ssh.try_send("\r").ok();
        }
        ssh.out.wait_more(text.len(), Duration::from_millis(100));
    }
    ssh.done(SHORT)
}
