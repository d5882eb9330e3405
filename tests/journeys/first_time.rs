//! From nothing to work done, as somebody does it who has the README and docs/automation.md and nothing else: a person, a job
//! of cron's, and Ansible.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tests::{
    provider::{ALICE, Person, Provider},
    world::{
        Caller, Done, LONG, Program, SHORT, TestTarget, built, free_port, project, scratch, user_code, within,
    },
};

/// The person whom the job of cron's runs as: an account of its own at the provider.
const BACKUP: Person = Person { sub: "b4c2", name: "backup", groups: &["sre"] };

/// What a new user has set up by the README.
struct Home {
    server: Program,
    provider: Provider,
    target: TestTarget,
    port: u16,
    folder: TempDir,
}

/// Whatever is typed here stands in the documents.
#[track_caller]
fn documented(line: &str) {
    let documents = ["README.md", "docs/automation.md", "docs/commands.md"];
    let found = |file: &&str| fs::read_to_string(project().join(file)).unwrap().contains(line);
    assert!(documents.iter().any(found), "{line:?} is in none of {documents:?}");
}

impl Home {
    /// "Setting it up for real", line by line.
    fn set_up(login: &str) -> Home {
        let (folder, port) = (scratch(), free_port());
        let (provider, target) = (Provider::start(), TestTarget::start(""));
        provider.interval(1);
        let at = folder.path().join("bastion");
        documented("bastion init ~/bastion && cd ~/bastion");
        let mut init = Command::new(built("bastion"));
        Program::start_with(init.arg("init").arg(&at), Stdio::null()).done(LONG).expect_ok("bastion init");

        documented("$EDITOR bastion.toml");
        let settings = fs::read_to_string(at.join("bastion.toml")).unwrap();
        let edited = settings
            .replace("0.0.0.0:2222", &format!("127.0.0.1:{port}"))
            .replace("https://id.example", provider.issuer())
            .replace("# binding = \"8h\"", &format!("{login}\n# binding = \"8h\""));
        let login = TestTarget::login();
        let web1 = format!(
            "\n[targets.web1]\naddress = \"127.0.0.1\"\nport = {}\nlogins = [{login:?}]\ndefault_login = {login:?}\n",
            target.port()
        );
        fs::write(at.join("bastion.toml"), edited + &web1).unwrap();
        let server = Program::start_with(&mut Command::new("true"), Stdio::null());
        let mut home = Home { server, provider, target, port, folder };

        let told = home.bastion("bastion target setup web1").expect_ok("target setup").text();
        let line = told.lines().find(|line| line.contains("ssh-ed25519 ")).unwrap();
        home.target.authorize(line.trim());
        home.pin();
        home.bastion("bastion check").expect_ok("check");
        let told = home.bastion("bastion explain --user alice --groups sre --target web1");
        assert!(told.expect_ok("explain").text().contains("sre-everywhere"));

        documented("bastion serve");
        let mut serve = Command::new(built("bastion"));
        serve.arg("serve").current_dir(home.at());
        home.server = Program::keep(serve);
        home.server.err.wait("listening", LONG);
        home
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("bastion")
    }

    /// A line of the README, in the folder that it says.
    #[track_caller]
    fn bastion(&self, line: &str) -> Done {
        documented(line);
        let mut command = Command::new(built("bastion"));
        command.args(line.split(' ').skip(1)).current_dir(self.at());
        Program::start_with(&mut command, Stdio::null()).done(LONG)
    }

    /// `bastion target pin web1`, on a terminal, where the fingerprint is compared.
    #[track_caller]
    fn pin(&self) {
        documented("bastion target pin web1");
        let (program, config) = (built("bastion"), self.at().join("bastion.toml"));
        let env = [("BASTION_CONFIG".to_owned(), config.display().to_string())];
        let words = ["target", "pin", "web1"].map(str::to_owned);
        let pin = Program::on_terminal(&program.display().to_string(), &words, &env, 120, 30);
        pin.out.wait(&self.target.fingerprint(), LONG);
        pin.send("yes\r");
        pin.done(LONG).expect_ok("target pin");
    }

    /// Somebody with the block of `bastion ssh-config` in her `~/.ssh/config`.
    fn person(&self, name: &str) -> Caller {
        documented("bastion ssh-config --user alice --host bastion.example");
        let caller = Caller::new(name, self.port);
        let mut command = Command::new(built("bastion"));
        command.args(["ssh-config", "--user", name, "--host", "127.0.0.1", "--port", &self.port.to_string()]);
        let block = Program::start_with(command.current_dir(self.at()), Stdio::null()).done(LONG);
        let block = block.expect_ok("bastion ssh-config").text();
        fs::write(caller.config(), fs::read_to_string(caller.config()).unwrap() + &block).unwrap();
        caller
    }

