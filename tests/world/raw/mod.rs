//! A raw SSH client: it says what it is told to, in any order and of any length, which OpenSSH never would.
//!
//! It speaks curve25519-sha256 with aes256-gcm@openssh.com and signs with Ed25519: enough for a real conversation, and
//! each step of it can be left out, done twice or done wrongly. Nothing is answered by itself, and every wait has an end.

mod kex;
mod sign_in;
mod words;

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::LONG;

pub use kex::Offer;
pub use sign_in::{Answer, Key, code_of, sign_in, signed};
pub use words::{Words, msg, text};

/// One packet more than any server of ours sends is a mistake of this client's.
const PACKET_BYTES_MAX: usize = 1 << 20;

const TAG_BYTES: usize = 16;

/// One connection.
pub struct Raw {
    stream: TcpStream,
    heard: Vec<u8>,
    sealing: Option<Sealing>,
    opening: Option<Sealing>,
    /// What it calls itself, and what the server does: without line ends.
    names: (Vec<u8>, Vec<u8>),
    /// The server's KEXINIT, as it came.
    pub server_offer: Vec<u8>,
    /// The first exchange hash; empty before it.
    pub session_id: Vec<u8>,
}

/// One direction of aes256-gcm@openssh.com (RFC 5647).
struct Sealing {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Sealing {
    /// The next nonce: its last eight bytes count.
    fn next(&mut self) -> Nonce {
        let nonce = self.nonce;
        let (_, count) = self.nonce.split_at_mut(4);
        for byte in count.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A packet's payload.
    Packet(Vec<u8>),
    /// The server has hung up.
    Cut,
    /// Nothing, for as long as was waited.
    Silence,
}

impl Raw {
    /// A connection from 127.0.0.1 over which nothing was said yet.
    #[track_caller]
    pub fn connect(port: u16) -> Raw {
        Raw::connect_from(Ipv4Addr::LOCALHOST, port).expect("the gateway takes a connection")
    }

