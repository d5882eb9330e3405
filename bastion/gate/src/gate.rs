//! One channel's state machine: hears, and answers with steps.

mod timers;

use std::time::Duration;

use bytes::Bytes;
use recording::{Elapsed, Event, Exit, What};

use crate::{
    Ending, FromClient, FromTarget, Grant, Heard, Notice, Opening, Opens, Printable, Reason, Step, ToClient,
    ToTarget, WaitsFor, echo::Echo,
};

/// How long an end of output waits for the exit status that belongs before it. OpenSSH answers an end of both
/// directions with a close, and a status that comes after it is lost.
const END_HELD_MAX: Duration = Duration::from_millis(500);
/// How long the target may take to read what a client that is gone has left.
const LEFTOVERS_MAX: Duration = Duration::from_secs(2);
/// How long a session that policy or an administrator ends may take to tell the client so.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// How long a session waits for a recording that fails. A disk that is being emptied by hand takes about this long;
/// meanwhile at most what two windows hold is kept in memory.
const UNRECORDED_MAX: Duration = Duration::from_secs(30);
/// How long a shell without a terminal may wait for input before it is told how to get one.
const HINT_AFTER: Duration = Duration::from_secs(1);
/// A longer name no signal has.
const SIGNAL_BYTES_MAX: usize = 32;

/// What stands between one client and one target.
#[derive(Debug)]
pub struct Gate {
    grant: Grant,
    opening: Opening,
    /// Only of a terminal.
    echo: Option<Echo>,
    stage: Stage,
    client: Client,
    output: Output,
    exit_known: bool,
    /// The record tells why the session ended.
    end_recorded: bool,
    /// Recording fails, and is given up at this time.
    unrecorded: Option<Elapsed>,
    begun: Elapsed,
    active: Elapsed,
    time_warned: bool,
    idle_warned: bool,
    /// When a shell without a terminal is told how to get one.
    hint: Option<Elapsed>,
    /// Somebody outside ends it, and when that takes effect.
    ending: Option<(Elapsed, Ending)>,
    /// When policy was asked anew and answered with other limits.
    regranted: Option<Elapsed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// `Close` is on its way; if it does not leave until then, it never will.
    Closing(Option<Elapsed>, Reason),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Here,
    /// Gone; until then the target may read what it left.
    Gone(Elapsed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// The target ended it; the client is told once the exit status has come, or at this time.
    EndHeld(Elapsed),
    Ended,
}

impl Gate {
    /// A gate for what was granted; `opening` is what the client asked for.
    pub fn new(grant: Grant, opening: Opening) -> Gate {
        Gate {
            echo: opening.pty.as_ref().map(|pty| {
                let (cols, rows) = shown_size(pty.cols, pty.rows);
                Echo::new(cols, rows)
            }),
            grant,
            opening,
            stage: Stage::Open,
            client: Client::Here,
            output: Output::Open,
            exit_known: false,
            end_recorded: false,
            unrecorded: None,
            begun: Elapsed::ZERO,
            active: Elapsed::ZERO,
            time_warned: false,
            idle_warned: false,
            hint: None,
            ending: None,
            regranted: None,
        }
    }

    /// What to do about something heard at `now`, in order.
    pub fn hear(&mut self, heard: Heard, now: Elapsed) -> Vec<Step> {
        if self.stage == Stage::Over {
            return vec![];
        }
        let open = self.stage == Stage::Open;
        match heard {
            Heard::Deadline => self.deadline_came(now),
            Heard::Unrecorded(_) => self.recording_failed(now),
            Heard::RecordedAgain => self.recorded_again(now),
            Heard::Begin if open => self.begin(now),
            Heard::Client(sent) if open => self.client_sent(sent, now),
            Heard::Target(sent) if open => self.target_sent(sent, now),
            Heard::ClientGone if open => self.client_left(now),
            // A target that cannot be written to may still have sent something: its close will be heard.
            Heard::TargetGone => vec![],
            Heard::End(ending) if open => self.ending(ending, now),
            Heard::Regranted(grant) if open => self.regranted(grant, now),
            Heard::KeyBound(key) if open && self.opening.pty.is_some() => {
                self.tell(&Notice::KeyBound(key), now)
            }
            Heard::KeyBound(_) => vec![], // programs read what a session without a terminal says
            // Its close is on its way. What it is told now comes too late to matter.
            Heard::Begin
            | Heard::Client(_)
            | Heard::Target(_)
            | Heard::ClientGone
            | Heard::End(_)
            | Heard::Regranted(_) => vec![],
        }
    }