    /// `ssh -t NAME@bastion :login`, at a terminal and in a browser.
    #[track_caller]
    fn login(&self, caller: &Caller, person: &Person) {
        documented("ssh -t alice@bastion :login");
        let ssh = caller.ssh(&[":login"]).attended().options(&["-t"]).on_terminal(100, 30);
        self.provider.approve(&user_code(&ssh), person);
        ssh.send("\r");
        let done = ssh.done(LONG);
        assert_eq!(done.code, Some(0), "{}", done.text());
    }
}

/// A command line of a user's, `bastion` and its port in place, with her files.
fn typed(caller: &Caller, line: &str) -> Command {
    documented(line);
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.arg("-F").arg(caller.config()).args(words);
    command
}

#[test]
fn a_person_gets_from_nothing_to_a_shell_files_and_out_again() {
    let home = Home::set_up("");
    let alice = home.person("alice");

    documented("ssh -t alice@bastion web1");
    let ssh = alice.ssh(&["web1"]).attended().options(&["-t"]).on_terminal(100, 30);
    let code = user_code(&ssh);
    let shown = ssh.out.text();
    assert!(shown.contains("To sign in, open") && shown.contains(home.provider.issuer()), "{shown}");
    home.provider.approve(&code, &ALICE);
    let at = ssh.out.wait("press Enter: ", SHORT);
    ssh.send("\r");
    let at = ssh.out.wait_from(at, "target> ", LONG);
    ssh.send("echo $((6*7))-here; exit 3\r");
    ssh.out.wait_from(at, "42-here", SHORT);
    assert_eq!(ssh.done(SHORT).code, Some(3));

    let told = Program::start_with(&mut typed(&alice, "ssh web1 uptime"), Stdio::null()).done(LONG);
    assert!(told.expect_ok("ssh web1 uptime").text().contains("load average"));
    fs::write(alice.path("notes"), "carried over").unwrap();
    let lines = alice.path("batch");
    let remote = home.target.home().join("notes");
    fs::write(&lines, format!("put {} {}\n", alice.path("notes").display(), remote.display())).unwrap();
    let mut sftp = Command::new("sftp");
    sftp.arg("-q").arg("-F").arg(alice.config()).arg("-b").arg(&lines).arg("web1");
    Program::start_with(&mut sftp, Stdio::null()).done(LONG).expect_ok("sftp web1");
    assert_eq!(fs::read_to_string(remote).unwrap(), "carried over");

    documented("ssh alice@bastion :logout");
    let out = alice.ssh(&[":logout"]).done().expect_ok(":logout").text();
    assert!(out.contains("signs nobody in any more"), "{out}");
    assert_eq!(alice.ssh(&["web1", "true"]).done().code, Some(255));
    let sessions = home.bastion("bastion sessions").expect_ok("sessions").text();
    assert!(sessions.matches("alice").count() >= 3, "{sessions}");
}

/// The line of a crontab, run as cron runs it: without a terminal, and with next to nothing in its environment.
fn cron(caller: &Caller) -> Done {
    let line = "ssh -o BatchMode=yes web1 df -P /";
    documented(line);
    let line = line.replace("ssh ", &format!("ssh -F {} ", caller.config().display()));
    let mut command = Command::new("/usr/bin/env");
    command.args(["-i", "SHELL=/bin/sh", "LOGNAME=backup", "PATH=/usr/bin:/bin"]);
    command.arg(format!("HOME={}", caller.path("").display())).args(["setsid", "-w", "/bin/sh", "-c", &line]);
    Program::start_with(&mut command, Stdio::null()).done(SHORT)
}

#[test]
fn a_job_of_crons_runs_with_a_bound_key_and_fails_at_once_without_one() {
    let home = Home::set_up("binding = \"15s\"");
    let backup = home.person("backup");
    let refused = |done: Done| {
        assert_eq!(done.code, Some(255), "{done:?}");
        assert_eq!(done.err.trim(), "backup/web1@127.0.0.1: Permission denied (keyboard-interactive).");
        documented("Permission denied (keyboard-interactive)");
    };
    refused(cron(&backup));
    let key = Command::new("ssh-keygen").arg("-lf").arg(backup.path("id")).output().unwrap();
    let key = String::from_utf8_lossy(&key.stdout).split(' ').nth(1).unwrap().to_owned();
    let cause = "the key does not sign in alone, and no sign-in was begun (a client in batch mode cannot)";
    documented(cause);
    let named = || {
        let log = home.server.err.text();
        log.lines().filter(|line| line.contains(cause) && line.contains(&key)).count()
    };
    within(SHORT, "key and cause in the log", || (named() == 1).then_some(()));

    home.login(&backup, &BACKUP);
    cron(&backup).expect_ok("with a bound key");
    // The binding runs out: the job fails by itself one day, and signing in again mends it.
    let late = within(LONG, "the binding to run out", || {
        let done = cron(&backup);
        (done.code != Some(0)).then_some(done)
    });
    refused(late);
    within(SHORT, "key and cause in the log", || (named() == 2).then_some(()));
    home.login(&backup, &BACKUP);
    cron(&backup).expect_ok("after :login");

    let revoked = home.bastion("bastion bindings revoke --user backup").expect_ok("revoke").text();
    assert!(revoked.contains(&key), "{revoked}");
    refused(cron(&backup));
    let trail = home.bastion("bastion audit --user backup --act sign-in-refused").expect_ok("audit").text();
    assert!(trail.contains(&key), "{trail}");
}

