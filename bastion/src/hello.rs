//! Hears what a client can do before it is told what we can.
//!
//! In SSH the client's order decides which cipher is used, and OpenSSH before 10 puts AES-CTR before AES-GCM, at four
//! times the CPU. Offering CTR to nobody would lock out clients without GCM. So the client's list is read first: whoever
//! has GCM is offered GCM alone. The SSH library sends its own list at once and cannot be told to wait, so the first
//! lines of the conversation are spoken here, and what was heard is handed on unread.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use russh::cipher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Who we say we are (RFC 4253, section 4.2), without a version: that helps only those who look for old ones.
pub const IDENT: &str = "SSH-2.0-bastion";

/// A client sends its list as soon as it has read our name: after one round trip. Some wait for ours instead; after this
/// they are offered all ciphers.
const PATIENCE: Duration = Duration::from_secs(1);

/// RFC 4253 allows 255 for a name and 35,000 for a packet. More is not read here; the SSH library judges it.
const HEARD_BYTES_MAX: usize = 36 * 1024;
const PACKET_BYTES_MAX: usize = 35_000;

/// `SSH_MSG_KEXINIT`, and the random bytes behind it.
const KEXINIT: u8 = 20;
const COOKIE_BYTES: usize = 16;

/// A conversation that has begun.
pub struct Hello<S> {
    /// The rest of it: reads begin with what was heard already, and our name is not sent twice.
    pub stream: Begun<S>,
    /// Whether the client said that it can do AES-GCM.
    pub has_gcm: bool,
}

/// A stream whose first bytes were read and written already.
pub struct Begun<S> {
    stream: S,
    heard: Bytes,
    said: usize,
}

/// Says our name, and waits a little for the client's name and list.
///
/// # Errors
/// If the connection fails.
pub async fn hear<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<Hello<S>> {
    hear_within(stream, PATIENCE).await
}

async fn hear_within<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    patience: Duration,
) -> io::Result<Hello<S>> {
    let said = format!("{IDENT}\r\n");
    stream.write_all(said.as_bytes()).await?;
    stream.flush().await?;
    let mut heard = BytesMut::with_capacity(4 * 1024);
    let has_gcm = match tokio::time::timeout(patience, listen(&mut stream, &mut heard)).await {
        Ok(has_gcm) => has_gcm?,
        Err(_) => false,
    };
    Ok(Hello { stream: Begun { stream, heard: heard.freeze(), said: said.len() }, has_gcm })
}

async fn listen<S: AsyncRead + Unpin>(stream: &mut S, heard: &mut BytesMut) -> io::Result<bool> {
    loop {
        match offer(heard) {
            Offer::Ciphers(names) => return Ok(names.split(|byte| *byte == b',').any(is_gcm)),
            Offer::None => return Ok(false),
            Offer::More if heard.len() >= HEARD_BYTES_MAX => return Ok(false),
            Offer::More => {}
        }
        if stream.read_buf(heard).await? == 0 {
            return Ok(false);
        }
    }
}

fn is_gcm(name: &[u8]) -> bool {
    [cipher::AES_128_GCM, cipher::AES_256_GCM].iter().any(|gcm| gcm.as_ref().as_bytes() == name)
}

/// What a client's first bytes say about ciphers.
enum Offer<'a> {
    /// Not all of it is here yet.
    More,
    /// Its ciphers towards us, separated by commas.
    Ciphers(&'a [u8]),
    /// It is not what SSH begins with: not judged here.
    None,
}

fn offer(heard: &[u8]) -> Offer<'_> {
    let Some(end) = heard.iter().position(|byte| *byte == b'\n') else { return Offer::More };
    let mut packet = heard.get(end + 1..).unwrap_or_default();
    if packet.remaining() < 5 {
        return Offer::More;
    }
    let length = usize::try_from(packet.get_u32()).unwrap_or(usize::MAX);
    let padding = usize::from(packet.get_u8());
    if length > PACKET_BYTES_MAX || length < padding + 1 {
        return Offer::None;
    }
    if packet.len() < length - 1 {
        return Offer::More;
    }
    match packet.get(..length - 1 - padding).and_then(ciphers) {
        Some(names) => Offer::Ciphers(names),
        None => Offer::None,
    }
}

/// The third name-list of a KEXINIT (RFC 4253, section 7.1): ciphers from client to server.
fn ciphers(payload: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = payload.split_first()?;
    let rest = rest.get(COOKIE_BYTES..).filter(|_| *kind == KEXINIT)?;
    let (_key_exchanges, rest) = name_list(rest)?;
    let (_host_keys, rest) = name_list(rest)?;
    Some(name_list(rest)?.0)
}

