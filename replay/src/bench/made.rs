//! A recording to measure with, like what people and programs leave: prompts and listings, logs that rush by, a
//! full-screen editor and a monitor that redraw themselves.

use std::io::{self, Read};

use serde_json::json;

/// Numbers that look drawn by lot, and are the same on every machine.
pub struct Dice(u64);

impl Dice {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed | 1)
    }

    /// A number below this one (0 if it is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).checked_rem(bound).unwrap_or(0)
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 16] = [
            "systemd",
            "nginx",
            "postgres",
            "error",
            "warning",
            "accepted",
            "connection",
            "from",
            "10.0.3.7",
            "/srv/app",
            "config.toml",
            "déjà",
            "ok",
            "retry",
            "timeout",
            "漢字",
        ];
        WORDS.get(self.below(16) as usize).copied().unwrap_or("word")
    }
}

/// The lines of such a recording, made as they are read.
pub struct Recording {
    dice: Dice,
    seconds: f64,
    made: Vec<u8>,
    taken: usize,
    left: u64,
}

impl Recording {
    /// About so many bytes of it.
    pub fn new(bytes: u64) -> Self {
        let header = json!({"version": 2, "width": 120, "height": 40, "title": "a made recording"});
        let made = format!("{header}\n").into_bytes();
        Recording { dice: Dice::new(42), seconds: 0.0, made, taken: 0, left: bytes }
    }

    fn make(&mut self) {
        self.made.clear();
        self.taken = 0;
        match self.dice.below(8) {
            0..=3 => self.prompt(),
            4 | 5 => self.log(),
            6 => self.editor(),
            _ => self.monitor(),
        }
        self.left = self.left.saturating_sub(self.made.len() as u64);
    }

    fn say(&mut self, wait_ms: u64, text: &str) {
        self.seconds += wait_ms as f64 / 1000.0;
        let line = json!([(self.seconds * 1e6).round() / 1e6, "o", text]);
        self.made.extend_from_slice(format!("{line}\n").as_bytes());
    }

    fn prompt(&mut self) {
        let command = format!("ls -la /srv/{}", self.dice.word());
        self.say(800, "\x1b[1;32malice@web1\x1b[0m:\x1b[1;34m~\x1b[0m$ ");
        for key in command.chars() {
            let wait = 60 + self.dice.below(120);
            self.say(wait, key.encode_utf8(&mut [0; 4]));
        }
        let mut listing = String::from("\r\n");
        for _ in 0..self.dice.below(30) {
            let size = self.dice.below(1 << 30);
            listing +=
                &format!("-rw-r--r-- 1 root root {size:>10} Nov 21 11:23 \x1b[0;3{}m", self.dice.below(8));
            listing += &format!("{}-{}\x1b[0m\r\n", self.dice.word(), self.dice.below(1000));
        }
        self.say(5, &listing);
    }

    fn log(&mut self) {
        for n in 0..200 {
            let [a, b, c, d] = [0; 4].map(|_| self.dice.word());
            let wait = self.dice.below(20);
            self.say(wait, &format!("Nov 21 11:{:02}:07 web1 {a}[{n}]: {b} {c} {d} {a} {c}\r\n", n % 60));
        }
    }

    fn editor(&mut self) {
        self.say(300, "\x1b[?1049h\x1b[22;0;0t\x1b[1;40r\x1b[H\x1b[2J");
        for key in 0..120 {
            let (row, col) = (1 + self.dice.below(38), 1 + self.dice.below(80));
            let word = self.dice.word();
            self.say(90, &format!("\x1b[?25l\x1b[{row};{col}H\x1b[3{}m{word}\x1b[m\x1b[K\x1b[40;1H-- INSERT -- {key}\x1b[?25h", key % 8));
        }
        self.say(200, "\x1b[40;1H\x1b[?1049l\x1b[23;0;0t");
    }

    fn monitor(&mut self) {
        self.say(300, "\x1b[?1049h\x1b[H\x1b[2J");
        for _ in 0..20 {
            let mut frame = String::from("\x1b[H\x1b[?25l");
            for row in 1..=40 {
                let (id, share) = (self.dice.below(99_999), self.dice.below(1000));
                frame += &format!(
                    "\x1b[{row};1H{id:>7} root  20  0 \x1b[1m{:>5.1}\x1b[m  {}\x1b[K",
                    share as f64 / 10.0,
                    self.dice.word()
                );
            }
            self.say(1000, &frame);
        }
        self.say(100, "\x1b[?1049l\x1b[?25h");
    }
}

impl Read for Recording {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.made.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.make();
        }
        let rest = self.made.get(self.taken..).unwrap_or_default();
        let n = rest.len().min(block.len());
        block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.taken += n;
        Ok(n)
    }
}
