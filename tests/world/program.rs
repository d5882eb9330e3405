//! A running program, its input and what it says.

use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use pty_process::Size;
use rustix::process::{Pid, Signal, kill_process};

use super::{Heard, within};

/// A program that ends with this value.
pub struct Program {
    child: Mutex<Child>,
    pid: u32,
    input: Input,
    /// What it writes to standard output, or to its terminal.
    pub out: Heard,
    /// What it writes to standard error; on a terminal, that too goes to `out`.
    pub err: Heard,
}

enum Input {
    Pipe(Mutex<Option<std::process::ChildStdin>>),
    Terminal(File, Resizer),
    None,
}

/// A command to be started, and where its child is to be handed over.
type Order = (Command, Sender<std::io::Result<Child>>);

type Resizer = Box<dyn Fn(u16, u16) + Send + Sync>;

/// How a program ended, and all that it said.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error, as text.
    pub err: String,
}

impl Done {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Passes on what it said, if it ended with 0.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn expect_ok(self, what: &str) -> Done {
        assert_eq!(self.code, Some(0), "{what}: {}\n{}", self.text(), self.err);
        self
    }
}

impl Program {
    /// Starts `command` on pipes, with its input open.
    #[track_caller]
    pub fn start(command: &mut Command) -> Program {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command);
        let input = Input::Pipe(Mutex::new(child.stdin.take()));
        Program::over(child, input)
    }

    /// Starts `command` on pipes, its input being `input`.
    #[track_caller]
    pub fn start_with(command: &mut Command, input: Stdio) -> Program {
        let child = spawn(command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()));
        Program::over(child, Input::None)
    }

    /// Starts a server on pipes that ends with the test program, even if that is killed: servers that tests share
    /// are never dropped.
    ///
    /// The kernel ties such an end to the thread that started the server, so a thread that never ends does it.
    #[track_caller]
    pub fn keep(command: Command) -> Program {
        static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
        let keeper = KEEPER.get_or_init(|| {
            let (sender, orders) = channel::<Order>();
            thread::spawn(move || {
                for (mut command, answer) in orders {
                    // Who ordered waits for the answer.
                    answer.send(command.spawn()).expect("the order was not taken back");
                }
            });
            Mutex::new(sender)
        });
        let mut kept = Command::new("setpriv");
        kept.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        command.get_current_dir().map(|folder| kept.current_dir(folder));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => kept.env(name, value),
                None => kept.env_remove(name),
            };
        }
        kept.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (answer, child) = channel();
        keeper.lock().unwrap().send((kept, answer)).expect("the keeper runs");
        let child =
            child.recv().expect("the keeper answers").unwrap_or_else(|fault| panic!("setpriv: {fault}"));
        Program::over(child, Input::None)
    }

    /// Starts `command` with its output going to `output`, unheard: for what does not fit into memory.
    #[track_caller]
    pub fn start_to(command: &mut Command, input: Stdio, output: File) -> Program {
        let child = spawn(command.stdin(input).stdout(output).stderr(Stdio::piped()));
        Program::over(child, Input::None)
    }

    fn over(mut child: Child, input: Input) -> Program {
        let out = child.stdout.take().map_or_else(Heard::nothing, Heard::listen);
        let err = child.stderr.take().map_or_else(Heard::nothing, Heard::listen);
        Program { pid: child.id(), child: Mutex::new(child), input, out, err }
    }

    /// Starts `program` on a terminal of its own.
    #[track_caller]
    pub fn on_terminal(
        program: &str,
        args: &[String],
        env: &[(String, String)],
        cols: u16,
        rows: u16,
    ) -> Program {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal can be had");
        pty.resize(Size::new(rows, cols)).expect("a terminal takes a size");
        let envs = env.iter().map(|(name, value)| (name, value));
        let command = pty_process::blocking::Command::new(program).args(args).envs(envs);
        let child = command.spawn(pts).unwrap_or_else(|fault| panic!("{program}: {fault}"));
        let twin = |what: &str| -> File {
            let fd = rustix::io::dup(&pty).unwrap_or_else(|fault| panic!("{what}: {fault}"));
            File::from(fd)
        };
        let (reader, writer) = (twin("reading a terminal"), twin("writing a terminal"));
        let resize: Resizer = Box::new(move |cols, rows| {
            pty.resize(Size::new(rows, cols)).expect("a terminal takes a size");
        });
        let out = Heard::listen(reader);
        let input = Input::Terminal(writer, resize);
        Program { pid: child.id(), child: Mutex::new(child), input, out, err: Heard::nothing() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes to its input, or types on its terminal.
    ///
    /// # Panics
    /// If it does not take it.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the program takes input");
    }

    /// As [`Program::send`], and the program may be gone.
    ///
    /// # Errors
    /// If it does not take the bytes.
    pub fn try_send(&self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &self.input {
            Input::Pipe(pipe) => match pipe.lock().unwrap().as_mut() {
                Some(pipe) => pipe.write_all(bytes.as_ref()).and_then(|()| pipe.flush()),
                None => Err(std::io::ErrorKind::BrokenPipe.into()),
            },
            Input::Terminal(file, _) => (&*file).write_all(bytes.as_ref()),
            Input::None => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends its input.
    pub fn send_end(&self) {
        if let Input::Pipe(pipe) = &self.input {
            pipe.lock().unwrap().take();
        }
    }

    /// The pipe to its input, to be written to from elsewhere.
    pub fn take_input(&self) -> Option<OwnedFd> {
        match &self.input {
            Input::Pipe(pipe) => pipe.lock().unwrap().take().map(OwnedFd::from),
            _ => None,
        }
    }

    /// Gives its terminal a new size.
    pub fn resize(&self, cols: u16, rows: u16) {
        if let Input::Terminal(_, resize) = &self.input {
            resize(cols, rows);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).expect("the program is ours");
        }
    }

    /// Has it ended?
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().expect("the program is ours")
    }

    /// Waits until it has ended and nothing more can be heard.
    ///
    /// # Panics
    /// If it has not ended in time.
    #[track_caller]
    pub fn done(&self, bound: Duration) -> Done {
        let status =
            within(bound, &format!("the end of a program, which said {}", self.said()), || self.ended());
        self.out.wait_end(bound);
        self.err.wait_end(bound);
        Done { code: status.code(), out: self.out.bytes(), err: self.err.text() }
    }

    fn said(&self) -> String {
        format!("{:?} {:?}", self.out.text().chars().take(300).collect::<String>(), self.err.text())
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        if child.try_wait().expect("the program is ours").is_none() {
            child.kill().expect("the program is ours");
            child.wait().expect("the program is ours");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|fault| panic!("{}: {fault}", command.get_program().to_string_lossy()))
}