fn name_list(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.heard.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.heard.len().min(buffer.remaining());
        buffer.put_slice(&self.heard.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.said == 0 {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        let length = self.said.min(bytes.len());
        self.said -= length;
        Poll::Ready(Ok(length))
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
    use std::sync::{Arc, Mutex};

    use keys::PrivateKey;
    use russh::{Preferred, SshId, client, keys::ssh_key::private::Ed25519Keypair, server};
    use tokio::io::DuplexStream;

    use super::*;
    use crate::settings::Ssh;

    struct Server;

    impl server::Handler for Server {
        type Error = russh::Error;
    }

    /// A client that remembers which cipher was agreed upon.
    struct Client(Arc<Mutex<Option<cipher::Name>>>);

    impl client::Handler for Client {
        type Error = russh::Error;

        async fn check_server_key(
            &mut self,
            _: &russh::keys::PublicKeyOrCertificate,
        ) -> Result<bool, russh::Error> {
            Ok(true)
        }

        async fn kex_done(
            &mut self,
            _: Option<&[u8]>,
            names: &russh::Names,
            _: &mut client::Session,
        ) -> Result<(), russh::Error> {
            *self.0.lock().unwrap() = Some(names.cipher);
            Ok(())
        }
    }

    /// Patience without end, unless a test is about its end.
    async fn serve(stream: DuplexStream, patience: Duration) {
        let hello = hear_within(stream, patience).await.unwrap();
        let all = Ssh::default();
        let preferred = if hello.has_gcm { all.preferred_with_gcm().unwrap() } else { all.preferred() };
        let config = server::Config {
            server_id: SshId::Standard(IDENT.into()),
            keys: vec![PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]))],
            preferred,
            ..Default::default()
        };
        if let Ok(running) = server::run_stream(Arc::new(config), hello.stream, Server).await {
            running.await.ok();
        }
    }

    /// What a client with these ciphers, in this order, ends up with.
    async fn agreed(ciphers: &[cipher::Name]) -> Option<cipher::Name> {
        let (ours, theirs) = tokio::io::duplex(1024);
        let serving = tokio::spawn(serve(ours, Duration::MAX));
        let agreed = Arc::new(Mutex::new(None));
        let config = client::Config {
            preferred: Preferred { cipher: ciphers.to_vec().into(), ..Preferred::default() },
            ..Default::default()
        };
        client::connect_stream(Arc::new(config), theirs, Client(agreed.clone())).await.ok();
        serving.abort();
        *agreed.lock().unwrap()
    }

    #[tokio::test]
    async fn a_client_that_wants_ctr_and_has_gcm_gets_gcm() {
        let openssh_9 = [
            cipher::CHACHA20_POLY1305,
            cipher::AES_128_CTR,
            cipher::AES_256_CTR,
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
        ];
        assert_eq!(agreed(&openssh_9).await, Some(cipher::AES_128_GCM));
    }

    #[tokio::test]
    async fn a_client_without_gcm_gets_ctr() {
        assert_eq!(
            agreed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]).await,
            Some(cipher::AES_256_CTR)
        );
    }

    #[tokio::test]
    async fn a_client_with_neither_gets_nothing() {
        assert_eq!(agreed(&[cipher::CHACHA20_POLY1305]).await, None);
    }

    /// Some clients send their list only after ours.
    #[tokio::test]
    async fn a_client_that_waits_for_us_is_answered_after_a_while() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let serving = tokio::spawn(serve(ours, Duration::ZERO));
        theirs.write_all(b"SSH-2.0-patient\r\n").await.unwrap();
        let mut read = vec![0; IDENT.len() + 2 + 6];
        theirs.read_exact(&mut read).await.unwrap();

        assert!(read.starts_with(format!("{IDENT}\r\n").as_bytes()), "our name, once");
        assert_eq!(read.last(), Some(&KEXINIT), "then our list");
        serving.abort();
    }

    #[test]
    fn what_is_cut_is_waited_for_and_what_is_no_ssh_is_left_to_the_library() {
        let mut payload = vec![KEXINIT];
        payload.extend([0; COOKIE_BYTES]);
        for names in ["kex", "key", "aes128-ctr,aes256-gcm@openssh.com"] {
            payload.extend(u32::try_from(names.len()).unwrap().to_be_bytes());
            payload.extend(names.bytes());
        }
        let length = u32::try_from(1 + payload.len() + 4).unwrap();
        let whole = [b"SSH-2.0-x\r\n", &length.to_be_bytes()[..], &[4], &payload, &[0; 4]].concat();

        for end in 0..whole.len() {
            assert!(matches!(offer(&whole[..end]), Offer::More), "cut at {end}");
        }
        assert!(matches!(offer(&whole), Offer::Ciphers(b"aes128-ctr,aes256-gcm@openssh.com")));
        for wrong in [
            &b"GET / HTTP/1.1\r\n\r\n0000000"[..],
            b"SSH-2.0-x\n\xff\xff\xff\xff\x00",
            b"SSH-2.0-x\n\x00\x00\x00\x01\xff",
            b"SSH-2.0-x\n\x00\x00\x00\x02\x00\x15",
            b"SSH-2.0-x\n\x00\x00\x00\x00\x00",
        ] {
            assert!(matches!(offer(wrong), Offer::None), "{wrong:?}");
        }
    }
}
