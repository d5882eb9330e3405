//! A caller: a key, a config and known hosts of her own, and the stock OpenSSH programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tempfile::TempDir;

use super::{Done, LONG, Program, scratch, target::make_key};

/// Somebody with a machine of her own, who calls one gateway.
pub struct Caller {
    folder: TempDir,
    name: String,
    port: u16,
    public: String,
    drafts: AtomicUsize,
}

impl Caller {
    /// Her machine: a new key, and nothing known of any host.
    pub fn new(name: &str, port: u16) -> Caller {
        let folder = scratch();
        let public = make_key(&folder.path().join("id"));
        let at = folder.path().display();
        let config = format!(
            "Host *\n IdentityFile {at}/id\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {at}/known\n \
             GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking accept-new\n UpdateHostKeys no\n \
             ConnectTimeout 20\n ControlPath none\n LogLevel ERROR\n SendEnv ODD_*\n"
        );
        fs::write(folder.path().join("config"), config).unwrap();
        Caller { folder, name: name.to_owned(), port, public, drafts: AtomicUsize::new(0) }
    }

    /// Her name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Her key, as authorized_keys has it.
    pub fn public_key(&self) -> &str {
        self.public.trim()
    }

    /// A file on her machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Her ssh_config.
    pub fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// The gateway's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `ssh alice@bastion ARGS`, without a prompt.
    pub fn ssh<A: AsRef<str>>(&self, args: &[A]) -> Ssh<'_> {
        let args = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        Ssh { caller: self, login: self.name.clone(), batch: true, options: vec![], args, env: vec![] }
    }

    /// `ssh alice%TARGET@bastion ARGS`, without a prompt.
    pub fn ssh_to<A: AsRef<str>>(&self, target: &str, args: &[A]) -> Ssh<'_> {
        let login = format!("{}%{target}", self.name);
        Ssh { login, ..self.ssh(args) }
    }

    /// `sftp` to a target in batch mode: the commands are lines.
    pub fn sftp(&self, target: &str, options: &[&str], lines: &str) -> Command {
        let batch = self.path(&format!("batch{}", self.drafts.fetch_add(1, Relaxed)));
        fs::write(&batch, lines).unwrap();
        let mut command = Command::new("sftp");
        command.arg("-q").args(options).arg("-b").arg(batch).arg("-F").arg(self.config());
        command.args(["-P", &self.port.to_string(), &format!("{}%{target}@127.0.0.1", self.name)]);
        command
    }
}

/// One call of `ssh`.
pub struct Ssh<'c> {
    caller: &'c Caller,
    login: String,
    batch: bool,
    options: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Ssh<'_> {
    /// Options before the host.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Another login than hers.
    pub fn login(mut self, login: &str) -> Self {
        login.clone_into(&mut self.login);
        self
    }

    /// With a variable in her own environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a person who can be asked, not as a program.
    pub fn attended(mut self) -> Self {
        self.batch = false;
        self
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = vec!["-F".into(), self.caller.config().to_string_lossy().into_owned()];
        words.extend(["-p".into(), self.caller.port.to_string(), "-l".into(), self.login.clone()]);
        words.extend(["-o".into(), format!("BatchMode={}", if self.batch { "yes" } else { "no" })]);
        words.extend(self.options.iter().cloned());
        words.push("127.0.0.1".into());
        words.extend(self.args.iter().cloned());
        words
    }

    /// The command, not started.
    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.words()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it on pipes, its input open.
    #[track_caller]
    pub fn start(&self) -> Program {
        Program::start(&mut self.command())
    }

    /// Starts it on pipes, its input being `input`.
    #[track_caller]
    pub fn start_with(&self, input: impl Into<Stdio>) -> Program {
        Program::start_with(&mut self.command(), input.into())
    }

    /// Starts it on a terminal. `-t` is an option to be given apart: here it is the caller who has a terminal.
    #[track_caller]
    pub fn on_terminal(&self, cols: u16, rows: u16) -> Program {
        let mut env = self.env.clone();
        env.push(("TERM".into(), "xterm-256color".into()));
        Program::on_terminal("ssh", &self.words(), &env, cols, rows)
    }

    /// Runs it to its end, without input.
    #[track_caller]
    pub fn done(&self) -> Done {
        self.start_with(Stdio::null()).done(LONG)
    }

    /// Runs it to its end, fed with these bytes.
    #[track_caller]
    pub fn fed(&self, input: &[u8]) -> Done {
        let file = self.caller.path(&format!("draft{}", self.caller.drafts.fetch_add(1, Relaxed)));
        fs::write(&file, input).unwrap();
        self.from_file(&file)
    }

    /// Runs it to its end, fed with a file.
    #[track_caller]
    pub fn from_file(&self, file: &Path) -> Done {
        self.start_with(fs::File::open(file).unwrap()).done(LONG)
    }

    /// Starts it with input and output that are files: for what does not fit into memory.
    #[track_caller]
    pub fn through(&self, from: impl Into<Stdio>, to: &Path) -> Program {
        Program::start_to(&mut self.command(), from.into(), fs::File::create(to).unwrap())
    }
}
