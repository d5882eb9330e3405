//! Messages for one side of a session, in order. Each leaves once the record has reached its mark.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::{Bytes, BytesMut};

use crate::recorder::Positions;

/// How far the record must be before a message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// This event is with the kernel: it survives `kill -9`.
    Written(u64),
    /// This event is on the disk: it survives a power cut.
    Synced(u64),
}

impl Mark {
    fn is_reached(self, at: Positions) -> bool {
        match self {
            Mark::Written(event) => event <= at.written,
            Mark::Synced(event) => event <= at.synced,
        }
    }
}

/// What an outbox carries: something with a size, whose small pieces may be joined.
pub trait Message: Sized {
    /// The payload, if this is one that may be joined with its like.
    fn joinable(&mut self) -> Option<&mut Bytes>;
    /// Bytes of payload.
    fn len(&self) -> usize;
}

/// A send that was begun.
pub type Sending = Pin<Box<dyn Future<Output = Result<(), Broken>> + Send>>;

/// The other side cannot be written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a waiting message costs beside its bytes; counted, so that many tiny ones are bounded too.
const MESSAGE_OVERHEAD: usize = 256;
/// Waiting messages beyond this many are joined with the one before, up to `JOINED_BYTES_MAX`.
///
/// A squeezed client sends two bytes at a time: without this each would cost a quarter of a kilobyte.
const UNJOINED_MAX: usize = 64;
const JOINED_BYTES_MAX: usize = 4096;

/// Messages for one side of a session, in order.
pub struct Outbox<M> {
    waiting: VecDeque<(Mark, M)>,
    /// Sentences of ours that wait for no mark; they go before what waits.
    urgent: VecDeque<M>,
    /// All that is not delivered yet, also what is being sent just now.
    bytes: usize,
    // A send once begun stays here until it is done: begun anew it repeats bytes, left unpolled it
    // keeps its place in russh's queue and stops every channel of the connection.
    sending: Option<(Sending, usize)>,
    reached: Positions,
    deliver: Option<Box<dyn Fn(M) -> Sending + Send>>,
    broken: bool,
    /// The connection's share of `bytes`, for the squeeze.
    backlog: Arc<AtomicUsize>,
}

impl<M: Message> Outbox<M> {
    /// An outbox whose side is not there yet: it keeps what it is given.
    pub fn new(backlog: Arc<AtomicUsize>) -> Self {
        Outbox {
            waiting: VecDeque::new(),
            urgent: VecDeque::new(),
            bytes: 0,
            sending: None,
            reached: Positions::default(),
            deliver: None,
            broken: false,
            backlog,
        }
    }

    /// The side is there: this begins a send.
    pub fn connect(&mut self, deliver: impl Fn(M) -> Sending + Send + 'static) {
        self.deliver = Some(Box::new(deliver));
    }

    /// Appends a message that leaves once `mark` is reached.
    pub fn push(&mut self, message: M, mark: Mark) {
        if self.broken {
            return;
        }
        let payload = message.len();
        let mut message = message;
        let joined = self.waiting.len() >= UNJOINED_MAX && self.join(&mut message, mark);
        if joined {
            self.grow(payload);
        } else {
            self.grow(payload + MESSAGE_OVERHEAD);
            self.waiting.push_back((mark, message));
        }
    }

    /// Appends a sentence of ours that waits for nothing but what is being sent just now.
    pub fn push_past(&mut self, message: M) {
        if !self.broken {
            self.grow(message.len() + MESSAGE_OVERHEAD);
            self.urgent.push_back(message);
        }
    }

    /// Drops what waits, unsent. What is being sent, and our own sentences, stay.
    pub fn drop_waiting(&mut self) {
        let dropped: usize =
            self.waiting.drain(..).map(|(_, message)| message.len() + MESSAGE_OVERHEAD).sum();
        self.shrink(dropped);
    }

    /// Drops all, also what is being sent just now, of which a part may have left: only this is still to leave.
    pub fn give_up(&mut self, last: M) {
        if !self.broken {
            self.break_off();
            self.broken = false;
            self.push_past(last);
        }
    }

    /// The record has come this far.
    pub fn release(&mut self, reached: Positions) {
        self.reached = reached;
    }

    /// The other side is gone: what waits for it is dropped, and what comes later too.
    pub fn break_off(&mut self) {
        self.broken = true;
        self.waiting.clear();
        self.urgent.clear();
        self.sending = None;
        self.shrink(self.bytes);
    }

    /// All is delivered, or never will be.
    pub fn is_empty(&self) -> bool {
        self.sending.is_none() && self.waiting.is_empty() && self.urgent.is_empty()
    }

    /// Bytes that wait, with what waiting costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A send is under way, or one can be begun. Not `!is_empty()`: with nothing released, sending is done at
    /// once, and the loop that waits for it would spin.
    pub fn may_leave(&self) -> bool {
        self.sending.is_some()
            || self.deliver.is_some() && (!self.urgent.is_empty() || self.front_is_released())
    }

    fn front_is_released(&self) -> bool {
        self.waiting.front().is_some_and(|(mark, _)| mark.is_reached(self.reached))
    }

    /// Sends one message to its end. It may be dropped at its await and called again.
    pub async fn send(&mut self) -> Result<(), Broken> {
        if self.sending.is_none() {
            self.begin();
        }
        let Some((sending, size)) = self.sending.as_mut() else { return Ok(()) };
        let (sent, size) = (sending.await, *size);
        self.sending = None;
        self.shrink(size);
        if sent.is_err() {
            self.break_off();
        }
        sent
    }

