//! Text interfaces over a channel: each a child process, on a pseudo-terminal of its own.
//!
//! The child is this very program with another command, the one that a person would run on her own machine: what
//! draws reads a process's own terminal, and what draws foreign text shares no memory with the keys. It is given its
//! data on standard input, draws on standard output, reads keys from its terminal, and answers on standard error. It
//! has an environment of a few names, no open file of ours, no way to one ([`confine()`]), bounds in memory, time and
//! number, and it ends with its channel: if the client goes, it is killed; if we are killed, its terminal hangs up.

mod confine;
mod typed;

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex, Once, PoisonError},
    time::Duration,
};

use gate::{Principal, Printable, Pty, exit_code};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use russh::{Channel, ChannelMsg, server};
use rustix::termios;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin},
    time::Instant,
};

use crate::{
    answer::Answer,
    strangers::{Share, Shares},
    wire,
};

pub use confine::{Confined, confine};
pub use typed::Typed;

use typed::WAITING_BYTES_MAX;

/// Text interfaces that run at once, of all people together. Each may take [`confine()`]'s memory at most; who comes
/// when all are taken gets plain text.
const CHILDREN_MAX: usize = 64;
/// The same, of one person: nobody takes them all, and few have more terminals that show a list.
const CHILDREN_PER_PERSON_MAX: usize = 8;
/// What an interface may answer: a choice, and if it panics the story of that.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the interface's output that are under way to the client. A client that does not read stops the child.
const OUTPUT_BYTES: usize = 8 * 1024;

/// Gives a terminal back whose program could not: colours, cursor, and the screen that was there before.
const RESTORE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Whose interface it is: issuer and subject.
type Person = (String, String);

static PLACES: LazyLock<Arc<Shares<Person>>> = LazyLock::new(Arc::default);

/// A text interface.
pub struct Interface {
    /// The command of this program.
    pub command: &'static str,
    /// What it is told.
    pub data: Vec<u8>,
    /// Closed if nothing is typed for so long.
    pub idle: Duration,
}

/// What a text interface leaves behind.
#[derive(Debug)]
pub struct Told {
    /// Its answer.
    pub answer: Vec<u8>,
    /// What was typed, whether it has read it or not.
    pub typed: Typed,
}

/// Why a text interface gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildFault {
    /// All places are taken.
    #[error("{CHILDREN_MAX} text interfaces run already, or {CHILDREN_PER_PERSON_MAX} of one person")]
    NoPlace,
    /// It could not be started.
    #[error("it could not be started: {0}")]
    NotStarted(io::Error),
    /// It ended, and not as it should.
    #[error("{status}, it said \"{said}\"")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// What it said, made printable.
        said: String,
    },
    /// It answered at a length that no answer has.
    #[error("it answered more than {ANSWER_BYTES_MAX} bytes")]
    Talkative,
    /// Its answer is none.
    #[error("it answered what nobody asked")]
    Senseless,
    /// Nothing was typed for so long.
    #[error("nothing was typed for {} s", .0.as_secs())]
    Idle(Duration),
    /// More was typed than it reads.
    #[error("more than {WAITING_BYTES_MAX} bytes were typed that it did not read")]
    Flooded,
    /// The client is gone, or has ended its input.
    #[error("the client left")]
    Left,
}

/// Runs a text interface of this person's on a channel until it answers, and keeps `pty`'s size true meanwhile. `env` is what the client
/// said of itself.
///
/// # Errors
/// There is no answer: see [`ChildFault`]. The child has ended in any case, and its screen may still stand
/// ([`apology`] takes it away).
pub async fn run(
    channel: &mut Channel<server::Msg>,
    pty: &mut Pty,
    env: &[(String, String)],
    whose: &Principal,
    interface: Interface,
) -> Result<Told, ChildFault> {
    let person = (whose.issuer.clone(), whose.subject.clone());
    let place = PLACES.enter(person, CHILDREN_MAX, CHILDREN_PER_PERSON_MAX).ok_or(ChildFault::NoPlace)?;
    let command = command(&interface, &pty.term, env);
    let size = Size::new(pty.rows, pty.cols);
    // Forking takes its time in a large process.
    let started = tokio::task::spawn_blocking(move || start(command, size, place)).await;
    let started = started.map_err(io::Error::other).and_then(|started| started);
    let mut started = started.map_err(ChildFault::NotStarted)?;
    let told = Relay::new(channel, pty, interface.idle).run(&mut started, interface.data).await;
    if started.child.id().is_some()
        && let Err(fault) = started.child.kill().await
    {
        tracing::warn!("a text interface was not ended: {fault}");
    }
    told.and_then(confined)
}