    /// When the gate wants to hear [`Heard::Deadline`]; what it answers can move it.
    pub fn deadline(&self) -> Option<Elapsed> {
        if self.stage == Stage::Over {
            return None;
        }
        self.timers().into_iter().filter_map(|(_, at)| at).min()
    }

    // The opening is synced, all else written: a power cut may take the last moments of a session, but not the fact
    // that there was one, nor the command that it ran.
    fn begin(&mut self, now: Elapsed) -> Vec<Step> {
        (self.begun, self.active) = (now, now);
        let Opening { pty, env, refused, opens } = &self.opening;
        if pty.is_none() && *opens == Opens::Shell {
            self.hint = Some(now.after(HINT_AFTER));
        }
        let (exactly, start) = match opens {
            Opens::Shell => (Bytes::new(), ToTarget::Shell),
            Opens::Exec(command) => (command.clone(), ToTarget::Exec(command.clone())),
            Opens::Subsystem(name) => {
                (Bytes::copy_from_slice(name.as_bytes()), ToTarget::Subsystem(name.clone()))
            }
        };
        let mut steps = vec![synced(now, What::Opened(exactly))];
        steps.extend(pty.iter().map(|pty| synced(now, resized(pty.cols, pty.rows))));
        steps.push(Step::Dial(self.grant.clone()));
        steps.extend(pty.iter().cloned().map(|pty| Step::ToTarget(ToTarget::Pty(pty))));
        let env = env.iter().cloned().map(|(name, value)| Step::ToTarget(ToTarget::Env(name, value)));
        steps.extend(env);
        steps.push(Step::ToTarget(start));
        // Without a terminal a program reads stderr, and plain sshd says nothing either.
        let told = refused.iter().filter(|_| pty.is_some());
        steps.extend(told.flat_map(|refused| self.say(&Notice::Forwarding(*refused), now)));
        steps
    }

    fn client_sent(&mut self, sent: FromClient, now: Elapsed) -> Vec<Step> {
        match sent {
            FromClient::Data(data) => self.client_data(data, now),
            FromClient::Eof => {
                self.hint = None;
                vec![written(now, What::InputEnd), Step::ToTarget(ToTarget::Eof)]
            }
            FromClient::Resize { cols, rows, width_px, height_px } => {
                let (cols, rows) = crate::clamp_size(cols.into(), rows.into());
                if let Some(echo) = &mut self.echo {
                    let (cols, rows) = shown_size(cols, rows);
                    echo.resized(cols, rows);
                }
                let resize = ToTarget::Resize { cols, rows, width_px, height_px };
                vec![written(now, resized(cols, rows)), Step::ToTarget(resize)]
            }
            FromClient::Signal(name) if is_signal(&name) => {
                vec![written(now, What::Signal(name.clone())), Step::ToTarget(ToTarget::Signal(name))]
            }
            FromClient::Signal(_) => vec![], // whoever hears clients lets none pass
            FromClient::Close => self.client_left(now),
        }
    }

    // The record first, always. A byte that reached the target and not the recording is the one failure this program
    // exists to prevent.
    fn client_data(&mut self, data: Bytes, now: Elapsed) -> Vec<Step> {
        self.hint = None;
        self.is_active(now);
        if data.is_empty() {
            return vec![];
        }
        let recorded = match &mut self.echo {
            Some(echo) => echo.typed(&data, now),
            None => vec![What::Input(data.clone())],
        };
        let mut steps: Vec<Step> = recorded.into_iter().map(|what| written(now, what)).collect();
        steps.push(Step::ToTarget(ToTarget::Data(data)));
        steps
    }

