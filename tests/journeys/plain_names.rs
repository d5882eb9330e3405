//! The block that `bastion ssh-config` prints, in use: every tool by the target's plain name.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tests::world::{Caller, Done, LONG, Program, SHORT, noise};

use crate::house::house;

/// Her ssh_config: the block as it was printed, and below it what is her own.
fn config_of(caller: &Caller) -> String {
    let port = house().port().to_string();
    let words = ["ssh-config", "--user", caller.name(), "--host", "127.0.0.1", "--port", &port];
    let block = house().command(&words).expect_ok("bastion ssh-config").text();
    let own = fs::read_to_string(caller.config()).unwrap();
    let file = caller.path("with-bastion");
    fs::write(&file, block + "\n" + &own).unwrap();
    file.to_string_lossy().into_owned()
}

#[track_caller]
fn run(program: &str, args: &[&str]) -> Done {
    let mut command = Command::new(program);
    Program::start_with(command.args(args), Stdio::null()).done(LONG)
}

/// A folder of her own in the target's home.
fn folder_of(caller: &Caller) -> PathBuf {
    let folder = house().target().home().join(caller.name());
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn ssh_goes_by_a_plain_name_with_a_terminal_and_without() {
    let uma = house().caller("uma");
    let config = config_of(&uma);

    let done = run("ssh", &["-F", &config, "web1", "echo plain; exit 3"]);
    assert_eq!((done.code, done.text().as_str(), done.err.as_str()), (Some(3), "plain\n", ""));

    let words = ["-F", &config, "web1"].map(str::to_owned);
    let env = [("TERM".to_owned(), "xterm-256color".to_owned())];
    let shell = Program::on_terminal("ssh", &words, &env, 90, 30);
    let at = shell.out.wait("target> ", SHORT);
    shell.send("stty size; exit 4\r");
    shell.out.wait_from(at, "\n30 90\r\n", SHORT);
    assert_eq!(shell.done(SHORT).code, Some(4));
    assert_eq!(house().last_session_of("uma")["channel"], "terminal");
}

#[test]
fn files_go_by_a_plain_name_with_scp_sftp_and_rsync() {
    let val = house().caller("val");
    let (config, there) = (config_of(&val), folder_of(&val));
    let (from, bytes) = (val.path("from").to_string_lossy().into_owned(), noise(11, 300_000));
    fs::write(&from, &bytes).unwrap();
    let here = |name: &str| val.path(name).to_string_lossy().into_owned();
    let at = |name: &str| there.join(name).to_string_lossy().into_owned();
    let on_web1 = |name: &str| format!("web1:{}", at(name));
    let arrived = |name: &str| {
        assert_eq!(fs::read(there.join(name)).unwrap(), bytes, "{name}, up");
        assert_eq!(fs::read(val.path(name)).unwrap(), bytes, "{name}, down");
    };

    run("scp", &["-q", "-F", &config, &from, &on_web1("scp")]).expect_ok("scp up");
    run("scp", &["-q", "-F", &config, &on_web1("scp"), &here("scp")]).expect_ok("scp down");
    arrived("scp");

    let lines = format!("put {from} {0}\nget {0} {1}\n", at("sftp"), here("sftp"));
    fs::write(val.path("batch"), lines).unwrap();
    run("sftp", &["-q", "-F", &config, "-b", &here("batch"), "web1"]).expect_ok("sftp");
    arrived("sftp");

    let ssh = format!("ssh -F {config}");
    run("rsync", &["-e", &ssh, &from, &on_web1("rsync")]).expect_ok("rsync up");
    run("rsync", &["-e", &ssh, &on_web1("rsync"), &here("rsync")]).expect_ok("rsync down");
    arrived("rsync");
}

#[test]
fn git_clones_and_pushes_by_a_plain_name() {
    let wim = house().caller("wim");
    let (config, there) = (config_of(&wim), folder_of(&wim));
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        let ours = ["-c", "user.name=wim", "-c", "user.email=wim@example.org", "-c", "commit.gpgsign=false"];
        command.args(ours).args(args).env("GIT_SSH_COMMAND", format!("ssh -F {config}"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        Program::start_with(&mut command, Stdio::null()).done(LONG).expect_ok(&format!("git {args:?}")).text()
    };
    let shared = there.join("shared.git").to_string_lossy().into_owned();
    git(&["init", "--quiet", "--bare", "--initial-branch=main", &shared]);
    let (one, two) = (wim.path("one"), wim.path("two"));
    let (one, two) = (one.to_string_lossy(), two.to_string_lossy());
    let address = format!("web1:{shared}");

    git(&["clone", "--quiet", &address, &one]);
    git(&["-C", &one, "commit", "--quiet", "--allow-empty", "-m", "through the gateway"]);
    git(&["-C", &one, "push", "--quiet", "origin", "HEAD:main"]);
    git(&["clone", "--quiet", &address, &two]);

    assert_eq!(git(&["-C", &two, "log", "--format=%s"]), "through the gateway\n");
}
