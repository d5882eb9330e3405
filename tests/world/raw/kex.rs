//! Names and keys: the beginning of a conversation, as a whole or step by step.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    agreement::{self, EphemeralPrivateKey, X25519, agree_ephemeral},
    digest::{Context, SHA256, digest},
    rand::SystemRandom,
    signature::{self, ED25519},
};

use super::{
    super::LONG,
    Next, Raw, Sealing,
    words::{Words, msg, take},
};

/// What a KEXINIT offers: names of algorithms, with commas.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Key exchanges.
    pub kex: String,
    /// Host keys.
    pub host_keys: String,
    /// Ciphers, both ways.
    pub ciphers: String,
    /// MACs, both ways.
    pub macs: String,
    /// Compression, both ways.
    pub compression: String,
}

/// What this client can do.
impl Default for Offer {
    fn default() -> Self {
        Offer {
            kex: "curve25519-sha256,kex-strict-c-v00@openssh.com".into(),
            host_keys: "ssh-ed25519".into(),
            ciphers: "aes256-gcm@openssh.com".into(),
            macs: "hmac-sha2-256-etm@openssh.com".into(),
            compression: "none".into(),
        }
    }
}

impl Offer {
    /// As a message.
    pub fn payload(&self) -> Vec<u8> {
        let mut words = Words::of(msg::KEXINIT).raw([7; 16]).string(&self.kex).string(&self.host_keys);
        for both in [&self.ciphers, &self.macs, &self.compression] {
            words = words.string(both).string(both);
        }
        words.string("").string("").truth(false).number(0).done()
    }
}

impl Raw {
    /// Says who it is, and hears who the server is.
    #[track_caller]
    pub fn greet(&mut self) {
        self.say(b"SSH-2.0-raw\r\n").expect("the server takes a name");
        self.names.0 = b"SSH-2.0-raw".to_vec();
        self.hear_name();
    }

    /// Hears who the server is.
    ///
    /// # Panics
    /// If it does not say.
    #[track_caller]
    pub fn hear_name(&mut self) {
        let until = Instant::now() + LONG;
        let end = loop {
            if let Some(at) = self.heard.iter().position(|byte| *byte == b'\n') {
                break at;
            }
            let more = self.fill(self.heard.len() + 1, until);
            assert!(more.is_none(), "the server says no name: {more:?}");
        };
        let line: Vec<u8> = self.heard.drain(..=end).collect();
        assert!(line.starts_with(b"SSH-2.0-"), "{:?}", String::from_utf8_lossy(&line));
        self.names.1 = line.trim_ascii_end().to_vec();
    }

    /// Agrees on keys, the first time or anew.
    ///
    /// # Panics
    /// If the server does not, or does not sign what was said.
    #[track_caller]
    pub fn exchange(&mut self) {
        let ours = Offer::default().payload();
        self.send(&ours).expect("the server takes an offer");
        self.server_offer = self.hear_kind(msg::KEXINIT);
        let secret = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).expect("a key can be made");
        let share = secret.compute_public_key().expect("a key has a public half").as_ref().to_vec();
        self.send(&Words::of(msg::KEX_ECDH_INIT).string(&share).done()).expect("the server takes a share");
        let reply = self.hear_kind(msg::KEX_ECDH_REPLY);
        let mut rest = &reply[1..];
        let (host_key, theirs, signature) = (take(&mut rest), take(&mut rest), take(&mut rest));
        let public = agreement::UnparsedPublicKey::new(&X25519, theirs);
        let agreed = agree_ephemeral(secret, public, (), |shared| Ok(shared.to_vec()));
        let shared = Words::none().mpint(&agreed.expect("the server's share is one")).done();

        let said = Words::none().string(&self.names.0).string(&self.names.1).string(&ours);
        let said =
            said.string(&self.server_offer).string(host_key).string(&share).string(theirs).raw(&shared);
        let hash = digest(&SHA256, &said.done());
        let mut host_key = host_key;
        assert_eq!(take(&mut host_key), b"ssh-ed25519");
        let mut signature = signature;
        assert_eq!(take(&mut signature), b"ssh-ed25519");
        let verifier = signature::UnparsedPublicKey::new(&ED25519, take(&mut host_key));
        verifier.verify(hash.as_ref(), take(&mut signature)).expect("the server signs what was said");
        if self.session_id.is_empty() {
            self.session_id = hash.as_ref().to_vec();
        }

        self.send(&[msg::NEWKEYS]).expect("the server takes the new keys");
        assert_eq!(self.hear_kind(msg::NEWKEYS), [msg::NEWKEYS]);
        let key = |letter: &[u8]| derived(&shared, hash.as_ref(), letter, &self.session_id);
        self.sealing = Some(sealing(&key(b"C"), &key(b"A")));
        self.opening = Some(sealing(&key(b"D"), &key(b"B")));
    }

    /// Asks for the service that signs people in.
    #[track_caller]
    pub fn ask_for_service(&mut self) {
        let asked = Words::of(msg::SERVICE_REQUEST).string("ssh-userauth").done();
        self.send(&asked).expect("the server takes a request");
        self.hear_kind(msg::SERVICE_ACCEPT);
    }

    /// Is the server still there, and does it still serve? It is asked for something that it answers at every moment
    /// after keys were agreed on: new keys.
    pub fn lives(&mut self, bound: Duration) -> bool {
        let until = Instant::now() + bound;
        if self.send(&Offer::default().payload()).is_err() {
            return false;
        }
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Next::Packet(packet) if packet.first() == Some(&msg::KEXINIT) => return true,
                Next::Packet(_) => {}
                Next::Cut | Next::Silence => return false,
            }
        }
    }
}

/// RFC 4253, section 7.2. A key of 32 bytes is one hash.
fn derived(shared: &[u8], hash: &[u8], letter: &[u8], session_id: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [shared, hash, letter, session_id] {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sealing(key: &[u8; 32], nonce: &[u8; 32]) -> Sealing {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes");
    let nonce = nonce.first_chunk().expect("twelve of 32 bytes");
    Sealing { key: LessSafeKey::new(key), nonce: *nonce }
}
