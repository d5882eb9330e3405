//! What the tests of this crate share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "every test binary takes what it needs"
)]

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use recording::{COLS_MAX, Elapsed, Event, Exit, LATEST, ROWS_MAX, What};

/// Bytes as terminals and files make them: text, cut text, control sequences, anything.
pub fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        vec(
            prop_oneof![Just(0xe2), Just(0x82), Just(0xac), Just(0xf0), Just(0x1b), Just(b'a'), Just(0)],
            0..8
        ),
    ]
    .prop_map(Bytes::from)
}

pub fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => payload().prop_map(What::Output),
        1 => payload().prop_map(What::Opened),
        1 => payload().prop_map(What::ErrorOutput),
        2 => payload().prop_map(What::Input),
        1 => any::<u32>().prop_map(What::Typed),
        1 => payload().prop_map(What::Act),
        1 => (any::<u64>(), payload()).prop_map(|(first, data)| What::Shown { first, data }),
        1 => payload().prop_map(What::Injected),
        1 => payload().prop_map(What::Notice),
        1 => (1..=COLS_MAX, 1..=ROWS_MAX).prop_map(|(cols, rows)| What::Resize { cols, rows }),
        1 => Just(What::InputEnd),
        1 => Just(What::OutputEnd),
        1 => any::<String>().prop_map(What::Signal),
        1 => any::<u32>().prop_map(|status| What::Exit(Exit::Status(status))),
        1 => any::<String>().prop_map(|name| What::Exit(Exit::Signal(name))),
        1 => any::<String>().prop_map(What::Marker),
        1 => any::<String>().prop_map(What::Ended),
    ]
}

/// Events in order of time.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let pause = prop_oneof![Just(0), 1u64..20, 0u64..5_000_000, 0..LATEST.as_micros() / 100];
    vec((pause, what()), 0..24).prop_map(|steps| {
        let mut clock = 0;
        let event = |(pause, what)| {
            clock += pause;
            Event { at: Elapsed::from_micros(clock), what }
        };
        steps.into_iter().map(event).collect()
    })
}

pub fn at(micros: u64, what: What) -> Event {
    Event { at: Elapsed::from_micros(micros), what }
}

pub fn output(micros: u64, text: impl AsRef<[u8]>) -> Event {
    at(micros, What::Output(Bytes::copy_from_slice(text.as_ref())))
}
