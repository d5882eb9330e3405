//! Text out of bytes that arrive in pieces.
//!
//! A network cuts where it likes, also inside a character. What is shown must not depend on that, so the
//! beginning of a character waits here for its end.

use std::borrow::Cow;

use crate::{Event, What};

/// The unfinished character at the end of one stream: at most three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carry(Vec<u8>);

impl Carry {
    /// A carry that holds these bytes; anything that cannot be the beginning of one character is dropped.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let mut carry = Carry::default();
        if bytes.len() <= 3 && carry.text(bytes).is_empty() { carry } else { Carry::default() }
    }

    /// The bytes that wait.
    pub(crate) fn held(&self) -> &[u8] {
        &self.0
    }

    /// The piece as text, if it is text by itself: valid UTF-8, with nothing waiting before it.
    pub(crate) fn clean<'a>(&self, piece: &'a [u8]) -> Option<&'a str> {
        if self.0.is_empty() { std::str::from_utf8(piece).ok() } else { None }
    }

    /// What a viewer sees of the piece: what waited goes before it, bytes that are not UTF-8 become U+FFFD
    /// (one for each maximal part, as Unicode 3.9 and every browser do), and an unfinished end waits.
    ///
    /// Joined, the texts are the same wherever the stream was cut.
    pub(crate) fn text<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, str> {
        if let Some(clean) = self.clean(piece) {
            return Cow::Borrowed(clean);
        }
        let mut whole = std::mem::take(&mut self.0);
        whole.extend_from_slice(piece);
        let mut text = String::with_capacity(whole.len());
        let mut rest = whole.as_slice();
        while let Err(fault) = std::str::from_utf8(rest) {
            let (valid, after) = rest.split_at(fault.valid_up_to());
            text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(bad) = fault.error_len() else {
                self.0 = after.to_vec();
                return Cow::Owned(text);
            };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = after.get(bad..).unwrap_or_default();
        }
        text.push_str(std::str::from_utf8(rest).unwrap_or_default());
        Cow::Owned(text)
    }
}

/// The streams whose pieces belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    ErrorOutput,
    Notice,
    Input,
    Shown,
    Injected,
    Opened,
    Act,
}

/// What every stream of a session still waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carries([Carry; 8]);

impl Carries {
    /// The carry of one stream.
    pub(crate) fn of(&mut self, stream: Stream) -> &mut Carry {
        let [output, error, notice, input, shown, injected, opened, act] = &mut self.0;
        match stream {
            Stream::Output => output,
            Stream::ErrorOutput => error,
            Stream::Notice => notice,
            Stream::Input => input,
            Stream::Shown => shown,
            Stream::Injected => injected,
            Stream::Opened => opened,
            Stream::Act => act,
        }
    }

    /// The same, without what no viewer sees.
    pub(crate) fn for_viewers(&self) -> Carries {
        let mut seen = self.clone();
        for stream in [Stream::Input, Stream::Shown, Stream::Injected, Stream::Opened, Stream::Act] {
            *seen.of(stream) = Carry::default();
        }
        seen
    }

    /// What the event shows on the client's screen; `None` if it is none of the three that are sent there.
    pub(crate) fn shown<'a>(&mut self, event: &'a Event) -> Option<Cow<'a, str>> {
        let (stream, data) = match &event.what {
            What::Output(data) => (Stream::Output, data),
            What::ErrorOutput(data) => (Stream::ErrorOutput, data),
            What::Notice(data) => (Stream::Notice, data),
            _ => return None,
        };
        Some(self.of(stream).text(data))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Vec<u8>) {
        let mut carry = Carry::default();
        let text = pieces.into_iter().map(|piece| carry.text(piece).into_owned()).collect();
        (text, carry.held().to_vec())
    }

    #[test]
    fn a_character_cut_in_two_is_shown_with_its_second_half() {
        let mut carry = Carry::default();

        assert_eq!(carry.text(b"euro: \xe2\x82"), "euro: ");
        assert_eq!(carry.text(b"\xac ok"), "\u{20ac} ok");
        assert!(carry.held().is_empty());
    }

    #[test]
    fn a_character_that_never_ends_is_replaced_when_another_begins() {
        let mut carry = Carry::default();

        assert_eq!(carry.text(b"\xe2\x82"), "");
        assert_eq!(carry.text(b"A"), "\u{fffd}A");
    }

    #[test]
    fn only_the_beginning_of_a_character_can_be_held() {
        assert_eq!(Carry::holding(b"\xe2\x82").held(), b"\xe2\x82");
        assert_eq!(Carry::holding(b"").held(), b"");
        for nonsense in [&b"A"[..], b"\xff", b"\xe2A", b"\xf0\x9f\x98\x80"] {
            assert_eq!(Carry::holding(nonsense).held(), b"");
        }
    }

    proptest! {
        /// Where a network cuts its packets is nobody's business.
        #[test]
        fn wherever_a_stream_is_cut_its_text_is_the_same(
            stream in prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for place in places.into_iter().chain([stream.len()]) {
                pieces.push(&stream[from..place]);
                from = place;
            }

            prop_assert_eq!(joined(pieces), joined([stream.as_slice()]));
            let single = stream.chunks(1);
            prop_assert_eq!(joined(single), joined([stream.as_slice()]));
        }

        #[test]
        fn no_more_than_three_bytes_ever_wait(stream in any::<Vec<u8>>()) {
            let (text, held) = joined([stream.as_slice()]);

            prop_assert!(held.len() <= 3);
            let mut ended = stream;
            ended.push(b'.');
            prop_assert_eq!(String::from_utf8_lossy(&ended), format!("{text}{}.", if held.is_empty() { "" } else { "\u{fffd}" }));
        }
    }
}
