//! Position, speed, playing or paused.
//!
//! A [`Player`] is told which key was pressed or that time has passed, and what time it is, and answers whether
//! there is something new to draw. It reads no clock and touches no terminal, so a test plays a day in a
//! millisecond.

use std::time::Duration;

use recording::Elapsed;

use crate::{
    keymap::{Action, Key, Way, action},
    reel::Reel,
    source::{Flaw, Growth, SourceFault},
};

/// Longest wait of the player: a live recording is asked this often whether it has grown.
const POLL: Duration = Duration::from_millis(250);
/// Shortest wait while playing: more frames than this nobody sees.
const FRAME: Duration = Duration::from_millis(33);
/// The speeds that `<` and `>` step through.
const SPEEDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// While playing, a marker that was passed less than so long ago is not the one before: the viewer wants the one
/// before that.
const MARKER_GRACE: Duration = Duration::from_secs(1);
/// The end, wherever that is.
const LAST: Elapsed = Elapsed::from_micros(u64::MAX);
/// How many cells a pan moves the window.
const PAN: i32 = 8;

/// What a player hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key was pressed.
    Key(Key),
    /// The window has another size.
    Resize,
    /// Time has passed.
    Tick,
}

/// What a player answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Something changed: draw.
    Draw,
    /// All is as it was.
    Nothing,
    /// The viewer has seen enough.
    Quit,
}

/// How the player begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// Recorded seconds per second.
    pub speed: f64,
    /// Longest stretch without an event that is played in full; `None` plays all.
    pub idle_limit: Option<Duration>,
    /// Where to begin.
    pub at: Elapsed,
}

impl Default for Start {
    fn default() -> Self {
        Start { speed: 1.0, idle_limit: Some(Duration::from_secs(2)), at: Elapsed::ZERO }
    }
}

/// Which part of a recording is seen that is larger than the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The part around the cursor.
    Follow,
    /// The part that begins so many columns and rows from the top left, as far as there are that many.
    At {
        /// Columns left out on the left.
        col: u16,
        /// Rows left out above.
        row: u16,
    },
}

/// A recording being played.
pub struct Player {
    reel: Reel,
    position: Elapsed,
    now: Duration,
    playing: bool,
    speed: f64,
    idle_limit: Option<Duration>,
    /// What `i` turns on again.
    idle_limit_chosen: Duration,
    window: Window,
    /// Top left of what was drawn last, from where a pan starts.
    drawn_from: (u16, u16),
    help: bool,
    /// Where to go as soon as so much has been read.
    wanted: Option<Elapsed>,
    /// Whether only the screen is drawn.
    bare: bool,
    fault: Option<SourceFault>,
}

impl Player {
    /// Starts to play at `now`.
    pub fn new(reel: Reel, start: Start, now: Duration) -> Self {
        let idle_limit_chosen = start.idle_limit.unwrap_or(Duration::from_secs(2));
        let mut player = Player {
            reel,
            position: Elapsed::ZERO,
            now,
            playing: true,
            speed: start.speed,
            idle_limit: start.idle_limit,
            idle_limit_chosen,
            window: Window::Follow,
            drawn_from: (0, 0),
            help: false,
            wanted: None,
            bare: false,
            fault: None,
        };
        player.refresh();
        player.go_when_read(start.at);
        player
    }

    /// Takes in what happened, and when: `now` is any clock that only goes forward.
    pub fn hear(&mut self, heard: Heard, now: Duration) -> Answer {
        let passed = now.saturating_sub(self.now);
        self.now = now;
        let grown = self.refresh();
        let moved = self.play(passed);
        match heard {
            Heard::Tick if grown || moved => Answer::Draw,
            Heard::Tick => Answer::Nothing,
            Heard::Resize => Answer::Draw,
            Heard::Key(key) => match action(key) {
                _ if self.help => {
                    self.help = false;
                    Answer::Draw
                }
                Some(Action::Quit) => Answer::Quit,
                Some(action) => {
                    self.wanted = None;
                    self.act(action, key);
                    Answer::Draw
                }
                None if grown || moved => Answer::Draw,
                None => Answer::Nothing,
            },
        }
    }

    /// How long nothing will happen if no key is pressed.
    pub fn patience(&self) -> Duration {
        if self.playing && !self.at_end() { FRAME } else { POLL }
    }

