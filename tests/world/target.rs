//! A target: a real sshd, thrown away afterwards.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Program, SHORT, free_port, places::machine, scratch, within};

const SSHD: &[&str] = &["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
const SFTP: &[&str] =
    &["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];

/// An sshd on a free port of 127.0.0.1, with host keys, authorized keys and a home of its own, for your own login.
pub struct TestTarget {
    folder: TempDir,
    port: u16,
    running: Option<Program>,
}

impl TestTarget {
    /// Starts one. `more` are further lines of its sshd_config.
    #[track_caller]
    pub fn start(more: &str) -> TestTarget {
        let folder = scratch();
        let home = folder.path().join("home");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join(".bashrc"), "PS1='target> '\nunset PROMPT_COMMAND HISTFILE\n").unwrap();
        fs::write(home.join(".bash_profile"), ". ~/.bashrc\n").unwrap();
        fs::write(home.join(".inputrc"), "set enable-bracketed-paste off\n").unwrap();
        fs::write(folder.path().join("authorized_keys"), "").unwrap();
        let mut target = TestTarget { folder, port: free_port(), running: None };
        target.make_host_key();
        fs::write(target.path("more"), more).unwrap();
        target.run();
        target
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_host_key(&self) {
        let key = self.path("host_ed25519");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen runs").success());
    }

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        let sftp = machine("sftp-server", SFTP);
        let more = fs::read_to_string(self.path("more")).unwrap();
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_ed25519\n\
             AuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nUsePAM no\nStrictModes no\nPrintMotd no\n\
             PrintLastLog no\nUseDNS no\nMaxStartups 500\nMaxSessions 500\nAcceptEnv LANG LC_* COLORTERM ODD_*\n\
             SetEnv HOME={folder}/home\nSubsystem sftp {sftp}\nLogLevel VERBOSE\n{more}\n",
            port = self.port,
            sftp = sftp.display(),
        )
    }

    #[track_caller]
    fn run(&mut self) {
        let config = self.path("sshd_config");
        fs::write(&config, self.config()).unwrap();
        if rustix::process::getuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root may make /run/sshd");
        }
        let sshd = machine("sshd", SSHD);
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        let program = Program::keep(command);
        let (port, said) = (self.port, program.err.clone());
        within(SHORT, "sshd to greet", || {
            assert!(program.ended().is_none(), "sshd did not start: {}", said.text());
            greets(port).then_some(())
        });
        self.running = Some(program);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The login that it knows: yours.
    pub fn login() -> String {
        let told = Command::new("id").arg("-un").output().expect("id runs");
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }

    /// The home of whoever logs in.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Lets in whoever holds the key of this authorized_keys line.
    pub fn authorize(&self, line: &str) {
        let file = self.path("authorized_keys");
        let text = fs::read_to_string(&file).unwrap() + line.trim_end() + "\n";
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Lets nobody in any more.
    pub fn forget_all_keys(&self) {
        fs::write(self.path("authorized_keys"), "").unwrap();
    }

    /// Its host key, as known_hosts has it behind the host: type and key.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.path("host_ed25519.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The fingerprint of its host key.
    pub fn fingerprint(&self) -> String {
        let told = Command::new("ssh-keygen").arg("-lf").arg(self.path("host_ed25519.pub")).output().unwrap();
        String::from_utf8_lossy(&told.stdout).split(' ').nth(1).unwrap().to_owned()
    }

    /// Shows a certificate for its host key from now on, signed by the key in this file for these names.
    #[track_caller]
    pub fn certify_host_key(&mut self, authority: &Path, names: &str) {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-h", "-I", "target", "-n", names, "-s"]).arg(authority);
        assert!(sign.arg(self.path("host_ed25519.pub")).status().expect("ssh-keygen runs").success());
        let certificate = self.path("host_ed25519-cert.pub");
        self.stop();
        fs::write(self.path("more"), format!("HostCertificate {}", certificate.display())).unwrap();
        self.run();
    }

    /// Comes back with another host key, as a machine that was set up anew, or somebody in its place.
    #[track_caller]
    pub fn change_host_key(&mut self) {
        self.stop();
        fs::remove_file(self.path("host_ed25519")).unwrap();
        self.make_host_key();
        self.run();
    }

    /// Is down. Open sessions die too.
    pub fn stop(&mut self) {
        self.hang_up();
        self.running = None;
    }

    /// Is there again.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.run();
    }

    /// Ends every open connection in mid-way, as a machine that is switched off.
    pub fn hang_up(&self) {
        let Some(sshd) = &self.running else { return };
        for pid in below(sshd.pid()) {
            let kill = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
            // It may have ended by itself since it was listed.
            kill.expect("kill runs");
        }
    }

    /// Reads its settings again. It listens anew, so it is waited for.
    #[track_caller]
    pub fn reload(&self) {
        let sshd = self.running.as_ref().expect("the target runs");
        sshd.signal(Signal::HUP);
        sshd.err.wait("Received SIGHUP; restarting.", SHORT);
        within(SHORT, "sshd to greet again", || greets(self.port).then_some(()));
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.running.as_ref().map(|sshd| sshd.err.text()).unwrap_or_default()
    }
}

impl Drop for TestTarget {
    fn drop(&mut self) {
        self.stop();
    }
}

/// All processes below `root`.
fn below(root: u32) -> Vec<u32> {
    let listed = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids: Vec<u32> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let pairs: Vec<(u32, u32)> = pids.iter().filter_map(|pid| Some((*pid, parent(*pid)?))).collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(of) = found.get(at).copied() {
        found.extend(pairs.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Does an SSH server greet there?
pub(super) fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("SSH-2.0-")
}

/// Writes a private key file's public half, as authorized_keys wants it.
pub fn make_key(file: &Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "journey", "-f"]).arg(file).status();
    assert!(made.expect("ssh-keygen runs").success());
    fs::read_to_string(file.with_extension("pub")).unwrap()
}