/// One of Ansible's programs, as `tests/run` installs them.
fn ansible(name: &str, caller: &Caller, args: &[&str]) -> Done {
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with ansible-core, as tests/run installs it");
    let mut command = Command::new(&python);
    // What `ansible` and `ansible-playbook` are, wherever the folder with them has been moved to.
    command.args(["-m", "ansible", name]).args(args);
    // Its control socket's path must fit into 108 bytes, its folder must be hers.
    command.env("HOME", caller.path("")).env("ANSIBLE_CONFIG", caller.path("ansible.cfg"));
    command.env("ANSIBLE_NOCOLOR", "1").env("LC_ALL", "C.UTF-8");
    Program::start_with(&mut command, Stdio::null()).done(LONG)
}

const PLAYBOOK: &str = r#"
- hosts: all
  gather_facts: true
  tasks:
    - name: a file
      copy: { src: notes, dest: "{{ ansible_env.HOME }}/copied-{{ way }}", mode: "0640" }
    - name: a command
      command: cat "{{ ansible_env.HOME }}/copied-{{ way }}"
      register: said
    - assert: { that: said.stdout == "carried over" }
"#;

#[test]
fn ansible_pings_and_copies_with_and_without_pipelining() {
    let home = Home::set_up("");
    let alice = home.person("alice");
    fs::write(alice.path("notes"), "carried over").unwrap();
    fs::write(alice.path("playbook.yml"), PLAYBOOK).unwrap();
    let path = |name: &str| alice.path(name).display().to_string();
    // By the names of her ssh_config, and without it.
    fs::write(alice.path("by-config"), "web1\n").unwrap();
    let line = "web1 ansible_host=bastion.example ansible_port=2222 ansible_user=alice%web1 ansible_remote_tmp=$HOME/.ansible/tmp";
    documented(line);
    let line = line.replace("bastion.example", "127.0.0.1").replace("2222", &home.port.to_string());
    fs::write(alice.path("by-user"), line).unwrap();
    let configure = |pipelining: bool| {
        let at = alice.path("").display().to_string();
        let text = format!(
            "[ssh_connection]\npipelining = {pipelining}\nssh_args = -F {at}config -o ControlMaster=auto -o ControlPersist=60s\n"
        );
        fs::write(alice.path("ansible.cfg"), text).unwrap();
    };
    configure(true);
    let ping = |inventory: &str| ansible("adhoc", &alice, &["all", "-i", &path(inventory), "-m", "ping"]);
    documented("ansible all -m ping");

    let refused = ping("by-config");
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.text().contains("UNREACHABLE!"), "{refused:?}");
    assert!(refused.text().contains("Permission denied (keyboard-interactive)"), "{refused:?}");

    home.login(&alice, &ALICE);
    for (inventory, pipelining) in
        [("by-config", true), ("by-config", false), ("by-user", true), ("by-user", false)]
    {
        configure(pipelining);
        let way = format!("{inventory}-{pipelining}");
        let pong = ping(inventory).expect_ok(&way);
        assert!(pong.text().contains("\"ping\": \"pong\""), "{pong:?}");
        let (playbook, said) = (path("playbook.yml"), format!("way={way}"));
        let args = ["-i", &path(inventory), &playbook, "-e", &said];
        let played = ansible("playbook", &alice, &args).expect_ok(&way);
        assert!(played.text().contains("unreachable=0    failed=0"), "{played:?}");
        let copied = fs::read_to_string(home.target.home().join(format!("copied-{way}"))).unwrap();
        assert_eq!(copied, "carried over");
    }
    let odd = alice.ssh(&["web1", "ls -d ./~* \"$HOME\"/~*"]).done();
    assert_eq!(odd.text(), "", "a folder that was to be a home");
}
