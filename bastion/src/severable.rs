//! A stream that can be cut from outside, whatever it waits for.
//!
//! russh runs a connection in a task of its own, which is given no way to stop it: a peer that neither reads nor
//! writes would keep it for ever. Cut, the stream fails both ways at once, and the task ends by itself.
//!
//! Nor does russh end a connection that was said goodbye on, from either side, before the peer hangs up: it waits, asks
//! no more whether anybody is there, and the sessions of that connection live on. So a goodbye cuts it too, a little
//! later.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Who was told that it is over has this long to read it and to hang up.
const FAREWELL: Duration = Duration::from_secs(5);

/// Cuts a [`Severable`].
#[derive(Clone, Default)]
pub struct Severing(Arc<State>);

#[derive(Default)]
struct State {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Severing {
    /// From now on the stream fails both ways.
    pub fn cut(&self) {
        self.0.cut.store(true, SeqCst);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    fn check(&self) -> io::Result<()> {
        if self.0.cut.load(SeqCst) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// A stream that can be cut from outside.
pub struct Severable<S> {
    stream: S,
    severing: Severing,
}

impl<S> Severable<S> {
    /// The stream, and what cuts it.
    pub fn new(stream: S, severing: Severing) -> Self {
        Severable { stream, severing }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Severable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.severing.0.reader.register(cx.waker());
        self.severing.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Severable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.severing.0.writer.register(cx.waker());
        self.severing.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.severing.0.writer.register(cx.waker());
        self.severing.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        let severing = self.severing.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            severing.cut();
        });
        Poll::Ready(said)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_stream_fails_even_where_it_waits_for_a_silent_peer() {
        let (ours, _silent) = tokio::io::duplex(4);
        let severing = Severing::default();
        let mut stream = Severable::new(ours, severing.clone());
        let waiting = tokio::spawn(async move {
            let read = stream.read_u8().await.map_err(|fault| fault.kind());
            let written = stream.write_all(&[0; 64]).await.map_err(|fault| fault.kind());
            (read, written)
        });
        tokio::task::yield_now().await;

        severing.cut();

        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(waiting.await.unwrap(), (Err(aborted), Err(aborted)));
    }
}
