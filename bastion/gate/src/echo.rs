//! What was typed on a terminal, and whether the screen showed it.
//!
//! Before a byte of text is relayed, only its count is recorded: it may be a password. Its content waits in memory,
//! as part of a *run*: text without a control key in between. A run is shown when each of its letters, in order, was
//! written by the target after it was typed, each into the cell that follows the one before, the first into the cell
//! where the cursor stood when it was typed; and when the cursor then stood behind the last one, as it does behind an
//! echo, and not behind other output that happens to hold the same letters. A run that is not shown as a whole is
//! forgotten: what is in doubt stays a count.
//!
//! A run is given out when it has ended, at a control key, and is shown; so a line makes one event, and no letter is
//! given out because it alone fits. Somebody who stops typing in the middle of one makes another: what has been shown
//! for a second is given out as far as it goes.

use bytes::Bytes;
use recording::{Elapsed, What};
use zeroize::Zeroizing;

use std::time::Duration;

use crate::{
    keys::{Key, Keys},
    screen::{Place, Screen, Seen},
};

/// How long an echo may be under way after the key that ended its run.
const ECHO_WAIT: Duration = Duration::from_secs(1);
/// How long a run that has not ended stays shown and untouched before it is given out as far as it goes.
const TYPING_PAUSE: Duration = Duration::from_secs(1);
/// Text without a control key that is longer than this stays a count.
const RUN_BYTES_MAX: usize = 4096;
/// A run that does not begin after a control key follows keys that were no text (`i` in vim, then words), or output
/// from elsewhere. So short a one could fit by chance.
const LETTERS_AMID_MIN: usize = 3;
/// A sequence's parameters are not longer, see [`Keys`].
const PARAMETER_BYTES_MAX: usize = 16;

/// Keeps typed text back until the screen has shown it.
#[derive(Debug)]
pub(crate) struct Echo {
    keys: Keys,
    screen: Screen,
    /// Bytes that the client has sent.
    position: u64,
    /// What is being typed.
    open: Option<Run>,
    /// What was typed and is not shown yet, and when it is given up.
    ended: Option<(Run, Elapsed)>,
    /// The last key was a control key.
    after_control: bool,
    /// Output has come since the last letter, and it was no echo.
    answered: bool,
    /// Something else was written where an echo belongs (stars, for a password): nothing is looked for until the
    /// next control key.
    masked: bool,
    /// The parameters of an escape sequence, until its last letter.
    parameters: Zeroizing<Vec<u8>>,
}

/// Text without a control key in between.
#[derive(Debug)]
struct Run {
    /// Position of its first byte.
    first: u64,
    text: Zeroizing<Vec<u8>>,
    /// When its last letter was typed.
    typed: Elapsed,
    /// How many of its bytes were shown.
    shown: usize,
    /// How many of its bytes were given out.
    given: usize,
    /// Where the next letter belongs.
    next: Place,
    /// The cursor stood behind the last letter that was shown, and nothing was written there since.
    clean: bool,
    /// It begins after a control key.
    fresh: bool,
    /// The line was left.
    left: bool,
}

impl Echo {
    pub(crate) fn new(cols: u16, rows: u16) -> Echo {
        Echo {
            keys: Keys::default(),
            screen: Screen::new(cols, rows),
            position: 0,
            open: None,
            ended: None,
            after_control: true,
            answered: false,
            masked: false,
            parameters: Zeroizing::new(Vec::with_capacity(PARAMETER_BYTES_MAX)),
        }
    }

    /// The client typed this. What is recorded of it before it is relayed: control keys with their content, text as a
    /// count; and what was typed before and is shown by now.
    pub(crate) fn typed(&mut self, data: &Bytes, now: Elapsed) -> Vec<What> {
        let mut out = Pieces::of(data);
        out.extend(self.take_shown());
        for (at, byte) in data.iter().enumerate() {
            let key = self.keys.next(*byte, now);
            match key {
                Key::Text => {
                    out.extend(self.letter(*byte, now));
                    out.count(at);
                }
                Key::Parameter => {
                    if self.parameters.len() < PARAMETER_BYTES_MAX {
                        self.parameters.push(*byte);
                    }
                    out.count(at);
                }
                Key::Control | Key::ControlEnd => {
                    out.extend(self.end_run(now));
                    out.keep(at);
                    (self.after_control, self.masked) = (true, false);
                }
            }
            self.position += 1;
            if key != Key::Parameter {
                out.extend(self.sequence_ended(key));
            }
        }
        out.done()
    }

