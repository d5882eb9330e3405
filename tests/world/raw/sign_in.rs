//! Signing in, rightly and wrongly.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::{
    super::{LONG, TestBastion, person},
    Next, Raw,
    words::{Words, msg, take, take_number, text},
};

/// An Ed25519 key.
pub struct Key(Ed25519KeyPair);

impl Key {
    /// The key of this seed.
    pub fn of(seed: u8) -> Key {
        Key(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes make a key"))
    }

    /// Its public half, as SSH sends it.
    pub fn blob(&self) -> Vec<u8> {
        Words::none().string("ssh-ed25519").string(self.0.public_key().as_ref()).done()
    }

    /// A signature, as SSH sends it.
    pub fn sign(&self, what: &[u8]) -> Vec<u8> {
        Words::none().string("ssh-ed25519").string(self.0.sign(what).as_ref()).done()
    }
}

/// What a server says to a step of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In.
    Success,
    /// Not, or not yet: the methods that can go on, and whether this step counts.
    Failure {
        /// The methods, with commas.
        methods: String,
        /// Whether the step was right and more are wanted.
        partial: bool,
    },
    /// A key would do, if it were proven.
    KeyWouldDo,
    /// Questions.
    Asks(Vec<String>),
    /// It has hung up.
    Cut,
    /// Nothing.
    Silence,
}

/// A request to sign in by a proven key, and what was signed: `session_id` and all of it before the signature.
pub fn signed(
    session_id: &[u8],
    user: &str,
    service: &str,
    algorithm: &str,
    blob: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let request = Words::of(msg::USERAUTH_REQUEST).string(user).string(service).string("publickey");
    let request = request.truth(true).string(algorithm).string(blob).done();
    (Words::none().string(session_id).raw(&request).done(), request)
}

impl Raw {
    /// Begins a method: what follows its name is given.
    pub fn try_method(&mut self, user: &str, method: &str, rest: &[u8]) -> Answer {
        let request = Words::of(msg::USERAUTH_REQUEST).string(user).string("ssh-connection").string(method);
        self.step(&request.raw(rest).done())
    }

    /// Offers a key without a proof.
    pub fn offer(&mut self, user: &str, key: &Key) -> Answer {
        let rest = Words::none().truth(false).string("ssh-ed25519").string(key.blob());
        self.try_method(user, "publickey", &rest.done())
    }

    /// Proves a key.
    pub fn prove(&mut self, user: &str, key: &Key) -> Answer {
        let (said, request) = signed(&self.session_id, user, "ssh-connection", "ssh-ed25519", &key.blob());
        self.step(&Words::none().raw(request).string(key.sign(&said)).done())
    }

    /// Begins keyboard-interactive.
    pub fn interactive(&mut self, user: &str) -> Answer {
        self.try_method(user, "keyboard-interactive", &Words::none().string("").string("").done())
    }

    /// Answers questions.
    pub fn respond(&mut self, answers: &[&str]) -> Answer {
        let count = u32::try_from(answers.len()).expect("few answers");
        let words = Words::of(msg::USERAUTH_INFO_RESPONSE).number(count);
        self.step(&answers.iter().fold(words, |words, answer| words.string(answer)).done())
    }

    /// Sends a payload, and hears what the server says to it.
    pub fn step(&mut self, payload: &[u8]) -> Answer {
        if self.send(payload).is_err() {
            return Answer::Cut;
        }
        self.answer(LONG)
    }

