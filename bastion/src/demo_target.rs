//! The demo's target: a small SSH server on loopback with a real pseudo-terminal and this machine's shell.
//!
//! It is open to one key, the gateway's, and to one login, the user who runs the demo. It is no sshd: no sign-in
//! records, no ForceCommand, no forwarding.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use pty_process::{OwnedWritePty, Size};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelWriteHalf, Sig,
    keys::{PrivateKey, PublicKey},
    server::{self, Auth, ChannelOpenHandle, Msg, VerifiedPublicKey},
};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::squeeze::{Squeeze, WINDOW_BYTES};

/// Where Debian and others keep the file-transfer subsystem; without one, sftp is refused.
const SFTP_SERVERS: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
/// How much of a program's output is read at once.
const READ_BYTES: usize = 32 * 1024;
/// After its program has ended, how long a silent output is waited for that somebody in the background still holds.
const LEFTOVERS_MAX: Duration = Duration::from_millis(300);

/// How long accepting pauses when it fails.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What a shell answers for a program that is there and cannot be started.
const CANNOT_RUN: i32 = 126;

/// A running demo target; it stops when dropped.
pub struct DemoTarget {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl DemoTarget {
    /// Listens on a free loopback port, with this host key, open to this gateway key and login.
    pub async fn start(host_key: PrivateKey, gateway: PublicKey, login: String) -> io::Result<DemoTarget> {
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = door.local_addr()?;
        let config = Arc::new(server::Config {
            keys: vec![host_key],
            methods: [russh::MethodKind::PublicKey].as_slice().into(),
            window_size: WINDOW_BYTES,
            inactivity_timeout: None,
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..server::Config::default()
        });
        let guest = Arc::new((gateway, login));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = door.accept().await else {
                    tokio::time::sleep(ACCEPT_AGAIN).await; // no file handle is free
                    continue;
                };
                let (config, guest) = (config.clone(), guest.clone());
                tokio::spawn(async move {
                    if stream.set_nodelay(true).is_err() {
                        return;
                    }
                    let host = Host { guest, squeeze: Squeeze::default() };
                    match server::run_stream(config, stream, host).await {
                        Ok(running) => {
                            if let Err(fault) = running.await {
                                tracing::debug!("demo target: {fault}");
                            }
                        }
                        Err(fault) => tracing::debug!("demo target: {fault}"),
                    }
                });
            }
        });
        Ok(DemoTarget { address, task })
    }
}

impl Drop for DemoTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Host {
    guest: Arc<(PublicKey, String)>,
    squeeze: Squeeze,
}

impl server::Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let (gateway, login) = &*self.guest;
        let known = key.public_key.key_data() == gateway.key_data() && user == login;
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let (backlog, handle) = (self.squeeze.backlog(), session.handle());
        tokio::spawn(async move {
            reply.accept().await;
            if let Err(fault) = serve(channel, handle, backlog).await {
                tracing::debug!("demo target: {fault}");
            }
        });
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        self.squeeze.window()
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut server::Session) -> Result<(), russh::Error> {
        self.squeeze.arrived(data.len()).await.map_err(|_| russh::Error::Inconsistent)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        if name == "sftp" && sftp_server().is_some() {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
    }
}