    /// The same, from another address of this machine: Linux has all of 127.0.0.0/8.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn connect_from(from: Ipv4Addr, port: u16) -> io::Result<Raw> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Raw {
            stream,
            heard: vec![],
            sealing: None,
            opening: None,
            names: (vec![], vec![]),
            server_offer: vec![],
            session_id: vec![],
        })
    }

    /// A connection that has been greeted and has agreed on keys.
    #[track_caller]
    pub fn exchanged(port: u16) -> Raw {
        let mut raw = Raw::connect(port);
        raw.greet();
        raw.exchange();
        raw
    }

    /// A connection that may ask to sign in.
    #[track_caller]
    pub fn at_the_door(port: u16) -> Raw {
        let mut raw = Raw::exchanged(port);
        raw.ask_for_service();
        raw
    }

    /// The same, from another address of this machine.
    #[track_caller]
    pub fn at_the_door_from(from: Ipv4Addr, port: u16) -> Raw {
        let mut raw = Raw::connect_from(from, port).expect("the gateway takes a connection");
        raw.greet();
        raw.exchange();
        raw.ask_for_service();
        raw
    }

    /// Says these bytes, in clear, whatever they are.
    ///
    /// # Errors
    /// If the server has hung up, or takes nothing.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes may wait no longer than this for a server that reads nothing.
    pub fn write_for(&mut self, bound: Duration) {
        self.stream.set_write_timeout(Some(bound)).expect("a timeout can be set");
    }

    /// Sends a payload as a packet should be: in clear before keys are agreed on, encrypted after.
    ///
    /// # Errors
    /// As [`Raw::say`].
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.packet(payload);
        self.say(&packet)
    }

    /// The bytes of a packet; encrypted, it counts as sent.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        // With GCM the length is not part of what must fill whole blocks.
        let (block, counted) = if self.sealing.is_some() { (16, 1) } else { (8, 5) };
        let padding = 4 + (block - (counted + payload.len() + 4) % block) % block;
        let length = u32::try_from(1 + payload.len() + padding).expect("a packet's length fits");
        let mut body = vec![u8::try_from(padding).expect("less than a block and four")];
        body.extend_from_slice(payload);
        body.resize(body.len() + padding, 0);
        self.sealed(length, body)
    }

    /// The bytes of a packet that says it is `length` long, and is this. A seal is right for what it says.
    pub fn sealed(&mut self, length: u32, mut body: Vec<u8>) -> Vec<u8> {
        let length = length.to_be_bytes();
        if let Some(sealing) = &mut self.sealing {
            let nonce = sealing.next();
            let tag = sealing.key.seal_in_place_separate_tag(nonce, Aad::from(length), &mut body);
            body.extend_from_slice(tag.expect("a packet can be sealed").as_ref());
        }
        [&length[..], &body].concat()
    }

    /// Waits for what comes next, no longer than this.
    pub fn next(&mut self, bound: Duration) -> Next {
        let until = Instant::now() + bound;
        let tag = if self.opening.is_some() { TAG_BYTES } else { 0 };
        if let Some(end) = self.fill(4, until) {
            return end;
        }
        let length: [u8; 4] = self.heard[..4].try_into().expect("four bytes");
        let size = u32::from_be_bytes(length) as usize;
        assert!((2..PACKET_BYTES_MAX).contains(&size), "the server sends a packet of {size} bytes");
        if let Some(end) = self.fill(4 + size + tag, until) {
            return end;
        }
        let mut packet: Vec<u8> = self.heard.drain(..4 + size + tag).skip(4).collect();
        if let Some(opening) = &mut self.opening {
            let nonce = opening.next();
            let opened = opening.key.open_in_place(nonce, Aad::from(length), &mut packet);
            opened.expect("the server seals its packets");
        }
        packet.truncate(size - usize::from(packet[0]));
        Next::Packet(packet.split_off(1))
    }

    /// The next packet.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn hear(&mut self) -> Vec<u8> {
        match self.next(LONG) {
            Next::Packet(packet) => packet,
            other => panic!("a packet was waited for, and there is {other:?}"),
        }
    }

    /// The next packet of this kind; those before it are dropped.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn hear_kind(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let packet = self.hear();
            if packet.first() == Some(&kind) {
                return packet;
            }
        }
    }

    /// Waits until the server has hung up; answers the kinds of all packets that came before.
    ///
    /// # Panics
    /// If it has not in time.
    #[track_caller]
    pub fn expect_cut(&mut self, bound: Duration) -> Vec<u8> {
        self.kinds_until_cut(bound).unwrap_or_else(|heard| panic!("not cut; heard {heard:?}"))
    }

    /// The kinds of all packets that come within this time, up to a cut (`Ok`) or until it is over (`Err`).
    ///
    /// # Errors
    /// If there was no cut.
    pub fn kinds_until_cut(&mut self, bound: Duration) -> Result<Vec<u8>, Vec<u8>> {
        let (until, mut kinds) = (Instant::now() + bound, vec![]);
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Next::Packet(packet) => kinds.extend(packet.first()),
                Next::Cut => return Ok(kinds),
                Next::Silence => return Err(kinds),
            }
        }
    }

    /// Waits for the end of the stream, whatever comes before it.
    ///
    /// # Panics
    /// If it has not come in time.
    #[track_caller]
    pub fn expect_end(&mut self, bound: Duration) {
        let until = Instant::now() + bound;
        let end = loop {
            self.heard.clear();
            if let Some(end) = self.fill(1, until) {
                break end;
            }
        };
        assert_eq!(end, Next::Cut, "the connection is still open");
    }

    /// Ends what it sends, and goes on hearing.
    pub fn end(&mut self) {
        // Whoever hung up first makes this fail, and it is over then as well.
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Reads until so many bytes were heard; or answers why there are fewer.
    fn fill(&mut self, len: usize, until: Instant) -> Option<Next> {
        let mut buffer = [0; 16 * 1024];
        while self.heard.len() < len {
            let left = until.saturating_duration_since(Instant::now());
            // What has come already is read even when time is up; 0 would mean to wait for ever.
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .expect("a timeout can be set");
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Next::Cut),
                Ok(n) => self.heard.extend_from_slice(&buffer[..n]),
                Err(fault) if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if left.is_zero() {
                        return Some(Next::Silence);
                    }
                }
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Next::Cut),
            }
        }
        None
    }
}
