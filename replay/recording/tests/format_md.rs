//! FORMAT.md says what the code does: its examples are written, and read, by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{at, output};
use recording::{
    AvtReplica, COMMAND_BYTES_MAX, ENV_MAX, Elapsed, Encoder, Event, Exit, FORMAT, Facts, Header, Keyframe,
    LINE_BYTES_MAX, Layout, PIECE_BYTES_MAX, Person, Replica, SEGMENT_BYTES, SEGMENT_BYTES_MAX, Segment,
    Span, TEXT_BYTES_MAX, What, decode, link, link_0,
    piece::{self, Kind, PAYLOAD_BYTES_MAX},
};

const FORMAT_MD: &str = include_str!("../FORMAT.md");

/// The block that is marked as this example.
fn example(name: &str) -> &'static str {
    let (_, after) = FORMAT_MD.split_once(&format!(" {name}\n")).unwrap();
    after.split_once("```").unwrap().0
}

fn hex(name: &str) -> Vec<u8> {
    example(name).split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn encoded(layout: Layout, events: &[Event]) -> Vec<u8> {
    let mut encoder = Encoder::new(layout);
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.write(event, &mut bytes));
    bytes
}

#[test]
fn the_header_of_format_md_is_ours() {
    let header = Header {
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
    };

    assert_eq!(String::from_utf8(header.to_line()).unwrap(), example("header-example"));
    assert_eq!(Header::from_line(example("header-example").as_bytes()).unwrap(), header);
}

#[test]
fn the_lines_of_format_md_are_ours() {
    let events = [
        at(0, What::Opened(Bytes::new())),
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
        at(2_900_000, What::Ended("the target closed".into())),
    ];

    assert_eq!(String::from_utf8(encoded(Layout::Lines, &events)).unwrap(), example("lines-example"));
    assert_eq!(decode(Layout::Lines, example("lines-example").as_bytes()).unwrap(), events);
}

#[test]
fn the_chunks_of_format_md_are_ours() {
    let events = [
        at(5, What::Input(Bytes::from_static(b"\x03\x00"))),
        output(300, b"\xff"),
        at(300, What::Shown { first: 1, data: Bytes::from_static(b"a") }),
        at(300, What::Exit(Exit::Status(2))),
    ];

    assert_eq!(encoded(Layout::Chunks, &events), hex("chunks-example"));
    assert_eq!(decode(Layout::Chunks, &hex("chunks-example")).unwrap(), events);
}

#[test]
fn the_chain_of_format_md_is_ours() {
    let id = "01JD7W8Z6K3Q9V5B2N4M8R1T0X".parse().unwrap();
    let plain = b"[0.0,\"o\",\"$ \"]\n";
    let span = (Elapsed::ZERO, Elapsed::from_micros(1_000_001));
    let segment = Segment::close(1, span, *b"0123456789abcdef", plain, plain);
    let first = link_0(&id, b"{\"version\":2}\n");
    let last = link(&first, &segment);

    let ours = format!("id     {id}\nlink_0 {first}\nseg_1  {}\nlink_1 {last}\n", segment.digest());
    assert_eq!(ours, example("chain-example"));
}

#[test]
fn the_piece_of_format_md_is_ours() {
    let mut bytes = Vec::new();
    piece::wrap(Kind::Frame, piece::Key::None, b"abc", &mut bytes).unwrap();

    assert_eq!(bytes, hex("piece-example"));
    for (number, kind) in [
        (1, Kind::Header),
        (2, Kind::Frame),
        (3, Kind::Segment),
        (4, Kind::Keyframe),
        (5, Kind::Index),
        (6, Kind::Summary),
        (7, Kind::Footer),
    ] {
        assert_eq!(kind as u8, number);
    }
}

#[test]
fn the_key_frame_of_format_md_is_ours() {
    let keyframe = Keyframe::from_bytes(&hex("keyframe-example")).unwrap();
    assert_eq!(keyframe.to_bytes(), hex("keyframe-example"));

    let mut replica = AvtReplica::restore(&keyframe);
    replica.apply(&output(0, b"\xac"));
    assert_eq!(replica.size(), (80, 24));
    assert_eq!(replica.row(0).take(4).map(|cell| cell.ch).collect::<String>(), "$ € ");
}

#[test]
fn the_span_of_format_md_is_ours() {
    let micros = Elapsed::from_micros;
    let events = [
        at(5, What::InputEnd),
        at(7, What::Marker("m".into())),
        at(9, What::Resize { cols: 100, rows: 30 }),
        at(9, What::Exit(Exit::Status(2))),
        at(10, What::Ended("the target closed".into())),
    ];
    let mut span = Span::of(&events, 24).unwrap();
    assert_eq!((span.events, span.markers.as_slice()), (5, &[(micros(7), "m".to_owned())][..]));
    span.events = 2;

    assert_eq!(format!("{}\n", serde_json::to_string(&span).unwrap()), example("span-example"));
}

#[test]
fn the_limits_of_format_md_are_ours() {
    for limit in [
        LINE_BYTES_MAX,
        PIECE_BYTES_MAX,
        PAYLOAD_BYTES_MAX,
        SEGMENT_BYTES,
        SEGMENT_BYTES_MAX,
        COMMAND_BYTES_MAX,
        TEXT_BYTES_MAX,
        ENV_MAX,
        (recording::LATEST.as_micros() / 1_000_000) as usize,
        usize::from(recording::COLS_MAX),
        usize::from(recording::ROWS_MAX),
    ] {
        assert!(FORMAT_MD.contains(&limit.to_string()), "FORMAT.md does not tell {limit}");
    }
}
