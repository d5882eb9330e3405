//! The loop of one channel.
//!
//! A [`Session`] hears its client, its target, its recorder and its clock, tells the gate, and performs the steps
//! that the gate answers with. It decides nothing. Three rules keep it alive:
//!
//! - Nothing is awaited outside `listen`, dialling and closing included. russh's connection loop puts what arrives
//!   into a bounded queue per channel and waits when one is full, so a session that looks away stops every other
//!   channel of its connection.
//! - A send once begun is polled to its end (see [`Outbox`]).
//! - A branch with nothing to do is switched off, or the loop spins.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use gate::{FromClient, FromTarget, Gate, Grant, Heard, NewKey, Reason, Step, ToClient, ToTarget, WaitsFor};
use recording::{Elapsed, Event, Exit};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client, server};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    alarm::Alarm,
    live::Orders,
    outbox::{Mark, Message, Outbox},
    recorder::{Positions, Tape},
    severable::Severing,
    storm, wire,
};

/// Bytes that may wait for the client before the target is left unread.
///
/// The target has an SSH connection of its own per session, so leaving it unread stops nobody else.
const TO_CLIENT_BYTES_MAX: usize = 1 << 20;

/// Events that may wait for a disk that is slow before the target is left unread, also when nobody reads what it says.
const EVENTS_BEHIND_MAX: u64 = 256;

/// A target's channel, and the connection that it lives on.
pub struct Dialled {
    /// The session channel, open.
    pub channel: Channel<client::Msg>,
    /// Owns the connection, which is this session's own. Awaited it disconnects politely; dropped, at once.
    pub hang_up: HangUp,
}

/// Ends a target's connection.
pub type HangUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client that takes nothing has so long, after the session was given up, to take its end; then as long again to take
/// nothing but the close, and then its connection is cut: it holds up a target, a recording and a place.
const UNTAKEN_MAX: Duration = Duration::from_secs(3);

/// How long a polite goodbye to a target may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// A dial under way. A failure is what the gate hears of it.
pub type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, FromTarget>> + Send>>;

/// Begins a dial; made by the caller, so that the loop names no keys and no addresses.
pub type Dial = Box<dyn Fn(Grant) -> Dialling + Send>;

/// The target's side of a session.
enum Target {
    Undialled,
    Dialling(Dialling),
    Open(ChannelReadHalf),
    Gone,
}

enum FromDialOrTarget {
    Dialled(Result<Dialled, FromTarget>),
    Sent(Option<ChannelMsg>),
}

impl Target {
    /// What comes next from this side; pending while there is no such side, or while it is left unread.
    async fn hear(&mut self, reads: bool) -> FromDialOrTarget {
        match self {
            Target::Dialling(dialling) => FromDialOrTarget::Dialled(dialling.await),
            Target::Open(channel) if reads => FromDialOrTarget::Sent(channel.wait().await),
            Target::Undialled | Target::Open(_) | Target::Gone => std::future::pending().await,
        }
    }
}

/// One channel: what comes in from both sides, what waits to go out to both, and what lies between.
pub struct Session {
    client: ChannelReadHalf,
    client_is_open: bool,
    target: Target,
    dial: Dial,
    to_client: Outbox<ClientMessage>,
    to_target: Outbox<ToTarget>,
    tape: Tape,
    mark: Mark,
    gate: Gate,
    began: Instant,
    /// Keys that are bound to its person meanwhile.
    news: Option<mpsc::Receiver<NewKey>>,
    /// What somebody outside wants of it.
    orders: watch::Receiver<Orders>,
    /// Why it ended; none while it goes on.
    reason: Option<Reason>,
    /// It was given up: until when the client may take its end, and whether only the close is left to take.
    untaken: Option<(Instant, bool)>,
    /// Cuts the client's connection.
    severing: Severing,
    hang_up: Option<HangUp>,
    /// Recording failed, and has not been reported to work again.
    unrecorded: bool,
    alarm: Alarm,
    /// Rings when the client has not taken the end in time.
    patience: Alarm,
    /// What the client sent before its target was known.
    early: VecDeque<Heard>,
}