/// The answer without its first line, in which the child says how it is confined. One that does not is no child of ours.
fn confined(told: (ExitStatus, Told)) -> Result<Told, ChildFault> {
    static LOGGED: Once = Once::new();
    let (status, Told { answer, typed }) = told;
    let is_newline = |byte: &u8| *byte == b'\n';
    let line = answer.iter().position(is_newline).and_then(|at| answer.split_at_checked(at + 1));
    let confined = line.and_then(|(line, _)| line.trim_ascii_end().strip_prefix(Confined::SAYS.as_bytes()));
    match (line, confined) {
        (Some((_, rest)), Some(by)) if status.success() => {
            LOGGED.call_once(|| tracing::info!("text interfaces are confined by {}", Printable::of(by)));
            Ok(Told { answer: rest.to_vec(), typed })
        }
        _ => Err(ChildFault::Died { status, said: Printable::sentence(answer.trim_ascii()).to_string() }),
    }
}

/// This program, whatever was installed over it meanwhile, in an environment of a few harmless names.
fn command(interface: &Interface, term: &str, env: &[(String, String)]) -> pty_process::Command {
    let tells = |name: &str| matches!(name, "COLORTERM" | "LANG") || name.starts_with("LC_");
    let env = env.iter().filter(|(name, _)| tells(name)).cloned();
    let command = pty_process::Command::new("/proc/self/exe").arg0("bastion").arg(interface.command);
    let command = command.env_clear().envs(env).env("TERM", term).current_dir(Path::new("/"));
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true)
}

/// A child that runs.
struct Started {
    child: Child,
    reads: OwnedReadPty,
    writes: OwnedWritePty,
    /// The child's end of the terminal, which takes what is typed before the child has opened it; until this is dropped
    /// the terminal's output has no end.
    slave: Option<OwnedFd>,
    stdin: Option<ChildStdin>,
    stderr: ChildStderr,
    _place: Share<Person>,
}

fn start(command: pty_process::Command, size: Size, place: Share<Person>) -> io::Result<Started> {
    // A terminal is opened before it is marked as not to be inherited. A child that was started between the two would
    // keep another's terminal from hanging up.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    pty.resize(size).map_err(io::Error::other)?;
    // Raw from the beginning: what is typed before the child has begun must not be echoed or take the child's life.
    let mut modes = termios::tcgetattr(&pts)?;
    modes.make_raw();
    termios::tcsetattr(&pts, termios::OptionalActions::Now, &modes)?;
    let slave = rustix::io::fcntl_dupfd_cloexec(&pts, 3)?;
    let mut child = command.spawn(pts).map_err(io::Error::other)?;
    drop(one);
    let (reads, writes) = pty.into_split();
    let stdin = child.stdin.take();
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("the child has no standard error"))?;
    Ok(Started { child, reads, writes, slave: Some(slave), stdin, stderr, _place: place })
}

/// A piece of output on its way to the client: once begun it is polled to its end, and gives the writer back.
type Sending<W> = Pin<Box<dyn Future<Output = io::Result<W>> + Send>>;

/// What is said to a client whose interface gave no answer. One that has left may still take the screen's end.
pub fn apology(fault: &ChildFault) -> Answer {
    if matches!(fault, ChildFault::Left) {
        return Answer::out(RESTORE);
    }
    let (sentence, code) = match fault {
        ChildFault::Idle(_) => (format!("bastion: closed, for {fault}"), exit_code::TRY_AGAIN),
        ChildFault::Flooded => {
            (format!("bastion: {fault}; name the target first: ssh NAME@BASTION TARGET"), exit_code::USAGE)
        }
        _ => (
            "bastion: the list of targets failed, and the log of this bastion says why; name the target: \
             ssh NAME@BASTION TARGET"
                .to_owned(),
            exit_code::BROKEN,
        ),
    };
    Answer { out: RESTORE.into(), err: format!("{sentence}\n"), code }
}

