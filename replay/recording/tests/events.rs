//! Events to bytes and back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{at, events, output};
use proptest::prelude::*;
use recording::{
    Encoder, Event, Exit, LATEST, LINE_BYTES_MAX, Layout, LineProblem, LineWriter, PIECE_BYTES_MAX, What,
    decode,
};

fn encoded(layout: Layout, events: &[Event]) -> Vec<u8> {
    let mut encoder = Encoder::new(layout);
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.write(event, &mut bytes));
    bytes
}

fn lines(events: &[Event]) -> String {
    String::from_utf8(encoded(Layout::Lines, events)).unwrap()
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_events(events in events()) {
        for layout in [Layout::Lines, Layout::Chunks] {
            prop_assert_eq!(&decode(layout, &encoded(layout, &events)).unwrap(), &events);
        }
    }

    #[test]
    fn every_segment_decodes_by_itself_wherever_it_begins(events in events(), place in any::<prop::sample::Index>()) {
        let place = place.index(events.len() + 1);
        for layout in [Layout::Lines, Layout::Chunks] {
            let mut encoder = Encoder::new(layout);
            let mut segments = [Vec::new(), Vec::new()];
            for (n, event) in events.iter().enumerate() {
                encoder.write(event, &mut segments[usize::from(n >= place)]);
            }

            prop_assert_eq!(&decode(layout, &segments[0]).unwrap(), &events[..place]);
            prop_assert_eq!(&decode(layout, &segments[1]).unwrap(), &events[place..]);
            prop_assert_eq!(&decode(layout, &segments.concat()).unwrap(), &events);
        }
    }

    /// What a client may see next is in the tail file before it sees it: an encoder that held back half a character
    /// would lose it at a kill.
    #[test]
    fn the_exact_bytes_of_an_event_are_in_its_own_lines(events in events()) {
        let mut encoder = Encoder::new(Layout::Lines);
        for event in &events {
            let mut own = Vec::new();
            encoder.write(event, &mut own);

            prop_assert_eq!(decode(Layout::Lines, &own).unwrap(), std::slice::from_ref(event));
        }
    }

    #[test]
    fn no_bytes_whatever_make_decoding_panic(bytes in any::<Vec<u8>>()) {
        for layout in [Layout::Lines, Layout::Chunks] {
            prop_assert!(decode(layout, &bytes).map_or(true, |events| events.len() <= bytes.len()));
        }
    }

    #[test]
    fn a_flipped_bit_never_makes_decoding_panic(events in events(), bit in any::<prop::sample::Index>()) {
        for layout in [Layout::Lines, Layout::Chunks] {
            let mut bytes = encoded(layout, &events);
            if !bytes.is_empty() {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let _ignored = decode(layout, &bytes).is_ok();
            }
        }
    }

    #[test]
    fn a_cut_segment_is_told_from_a_whole_one_or_ends_between_events(events in events(), place in any::<prop::sample::Index>()) {
        for layout in [Layout::Lines, Layout::Chunks] {
            let bytes = encoded(layout, &events);
            let whole = decode(layout, &bytes[..place.index(bytes.len() + 1)]);

            prop_assert!(whole.map_or(true, |some| events.starts_with(&some)));
        }
    }

    /// What a foreign player shows: the text of the `o` lines, one after the other.
    #[test]
    fn a_foreign_player_sees_each_stream_of_output_as_one_text(pieces in prop::collection::vec(common::payload(), 0..8)) {
        let text: String = lines(&pieces.iter().cloned().map(|piece| at(0, What::Output(piece))).collect::<Vec<_>>())
            .lines()
            .map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap())
            .filter(|(_, code, _)| code == "o")
            .map(|(_, _, text)| text)
            .collect();

        let ended = [pieces.concat(), b".".to_vec()].concat();
        let whole = String::from_utf8_lossy(&ended).into_owned();
        let shown = [format!("{text}."), format!("{text}\u{fffd}.")];
        prop_assert!(shown.contains(&whole));
    }
}