    fn act(&mut self, action: Action, key: Key) {
        match action {
            Action::PlayOrPause if self.at_end() && self.reel.growth() == Growth::Done => {
                self.go(Elapsed::ZERO);
                self.playing = true;
            }
            Action::PlayOrPause => self.playing = !self.playing,
            Action::Back(by) => self.walk(|reel, from, limit| reel.earlier(from, by, limit)),
            Action::Forward(by) => self.walk(|reel, from, limit| reel.later(from, by, limit)),
            Action::Tenth => self.go(self.tenth(key)),
            Action::Begin => self.go(Elapsed::ZERO),
            Action::Finish => self.go_when_read(LAST),
            Action::MarkerBefore => {
                let past = self.position;
                let grace = if self.playing { MARKER_GRACE.mul_f64(self.speed) } else { Duration::ZERO };
                let marker = self.reel.markers().map(|(at, _)| at).rev().find(|at| at.after(grace) < past);
                self.go_to(marker);
            }
            Action::MarkerAfter => {
                let past = self.position;
                let marker = self.reel.markers().map(|(at, _)| at).find(|at| *at > past);
                self.go_to(marker);
            }
            Action::StepBack => self.step(Reel::step_back),
            Action::StepForward => self.step(Reel::step_forward),
            Action::Slower => {
                self.speed = SPEEDS.into_iter().rev().find(|s| *s < self.speed).unwrap_or(self.speed)
            }
            Action::Faster => self.speed = SPEEDS.into_iter().find(|s| *s > self.speed).unwrap_or(self.speed),
            Action::SpeedOne => self.speed = 1.0,
            Action::IdleLimit => {
                self.idle_limit = if self.idle_limit.is_some() { None } else { Some(self.idle_limit_chosen) };
            }
            Action::Pan(way) => self.pan(way),
            Action::Follow => self.window = Window::Follow,
            Action::Bare => self.bare = !self.bare,
            Action::Help => self.help = true,
            Action::Quit => {}
        }
    }

    /// Lets recorded time pass. True if the position moved.
    fn play(&mut self, passed: Duration) -> bool {
        if !self.playing || self.at_end() || passed.is_zero() {
            return false;
        }
        let by = passed.mul_f64(self.speed);
        self.walk(|reel, from, limit| reel.later(from, by, limit));
        true
    }

    fn walk(
        &mut self,
        to: impl FnOnce(&mut Reel, Elapsed, Option<Duration>) -> Result<Elapsed, SourceFault>,
    ) {
        match to(&mut self.reel, self.position, self.idle_limit) {
            Ok(at) => self.go(at),
            Err(fault) => self.stop(fault),
        }
    }

    fn go(&mut self, to: Elapsed) {
        let to = to.min(self.reel.end());
        match self.reel.go(to) {
            Ok(()) => self.position = to,
            Err(fault) => self.stop(fault),
        }
    }

    /// As [`Player::go`]; and if that is beyond what has been read so far, again as soon as there is more.
    fn go_when_read(&mut self, to: Elapsed) {
        self.go(to);
        self.wanted =
            Some(to).filter(|to| *to > self.reel.end() && matches!(self.reel.growth(), Growth::Reading(_)));
    }

    fn go_to(&mut self, marker: Option<Elapsed>) {
        if let Some(at) = marker {
            self.go(at);
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Reel) -> Result<Elapsed, SourceFault>) {
        self.playing = false;
        match step(&mut self.reel) {
            Ok(at) => self.position = at,
            Err(fault) => self.stop(fault),
        }
    }

    /// A recording that cannot be read on stops where it is, aloud.
    fn stop(&mut self, fault: SourceFault) {
        self.playing = false;
        self.fault = Some(fault);
    }

    fn refresh(&mut self) -> bool {
        let grown = self.reel.refresh().unwrap_or_else(|fault| {
            self.stop(fault);
            true
        });
        if let Some(wanted) = self.wanted.filter(|_| grown) {
            self.go_when_read(wanted);
        }
        grown
    }

    fn tenth(&self, key: Key) -> Elapsed {
        let tenth = match key {
            Key::Char(c) => u64::from(c.to_digit(10).unwrap_or_default()),
            _ => 0,
        };
        Elapsed::from_micros((u128::from(self.reel.end().as_micros()) * u128::from(tenth) / 10) as u64)
    }

    fn pan(&mut self, way: Way) {
        let (col, row) = self.drawn_from;
        let moved = |from: u16, by: i32| (i32::from(from) + by).clamp(0, i32::from(u16::MAX)) as u16;
        self.window = match way {
            Way::Left => Window::At { col: moved(col, -PAN), row },
            Way::Right => Window::At { col: moved(col, PAN), row },
            Way::Up => Window::At { col, row: moved(row, -PAN / 2) },
            Way::Down => Window::At { col, row: moved(row, PAN / 2) },
        };
    }

    /// Top left of what was drawn last.
    pub fn drew_from_last(&self) -> (u16, u16) {
        self.drawn_from
    }

    /// Tells which part of the recording was drawn, so that the next pan starts there.
    pub fn drew_from(&mut self, col: u16, row: u16) {
        self.drawn_from = (col, row);
    }

    /// The recording, at its position.
    pub fn reel(&self) -> &Reel {
        &self.reel
    }

    /// Where it stands.
    pub fn position(&self) -> Elapsed {
        self.position
    }

    /// Whether it stands at the end of what there is.
    pub fn at_end(&self) -> bool {
        self.position >= self.reel.end()
    }

    /// Whether recorded time passes.
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Recorded seconds per second.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// The longest idle stretch that is played in full.
    pub fn idle_limit(&self) -> Option<Duration> {
        self.idle_limit
    }

    /// Which part is seen.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Whether the keys are shown.
    pub fn shows_help(&self) -> bool {
        self.help
    }

    /// Whether only the recorded screen is to be drawn.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// What is wrong with the recording, as far as is known by now.
    pub fn flaw(&self) -> Option<Flaw> {
        let fault = self.fault.as_ref().map(|fault| Flaw::Broken(fault.to_string()));
        fault.or_else(|| self.reel.flaw())
    }
}