fn sftp_server() -> Option<PathBuf> {
    SFTP_SERVERS.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A terminal that was asked for.
struct Terminal {
    term: String,
    size: Size,
}

/// What a channel has been told before its program starts.
#[derive(Default)]
struct Wish {
    terminal: Option<Terminal>,
    env: Vec<(String, String)>,
}

async fn serve(
    mut channel: Channel<Msg>,
    handle: server::Handle,
    backlog: Arc<AtomicUsize>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut wish = Wish::default();
    let program = loop {
        match channel.wait().await {
            Some(ChannelMsg::RequestPty { term, col_width, row_height, .. }) => {
                wish.terminal = Some(Terminal { term, size: size(col_width, row_height) });
            }
            Some(ChannelMsg::SetEnv { variable_name, variable_value, .. }) => {
                wish.env.push((variable_name, variable_value));
            }
            Some(ChannelMsg::RequestShell { .. }) => break Program::Shell,
            Some(ChannelMsg::Exec { command, .. }) => break Program::Command(String::from_utf8(command)?),
            Some(ChannelMsg::RequestSubsystem { .. }) => {
                break Program::Sftp(sftp_server().ok_or("no sftp-server")?);
            }
            None | Some(ChannelMsg::Close) => return Ok(()),
            Some(_) => {}
        }
    };
    run(channel, handle, backlog, program, wish).await
}

enum Program {
    Shell,
    Command(String),
    Sftp(PathBuf),
}

impl Program {
    /// Program, name that it is started under, and arguments.
    fn words(&self) -> (PathBuf, Option<String>, Vec<String>) {
        let shell = std::env::var_os("SHELL").map(PathBuf::from).filter(|path| path.exists());
        let shell = shell.unwrap_or_else(|| "/bin/sh".into());
        match self {
            Program::Shell => {
                let name = shell.file_name().unwrap_or_default().to_string_lossy();
                let login = format!("-{name}");
                (shell, Some(login), vec![])
            }
            Program::Command(command) => (shell, None, vec!["-c".into(), command.clone()]),
            Program::Sftp(server) => (server.clone(), None, vec![]),
        }
    }
}

/// A started program, and its ends of the channel.
struct Started {
    child: Child,
    input: Input,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
}

/// Where a program's input goes.
enum Input {
    Terminal(OwnedWritePty),
    Pipe(ChildStdin),
}

/// What a channel tells a running program.
enum Told {
    Bytes(Bytes),
    Size(Size),
    End,
}

fn start(program: &Program, wish: Wish) -> Result<Started, Box<dyn std::error::Error + Send + Sync>> {
    let (path, name, arguments) = program.words();
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    if let Some(terminal) = wish.terminal {
        let (pty, pts) = pty_process::open()?;
        pty.resize(terminal.size)?;
        let mut command = pty_process::Command::new(path).args(arguments).current_dir(home).envs(wish.env);
        command = command.env("TERM", terminal.term).kill_on_drop(true);
        if let Some(name) = name {
            command = command.arg0(name);
        }
        let child = command.spawn(pts)?;
        let (output, input) = pty.into_split();
        return Ok(Started { child, input: Input::Terminal(input), output: Box::new(output), errors: None });
    }
    let mut command = Command::new(path);
    if let Some(name) = name {
        command.arg0(name);
    }
    command.args(arguments).current_dir(home).envs(wish.env).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
        return Err("a piped child has its pipes".into());
    };
    Ok(Started { child, input: Input::Pipe(input), output: Box::new(output), errors: Some(Box::new(errors)) })
}

async fn run(
    channel: Channel<Msg>,
    handle: server::Handle,
    backlog: Arc<AtomicUsize>,
    program: Program,
    wish: Wish,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let started = start(&program, wish);
    let (mut hears, half) = channel.split();
    let half = Arc::new(half);
    let Started { mut child, input, output, errors } = match started {
        Ok(started) => started,
        Err(fault) => {
            let line = format!("{}: {fault}\n", program.words().0.display());
            half.extended_data_bytes(1, line).await?;
            return Ok(say_end(&half, &handle, ExitStatus::from_raw(CANNOT_RUN << 8)).await?);
        }
    };
    let (tell, told) = mpsc::unbounded_channel(); // bounded by the squeeze: `backlog` counts what waits in it
    tokio::spawn(feed(input, told, backlog.clone()));
    let mut pumps = JoinSet::new();
    let (exited, sees_exit) = watch::channel(false);
    pumps.spawn(pump(output, half.clone(), None, sees_exit.clone()));
    if let Some(errors) = errors {
        pumps.spawn(pump(errors, half.clone(), Some(1), sees_exit));
    }
    let status = loop {
        tokio::select! {
            status = child.wait() => break Some(status?),
            sent = hears.wait() => match sent {
                None | Some(ChannelMsg::Close) => break None,
                Some(sent) => pass(sent, &tell, &backlog, &child),
            }
        }
    };
    let Some(status) = status else {
        child.start_kill()?;
        return Ok(());
    };
    // Who asked is still heard while the last output leaves, or the connection would stand still.
    exited.send_replace(true);
    let drain = async { while hears.wait().await.is_some() {} };
    let flush = async { while pumps.join_next().await.is_some() {} };
    tokio::select! { () = drain => {}, () = flush => {} }
    say_end(&half, &handle, status).await?;
    Ok(())
}

/// Hands one message of the client to the program.
fn pass(sent: ChannelMsg, tell: &mpsc::UnboundedSender<Told>, backlog: &AtomicUsize, child: &Child) {
    let told = match sent {
        ChannelMsg::Data { data } => {
            backlog.fetch_add(data.len(), Relaxed);
            Told::Bytes(data)
        }
        ChannelMsg::Eof => Told::End,
        ChannelMsg::WindowChange { col_width, row_height, .. } => Told::Size(size(col_width, row_height)),
        ChannelMsg::Signal { signal } => return send_signal(child, &signal),
        _ => return,
    };
    if let Err(mpsc::error::SendError(Told::Bytes(data))) = tell.send(told) {
        backlog.fetch_sub(data.len(), Relaxed); // the program reads no more
    }
}