#[test]
fn every_event_has_its_own_lines() {
    let events = [
        at(0, What::Opened(Bytes::from_static(b"ls \xff"))),
        output(0, "$ "),
        at(1_000_001, What::Typed(2)),
        output(1_002_000, "ls"),
        at(1_002_000, What::Shown { first: 0, data: Bytes::from_static(b"ls") }),
        at(1_500_000, What::Input(Bytes::from_static(b"\r"))),
        output(2_000_000, b"\x1b[31m\xe2\x82"),
        output(2_000_009, b"\xac\r\n"),
        at(2_100_000, What::ErrorOutput(Bytes::from_static(b"oops"))),
        at(2_200_000, What::Notice(Bytes::from_static(b"-- held --"))),
        at(2_300_000, What::Injected(Bytes::from_static(b"\x03"))),
        at(2_400_000, What::Resize { cols: 100, rows: 30 }),
        at(2_500_000, What::Marker("cmd #1 ls".into())),
        at(2_600_000, What::Signal("TERM".into())),
        at(2_700_000, What::InputEnd),
        at(2_800_000, What::OutputEnd),
        at(2_900_000, What::Exit(Exit::Status(0))),
        at(2_900_000, What::Exit(Exit::Status(3_221_225_477))),
        at(2_900_000, What::Exit(Exit::Signal("KILL".into()))),
        at(2_900_000, What::Ended("the target closed".into())),
    ];

    let written = r#"[0.0,"B","bHMg/w=="]
[0.0,"O","ls �"]
[0.0,"o","$ "]
[1.000001,"T","2"]
[1.002,"o","ls"]
[1.002,"S","0"]
[1.002,"i","ls"]
[1.5,"i","\r"]
[2.0,"B","G1szMW3igg=="]
[2.0,"o","\u001b[31m"]
[2.000009,"B","rA0K"]
[2.000009,"o","€\r\n"]
[2.1,"E",""]
[2.1,"o","oops"]
[2.2,"N",""]
[2.2,"o","-- held --"]
[2.3,"G","\u0003"]
[2.4,"r","100x30"]
[2.5,"m","cmd #1 ls"]
[2.6,"K","TERM"]
[2.7,"Z","i"]
[2.8,"Z","o"]
[2.9,"x","0"]
[2.9,"X","status 3221225477"]
[2.9,"X","signal KILL"]
[2.9,"Q","the target closed"]
"#;
    assert_eq!(lines(&events), written);
    assert_eq!(decode(Layout::Lines, written.as_bytes()).unwrap(), events);
}

#[test]
fn every_microsecond_of_a_first_day_and_of_the_last_comes_back() {
    for micros in (0..2_000)
        .chain(86_400_000_000..86_400_002_000)
        .chain(LATEST.as_micros() - 2_000..=LATEST.as_micros())
    {
        let event = output(micros, "x");
        assert_eq!(decode(Layout::Lines, lines(std::slice::from_ref(&event)).as_bytes()).unwrap(), [event]);
    }
}

#[test]
fn what_happens_after_the_last_instant_is_written_at_it() {
    let late = output(u64::MAX, "x");

    assert_eq!(decode(Layout::Lines, lines(&[late]).as_bytes()).unwrap(), [output(LATEST.as_micros(), "x")]);
}

#[test]
fn no_line_of_ours_is_longer_than_any_reader_takes() {
    let hostile: Vec<u8> =
        (0..3 * PIECE_BYTES_MAX + 7).map(|n| [0x1b, 0xff, 0xe2, 0x82, 0xac][n * 7 % 5]).collect();
    let escapes = vec![0x1b; 3 * PIECE_BYTES_MAX];
    let euros = "€".repeat(PIECE_BYTES_MAX);
    let events = [
        output(1, &hostile),
        at(2, What::Notice(escapes.into())),
        at(3, What::Shown { first: 9, data: Bytes::from(euros.clone()) }),
        at(4, What::Marker(euros)),
    ];

    let written = lines(&events);
    assert!(written.lines().all(|line| line.len() <= LINE_BYTES_MAX));
    assert_eq!(decode(Layout::Lines, written.as_bytes()).unwrap(), events);
}