/// What a session is made of.
pub struct Parts {
    /// What the client sends.
    pub client: ChannelReadHalf,
    /// Where the client hears us.
    pub client_half: ChannelWriteHalf<server::Msg>,
    /// The client's connection, which alone can send an exit signal.
    pub client_handle: server::Handle,
    /// Bytes that wait for targets on this connection, for the squeeze.
    pub backlog: Arc<AtomicUsize>,
    /// Begins the dial once the gate says so.
    pub dial: Dial,
    /// The recording.
    pub tape: Tape,
    /// What decides.
    pub gate: Gate,
    /// When the session began.
    pub began: Instant,
    /// Cuts the client's connection, with all its channels.
    pub severing: Severing,
    /// Keys that were bound to its person since she was last told, and those that will be.
    pub news: (Vec<NewKey>, Option<mpsc::Receiver<NewKey>>),
    /// What somebody outside wants of it.
    pub orders: watch::Receiver<Orders>,
}

impl Session {
    /// A session that has not begun.
    pub fn new(parts: Parts) -> Session {
        let mut to_client = Outbox::new(Arc::default());
        let (half, handle) = (Arc::new(parts.client_half), parts.client_handle);
        to_client.connect(move |message| Box::pin(wire::to_client(half.clone(), handle.clone(), message)));
        Session {
            client: parts.client,
            client_is_open: true,
            target: Target::Undialled,
            dial: parts.dial,
            to_client,
            to_target: Outbox::new(parts.backlog),
            tape: parts.tape,
            mark: Mark::Written(0),
            gate: parts.gate,
            began: parts.began,
            news: parts.news.1,
            orders: parts.orders,
            reason: None,
            untaken: None,
            severing: parts.severing,
            hang_up: None,
            unrecorded: false,
            alarm: Alarm::default(),
            patience: Alarm::default(),
            early: parts.news.0.into_iter().map(Heard::KeyBound).collect(),
        }
    }