    fn client_left(&mut self, now: Elapsed) -> Vec<Step> {
        if self.client != Client::Here {
            return vec![];
        }
        self.client = Client::Gone(now.after(LEFTOVERS_MAX));
        self.hint = None;
        let mut steps = self.record_end(&Reason::ClientDone, now);
        steps.push(Step::ToTarget(ToTarget::Close));
        steps
    }

    fn target_sent(&mut self, sent: FromTarget, now: Elapsed) -> Vec<Step> {
        match sent {
            FromTarget::Dialled => vec![],
            FromTarget::Unreachable(why) => self.end(&Notice::Unreachable { why }, Reason::Unreachable, now),
            FromTarget::Misconfigured => {
                let target = self.grant.target().name.clone();
                self.end(&Notice::Misconfigured { target }, Reason::Misconfigured, now)
            }
            FromTarget::Refused => {
                let (target, kind) = (self.grant.target().name.clone(), self.opening.kind());
                self.end(&Notice::Refused { target, kind }, Reason::Unreachable, now)
            }
            FromTarget::Data(data) if data.is_empty() => vec![],
            FromTarget::ErrorData(data) if data.is_empty() => vec![],
            FromTarget::Data(data) => {
                self.target_is_active(now);
                let mut steps = vec![written(now, What::Output(data.clone()))];
                let shown = self.echo.as_mut().and_then(|echo| echo.answered(&data, now));
                steps.extend(shown.map(|what| written(now, what)));
                steps.push(Step::ToClient(ToClient::Data(data)));
                steps
            }
            FromTarget::ErrorData(data) => {
                self.target_is_active(now);
                vec![written(now, What::ErrorOutput(data.clone())), Step::ToClient(ToClient::ErrorData(data))]
            }
            FromTarget::Eof => self.target_ended_output(now),
            FromTarget::Exit(exit) => self.program_ended(exit, now),
            FromTarget::Close => self.target_closed(now),
        }
    }

    fn target_ended_output(&mut self, now: Elapsed) -> Vec<Step> {
        if self.output != Output::Open {
            return vec![];
        }
        let mut steps = vec![written(now, What::OutputEnd)];
        if self.exit_known {
            steps.extend(self.end_output());
        } else {
            self.output = Output::EndHeld(now.after(END_HELD_MAX));
        }
        steps
    }

    fn program_ended(&mut self, exit: Exit, now: Elapsed) -> Vec<Step> {
        self.exit_known = true;
        let mut steps = vec![written(now, What::Exit(exit.clone())), Step::ToClient(ToClient::Exit(exit))];
        if matches!(self.output, Output::EndHeld(_)) {
            steps.extend(self.end_output());
        }
        steps
    }

    /// A target that closes without an exit status is told of in a line; the client's own code for that is 255, as
    /// without a bastion.
    fn target_closed(&mut self, now: Elapsed) -> Vec<Step> {
        let mut steps = vec![];
        let client_here = self.client == Client::Here;
        if client_here && !self.exit_known {
            let target = self.grant.target().name.clone();
            steps.extend(self.say(&Notice::TargetLost { target }, now));
        }
        steps.extend(self.end_output());
        let reason = if client_here { Reason::TargetDone } else { Reason::ClientDone };
        steps.extend(self.close(reason, None, now));
        steps
    }

    fn end_output(&mut self) -> Option<Step> {
        let ended = std::mem::replace(&mut self.output, Output::Ended) == Output::Ended;
        (!ended).then_some(Step::ToClient(ToClient::Eof))
    }

    fn recording_failed(&mut self, now: Elapsed) -> Vec<Step> {
        if self.unrecorded.is_some() {
            return vec![];
        }
        self.unrecorded = Some(now.after(UNRECORDED_MAX));
        self.tell(&Notice::Paused, now)
    }

    fn recorded_again(&mut self, now: Elapsed) -> Vec<Step> {
        match self.unrecorded.take() {
            Some(_) => self.tell(&Notice::RecordedAgain, now),
            None => vec![],
        }
    }

    fn is_active(&mut self, now: Elapsed) {
        (self.active, self.idle_warned) = (now, false);
    }