#[test]
fn a_long_text_is_cut_between_characters_and_needs_no_base64() {
    let text = "€".repeat(PIECE_BYTES_MAX);

    assert!(!lines(&[output(0, text)]).contains("\"B\""));
}

#[test]
fn a_size_out_of_reason_is_not_recorded() {
    for layout in [Layout::Lines, Layout::Chunks] {
        let bytes = encoded(layout, &[at(0, What::Resize { cols: u16::MAX, rows: 0 })]);
        assert_eq!(decode(layout, &bytes).unwrap(), [at(0, What::Resize { cols: 1000, rows: 1 })]);
    }
}

#[test]
fn neighbouring_pieces_of_a_kind_stay_apart() {
    let pieces = [output(1, "a"), output(1, "b"), output(1, "")];

    for layout in [Layout::Lines, Layout::Chunks] {
        assert_eq!(decode(layout, &encoded(layout, &pieces)).unwrap(), pieces);
    }
}

#[test]
fn a_fault_in_a_segment_names_line_and_value() {
    let fault = |text: &str| decode(Layout::Lines, text.as_bytes()).unwrap_err().to_string();

    assert_eq!(fault("[1,\"o\",\"\"]\n[2,\"r\",\"80\"]\n"), r#"line 2: code "r" with the value "80""#);
    assert_eq!(fault("[1,\"T\",\"-1\"]\n"), r#"line 1: code "T" with the value "-1""#);
    assert_eq!(fault("[1,\"B\",\"!\"]\n"), r#"line 1: code "B" with the value "!""#);
    assert_eq!(
        fault("[1,\"N\",\"\"]\n[1,\"i\",\"a\"]\n"),
        r#"line 2: code "i" after an announcement that does not fit it"#
    );
    assert_eq!(fault("[1,\"o\",\"a\"]"), "line 1: cut off");
    assert_eq!(fault("[1,\"B\",\"\"]\n"), "line 1: cut off");
    assert!(fault("[1,\"o\n").starts_with("line 1: no event: "));
}

#[test]
fn a_fault_in_a_chunk_names_its_place() {
    let fault = |bytes: &[u8]| decode(Layout::Chunks, bytes).unwrap_err().to_string();

    assert_eq!(fault(b"o\0\x01ao\0\x02a"), "chunk at byte 4: cut off");
    assert_eq!(fault(b"T\0\x01a"), "chunk at byte 0: kind 'T' with a payload of 1 bytes that is none of it");
    assert_eq!(fault(b"o\x80\0\0"), "chunk at byte 0: a number in it is not in its shortest form");
    assert_eq!(
        fault(b"o\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0"),
        "chunk at byte 0: a number in it is not in its shortest form"
    );
}

#[test]
fn codes_of_a_later_program_are_skipped() {
    assert_eq!(
        decode(Layout::Lines, b"[1,\"q\",\"\"]\n[1,\"Q\",{}]\n[2,\"o\",\"a\"]\n").unwrap(),
        [output(2_000_000, "a")]
    );
    assert_eq!(decode(Layout::Chunks, b"?\0\x02abo\0\x01a").unwrap(), [output(0, "a")]);
}

#[test]
fn a_line_longer_than_any_may_be_is_a_fault_and_not_an_event() {
    let long = format!("[1,\"o\",\"{}\"]\n", "a".repeat(LINE_BYTES_MAX));

    let recording::DecodeFault::Line(fault) = decode(Layout::Lines, long.as_bytes()).unwrap_err() else {
        panic!()
    };
    assert_eq!(fault.problem, LineProblem::TooLong);
}

#[test]
fn what_announces_a_line_is_in_the_same_call() {
    let mut writer = LineWriter::new();
    let mut out = Vec::new();
    writer.write(&at(0, What::Notice(Bytes::from_static(b"\xff"))), &mut out);

    assert_eq!(out, b"[0.0,\"N\",\"\"]\n[0.0,\"B\",\"/w==\"]\n[0.0,\"o\",\"\xef\xbf\xbd\"]\n");
}