    /// Carries the channel from its first byte to its last; answers why it ended. `early` is what the client typed
    /// before its target was known, and `input_ended` whether that was all.
    pub async fn run(mut self, early: Bytes, input_ended: bool) -> Reason {
        let early = (!early.is_empty()).then_some(FromClient::Data(early));
        let end = input_ended.then_some(FromClient::Eof);
        self.early.extend(early.into_iter().chain(end).map(Heard::Client));
        let mut heard = Some(Heard::Begin);
        while let Some(message) = heard {
            let now = self.now();
            for step in self.gate.hear(message, now) {
                self.perform(step);
            }
            heard = match self.early.pop_front() {
                None => self.listen().await,
                early => early,
            };
        }
        if let Some(hang_up) = self.hang_up.take() {
            tokio::spawn(tokio::time::timeout(GOODBYE_MAX, hang_up));
        }
        self.tape.close();
        self.reason.unwrap_or(Reason::ClientDone)
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Record(event, waits_for) => self.mark = record(&mut self.tape, event, waits_for),
            Step::Dial(grant) => self.target = Target::Dialling((self.dial)(grant)),
            Step::ToTarget(message) => self.to_target.push(message, self.mark),
            Step::ToClient(message) => self.to_client.push(ClientMessage::Send(message), self.mark),
            Step::Tell(sentence) => {
                self.to_client.push_past(ClientMessage::Send(ToClient::ErrorData(sentence)))
            }
            Step::Close(reason) => {
                self.reason.get_or_insert(reason);
                self.to_client.push(ClientMessage::Close, self.mark);
            }
            Step::Abandon(reason) => self.abandon(reason),
        }
    }

    /// Stuck too long: what waits is dropped unsent, our own sentences and the close are not.
    fn abandon(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
        self.to_target.break_off();
        self.to_client.drop_waiting();
        if let Some(code) = reason.exit_code() {
            self.to_client.push_past(ClientMessage::Send(ToClient::Exit(Exit::Status(code))));
        }
        self.to_client.push_past(ClientMessage::Close);
        self.untaken.get_or_insert((Instant::now() + UNTAKEN_MAX, false));
    }

    /// The client has not taken the end of a session that was given up.
    fn still_untaken(&mut self) {
        if let Some((_, true)) = self.untaken {
            tracing::warn!(session = %self.tape.id(), "the client does not even take the close; its connection is cut");
            self.untaken = None;
            self.to_client.break_off();
            self.severing.cut();
        } else {
            self.untaken = Some((Instant::now() + UNTAKEN_MAX, true));
            self.to_client.give_up(ClientMessage::Close);
        }
    }

    /// Waits for whatever comes first; none means that the session is over. Writing is among the things waited for:
    /// a loop that stops to write locks up with a target that will not read before it has written.
    async fn listen(&mut self) -> Option<Heard> {
        loop {
            if self.is_over() {
                return None;
            }
            let deadline = self.gate.deadline().map(|at| self.instant(at));
            let target_is_heard =
                self.to_client.bytes() < TO_CLIENT_BYTES_MAX && self.tape.behind() < EVENTS_BEHIND_MAX;
            tokio::select! {
                sent = self.client.wait(), if self.client_is_open => match wire::from_client(sent) {
                    Some(FromClient::Close) => {
                        self.client_is_open = false;
                        self.to_client.break_off();
                        return Some(Heard::Client(FromClient::Close));
                    }
                    Some(message) => return Some(Heard::Client(message)),
                    None => {}
                },
                heard = self.target.hear(target_is_heard) => {
                    if let Some(message) = self.heard_from_target(heard) {
                        return Some(Heard::Target(message));
                    }
                }
                reached = self.tape.reached() => match reached {
                    Ok(positions) => {
                        if let Some(heard) = self.release(positions) { return Some(heard) }
                    }
                    Err(fault) => {
                        tracing::error!(session = %self.tape.id(), "recording failed, the session waits: {}", fault.0);
                        self.unrecorded = true;
                        return Some(Heard::Unrecorded(fault));
                    }
                },
                () = self.alarm.reached(deadline) => return Some(Heard::Deadline),
                () = self.patience.reached(self.untaken.map(|(until, _)| until)) => self.still_untaken(),
                sent = self.to_client.send(), if self.to_client.may_leave() => if sent.is_err() && self.client_is_open {
                    return Some(Heard::ClientGone);
                },
                sent = self.to_target.send(), if self.to_target.may_leave() => if sent.is_err() {
                    return Some(Heard::TargetGone);
                },
                key = hear_news(&mut self.news) => return Some(Heard::KeyBound(key)),
                heard = ordered(&mut self.orders) => return Some(heard),
                () = storm::jolt() => {}
            }
        }
    }

    fn heard_from_target(&mut self, heard: FromDialOrTarget) -> Option<FromTarget> {
        let message = match heard {
            FromDialOrTarget::Dialled(Ok(dialled)) => {
                let (hears, half) = dialled.channel.split();
                let half = Arc::new(half);
                self.to_target.connect(move |message| Box::pin(wire::to_target(half.clone(), message)));
                self.hang_up = Some(dialled.hang_up);
                self.target = Target::Open(hears);
                return Some(FromTarget::Dialled);
            }
            FromDialOrTarget::Dialled(Err(message)) => message,
            FromDialOrTarget::Sent(sent) => wire::from_target(sent)?,
        };
        if matches!(message, FromTarget::Unreachable(_) | FromTarget::Misconfigured | FromTarget::Close) {
            self.target = Target::Gone;
            self.to_target.break_off();
        }
        Some(message)
    }

    /// The record has come this far, so what waited for it may leave.
    fn release(&mut self, positions: Positions) -> Option<Heard> {
        self.to_client.release(positions);
        self.to_target.release(positions);
        if !std::mem::take(&mut self.unrecorded) {
            return None;
        }
        tracing::info!(session = %self.tape.id(), "recording works again");
        Some(Heard::RecordedAgain)
    }

    /// Close has left; or the client is gone and the target has what it sent.
    fn is_over(&self) -> bool {
        let undialled = matches!(self.target, Target::Undialled | Target::Dialling(_));
        self.reason.is_some() && self.to_client.is_empty()
            || !self.client_is_open && (self.to_target.is_empty() || undialled)
    }

    fn now(&self) -> Elapsed {
        self.began.elapsed().into()
    }

    fn instant(&self, at: Elapsed) -> Instant {
        self.began + Duration::from_micros(at.as_micros())
    }
}

