//! The codes of the demo's issuer: given out, confirmed or denied with the word, polled as RFC 8628 says.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use super::Person;

/// How long a code is good.
pub const VALID: Duration = Duration::from_secs(300);

/// What a client has to wait between two polls, before `slow_down` adds to it.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// RFC 8628, section 3.5: what each `slow_down` adds.
const SLOWER: Duration = Duration::from_secs(5);

/// Two clocks and a network stand between a client's sleep and our reading: this much too soon is in time.
const POLL_SLACK: Duration = Duration::from_millis(200);

/// The demo has two people; a client that asks for more codes at once than this is at fault.
const PENDING_MAX: usize = 64;

/// Wrong words until the word is replaced. With 32^8 words nobody guesses one in five.
const WRONG_WORDS_MAX: u32 = 5;

/// Neither vowels nor look-alikes, so that a code spells nothing and reads only one way.
const USER_CODE_LETTERS: &[u8; 16] = b"BCDFGHJKLMNPQRST";
const WORD_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// All codes, and the word that confirms them.
pub struct Codes {
    word: String,
    wrong_words: u32,
    pending: HashMap<String, Pending>,
}

struct Pending {
    user_code: String,
    begun: Instant,
    polled: Option<Instant>,
    interval: Duration,
    ruling: Option<Ruling>,
}

#[derive(Clone, Copy)]
enum Ruling {
    Confirmed(&'static Person),
    Denied,
}

/// A sign-in that has begun.
pub struct Begun {
    /// For the client alone.
    pub device_code: String,
    /// For the person.
    pub user_code: String,
}

/// What a poll is answered with.
#[derive(Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nobody has ruled yet.
    Pending,
    /// Asked sooner than allowed.
    TooSoon,
    /// Somebody said no.
    Denied,
    /// Nobody came in time.
    Expired,
    /// Never given out, or used up.
    Unknown,
    /// She confirmed.
    Confirmed(&'static Person),
}

/// What became of a form.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ruling stands.
    Done,
    /// Not the word.
    WrongWord,
    /// Not the word, too often: there is a new one.
    WordReplaced,
    /// No sign-in waits for this code.
    NoSuchCode,
}

impl Codes {
    /// None yet, and a first word.
    pub fn new() -> io::Result<Codes> {
        Ok(Codes { word: letters(WORD_LETTERS, 8)?, wrong_words: 0, pending: HashMap::new() })
    }

    /// The word that rules over the next code.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// Gives out a pair of codes.
    pub fn begin(&mut self, now: Instant) -> io::Result<Begun> {
        self.pending.retain(|_, p| now.duration_since(p.begun) < 2 * VALID);
        if self.pending.len() >= PENDING_MAX {
            return Err(io::Error::other("too many codes are pending"));
        }
        let (head, tail) = (letters(USER_CODE_LETTERS, 4)?, letters(USER_CODE_LETTERS, 4)?);
        let begun = Begun { device_code: random_text()?, user_code: format!("{head}-{tail}") };
        let pending = Pending {
            user_code: begun.user_code.clone(),
            begun: now,
            polled: None,
            interval: INTERVAL,
            ruling: None,
        };
        self.pending.insert(begun.device_code.clone(), pending);
        Ok(begun)
    }

    /// Answers a client that asks whether somebody has ruled. A ruling is told once.
    pub fn poll(&mut self, device_code: &str, now: Instant) -> Poll {
        let Some(pending) = self.pending.get_mut(device_code) else { return Poll::Unknown };
        if now.duration_since(pending.begun) >= VALID {
            return Poll::Expired;
        }
        let before = pending.polled.replace(now);
        if before.is_some_and(|before| now.duration_since(before) + POLL_SLACK < pending.interval) {
            pending.interval += SLOWER;
            return Poll::TooSoon;
        }
        let Some(ruling) = pending.ruling else { return Poll::Pending };
        self.pending.remove(device_code);
        match ruling {
            Ruling::Confirmed(person) => Poll::Confirmed(person),
            Ruling::Denied => Poll::Denied,
        }
    }

    /// Confirms `user_code` as `person`, or denies it. The word is asked of both, and is used up by either.
    pub fn rule(
        &mut self,
        user_code: &str,
        word: &str,
        person: Option<&'static Person>,
        now: Instant,
    ) -> Verdict {
        if self.word.is_empty() || !word.trim().eq_ignore_ascii_case(&self.word) {
            return self.wrong_word();
        }
        let waits = |p: &&mut Pending| {
            p.ruling.is_none() && p.user_code == user_code && now.duration_since(p.begun) < VALID
        };
        let Some(pending) = self.pending.values_mut().find(waits) else { return Verdict::NoSuchCode };
        pending.ruling = Some(person.map_or(Ruling::Denied, Ruling::Confirmed));
        self.replace_word();
        Verdict::Done
    }

    fn wrong_word(&mut self) -> Verdict {
        self.wrong_words += 1;
        if self.wrong_words < WRONG_WORDS_MAX {
            return Verdict::WrongWord;
        }
        self.replace_word();
        Verdict::WordReplaced
    }

    fn replace_word(&mut self) {
        self.wrong_words = 0;
        // Without randomness there is no new word, and an old one must not stay good: an empty one never is.
        self.word = letters(WORD_LETTERS, 8).unwrap_or_default();
    }
}

/// A user code as typed, without what does not belong there; lower case is taken as upper.
pub fn plain(user_code: &str) -> String {
    let letters: String =
        user_code.chars().filter(char::is_ascii_alphabetic).take(8).map(|c| c.to_ascii_uppercase()).collect();
    match letters.split_at_checked(4) {
        Some((head, tail)) if tail.len() == 4 => format!("{head}-{tail}"),
        _ => String::new(),
    }
}

/// 160 random bits as text.
pub fn random_text() -> io::Result<String> {
    letters(WORD_LETTERS, 32)
}

// Both alphabets have a power of two of letters, so the remainder favours none.
fn letters(alphabet: &[u8], count: usize) -> io::Result<String> {
    let mut random = vec![0; count];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(random
        .iter()
        .filter_map(|r| alphabet.get(usize::from(*r) % alphabet.len()))
        .copied()
        .map(char::from)
        .collect())
}