    /// Hears what the server says to a step.
    pub fn answer(&mut self, bound: Duration) -> Answer {
        loop {
            let packet = match self.next(bound) {
                Next::Packet(packet) => packet,
                Next::Cut => return Answer::Cut,
                Next::Silence => return Answer::Silence,
            };
            let (kind, mut rest) = packet.split_first().expect("a packet has a kind");
            return match *kind {
                msg::USERAUTH_SUCCESS => Answer::Success,
                msg::USERAUTH_FAILURE => {
                    Answer::Failure { methods: text(take(&mut rest)), partial: rest == [1] }
                }
                msg::USERAUTH_INFO_REQUEST if rest.starts_with(b"\0\0\0\x0bssh-ed25519") => {
                    Answer::KeyWouldDo
                }
                msg::USERAUTH_INFO_REQUEST => {
                    // Name, instruction, language; then questions, each with whether its answer may be seen.
                    (0..3).for_each(|_| {
                        take(&mut rest);
                    });
                    let questions = (0..take_number(&mut rest)).map(|_| {
                        let question = text(take(&mut rest));
                        rest = &rest[1..];
                        question
                    });
                    Answer::Asks(questions.collect())
                }
                msg::DISCONNECT => Answer::Cut,
                msg::CHANNEL_OPEN_CONFIRMATION | msg::REQUEST_SUCCESS | msg::CHANNEL_SUCCESS => {
                    panic!("message {kind} for one who is not in")
                }
                _ => continue,
            };
        }
    }

    /// Goes on with questions until one shows a code, and answers with the code. A question without a prompt, which
    /// means that there are no news, is answered by nothing.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn until_code(&mut self, mut answer: Answer) -> String {
        loop {
            let Answer::Asks(questions) = &answer else { panic!("a code was waited for: {answer:?}") };
            if let Some(code) = questions.iter().find_map(|question| code_of(question)) {
                return code;
            }
            answer = self.respond(&vec![""; questions.len()]);
        }
    }

    /// Presses Enter at every question until the server has decided.
    pub fn enter_until_decided(&mut self, mut questions: usize) -> Answer {
        loop {
            match self.respond(&vec![""; questions]) {
                Answer::Asks(more) => questions = more.len(),
                decided => return decided,
            }
        }
    }

    /// Opens a session and runs a command there; none if no channel is confirmed, or not in time.
    pub fn run(&mut self, command: &str) -> Option<String> {
        let theirs = self.open()?;
        let exec = Words::of(msg::CHANNEL_REQUEST).number(theirs).string("exec").truth(true).string(command);
        self.send(&exec.done()).ok()?;
        let mut said = String::new();
        loop {
            match self.next(LONG) {
                Next::Packet(packet) if packet[0] == msg::CHANNEL_DATA => {
                    said += &text(take(&mut &packet[5..]));
                }
                Next::Packet(packet) if packet[0] == msg::CHANNEL_CLOSE => return Some(said),
                Next::Packet(_) => {}
                Next::Cut | Next::Silence => return None,
            }
        }
    }

    /// Opens a session, and answers what the server calls its channel; none if it is not confirmed.
    pub fn open(&mut self) -> Option<u32> {
        self.try_open();
        let confirmed = self.find(msg::CHANNEL_OPEN_CONFIRMATION)?;
        Some(take_number(&mut &confirmed[5..]))
    }

    /// Asks for a session, and waits for nothing: whoever is not in has no answer to expect.
    pub fn try_open(&mut self) {
        let open = Words::of(msg::CHANNEL_OPEN).string("session").number(0).number(1 << 20).number(1 << 15);
        // If it is cut, nothing is opened either.
        self.send(&open.done()).ok();
    }

    fn find(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            match self.next(LONG) {
                Next::Packet(packet) if packet[0] == kind => return Some(packet),
                Next::Packet(_) => {}
                Next::Cut | Next::Silence => return None,
            }
        }
    }
}

/// The code in what a person is shown: two groups of letters and digits, with a hyphen.
pub fn code_of(shown: &str) -> Option<String> {
    let of_code = |half: &str| {
        half.len() >= 4 && half.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    let mut words = shown.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.find(|word| word.split_once('-').is_some_and(|(a, b)| of_code(a) && of_code(b))).map(str::to_owned)
}

/// Signs somebody in with both steps, after which her key is enough.
#[track_caller]
pub fn sign_in(bastion: &TestBastion, name: &str, key: &Key) -> Raw {
    let mut raw = Raw::at_the_door(bastion.port());
    let proven = raw.prove(name, key);
    assert!(matches!(proven, Answer::Failure { partial: true, .. }), "{proven:?}");
    let asked = raw.interactive(name);
    let code = raw.until_code(asked);
    bastion.provider().approve_as(&code, person(name));
    assert_eq!(raw.enter_until_decided(1), Answer::Success, "the sign-in of {name}");
    raw
}