    /// The target sent this. What had been typed and is shown by it, on a line that it has left.
    pub(crate) fn answered(&mut self, data: &[u8], now: Elapsed) -> Option<What> {
        let mut rest = data;
        while self.is_watching()
            && let Some((byte, after)) = rest.split_first()
        {
            rest = after;
            self.watch(*byte, now);
        }
        if !rest.is_empty() {
            self.answered = true;
            self.screen.keep(rest);
        }
        self.ended.take_if(|(run, _)| run.left && run.may_be_given_out()).and_then(|(run, _)| run.rest())
    }

    /// The window has another size. Where anything stands is not known any more.
    pub(crate) fn resized(&mut self, cols: u16, rows: u16) {
        (self.open, self.ended) = (None, None);
        self.screen.resize(cols, rows);
    }

    /// When something that was typed is given out or given up.
    pub(crate) fn deadline(&self) -> Option<Elapsed> {
        let ended = self.ended.as_ref().map(|(_, until)| *until);
        let paused = self.open.as_ref().and_then(Run::paused_at);
        ended.into_iter().chain(paused).min()
    }

    /// That time has come.
    pub(crate) fn deadline_came(&mut self, now: Elapsed) -> Vec<What> {
        let late = self.ended.take_if(|(_, until)| *until <= now);
        let ended = late.and_then(|(run, _)| run.may_be_given_out().then(|| run.rest())?);
        let paused = self.open.as_mut().filter(|run| run.paused_at().is_some_and(|at| at <= now));
        let so_far = paused.and_then(|run| {
            let rest = run.rest();
            run.given = run.text.len();
            rest
        });
        ended.into_iter().chain(so_far).collect()
    }

    /// The session ends: what is shown by now, and no more.
    pub(crate) fn finish(&mut self, now: Elapsed) -> Vec<What> {
        let ended = self.take_shown();
        let open = self.end_run(now);
        self.ended = None;
        ended.into_iter().chain(open).collect()
    }

    fn letter(&mut self, byte: u8, now: Elapsed) -> Option<What> {
        let begins = byte & 0xc0 != 0x80;
        let cursor = if begins { self.screen.look(now) } else { None };
        let stale = begins
            && self.open.as_ref().is_some_and(|run| {
                let moved = cursor.is_none_or(|cursor| !self.screen.is_same(run.next, cursor));
                if run.is_shown() { run.left || moved } else { self.answered }
            });
        let mut given_out = None;
        if stale {
            given_out = self.open.take().filter(Run::may_be_given_out).and_then(|run| run.rest());
        }
        if begins && self.open.is_none() && self.ended.is_none() && !self.masked {
            let fresh = self.after_control;
            self.open = cursor.map(|cursor| Run::new(self.position, now, cursor, fresh));
        }
        match &mut self.open {
            Some(run) if run.text.len() < RUN_BYTES_MAX => {
                run.text.push(byte);
                run.typed = now;
            }
            Some(_) => (self.open, self.masked) = (None, true),
            None => {}
        }
        (self.after_control, self.answered) = (false, false);
        given_out
    }

    fn end_run(&mut self, now: Elapsed) -> Option<What> {
        let run = self.open.take()?;
        if run.may_be_given_out() {
            return run.rest();
        }
        // Its echo may be under way. A screen that shows the next run already has shown this one, or never will.
        if !run.left {
            self.ended = Some((run, now.after(ECHO_WAIT)));
        }
        None
    }

    fn take_shown(&mut self) -> Option<What> {
        self.ended.take_if(|(run, _)| run.may_be_given_out()).and_then(|(run, _)| run.rest())
    }

    /// The parameters of a sequence that stands for no text are none either.
    fn sequence_ended(&mut self, key: Key) -> Option<What> {
        let data = (key == Key::ControlEnd && !self.parameters.is_empty()).then(|| {
            let first = self.position - 1 - self.parameters.len() as u64;
            What::Shown { first, data: Bytes::copy_from_slice(&self.parameters) }
        });
        zeroize::Zeroize::zeroize(&mut *self.parameters);
        data
    }

    /// Whether what the target writes now can matter.
    fn is_watching(&self) -> bool {
        let matters = |run: &Run| !run.left;
        self.ended.as_ref().is_some_and(|(run, _)| matters(run)) || self.open.as_ref().is_some_and(matters)
    }

