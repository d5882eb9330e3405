//! What a gate does by the clock.

use std::time::Duration;

use recording::Elapsed;

use super::{Client, Gate, Output, Stage, written};
use crate::{Ending, Grant, Limits, Notice, Reason, Step, echo::Echo};

/// How long before its end a session is told of it; of a short one, the last quarter.
const WARNING: Duration = Duration::from_secs(60);

/// What a gate waits for, in the order in which it acts when several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Unrecorded,
    Farewell,
    Leftovers,
    Ending,
    TimeOver,
    IdleOver,
    EndHeld,
    Echo,
    TimeSoon,
    IdleSoon,
    Hint,
}

impl Gate {
    /// Somebody outside ends the session: said now, done when its time has come. Of two that do, the sooner one counts.
    pub(super) fn ending(&mut self, ending: Ending, now: Elapsed) -> Vec<Step> {
        let at = now.after(ending.after);
        if self.ending.as_ref().is_some_and(|(earlier, _)| *earlier <= at) {
            return vec![];
        }
        let is_now = ending.after.is_zero();
        let soon = Notice::EndsSoon { why: ending.why.clone(), left: ending.after };
        self.ending = Some((at, ending));
        if is_now { self.deadline_came(now) } else { self.tell(&soon, now) }
    }

    /// Policy was asked anew, and allows it still: with these limits from now on. What they would end at once has as
    /// much time as a warning has.
    pub(super) fn regranted(&mut self, grant: Grant, now: Elapsed) -> Vec<Step> {
        if grant.limits() != self.grant.limits() {
            (self.regranted, self.time_warned, self.idle_warned) = (Some(now), false, false);
        }
        self.grant = grant;
        match self.ending.take_if(|(_, ending)| ending.reason == Reason::Withdrawn) {
            Some(_) => self.tell(&Notice::AllowedAgain, now),
            None => vec![],
        }
    }

    pub(super) fn deadline_came(&mut self, now: Elapsed) -> Vec<Step> {
        let due = self.timers().into_iter().find(|(_, at)| at.is_some_and(|at| at <= now));
        let Some((timer, _)) = due else { return vec![] };
        let limits = self.grant.limits();
        let mut steps = match (timer, self.stage) {
            (Timer::Unrecorded, _) => {
                let steps = self.tell(&Notice::RecordingFailed, now);
                self.abandon(Reason::RecordingFailed, steps, now)
            }
            (Timer::Farewell, Stage::Closing(_, reason)) => self.abandon(reason, vec![], now),
            (Timer::Farewell, _) => vec![],
            (Timer::Leftovers, _) => self.abandon(Reason::ClientDone, vec![], now),
            (Timer::Ending, _) => match self.ending.take() {
                Some((_, Ending { why, reason: Reason::Withdrawn, .. })) => {
                    self.end(&Notice::Withdrawn(why), Reason::Withdrawn, now)
                }
                Some((_, Ending { why, reason, .. })) => self.end(&Notice::Ended(why), reason, now),
                None => vec![],
            },
            (Timer::TimeOver, _) => {
                self.end(&Notice::TimeOver(limits.longest.unwrap_or_default()), Reason::TimeOver, now)
            }
            (Timer::IdleOver, _) => {
                self.end(&Notice::IdleOver(limits.idle.unwrap_or_default()), Reason::Idle, now)
            }
            (Timer::EndHeld, _) => self.end_output().into_iter().collect(),
            (Timer::Echo, _) => {
                let shown = self.echo.as_mut().map(|echo| echo.deadline_came(now));
                shown.into_iter().flatten().map(|what| written(now, what)).collect()
            }
            (Timer::TimeSoon, _) => {
                self.time_warned = true;
                self.tell(&Notice::TimeSoon(limits.longest.map(warning).unwrap_or_default()), now)
            }
            (Timer::IdleSoon, _) => {
                self.idle_warned = true;
                self.tell(&Notice::IdleSoon(limits.idle.map(warning).unwrap_or_default()), now)
            }
            (Timer::Hint, _) => {
                self.hint = None;
                self.say(&Notice::NoTerminal, now)
            }
        };
        // Each timer that acted is switched off by that, so this ends.
        if self.stage != Stage::Over {
            steps.extend(self.deadline_came(now));
        }
        steps
    }

    pub(super) fn timers(&self) -> [(Timer, Option<Elapsed>); 11] {
        let farewell = if let Stage::Closing(at, _) = self.stage { at } else { None };
        let open = self.stage == Stage::Open;
        let Limits { longest, idle } = self.grant.limits();
        let while_open = |at: Option<Elapsed>| at.filter(|_| open);
        let (time_soon, time_over) = self.soon_and_over(self.begun, longest);
        let (idle_soon, idle_over) = self.soon_and_over(self.active, idle);
        let leftovers = if let Client::Gone(until) = self.client { Some(until) } else { None };
        let end_held = if let Output::EndHeld(until) = self.output { Some(until) } else { None };
        [
            (Timer::Unrecorded, self.unrecorded),
            (Timer::Farewell, farewell),
            (Timer::Leftovers, while_open(leftovers)),
            (Timer::Ending, while_open(self.ending.as_ref().map(|(at, _)| *at))),
            (Timer::TimeOver, while_open(time_over)),
            (Timer::IdleOver, while_open(idle_over)),
            (Timer::EndHeld, while_open(end_held)),
            (Timer::Echo, while_open(self.echo.as_ref().and_then(Echo::deadline))),
            (Timer::TimeSoon, while_open(time_soon).filter(|_| !self.time_warned)),
            (Timer::IdleSoon, while_open(idle_soon).filter(|_| !self.idle_warned)),
            (Timer::Hint, while_open(self.hint)),
        ]
    }

    /// When a limit that runs since then is warned of, and when it is over.
    fn soon_and_over(&self, since: Elapsed, limit: Option<Duration>) -> (Option<Elapsed>, Option<Elapsed>) {
        let Some(limit) = limit else { return (None, None) };
        let warning = warning(limit);
        let soon = since.after(limit.saturating_sub(warning)).max(self.regranted.unwrap_or(Elapsed::ZERO));
        (Some(soon), Some(soon.after(warning)))
    }
}

fn warning(limit: Duration) -> Duration {
    WARNING.min(limit / 4)
}