    fn begin(&mut self) {
        let Some(deliver) = &self.deliver else { return };
        let next = if let Some(sentence) = self.urgent.pop_front() {
            Some(sentence)
        } else if self.front_is_released() {
            self.waiting.pop_front().map(|(_, message)| message)
        } else {
            None
        };
        if let Some(message) = next {
            let size = message.len() + MESSAGE_OVERHEAD;
            self.sending = Some((deliver(message), size));
        }
    }

    fn join(&mut self, message: &mut M, mark: Mark) -> bool {
        let Some((last_mark, last)) = self.waiting.back_mut() else { return false };
        let (Some(last), Some(more)) = (last.joinable(), message.joinable()) else { return false };
        if last.len() + more.len() > JOINED_BYTES_MAX || !same_kind(*last_mark, mark) {
            return false;
        }
        let mut joined = BytesMut::from(std::mem::take(last));
        joined.extend_from_slice(more);
        *last = joined.freeze();
        *last_mark = mark;
        true
    }

    fn grow(&mut self, by: usize) {
        self.bytes += by;
        self.backlog.fetch_add(by, Relaxed);
    }

    fn shrink(&mut self, by: usize) {
        let by = by.min(self.bytes);
        self.bytes -= by;
        self.backlog.fetch_sub(by, Relaxed);
    }
}

fn same_kind(one: Mark, other: Mark) -> bool {
    matches!((one, other), (Mark::Written(_), Mark::Written(_)) | (Mark::Synced(_), Mark::Synced(_)))
}

impl<M> Drop for Outbox<M> {
    // A session that ends with bytes unsent must not leave its connection squeezed for ever.
    fn drop(&mut self) {
        self.backlog.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Text(Bytes);

    impl Message for Text {
        fn joinable(&mut self) -> Option<&mut Bytes> {
            Some(&mut self.0)
        }
        fn len(&self) -> usize {
            self.0.len()
        }
    }

    fn outbox() -> (Outbox<Text>, Arc<AtomicUsize>, Arc<Mutex<Vec<u8>>>) {
        let (backlog, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut outbox = Outbox::new(backlog.clone());
        let to = sent.clone();
        outbox.connect(move |text: Text| {
            let to = to.clone();
            Box::pin(async move {
                // Twice pending, so that a wait can be cut short in the middle of a send.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                to.lock().unwrap().extend_from_slice(&text.0);
                Ok(())
            })
        });
        (outbox, backlog, sent)
    }

    fn text(of: &str) -> Text {
        Text(Bytes::copy_from_slice(of.as_bytes()))
    }

    #[tokio::test]
    async fn nothing_leaves_before_its_record() {
        let (mut outbox, _, sent) = outbox();
        outbox.push(text("later"), Mark::Written(2));
        assert!(!outbox.may_leave());

        outbox.release(Positions { written: 1, synced: 1 });
        assert!(!outbox.may_leave());
        outbox.release(Positions { written: 2, synced: 1 });
        outbox.send().await.unwrap();

        assert_eq!(*sent.lock().unwrap(), b"later");
    }

    #[tokio::test]
    async fn what_must_be_synced_waits_for_the_disk() {
        let (mut outbox, _, _) = outbox();
        outbox.push(text("grave"), Mark::Synced(1));

        outbox.release(Positions { written: 9, synced: 0 });
        assert!(!outbox.may_leave());

        outbox.release(Positions { written: 9, synced: 1 });
        assert!(outbox.may_leave());
    }

    #[tokio::test]
    async fn a_send_that_is_cut_short_neither_loses_nor_repeats_bytes() {
        let (mut outbox, backlog, sent) = outbox();
        for piece in ["a", "b", "c"] {
            outbox.push(text(piece), Mark::Written(0));
        }

        while outbox.may_leave() {
            tokio::select! { biased; _ = outbox.send() => {}, () = tokio::task::yield_now() => {} }
        }

        assert_eq!(*sent.lock().unwrap(), b"abc");
        assert_eq!(backlog.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_sentence_of_ours_passes_what_waits() {
        let (mut outbox, _, sent) = outbox();
        outbox.push(text("held back"), Mark::Written(7));
        outbox.push_past(text("recording is paused"));

        outbox.send().await.unwrap();

        assert_eq!(*sent.lock().unwrap(), b"recording is paused");
        assert!(!outbox.may_leave());
    }

    #[tokio::test]
    async fn crumbs_are_joined_and_every_byte_of_the_backlog_is_given_back() {
        let (mut outbox, backlog, sent) = outbox();
        for _ in 0..10_000 {
            outbox.push(text("xy"), Mark::Written(0));
        }
        assert!(backlog.load(Relaxed) < 10_000 * 4, "joined: {}", backlog.load(Relaxed));

        while outbox.may_leave() {
            outbox.send().await.unwrap();
        }

        assert_eq!(sent.lock().unwrap().len(), 20_000);
        assert_eq!(backlog.load(Relaxed), 0);
    }

    #[test]
    fn an_outbox_that_ends_with_bytes_unsent_gives_them_back() {
        let (mut outbox, backlog, _) = outbox();
        outbox.push(text("never sent"), Mark::Written(9));
        assert!(backlog.load(Relaxed) > 0);

        drop(outbox);

        assert_eq!(backlog.load(Relaxed), 0);
    }
}