/// Hands an event to the recorder; answers what all that follows it waits for.
fn record(tape: &mut Tape, event: Event, waits_for: WaitsFor) -> Mark {
    match waits_for {
        WaitsFor::Written => Mark::Written(tape.append(event)),
        WaitsFor::Synced => Mark::Synced(tape.append_synced(event)),
    }
}

async fn hear_news(news: &mut Option<mpsc::Receiver<NewKey>>) -> NewKey {
    match news {
        Some(news) => match news.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn ordered(orders: &mut watch::Receiver<Orders>) -> Heard {
    loop {
        if orders.changed().await.is_err() {
            return std::future::pending().await;
        }
        match &*orders.borrow_and_update() {
            Orders::None => {}
            Orders::Regranted(grant) => return Heard::Regranted(grant.clone()),
            Orders::End(ending) => return Heard::End(ending.clone()),
        }
    }
}

/// One thing that leaves for the client.
pub enum ClientMessage {
    /// As the gate wants it.
    Send(ToClient),
    /// The channel closes; the last message of a session.
    Close,
}

impl Message for ClientMessage {
    fn joinable(&mut self) -> Option<&mut Bytes> {
        match self {
            ClientMessage::Send(ToClient::Data(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            ClientMessage::Send(ToClient::Data(bytes) | ToClient::ErrorData(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

impl Message for ToTarget {
    fn joinable(&mut self) -> Option<&mut Bytes> {
        match self {
            ToTarget::Data(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            ToTarget::Data(bytes) | ToTarget::Exec(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use archive::{Archive, twin::Twin};
    use recording::{Layout, What};

    use super::*;
    use crate::recorder::{Recorder, RecorderSettings, tests::header};

    /// What an opening waits for: that there was a session, and what it ran, is not lost with the power.
    #[tokio::test]
    async fn what_waits_for_the_disk_does_not_leave_once_it_is_only_written() {
        let (folder, disk) = (tempfile::tempdir().unwrap(), Twin::new());
        let archive = Archive::open_on(folder.path(), Arc::new(disk.clone())).unwrap();
        let settings = RecorderSettings { retry_after: Duration::from_millis(1), ..Default::default() };
        let recorder = Recorder::start(archive, settings).unwrap();
        disk.fail_syncs(1, u64::MAX);
        let mut tape = recorder.begin(header(Layout::Lines));
        let event = |what| Event { at: Elapsed::from_micros(1), what };
        let (mut to_target, mut to_client) = (Outbox::new(Arc::default()), Outbox::new(Arc::default()));
        to_target.connect(|_| Box::pin(async { Ok(()) }));
        to_client.connect(|_| Box::pin(async { Ok(()) }));

        let opened = record(&mut tape, event(What::Opened(Bytes::new())), WaitsFor::Synced);
        to_target.push(ToTarget::Shell, opened);
        let ended = record(&mut tape, event(What::InputEnd), WaitsFor::Written);
        to_client.push(ClientMessage::Close, ended);
        while tape.positions().written < 2 {
            drop(tape.reached().await); // each sync that fails is said once
        }
        to_target.release(tape.positions());
        to_client.release(tape.positions());
        assert_eq!((to_target.may_leave(), to_client.may_leave()), (false, true));

        disk.heal();
        while tape.positions().synced < 1 {
            drop(tape.reached().await);
        }
        to_target.release(tape.positions());
        assert!(to_target.may_leave());
    }
}