/// Writes to the program what it is told, until it reads no more.
async fn feed(mut input: Input, mut told: mpsc::UnboundedReceiver<Told>, backlog: Arc<AtomicUsize>) {
    while let Some(next) = told.recv().await {
        let written = match (&mut input, next) {
            (Input::Terminal(pty), Told::Size(size)) => pty.resize(size).map_err(io::Error::other),
            (Input::Pipe(_), Told::Size(_)) => Ok(()),
            (Input::Terminal(pty), Told::End) => pty.write_all(&[4]).await, // Ctrl-D, as a terminal's end of input
            (Input::Pipe(_), Told::End) => break,
            (Input::Terminal(pty), Told::Bytes(data)) => write(pty, &data, &backlog).await,
            (Input::Pipe(pipe), Told::Bytes(data)) => write(pipe, &data, &backlog).await,
        };
        if written.is_err() {
            break;
        }
    }
    drop(input);
    while let Some(rest) = told.recv().await {
        if let Told::Bytes(data) = rest {
            backlog.fetch_sub(data.len(), Relaxed);
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), data: &Bytes, backlog: &AtomicUsize) -> io::Result<()> {
    let written = to.write_all(data).await;
    backlog.fetch_sub(data.len(), Relaxed);
    written
}

/// Carries output to the client until there is no more; a terminal's end shows itself as an error.
async fn pump(
    mut from: Box<dyn AsyncRead + Send + Unpin>,
    to: Arc<ChannelWriteHalf<Msg>>,
    ext: Option<u32>,
    mut exited: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = silence_after_exit(&mut exited) => return,
        };
        let Ok(count @ 1..) = read else { return };
        let data = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        let sent = match ext {
            None => to.data_bytes(data).await,
            Some(ext) => to.extended_data_bytes(ext, data).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Done once the program has ended and nothing has come for a while.
async fn silence_after_exit(exited: &mut watch::Receiver<bool>) {
    if exited.wait_for(|exited| *exited).await.is_ok() {
        tokio::time::sleep(LEFTOVERS_MAX).await;
    }
}

async fn say_end(
    half: &ChannelWriteHalf<Msg>,
    handle: &server::Handle,
    status: ExitStatus,
) -> Result<(), russh::Error> {
    match (status.code(), status.signal()) {
        (None, Some(signal)) => {
            let (signal, nothing) = (signal_name(signal), String::new);
            let sent =
                handle.exit_signal_request(half.id(), signal, status.core_dumped(), nothing(), nothing());
            sent.await.map_err(|()| russh::Error::SendError)?;
        }
        (code, _) => half.exit_status(code.unwrap_or(255).cast_unsigned()).await?,
    }
    half.eof().await?;
    half.close().await
}

fn size(cols: u32, rows: u32) -> Size {
    let (cols, rows) = gate::clamp_size(cols, rows);
    Size::new(rows, cols)
}

fn signal_name(signal: i32) -> Sig {
    match Signal::from_named_raw(signal) {
        Some(Signal::ABORT) => Sig::ABRT,
        Some(Signal::ALARM) => Sig::ALRM,
        Some(Signal::HUP) => Sig::HUP,
        Some(Signal::ILL) => Sig::ILL,
        Some(Signal::INT) => Sig::INT,
        Some(Signal::KILL) => Sig::KILL,
        Some(Signal::PIPE) => Sig::PIPE,
        Some(Signal::QUIT) => Sig::QUIT,
        Some(Signal::SEGV) => Sig::SEGV,
        Some(Signal::TERM) => Sig::TERM,
        Some(Signal::USR1) => Sig::USR1,
        Some(Signal::FPE) => Sig::FPE,
        _ => Sig::Custom(signal.to_string()),
    }
}

fn send_signal(child: &Child, signal: &Sig) {
    let signal = match signal {
        Sig::INT => Signal::INT,
        Sig::TERM => Signal::TERM,
        Sig::HUP => Signal::HUP,
        Sig::QUIT => Signal::QUIT,
        Sig::KILL => Signal::KILL,
        Sig::USR1 => Signal::USR1,
        _ => return,
    };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid
        && let Err(fault) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!("demo target: signal: {fault}");
    }
}