    fn watch(&mut self, byte: u8, now: Elapsed) {
        let before = self.screen.cursor();
        let seen = self.screen.watch(byte, now);
        let after = self.screen.cursor();
        let run = match (&mut self.ended, &mut self.open) {
            (Some((run, _)), _) if !run.left => run,
            (_, Some(run)) => run,
            _ => return,
        };
        let verdict = match (seen, before, after) {
            (Seen::Lost, _, _) | (_, None, _) | (_, _, None) => Verdict::Dead,
            (_, Some(before), Some(after)) => run.watch(seen, before, after, &self.screen),
        };
        self.answered = verdict != Verdict::Shown;
        match verdict {
            Verdict::Shown | Verdict::Undecided => {}
            Verdict::Masked => (self.open, self.ended, self.masked) = (None, None, true),
            Verdict::Dead => (self.open, self.ended) = (None, None),
        }
    }
}

/// What a byte of output says about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It showed a letter.
    Shown,
    Undecided,
    /// Something else stands where a letter belongs.
    Masked,
    /// It cannot be shown any more.
    Dead,
}

impl Run {
    fn new(first: u64, typed: Elapsed, next: Place, fresh: bool) -> Run {
        let text = Zeroizing::new(Vec::with_capacity(RUN_BYTES_MAX));
        Run { first, text, typed, shown: 0, given: 0, next, clean: false, fresh, left: false }
    }

    fn is_shown(&self) -> bool {
        self.shown == self.text.len()
    }

    fn may_be_given_out(&self) -> bool {
        let letters = || std::str::from_utf8(&self.text).map_or(0, |text| text.chars().count());
        self.is_shown() && self.clean && (self.fresh || letters() >= LETTERS_AMID_MIN)
    }

    /// Its text, without what was given out before.
    fn rest(&self) -> Option<What> {
        let rest = self.text.get(self.given..).filter(|rest| !rest.is_empty())?;
        Some(What::Shown { first: self.first + self.given as u64, data: Bytes::copy_from_slice(rest) })
    }

    /// When it counts as typed in two parts, if nothing happens until then.
    fn paused_at(&self) -> Option<Elapsed> {
        let has_more = self.may_be_given_out() && self.given < self.text.len();
        has_more.then(|| self.typed.after(TYPING_PAUSE))
    }

    /// The letter that is to be shown next; none if not all of it was typed yet.
    fn expected(&self) -> Option<char> {
        let rest = self.text.get(self.shown..)?;
        let valid = rest.utf8_chunks().next()?.valid();
        valid.chars().next()
    }

    fn watch(&mut self, seen: Seen, before: Place, after: Place, screen: &Screen) -> Verdict {
        let here = screen.is_same(self.next, before);
        let mut verdict = Verdict::Undecided;
        let mut left = seen == Seen::Newline || screen.has_scrolled();
        if let (Seen::Letter(letter), true) = (seen, here) {
            if self.is_shown() {
                // A blank is how line editors wrap.
                self.clean &= letter == ' ';
            } else if self.expected() == Some(letter) && screen.shows_before(after, letter, before != after) {
                self.shown += letter.len_utf8();
                (self.next, self.clean, left, verdict) = (after, true, false, Verdict::Shown);
            } else if letter != ' ' {
                return Verdict::Masked;
            }
            if letter == ' '
                && verdict != Verdict::Shown
                && let Some(wrapped) = screen.wrapped(self.next, after)
            {
                (self.next, left) = (wrapped, false);
            }
        }
        if self.is_shown() && screen.is_same(self.next, after) {
            self.clean = true;
        }
        if left {
            if !self.is_shown() || !self.clean {
                return Verdict::Dead;
            }
            self.left = true;
        }
        verdict
    }
}

/// What is recorded of one message, its neighbours of a kind joined.
struct Pieces<'a> {
    data: &'a Bytes,
    out: Vec<What>,
    begin: usize,
    end: usize,
    counted: bool,
}

impl<'a> Pieces<'a> {
    fn of(data: &'a Bytes) -> Self {
        Pieces { data, out: vec![], begin: 0, end: 0, counted: false }
    }

    fn count(&mut self, at: usize) {
        self.piece(at, true);
    }

    fn keep(&mut self, at: usize) {
        self.piece(at, false);
    }

    fn extend(&mut self, what: Option<What>) {
        if let Some(what) = what {
            self.flush();
            self.out.push(what);
        }
    }

    fn done(mut self) -> Vec<What> {
        self.flush();
        self.out
    }

    fn piece(&mut self, at: usize, counted: bool) {
        if self.counted != counted {
            self.flush();
            self.counted = counted;
        }
        self.end = at + 1;
    }

    fn flush(&mut self) {
        if self.begin < self.end {
            let data = self.data.slice(self.begin..self.end);
            let count = || u32::try_from(data.len()).unwrap_or(u32::MAX);
            self.out.push(if self.counted { What::Typed(count()) } else { What::Input(data) });
            self.begin = self.end;
        }
    }
}
