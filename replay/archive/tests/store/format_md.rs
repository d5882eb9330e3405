//! FORMAT.md says what lies on the disk: its example of a tail is written, and read, by this crate.

use archive::{End, Ends, TailReader};
use recording::{Layout, decode, piece::WRAPPING_BYTES};

use crate::bench::{Bench, output};

const FORMAT_MD: &str = include_str!("../../../recording/FORMAT.md");

fn hex(name: &str) -> Vec<u8> {
    let (_, after) = FORMAT_MD.split_once(&format!(" {name}\n")).unwrap();
    let block = after.split_once("```").unwrap().0;
    block.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_frame_of_format_md_is_ours() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Chunks);
    session.tail.push(&output(0, "$ "));
    session.tail.end_segment();
    session.tail.write().unwrap();

    let [path] = &bench.files("tails")[..] else { panic!("one tail") };
    let tail = std::fs::read(path).unwrap();
    let header = bench.archive.open_recording(session.id).unwrap().header_line().len() + WRAPPING_BYTES;
    let frame = &tail[header..];
    let shown = frame.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(frame, hex("tail-example"), "{shown}");

    let mut tail = TailReader::open(path).unwrap();
    let (_, frame) = tail.next_frame().unwrap().unwrap();
    assert_eq!((frame.head.first, frame.head.events, frame.head.ends), (1, 1, Ends::Segment));
    assert_eq!(decode(Layout::Chunks, &frame.events).unwrap(), [output(0, "$ ")]);
}

/// What FORMAT.md promises to a stranger: where a reader of a sealed file begins, and where it gets from there.
#[test]
fn a_sealed_file_is_found_into_from_its_last_four_bytes() {
    let bench = Bench::new();
    let mut session = bench.session(Layout::Chunks);
    session.write(&[output(0, "$ "), output(1, "ls")]);
    let id = session.end(End::Finished);
    bench.bind();

    let [path] = &bench.files("recordings")[..] else { panic!("one sealed file") };
    let file = std::fs::read(path).unwrap();
    let length = u32::from_be_bytes(file[file.len() - 4..].try_into().unwrap()) as usize;
    let footer = &file[file.len() - length..];
    assert_eq!(&footer[..6], b"BSTN\x01\x07");
    let footer = &footer[WRAPPING_BYTES..];
    assert_eq!(&footer[..26], id.as_str().as_bytes());
    assert_eq!(footer[26..31], [0, 0, 0, 1, 2]);
    let number = |at: usize| u64::from_be_bytes(footer[at..at + 8].try_into().unwrap()) as usize;
    assert_eq!((number(31), number(39)), (1, 1), "first segment, and how many");
    let (index, summary, end) = (number(111), number(119), number(127));
    assert_eq!(&file[index..index + 6], b"BSTN\x01\x05");
    assert_eq!(&file[summary..summary + 6], b"BSTN\x01\x06");
    assert_eq!(end, file.len() - length);
}
