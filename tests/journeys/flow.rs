//! Flow control: where gateways break. Nobody's slowness costs memory, or anybody else's time.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tests::world::{Caller, LONG, Program, SHORT, TestBastion, digest, noise, tier, within};

/// An idle gateway may not grow by more than this against anybody who does not read.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// How long such a one is looked at.
const LOOKED_AT: Duration = Duration::from_secs(8);

/// A bulk transfer may take its time on a busy machine, and hangs for ever when it hangs.
const BULK: Duration = Duration::from_secs(900);

/// A file of noise. Written in pieces, because it may be larger than memory is worth.
fn noise_file(path: &Path, len: u64) -> String {
    let mut file = File::create(path).unwrap();
    let mut left = len;
    while left > 0 {
        let piece = left.min(8 << 20);
        file.write_all(&noise(left, piece as usize)).unwrap();
        left -= piece;
    }
    digest(path)
}

#[test]
fn large_data_passes_exactly_in_each_direction_and_in_both_at_once() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let len = tier().large;
    let (from, to) = (ana.path("from"), ana.path("to"));
    let sum = noise_file(&from, len);
    let there = bastion.target().home().join("big");

    let up = format!("cat > {}", there.display());
    ana.ssh(&["web1", &up]).start_with(File::open(&from).unwrap()).done(BULK).expect_ok("up");
    assert_eq!(digest(&there), sum);

    let down = format!("cat {}", there.display());
    ana.ssh(&["web1", &down]).through(Stdio::null(), &to).done(BULK).expect_ok("down");
    assert_eq!(digest(&to), sum);

    ana.ssh(&["web1", "cat"]).through(File::open(&from).unwrap(), &to).done(BULK).expect_ok("both ways");
    assert_eq!(digest(&to), sum);

    let both = "tee /dev/stderr";
    let mut command = ana.ssh(&["web1", both]).command();
    let errors = ana.path("errors");
    command.stdin(File::open(&from).unwrap()).stdout(File::create(&to).unwrap());
    command.stderr(File::create(&errors).unwrap());
    let mut child = command.spawn().unwrap();
    let status = within(BULK, "stdout and stderr at once", || child.try_wait().unwrap());
    assert!(status.success());
    assert_eq!((digest(&to), digest(&errors)), (sum.clone(), sum));
}

#[test]
fn sftp_gets_with_64_requests_outstanding_come_whole_time_after_time() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let there = bastion.target().home().join("big");
    let sum = noise_file(&there, tier().sftp);

    for round in 0..tier().gets {
        let to = ana.path("got");
        let lines = format!("get {} {}\n", there.display(), to.display());
        let mut sftp = ana.sftp("web1", &["-R", "64"], &lines);
        Program::start_with(&mut sftp, Stdio::null()).done(BULK).expect_ok("sftp get");
        assert_eq!(digest(&to), sum, "round {round}");
        fs::remove_file(to).unwrap();
    }
}

#[test]
fn a_sink_that_sleeps_costs_no_memory() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "cat"]).fed(&noise(1, 4 << 20)).expect_ok("warming up");
    let before = bastion.rss_kib();

    let ssh = ana.ssh(&["web1", "echo up; exec sleep 600"]).start();
    ssh.out.wait("up\n", SHORT);
    let mut pipe = File::from(ssh.take_input().unwrap());
    let pours = thread::spawn(move || {
        let zeros = vec![0; 64 << 10];
        // 256 MiB, or until it is killed.
        (0..4096).take_while(|_| pipe.write_all(&zeros).is_ok()).count()
    });
    bastion.grows_less_than(before, GROWTH_KIB_MAX, LOOKED_AT);
    assert!(!pours.is_finished(), "256 MiB were taken from a client whose target does not read");

    // Others go on meanwhile, and what the sink took is given back.
    assert_eq!(ana.ssh(&["web1", "echo others"]).done().text(), "others\n");
    ssh.kill();
    pours.join().unwrap();
    bastion.grows_less_than(before, GROWTH_KIB_MAX, Duration::from_secs(2));
}

#[test]
fn a_client_that_stops_reading_costs_no_memory() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "head -c 4000000 /dev/zero"]).done().expect_ok("warming up");
    let before = bastion.rss_kib();

    let to = ana.path("zeros");
    let ssh = ana.ssh(&["web1", "cat /dev/zero"]).through(Stdio::null(), &to);
    within(SHORT, "the first bytes", || (fs::metadata(&to).unwrap().len() > 0).then_some(()));
    ssh.signal(Signal::STOP);
    bastion.grows_less_than(before, GROWTH_KIB_MAX, LOOKED_AT);

    assert_eq!(ana.ssh(&["web1", "echo others"]).done().text(), "others\n");
    ssh.signal(Signal::CONT);
    let len = fs::metadata(&to).unwrap().len();
    within(SHORT, "more bytes", || (fs::metadata(&to).unwrap().len() > len).then_some(()));
}