/// What lies between a client and a child.
struct Relay<'c> {
    channel: &'c mut Channel<server::Msg>,
    pty: &'c mut Pty,
    typed: Typed,
    answer: Vec<u8>,
    idle: Duration,
    idle_at: Instant,
}

impl<'c> Relay<'c> {
    fn new(channel: &'c mut Channel<server::Msg>, pty: &'c mut Pty, idle: Duration) -> Relay<'c> {
        let idle_at = Instant::now() + idle;
        Relay { channel, pty, typed: Typed::default(), answer: Vec::new(), idle, idle_at }
    }

    /// Carries everything in both directions until the child has ended, and all that it wrote is with the client.
    async fn run(mut self, child: &mut Started, data: Vec<u8>) -> Result<(ExitStatus, Told), ChildFault> {
        let mut stdin = child.stdin.take();
        // A child that does not want all of it has ended, which is heard below.
        let feed = async move {
            if let Some(pipe) = &mut stdin {
                drop(pipe.write_all(&data).await)
            }
        };
        tokio::pin!(feed);
        let (mut fed, mut ended, mut all_said, mut all_drawn) = (false, None, false, false);
        let mut writer = Some(self.channel.make_writer());
        let mut sending: Option<Sending<_>> = None;
        let (mut output, mut said) = ([0; OUTPUT_BYTES], [0; 4096]);
        loop {
            if let (Some(status), true, true, None) = (ended, all_said, all_drawn, &sending) {
                return Ok((status, Told { answer: self.answer, typed: self.typed }));
            }
            tokio::select! {
                heard = self.channel.wait() => self.hear(heard, &child.writes)?,
                wrote = child.writes.write(self.typed.waiting()), if !self.typed.waiting().is_empty() && ended.is_none() => {
                    // A terminal that takes nothing has lost its child, which is heard below.
                    self.typed.gave(wrote.unwrap_or(usize::MAX));
                }
                read = child.reads.read(&mut output), if writer.is_some() && !all_drawn => {
                    match (read.ok().and_then(|length| output.get(..length)).filter(|o| !o.is_empty()), writer.take()) {
                        (Some(drawn), Some(to)) => sending = Some(Box::pin(send(to, drawn.to_vec()))),
                        (_, to) => (all_drawn, writer) = (true, to),
                    }
                }
                sent = poll(&mut sending), if sending.is_some() => {
                    sending = None;
                    writer = Some(sent.map_err(|_| ChildFault::Left)?);
                }
                () = &mut feed, if !fed => fed = true,
                read = child.stderr.read(&mut said), if !all_said => {
                    let read = read.ok().and_then(|length| said.get(..length)).unwrap_or_default();
                    all_said = read.is_empty();
                    self.answer.extend_from_slice(read);
                    if self.answer.len() > ANSWER_BYTES_MAX {
                        return Err(ChildFault::Talkative);
                    }
                }
                status = child.child.wait(), if ended.is_none() => {
                    ended = Some(status.map_err(ChildFault::NotStarted)?);
                    // Dropped, so that the terminal's output has an end.
                    child.slave = None;
                }
                () = tokio::time::sleep_until(self.idle_at) => return Err(ChildFault::Idle(self.idle)),
            }
        }
    }

    fn hear(&mut self, heard: Option<ChannelMsg>, terminal: &OwnedWritePty) -> Result<(), ChildFault> {
        match heard {
            None | Some(ChannelMsg::Close | ChannelMsg::Eof) => return Err(ChildFault::Left),
            Some(ChannelMsg::Data { data }) => {
                self.typed.add(&data).map_err(|_| ChildFault::Flooded)?;
                self.idle_at = Instant::now() + self.idle;
            }
            Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                wire::resize(self.pty, col_width, row_height, (pix_width, pix_height));
                if let Err(fault) = terminal.resize(Size::new(self.pty.rows, self.pty.cols)) {
                    tracing::debug!("a text interface is not told its new size: {fault}");
                }
            }
            Some(_) => {}
        }
        Ok(())
    }
}

async fn send<W: AsyncWrite + Unpin>(mut to: W, bytes: Vec<u8>) -> io::Result<W> {
    to.write_all(&bytes).await?;
    Ok(to)
}

async fn poll<W>(sending: &mut Option<Sending<W>>) -> io::Result<W> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
