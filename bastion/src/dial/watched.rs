//! A connection that ends when the dial that made it does.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::TcpStream,
    sync::oneshot,
};

/// A stream that reads its end once its [`Hold`] is dropped.
///
/// The SSH library runs a connection as a task of its own, which nobody can end from outside before the handshake is
/// done: a target that falls silent in the middle of it would keep task and socket for ever.
pub struct Watched {
    stream: BufReader<TcpStream>,
    held: Option<oneshot::Receiver<()>>,
}

/// While this is there, the connection is.
pub struct Hold(oneshot::Sender<()>);

impl Watched {
    /// Watches `stream`.
    pub fn new(stream: BufReader<TcpStream>) -> (Self, Hold) {
        let (sender, held) = oneshot::channel();
        (Watched { stream, held: Some(held) }, Hold(sender))
    }
}

impl Hold {
    /// The dial is done: from now on the connection lives by itself.
    pub fn let_go(self) {
        // The receiver is gone only if the connection is.
        self.0.send(()).ok();
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(held) = &mut self.held
            && let Poll::Ready(ended) = held.poll_unpin(context)
        {
            self.held = None;
            if ended.is_err() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Poll::Ready(ready!(Pin::new(&mut self.stream).poll_read(context, buffer)))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