#[test]
fn a_terminal_that_is_not_read_costs_no_memory_and_ends_at_once() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1", "echo up; yes"]).options(&["-tt"]).on_terminal(80, 24);
    ssh.out.wait("up\r\n", SHORT);
    let before = bastion.rss_kib();

    ssh.signal(Signal::STOP);
    bastion.grows_less_than(before, GROWTH_KIB_MAX, LOOKED_AT);
    ssh.signal(Signal::CONT);
    ssh.send("\x03");
    ssh.done(SHORT);
}

/// A connection that several sessions share.
struct Mux<'c> {
    caller: &'c Caller,
    socket: String,
}

impl Mux<'_> {
    fn open<'c>(caller: &'c Caller) -> Mux<'c> {
        let socket = caller.path("mux").to_string_lossy().into_owned();
        let mux = Mux { caller, socket };
        let mut command = Command::new("ssh");
        let master = ["-M", "-N", "-f", "-o", "ControlPersist=no"];
        command.args(mux.options()).args(master).arg("127.0.0.1").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        mux
    }

    fn options(&self) -> Vec<String> {
        let config = self.caller.config().to_string_lossy().into_owned();
        let (port, login) = (self.caller.port().to_string(), format!("{}%web1", self.caller.name()));
        ["-F", &config, "-S", &self.socket, "-p", &port, "-l", &login, "-o", "BatchMode=yes"]
            .map(str::to_owned)
            .into()
    }

    fn command(&self, words: &str) -> Command {
        self.command_with("-T", words)
    }

    fn command_with(&self, option: &str, words: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.options()).args([option, "127.0.0.1", words]);
        command
    }
}

impl Drop for Mux<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("ssh");
        command.args(self.options()).args(["-O", "exit", "127.0.0.1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        command.status().expect("ssh runs");
    }
}

/// A command on a shared connection whose other session is stuck answers within this.
const NEIGHBOUR: Duration = Duration::from_secs(3);

#[track_caller]
fn answers_soon(mux: &Mux<'_>) {
    for _ in 0..5 {
        let began = Instant::now();
        let done = Program::start_with(&mut mux.command("echo other; exit 9"), Stdio::null()).done(LONG);
        assert_eq!((done.code, done.text().as_str()), (Some(9), "other\n"), "{}", done.err);
        assert!(began.elapsed() < NEIGHBOUR, "it took {:?}", began.elapsed());
    }
}

#[test]
fn a_channel_whose_target_does_not_read_stops_no_other_of_its_connection() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let mux = Mux::open(&ana);

    let stuck = Program::start(&mut mux.command("echo up; exec sleep 600"));
    stuck.out.wait("up\n", SHORT);
    let mut pipe = File::from(stuck.take_input().unwrap());
    thread::spawn(move || {
        let zeros = vec![0; 64 << 10];
        (0..4096).take_while(|_| pipe.write_all(&zeros).is_ok()).count()
    });
    answers_soon(&mux);
    stuck.kill();
    answers_soon(&mux);
}

#[test]
fn a_channel_that_its_client_does_not_read_stops_no_other_of_its_connection() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let mux = Mux::open(&ana);

    // The pipe to this process is never read, so the master stops taking this channel's data.
    let mut command = mux.command("cat /dev/zero");
    let mut stuck =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    answers_soon(&mux);
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    answers_soon(&mux);
}

#[test]
fn many_commands_over_one_connection_lose_no_exit_code_and_no_output() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let mux = Mux::open(&ana);

    let count = tier().commands;
    let workers = 4;
    thread::scope(|scope| {
        for worker in 0..workers {
            let mux = &mux;
            scope.spawn(move || {
                for at in (worker..count).step_by(workers) {
                    let code = at % 250;
                    let terminal = if at % 4 == 3 { "-tt" } else { "-T" };
                    let mut command = mux.command_with(terminal, &format!("echo n{at}; exit {code}"));
                    let done = Program::start_with(&mut command, Stdio::null()).done(LONG);
                    assert_eq!(done.code, Some(code as i32), "command {at}: {}", done.err);
                    assert_eq!(done.text().trim(), format!("n{at}"));
                }
            });
        }
    });
    let sessions = bastion.sessions_of("ana").len();
    assert!(sessions >= count, "each of {count} has its recording, and there are {sessions}");
}