    /// A terminal whose program prints on and on is as idle as its user; a transfer is not.
    fn target_is_active(&mut self, now: Elapsed) {
        if self.echo.is_none() {
            self.is_active(now);
        }
    }

    /// Ends the session for a reason that is not the remote program's: said, with our exit code, in the client's order.
    fn end(&mut self, notice: &Notice, reason: Reason, now: Elapsed) -> Vec<Step> {
        if self.unrecorded.is_some() {
            let steps = self.tell(notice, now);
            return self.abandon(reason, steps, now);
        }
        let mut steps = self.say(notice, now);
        steps.extend(match notice {
            Notice::Ended(why) | Notice::Withdrawn(why) | Notice::Unreachable { why } => {
                self.record_end(&Printable::sentence(why), now)
            }
            Notice::Refused { .. } => self.record_end(notice, now),
            _ => self.record_end(&reason, now),
        });
        if let Some(code) = notice.exit_code().filter(|_| !self.exit_known) {
            steps.push(Step::ToClient(ToClient::Exit(Exit::Status(code))));
        }
        steps.extend(self.end_output());
        steps.push(Step::ToTarget(ToTarget::Close));
        steps.extend(self.close(reason, Some(now.after(FAREWELL_MAX)), now));
        steps
    }

    fn close(&mut self, reason: Reason, farewell: Option<Elapsed>, now: Elapsed) -> Vec<Step> {
        self.stage = Stage::Closing(farewell, reason);
        let mut steps = self.last_shown(now);
        steps.extend(self.record_end(&reason, now));
        steps.push(Step::Close(reason));
        steps
    }

    fn abandon(&mut self, reason: Reason, mut steps: Vec<Step>, now: Elapsed) -> Vec<Step> {
        self.stage = Stage::Over;
        steps.extend(self.last_shown(now));
        steps.extend(self.record_end(&reason, now));
        steps.push(Step::Abandon(reason));
        steps
    }

    /// What was typed last and is shown by now. The rest is forgotten here.
    fn last_shown(&mut self, now: Elapsed) -> Vec<Step> {
        let shown = self.echo.take().map(|mut echo| echo.finish(now)).unwrap_or_default();
        shown.into_iter().map(|what| written(now, what)).collect()
    }

    /// Why it ends: recorded once, for whatever comes first.
    fn record_end(&mut self, why: &dyn std::fmt::Display, now: Elapsed) -> Vec<Step> {
        match std::mem::replace(&mut self.end_recorded, true) {
            false => vec![written(now, What::Ended(why.to_string()))],
            true => vec![],
        }
    }

    /// In order with what the client is sent.
    fn say(&self, notice: &Notice, now: Elapsed) -> Vec<Step> {
        let line = notice.line(self.opening.pty.is_some());
        vec![written(now, What::Notice(line.clone())), Step::ToClient(ToClient::ErrorData(line))]
    }

    /// Past everything that waits.
    fn tell(&self, notice: &Notice, now: Elapsed) -> Vec<Step> {
        let line = notice.line(self.opening.pty.is_some());
        vec![written(now, What::Notice(line.clone())), Step::Tell(line)]
    }
}

fn written(at: Elapsed, what: What) -> Step {
    Step::Record(Event { at, what }, WaitsFor::Written)
}

fn synced(at: Elapsed, what: What) -> Step {
    Step::Record(Event { at, what }, WaitsFor::Synced)
}

fn resized(cols: u16, rows: u16) -> What {
    let (cols, rows) = shown_size(cols, rows);
    What::Resize { cols, rows }
}

/// A size that is not known is shown as programs take it: 80 x 24.
fn shown_size(cols: u16, rows: u16) -> (u16, u16) {
    let or = |size: u16, usual: u16| if size == 0 { usual } else { size };
    (or(cols, 80), or(rows, 24))
}

/// Whether a signal may be called so (RFC 4254, section 6.10: `USR1`, `name@example.com`). What is none is passed on to
/// nobody: one could come with every packet, and nothing would hold back who sends them.
pub fn is_signal(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SIGNAL_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.@".contains(&b))
}
