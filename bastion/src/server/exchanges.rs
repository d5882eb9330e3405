//! Key exchanges of those who have not signed in: few are computed at once, and no connection has them without end.
//!
//! The SSH library computes an exchange on one of the threads that serve all sessions. If every such thread did, keys
//! that people type would wait; so fewer exchanges are let through at once than there are threads, and the next waits
//! for its turn here, where it holds up nobody. A place is taken only once all that the client has to send for it is
//! here, and given back when the library comes for the next bytes or answers: a client that stalls never holds one.
//!
//! After the first exchange the stream is encrypted, and who asks for new keys again and again cannot be told from who
//! signs in. But a sign-in is short, so its bytes are bounded.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::connection::Stage;

/// What a client may send before it has signed in. Twenty RSA keys that are proven take 80 KiB, ten minutes of questions
/// once a second take 60; and an exchange takes 300 bytes or more, so one connection gets some hundreds.
const UNKNOWN_BYTES_MAX: usize = 256 * 1024;

/// Messages with a client's part of an exchange (RFC 4253, section 12): numbers 30 to 49.
const PARTS: std::ops::RangeInclusive<u8> = 30..=49;
/// `SSH_MSG_NEWKEYS`: what comes after it is encrypted.
const NEWKEYS: u8 = 21;

/// The places for exchanges. Cheap to clone.
#[derive(Clone)]
pub struct Exchanges(Arc<Semaphore>);

impl Default for Exchanges {
    /// One for two of this machine's threads: always fewer than they are, but on a machine that has one.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Exchanges(Arc::new(Semaphore::new((threads / 2).max(1))))
    }
}

type Turn = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// The stream of a client that has not signed in, or has.
pub struct Exchanging<S> {
    stream: S,
    exchanges: Exchanges,
    stage: watch::Receiver<Stage>,
    sight: Sight,
    /// Bytes that were read.
    read: usize,
    /// Bytes that wait for a turn.
    held: BytesMut,
    turn: Option<Turn>,
    place: Option<OwnedSemaphorePermit>,
}

impl<S> Exchanging<S> {
    /// A stream from its first byte on.
    pub fn new(stream: S, exchanges: Exchanges, stage: watch::Receiver<Stage>) -> Self {
        let (sight, held) = (Sight::Name, BytesMut::new());
        Exchanging { stream, exchanges, stage, sight, read: 0, held, turn: None, place: None }
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.read = self.read.saturating_add(bytes);
        if self.read > UNKNOWN_BYTES_MAX && *self.stage.borrow() != Stage::SignedIn {
            let much = format!("more than {UNKNOWN_BYTES_MAX} bytes came before the sign-in");
            return Err(io::Error::new(io::ErrorKind::InvalidData, much));
        }
        Ok(())
    }
}

/// How much of the clear beginning was seen.
#[derive(Clone, Copy, Debug)]
enum Sight {
    /// In the client's name, up to its line feed.
    Name,
    /// In a packet's length: so many of its bytes, and their value.
    Length(u8, u32),
    /// At the byte that says how long the padding is, before so many more.
    Padding(u32),
    /// At the byte that says what kind of message it is, before so many more.
    Kind(u32),
    /// In the rest of it, which has so many bytes; whether it is a part of an exchange.
    Rest(u32, bool),
    /// Past it, or at what the SSH library will refuse.
    Over,
}

impl Sight {
    /// After one more byte; and whether it was the last one of a part of an exchange.
    fn after(self, byte: u8) -> (Sight, bool) {
        let next = match self {
            Sight::Name if byte == b'\n' => Sight::Length(0, 0),
            Sight::Name | Sight::Over => self,
            Sight::Length(have, value) => {
                let value = value << 8 | u32::from(byte);
                match have {
                    3 => value.checked_sub(2).map_or(Sight::Over, Sight::Padding),
                    _ => Sight::Length(have + 1, value),
                }
            }
            Sight::Padding(rest) => Sight::Kind(rest),
            Sight::Kind(_) if byte == NEWKEYS => Sight::Over,
            Sight::Kind(rest) => return Sight::within(rest, PARTS.contains(&byte)),
            Sight::Rest(rest, part) => return Sight::within(rest.saturating_sub(1), part),
        };
        (next, false)
    }

    fn within(rest: u32, part: bool) -> (Sight, bool) {
        if rest == 0 { (Sight::Length(0, 0), part) } else { (Sight::Rest(rest, part), false) }
    }

