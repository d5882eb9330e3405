//! asciicasts of other programs, and of ours in other hands.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{at, output};
use proptest::prelude::*;
use recording::{
    CastFault, CastReader, Ending, Event, Exit, FORMAT, Facts, Header, HeaderFault, Layout, LineWriter,
    Person, What,
};

fn read(cast: &[u8]) -> Result<(Vec<Event>, Ending), CastFault> {
    let mut reader = CastReader::new();
    let mut events = Vec::new();
    reader.feed(cast, &mut events)?;
    let ending = reader.finish(&mut events)?;
    Ok((events, ending))
}

fn header() -> Header {
    Header {
        cols: 120,
        rows: 40,
        command: Some("uname -a".into()),
        title: "alice on web1".into(),
        env: BTreeMap::from([("TERM".into(), "xterm-256color".into()), ("LANG".into(), "C.UTF-8".into())]),
        facts: Facts {
            format: FORMAT,
            id: "01JD7W8Z6K3Q9V5B2N4M8R1T0X".parse().unwrap(),
            salt: "000102030405060708090a0b0c0d0e0f".into(),
            started_us: 1_795_260_000_123_456,
            layout: Layout::Lines,
            person: Person {
                issuer: "http://127.0.0.1/".into(),
                subject: "a1".into(),
                name: "alice".into(),
                ..Person::default()
            },
            source: "127.0.0.1:50000".into(),
            key: None,
            certificate: None,
            asked: None,
            connection: "01JD7W8Z6K3Q9V5B2N4M8R1T0W".into(),
            target: "web1".into(),
            address: "127.0.0.1:22".into(),
            login: "deploy".into(),
            channel: "exec".into(),
            rule: "people may work".into(),
        },
    }
}

#[test]
fn a_client_cannot_make_a_header_that_no_reader_takes() {
    let mut header = header();
    header.command = Some("\u{1}".repeat(1 << 20));
    header.title = "€".repeat(1 << 20);
    header.env = (0..5_000).map(|n| (format!("LC_{n}"), "\0".repeat(1 << 12))).collect();

    let read = Header::from_line(&header.to_line()).unwrap();
    assert!(read.command.unwrap().ends_with('\u{2026}') && read.title.ends_with("€\u{2026}"));
    assert_eq!(read.env.len(), recording::ENV_MAX);
    assert_eq!(read.facts, header.facts);
}

#[test]
fn the_asciicast_crate_reads_our_header_and_our_output() {
    let cast: asciicast::Header = serde_json::from_slice(&header().to_line()).unwrap();
    assert_eq!((cast.width, cast.height, cast.timestamp.unwrap().timestamp()), (120, 40, 1_795_260_000));

    let mut line = Vec::new();
    LineWriter::new().write(&output(1_000_001, "a"), &mut line);
    let entry: asciicast::Entry = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (entry.time, entry.event_type, entry.event_data.as_str()),
        (1.000001, asciicast::EventType::Output, "a")
    );
}

/// What asciinema 3.2 refuses (fourth element, value that is no string, comment, escaped code, broken line) is never
/// written, whatever happens in a session.
#[test]
fn every_line_of_ours_is_three_elements_with_a_string() {
    let what = [
        What::Output(vec![0xff, 0, 0x1b].into()),
        What::ErrorOutput(vec![].into()),
        What::Notice(vec![b'"', b'\\', b'\n'].into()),
        What::Injected(vec![0xff].into()),
        What::Marker("\u{2028}\0\n".into()),
        What::Exit(Exit::Signal("é".into())),
    ];
    let mut bytes = Vec::new();
    let mut writer = LineWriter::new();
    what.into_iter().for_each(|what| writer.write(&at(1, what), &mut bytes));

    for line in String::from_utf8(bytes).unwrap().lines() {
        let (_, code, _): (f64, String, String) = serde_json::from_str(line).unwrap();
        assert_eq!(code.len(), 1);
        assert!(line.contains(&format!(",\"{code}\",\"")));
    }
}

