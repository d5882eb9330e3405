//! A disk without room: sessions say so and wait, and go on or end; nothing passes that is not recorded.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::world::{Caller, Done, LONG, Program, SHORT, TestBastion, bytes_of, within};

/// A session that cannot be recorded is given this long.
const UNRECORDED_MAX: Duration = Duration::from_secs(30);

const PAUSED: &str = "bastion: recording fails, so this session is paused; \
                      what you type is kept and sent once recording works again\n";
const AGAIN: &str = "bastion: recording works again, the session goes on\n";
const FAILED: &str = "bastion: recording failed, so this session ends here\n";

/// A gateway's data folder on a small file system of its own.
struct SmallDisk {
    folder: PathBuf,
    filler: Option<File>,
}

impl SmallDisk {
    /// Moves the data of a gateway onto one; none, said aloud, where nothing can be mounted.
    #[track_caller]
    fn under(bastion: &TestBastion) -> Option<SmallDisk> {
        bastion.stop();
        let (folder, aside) = (bastion.data(), bastion.path("aside"));
        fs::rename(&folder, &aside).unwrap();
        fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "bastion-journey"]).arg(&folder);
        if !mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            println!("not run: no small disk can be mounted here; it needs root");
            return None;
        }
        let disk = SmallDisk { folder, filler: None };
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&disk.folder).status();
        assert!(copied.expect("cp runs").success());
        bastion.start_again();
        Some(disk)
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes all the room that there is by now.
    fn fill(&mut self) {
        let path = self.filler();
        let filler = self.filler.get_or_insert_with(|| File::create(path).unwrap());
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0; piece];
            while filler.write_all(&zeros).is_ok() {}
        }
    }

    /// Gives it back.
    fn make_room(&mut self) {
        self.filler = None;
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The gateway may still have files open on it.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A command under way that counts until the file is there, and then ends with 3.
#[track_caller]
fn counting(bastion: &TestBastion, caller: &Caller) -> (Program, PathBuf) {
    let stop = bastion.target().home().join("stop");
    let line = "i=$((i+1)); echo line $i; sleep 0.02";
    let command = format!("i=0; until [ -e {} ]; do {line}; done; exit 3", stop.display());
    let ssh = caller.ssh(&["web1", &command]).start();
    ssh.out.wait("line 20\n", SHORT);
    (ssh, stop)
}

/// Has the whole disk taken until this session has been told.
#[track_caller]
fn fill_until_told(disk: &mut SmallDisk, ssh: &Program) {
    within(SHORT, "the session to be told that it is paused", || {
        disk.fill();
        ssh.err.text().contains(PAUSED).then_some(())
    });
}

/// A session before all this, which can be read whatever happens.
#[track_caller]
fn old_session(bastion: &TestBastion, caller: &Caller) -> Value {
    caller.ssh(&["web1", "echo long-ago"]).done().expect_ok("a session before");
    bastion.last_session_of(caller.name())
}

/// What a session was told, without the pauses that it was told the end of: the gateway may give back some room of its
/// own before the disk is full for good.
fn but_for_recoveries(done: &Done) -> String {
    done.err.replace(&format!("{PAUSED}{AGAIN}"), "")
}

#[track_caller]
fn assert_whole(bastion: &TestBastion, session: &Value, seen: &[u8]) {
    let recorded = bytes_of(bastion, session).output;
    assert!(recorded.starts_with(seen), "{} bytes seen, {} recorded", seen.len(), recorded.len());
    let text = String::from_utf8_lossy(seen);
    let lines: Vec<&str> = text.lines().collect();
    let whole = lines.iter().enumerate().take(lines.len().saturating_sub(1));
    for (at, line) in whole {
        assert_eq!(*line, format!("line {}", at + 1), "nothing is left out");
    }
}

#[test]
fn a_session_that_cannot_be_recorded_waits_and_then_ends() {
    let bastion = TestBastion::start();
    let Some(mut disk) = SmallDisk::under(&bastion) else { return };
    let ana = bastion.caller("ana");
    let old = old_session(&bastion, &ana);
    let (ssh, _) = counting(&bastion, &ana);

    fill_until_told(&mut disk, &ssh);
    let told = Instant::now();
    assert_eq!(bastion.output_of(&old), "long-ago\n", "it can be read on a full disk");
    within(LONG, "the session's end", || {
        disk.fill();
        ssh.ended()
    });

    let took = told.elapsed();
    assert!(took >= UNRECORDED_MAX - Duration::from_secs(5), "it ended after {took:?}");
    let done = ssh.done(SHORT);
    assert_eq!((done.code, but_for_recoveries(&done)), (Some(74), format!("{PAUSED}{FAILED}")));
    assert_eq!(bastion.output_of(&old), "long-ago\n");

    disk.make_room();
    let session = bastion.last_session_of("ana");
    assert_eq!(
        (session["state"].as_str(), session["reason"].as_str()),
        (Some("finished"), Some("recording failed"))
    );
    assert_whole(&bastion, &session, &done.out);
    assert_eq!(ana.ssh(&["web1", "echo in"]).done().expect_ok("a new session").text(), "in\n");
}

#[test]
fn a_session_goes_on_once_there_is_room_again() {
    let bastion = TestBastion::start();
    let Some(mut disk) = SmallDisk::under(&bastion) else { return };
    let ana = bastion.caller("ana");
    let old = old_session(&bastion, &ana);
    let (ssh, stop) = counting(&bastion, &ana);
    let cat = ana.ssh(&["web1", "cat"]).start();
    cat.send("before\n");
    cat.out.wait("before\n", SHORT);

    fill_until_told(&mut disk, &ssh);
    cat.send("x".repeat(8192) + "-typed-meanwhile\n");
    fill_until_told(&mut disk, &cat);
    let passed = cat.out.text() != "before\n";
    assert!(!passed || cat.err.text().contains(AGAIN), "nothing passes that is not recorded");
    assert_eq!(bastion.output_of(&old), "long-ago\n", "it can be read on a full disk");
    disk.make_room();

    for session in [&ssh, &cat] {
        session.err.wait(AGAIN, SHORT);
    }
    let at = ssh.out.len();
    ssh.out.wait_len(at + 100, SHORT);
    cat.out.wait("-typed-meanwhile\n", SHORT);
    cat.send_end();
    fs::write(&stop, "").unwrap();
    let (counted, echoed) = (ssh.done(SHORT), cat.done(SHORT));

    assert_eq!((counted.code, but_for_recoveries(&counted)), (Some(3), String::new()));
    assert_eq!((echoed.code, but_for_recoveries(&echoed)), (Some(0), String::new()));
    for session in within(SHORT, "both to be finished", || finished(&bastion)) {
        let is_cat = session["command"].as_str().is_some_and(|command| command.ends_with("cat"));
        let seen = if is_cat { &echoed.out } else { &counted.out };
        assert_eq!(&bytes_of(&bastion, &session).output, seen);
    }
    assert_whole(&bastion, &bastion.sessions_of("ana")[1], &counted.out);
}

/// The sessions of ana but the first, once they have ended.
fn finished(bastion: &TestBastion) -> Option<Vec<Value>> {
    let sessions = bastion.sessions_of("ana").split_off(1);
    sessions.iter().all(|session| session["state"] == "finished").then_some(sessions)
}