    /// Sees these bytes; whether a part of an exchange ends in them.
    fn sees(&mut self, bytes: &[u8]) -> bool {
        let mut ends = false;
        for byte in bytes {
            let (next, end) = self.after(*byte);
            (*self, ends) = (next, ends || end);
            if matches!(next, Sight::Over) {
                break;
            }
        }
        ends
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Exchanging<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_empty() {
            this.place = None;
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            this.count(read.len())?;
            if !this.sight.sees(read) {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(read);
            buffer.set_filled(before);
            let places = this.exchanges.0.clone();
            this.turn = Some(Box::pin(async move { places.acquire_owned().await.ok() }));
        }
        if let Some(turn) = &mut this.turn {
            this.place = ready!(turn.as_mut().poll(context));
            this.turn = None;
        }
        let length = this.held.len().min(buffer.remaining());
        buffer.put_slice(&this.held.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Exchanging<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.place = None;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A name, a list, and a part of an exchange.
    fn beginning() -> Vec<u8> {
        [b"SSH-2.0-x\r\n".to_vec(), packet(20, 40), packet(30, 36)].concat()
    }

    fn packet(kind: u8, payload: u8) -> Vec<u8> {
        let mut packet = vec![0, 0, 0, payload + 5, 4, kind];
        packet.resize(packet.len() + usize::from(payload) - 1 + 4, 9);
        packet
    }

    struct Bench {
        exchanges: Exchanges,
        stage: watch::Sender<Stage>,
    }

    impl Bench {
        /// One place.
        fn new() -> Bench {
            Bench {
                exchanges: Exchanges(Arc::new(Semaphore::new(1))),
                stage: watch::Sender::new(Stage::Unknown),
            }
        }

        fn client(&self) -> (DuplexStream, Exchanging<DuplexStream>) {
            let (theirs, ours) = tokio::io::duplex(1 << 20);
            (theirs, Exchanging::new(ours, self.exchanges.clone(), self.stage.subscribe()))
        }

        fn is_free(&self) -> bool {
            self.exchanges.0.available_permits() == 1
        }
    }

    #[tokio::test]
    async fn an_exchange_waits_for_its_turn_which_ends_with_the_answer_or_the_next_read() {
        let bench = Bench::new();
        let (mut ada, mut to_ada) = bench.client();
        let (mut bob, mut to_bob) = bench.client();
        let begins = beginning();
        let (all_but, rest) = begins.split_at(begins.len() - 20);
        let mut heard = vec![0; begins.len()];

        // What stalls half-way holds no place.
        ada.write_all(all_but).await.unwrap();
        to_ada.read_exact(&mut heard[..all_but.len()]).await.unwrap();
        assert!(bench.is_free());

        ada.write_all(rest).await.unwrap();
        to_ada.read_exact(&mut heard[all_but.len()..]).await.unwrap();
        assert_eq!(heard, begins);
        assert!(!bench.is_free(), "it is computed");

        bob.write_all(&begins).await.unwrap();
        let mut heard = vec![0; begins.len()];
        let mut waits = Box::pin(to_bob.read_exact(&mut heard));
        assert!(poll!(&mut waits).is_pending(), "one at a time");
        to_ada.write_all(b"the answer").await.unwrap();
        waits.await.unwrap();
        assert_eq!(heard, begins, "whatever was held back comes whole");
        assert!(!bench.is_free());

        assert!(to_bob.read_u8().now_or_never().is_none());
        assert!(bench.is_free(), "whoever reads on has computed");
    }

    #[tokio::test]
    async fn a_connection_that_ends_gives_its_place_back() {
        let bench = Bench::new();
        let (mut ada, mut to_ada) = bench.client();
        ada.write_all(&beginning()).await.unwrap();
        to_ada.read_exact(&mut vec![0; beginning().len()]).await.unwrap();
        assert!(!bench.is_free());
        drop(to_ada);
        assert!(bench.is_free());
    }

    #[tokio::test]
    async fn what_is_encrypted_is_passed_on_unread() {
        let bench = Bench::new();
        let (mut ada, mut to_ada) = bench.client();
        let begins = [b"SSH-2.0-x\n".to_vec(), packet(21, 1), packet(30, 36)].concat();
        ada.write_all(&begins).await.unwrap();
        to_ada.read_exact(&mut vec![0; begins.len()]).await.unwrap();
        assert!(bench.is_free());
    }

    #[tokio::test]
    async fn a_stranger_sends_so_much_and_whoever_is_in_as_much_as_she_likes() {
        let bench = Bench::new();
        let (mut ada, mut to_ada) = bench.client();
        let mut heard = vec![0; UNKNOWN_BYTES_MAX];
        ada.write_all(&heard).await.unwrap();
        to_ada.read_exact(&mut heard).await.unwrap();
        ada.write_u8(1).await.unwrap();
        assert_eq!(to_ada.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);

        let (mut ada, mut to_ada) = bench.client();
        bench.stage.send_replace(Stage::SignedIn);
        for _ in 0..2 {
            ada.write_all(&heard).await.unwrap();
            to_ada.read_exact(&mut heard).await.unwrap();
        }
    }

    #[test]
    fn what_is_no_packet_is_left_to_the_library() {
        for wrong in [[0, 0, 0, 0, 30, 30], [0, 0, 0, 1, 30, 30]] {
            let mut sight = Sight::Length(0, 0);
            assert!(!sight.sees(&wrong));
            assert!(matches!(sight, Sight::Over), "{sight:?}");
        }
        let mut sight = Sight::Length(0, 0);
        assert!(sight.sees(&[0, 0, 0, 2, 0, 30]), "the shortest one");
        assert!(!sight.sees(&[0xff; 100]), "a length without end");
    }
}