#[test]
fn a_cast_of_asciinema_2_is_read() {
    let cast = b"{\"version\": 2, \"width\": 80, \"height\": 24, \"timestamp\": 1504467315, \"title\": \"Demo\", \"env\": {\"TERM\": \"xterm\", \"X\": null}}\n\
        [0.248848, \"o\", \"\\u001b[1;31mHello\\u001b[0m\"]\n\
        [1.001376, \"i\", \"q\"]\n\n\
        [2.5, \"r\", \"100x50\"]\r\n\
        [3, \"m\", \"here\"]\n\
        [3.5, \"x\", \"-1\"]\n\
        [3.6, \"o\", \"last\"]";

    let (events, ending) = read(cast).unwrap();
    assert_eq!(
        events,
        [
            output(248_848, "\x1b[1;31mHello\x1b[0m"),
            at(1_001_376, What::Input(b"q"[..].into())),
            at(2_500_000, What::Resize { cols: 100, rows: 50 }),
            at(3_000_000, What::Marker("here".into())),
            at(3_500_000, What::Exit(Exit::Status(u32::MAX))),
            output(3_600_000, "last"),
        ]
    );
    assert_eq!((ending.header.version, ending.header.cols, ending.header.rows), (2, 80, 24));
    assert_eq!(ending.header.title.as_deref(), Some("Demo"));
    assert_eq!(ending.header.env.len(), 1);
    assert_eq!((ending.cut, ending.skipped, ending.unreadable), (None, 0, 0));
}

#[test]
fn a_cast_of_asciinema_3_is_read_with_its_intervals_and_comments() {
    let cast = b"{\"version\": 3, \"term\": {\"cols\": 90, \"rows\": 30, \"type\": \"xterm\"}, \"idle_time_limit\": 1.5}\n\
        # made by hand\n[0.5, \"o\", \"a\"]\n[0.25, \"o\", \"b\"]\n[1.0, \"x\", \"0\"]\n";

    let (events, ending) = read(cast).unwrap();
    assert_eq!(
        events,
        [output(500_000, "a"), output(750_000, "b"), at(1_750_000, What::Exit(Exit::Status(0)))]
    );
    assert_eq!((ending.header.cols, ending.header.rows, ending.header.idle_time_limit), (90, 30, Some(1.5)));
}

#[test]
fn a_cast_of_ours_comes_back_whole() {
    let events = [
        output(1, b"\xff"),
        at(2, What::Typed(3)),
        at(3, What::Notice(b"\xe2"[..].into())),
        at(4, What::InputEnd),
    ];
    let mut cast = header().to_line();
    let mut writer = LineWriter::new();
    events.iter().for_each(|event| writer.write(event, &mut cast));

    let (found, ending) = read(&cast).unwrap();
    assert_eq!(found, events);
    assert_eq!(ending.header.facts, Some(header().facts));
}

#[test]
fn capital_codes_of_others_are_not_taken_for_ours() {
    let (events, ending) =
        read(b"{\"version\":2,\"width\":9,\"height\":9}\n[1,\"B\",\"?\"]\n[1,\"o\",\"a\"]\n").unwrap();

    assert_eq!(events, [output(1_000_000, "a")]);
    assert_eq!((ending.skipped, ending.unreadable), (1, 0));
}

