//! A viewer at a terminal: tmux plays the terminal, the test presses the keys and reads the screen.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test uses a part; a test may fail"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

/// Longest wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// The player's program.
pub const REPLAY: &str = env!("CARGO_BIN_EXE_replay");

/// Runs the player without a terminal.
pub fn replay<const N: usize>(args: [&str; N]) -> Output {
    Command::new(REPLAY).args(args).output().unwrap()
}

/// Standard output as text.
pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error as text.
pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Writes a cast of these events into the folder.
pub fn cast(folder: &Path, name: &str, size: (u16, u16), events: &[(f64, &str, &str)]) -> PathBuf {
    let mut text = format!("{}\n", json!({"version": 2, "width": size.0, "height": size.1}));
    for event in events {
        text += &format!("{}\n", json!(event));
    }
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A terminal of its own, in which the player runs; it ends with the test.
pub struct Pane {
    socket: String,
}

impl Pane {
    /// Starts the player; when it ends, its exit code is printed.
    pub fn play(size: (u16, u16), args: &str) -> Pane {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = format!("replay-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let pane = Pane { socket };
        let (cols, rows) = (size.0.to_string(), size.1.to_string());
        let command = format!("{REPLAY} {args}; echo \"left with $?\"; exec cat");
        pane.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &cols, "-y", &rows, &command]);
        pane
    }

    fn tmux(&self, args: &[&str]) -> String {
        let run =
            Command::new("tmux").args(["-L", &self.socket]).args(args).env_remove("TMUX").output().unwrap();
        String::from_utf8_lossy(&run.stdout).into_owned()
    }

    /// Presses keys, by tmux's names.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", ":"], keys].concat());
    }

    /// Gives the window another size.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.tmux(&["resize-window", "-t", ":", "-x", &cols.to_string(), "-y", &rows.to_string()]);
    }

    /// What stands on the screen now.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", ":"])
    }

    /// The player's process.
    pub fn player_pid(&self) -> i32 {
        let shell = self.tmux(&["display-message", "-p", "-t", ":", "#{pane_pid}"]);
        let shell = shell.trim().to_owned();
        let found = Command::new("pgrep").args(["-P", &shell]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().parse().unwrap()
    }

    /// Waits until the screen is as described, and answers with it.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}; the screen is:\n{screen}");
        }
    }

    /// Waits until the text stands on the screen.
    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.until(&format!("{text:?}"), |screen| screen.contains(text))
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