#[test]
fn a_bad_line_is_skipped_counted_and_named() {
    let (events, ending) =
        read(b"{\"version\":2,\"width\":9,\"height\":9}\n[1,\"o\",\"a\"]\nnonsense\n[2,\"r\",\"x\"]\n[3,\"o\",\"b\",4]\n").unwrap();

    assert_eq!(events, [output(1_000_000, "a"), output(3_000_000, "b")]);
    assert_eq!(ending.unreadable, 2);
    assert!(ending.faults[0].to_string().starts_with("line 3: no event: "), "{}", ending.faults[0]);
    assert_eq!(ending.faults[1].to_string(), r#"line 4: code "r" with the value "x""#);
}

#[test]
fn a_cut_last_line_is_reported_and_all_before_it_read() {
    let (events, ending) =
        read(b"{\"version\":2,\"width\":9,\"height\":9}\n[1,\"o\",\"a\"]\n[2,\"o\",\"b").unwrap();

    assert_eq!(events, [output(1_000_000, "a")]);
    assert_eq!((ending.cut, ending.unreadable), (Some(3), 0));
}

#[test]
fn times_never_go_back_nor_below_zero() {
    let (events, _) = read(
        b"{\"version\":2,\"width\":9,\"height\":9}\n[-5,\"o\",\"a\"]\n[2,\"o\",\"b\"]\n[1,\"o\",\"c\"]\n[1e300,\"o\",\"d\"]\n[NaN,\"o\",\"e\"]\n",
    )
    .unwrap();

    let times: Vec<u64> = events.iter().map(|event| event.at.as_micros()).collect();
    assert_eq!(times, [0, 2_000_000, 2_000_000, recording::LATEST.as_micros()]);
}

#[test]
fn an_endless_line_is_dropped_and_the_next_one_read() {
    let mut cast = b"{\"version\":2,\"width\":9,\"height\":9}\n".to_vec();
    cast.extend(std::iter::repeat_n(b'[', 3 * recording::LINE_BYTES_MAX));
    cast.extend(b"\n[1,\"o\",\"a\"]\n");

    let mut reader = CastReader::new();
    let mut events = Vec::new();
    cast.chunks(4096).for_each(|part| reader.feed(part, &mut events).unwrap());
    let ending = reader.finish(&mut events).unwrap();

    assert_eq!(events, [output(1_000_000, "a")]);
    assert_eq!(ending.faults[0].to_string(), "line 2: longer than 1048576 bytes");
}

#[test]
fn brackets_without_end_do_not_exhaust_the_stack() {
    let deep = "[".repeat(500_000);
    let (events, ending) = read(format!("{{\"version\":2}}\n{deep}\n[1,\"o\",{deep}\n").as_bytes()).unwrap();

    assert!(events.is_empty());
    assert_eq!(ending.unreadable, 2);
    assert!(matches!(
        read(format!("{{\"a\":{deep}\n").as_bytes()),
        Err(CastFault::Header(HeaderFault::NotAnObject(_)))
    ));
}

#[test]
fn what_is_no_asciicast_is_refused_with_what_was_found() {
    let refusal = |cast: &[u8]| read(cast).unwrap_err().to_string();

    assert_eq!(refusal(b""), "empty: an asciicast begins with a header");
    assert_eq!(refusal(b"{\"version\":1}\n"), "line 1: asciicast versions 2 and 3 are read, found 1");
    assert_eq!(refusal(b"{}\n"), "line 1: asciicast versions 2 and 3 are read, found none");
    assert_eq!(refusal(b"[1]"), "line 1: the header is no JSON object: found [1]");
    assert!(refusal(b"\x7fELF\n").starts_with("line 1: the header is no JSON object: "));
    assert_eq!(
        refusal(&vec![b' '; recording::LINE_BYTES_MAX + 1]),
        "line 1: the header is longer than 1048576 bytes"
    );
}

#[test]
fn a_header_of_ours_that_is_none_is_refused_by_name() {
    assert_eq!(Header::from_line(b"{\"version\":2}"), Err(HeaderFault::NoFacts));
    assert_eq!(Header::from_line(b"{\"version\":2,\"bastion\":{\"format\":9}}"), Err(HeaderFault::Format(9)));
    let fault = Header::from_line(b"{\"version\":2,\"bastion\":{\"format\":1}}").unwrap_err();
    assert_eq!(fault.to_string(), "the key \"bastion\" of the header: missing field `id`");
}

#[test]
fn a_terminal_out_of_reason_is_brought_back_to_what_can_be_drawn() {
    let (events, ending) =
        read(b"{\"version\":2,\"width\":4294967296,\"height\":0}\n[0,\"r\",\"70000x70000\"]\n").unwrap();

    assert_eq!((ending.header.cols, ending.header.rows), (1000, 1));
    assert_eq!(events, [at(0, What::Resize { cols: 1000, rows: 500 })]);
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_the_reader_panic(body in any::<Vec<u8>>(), is_ours in any::<bool>()) {
        let mut cast = if is_ours { header().to_line() } else { b"{\"version\":3}\n".to_vec() };
        cast.extend(body);
        prop_assert!(read(&cast).is_ok());
    }

    #[test]
    fn a_damaged_cast_of_ours_never_makes_the_reader_panic(
        events in common::events(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut cast = header().to_line();
        let body = cast.len();
        let mut writer = LineWriter::new();
        events.iter().for_each(|event| writer.write(event, &mut cast));
        cast.push(b'\n');
        for (place, byte) in damage {
            let place = body + place.index(cast.len() - body);
            cast[place] = byte;
        }
        prop_assert!(read(&cast).is_ok());
    }

    #[test]
    fn fed_whole_or_byte_by_byte_a_cast_is_the_same(events in common::events()) {
        let mut cast = header().to_line();
        let mut writer = LineWriter::new();
        events.iter().for_each(|event| writer.write(event, &mut cast));

        let mut reader = CastReader::new();
        let mut found = Vec::new();
        cast.chunks(1).for_each(|byte| reader.feed(byte, &mut found).unwrap());
        let ending = reader.finish(&mut found).unwrap();

        prop_assert_eq!(&(found, ending), &read(&cast).unwrap());
        prop_assert_eq!(&read(&cast).unwrap().0, &events);
    }
}
