//! Seeking to an instant equals playing up to it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use common::{at, output};
use proptest::{collection::vec, prelude::*};
use recording::{
    AvtReplica, CastHeader, Cell, Cursor, Elapsed, Event, Keyframe, MemorySource, Playback, Replica, Source,
    Span, Timeline, What, seek,
};

const COLS: u16 = 20;
const ROWS: u16 = 6;

fn header() -> CastHeader {
    CastHeader::from_line(format!(r#"{{"version":2,"width":{COLS},"height":{ROWS}}}"#).as_bytes()).unwrap()
}

/// A recording cut wherever a test wants it cut, with the key frames that it wants kept.
struct Cut {
    header: CastHeader,
    timeline: Timeline,
    segments: Vec<(Arc<[Event]>, Option<Keyframe>)>,
    read: Vec<usize>,
}

impl Cut {
    fn new(header: CastHeader, segments: &[(Vec<Event>, bool)]) -> Self {
        let mut replica = AvtReplica::blank(header.cols, header.rows);
        let mut cut = Cut { header, timeline: Timeline::default(), segments: Vec::new(), read: Vec::new() };
        for (events, is_kept) in segments {
            let Some(mut span) = Span::of(events, 0) else { continue };
            span.has_keyframe = *is_kept;
            // What a key frame tells must survive its being stored.
            let keyframe = is_kept.then(|| Keyframe::from_bytes(&replica.keyframe().to_bytes()).unwrap());
            cut.timeline.push(span);
            cut.segments.push((events.clone().into(), keyframe));
            events.iter().for_each(|event| replica.apply(event));
        }
        cut
    }
}

impl Source for Cut {
    type Error = Infallible;

    fn header(&self) -> &CastHeader {
        &self.header
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, Infallible> {
        self.read.push(segment);
        Ok(self.segments[segment].0.clone())
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Keyframe>, Infallible> {
        Ok(self.segments[segment].1.clone())
    }
}

/// All that a viewer sees, and all that the terminal's future depends on.
fn everything(replica: &AvtReplica) -> (Vec<Vec<Cell>>, Cursor, bool, (u16, u16), Keyframe) {
    let cells = (0..replica.size().1).map(|row| replica.row(row).collect()).collect();
    (cells, replica.cursor(), replica.is_alternate(), replica.size(), replica.keyframe())
}

fn played<'a>(
    header: &CastHeader,
    events: impl IntoIterator<Item = &'a Event>,
    until: Elapsed,
) -> AvtReplica {
    let mut replica = AvtReplica::blank(header.cols, header.rows);
    events.into_iter().take_while(|event| event.at <= until).for_each(|event| replica.apply(event));
    replica
}

/// Pieces of what programs send, whole and cut in the middle.
fn terminal_output() -> impl Strategy<Value = Vec<u8>> {
    let sequence = prop_oneof![
        "[a-z ]{1,30}".prop_map(String::into_bytes),
        Just("\r\n".into()),
        Just("€中文 ü".into()),
        (1u16..9, 1u16..25).prop_map(|(row, col)| format!("\x1b[{row};{col}H").into_bytes()),
        (30u8..48).prop_map(|color| format!("\x1b[1;{color}m").into_bytes()),
        prop::sample::select(vec![
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b[2J",
            "\x1b[K",
            "\x1b[2;4r",
            "\x1b[r",
            "\x1b7",
            "\x1b8",
            "\x1b[?6h",
            "\x1b[?6l",
            "\x1b[?7l",
            "\x1b[?7h",
            "\x1b(0qqq\x1b(B",
            "\x1b[3L",
            "\x1b[2M",
            "\x1b[4h",
            "\x1b[4l",
            "\x1bM",
            "\x1b[5@",
            "\x1b[3P",
            "\x1b[?25l",
            "\x1b[?25h",
            "\x1bH\t",
            "\x1b[3g",
            "\x1b[9b",
            "\x1b]0;title\x07",
            "\x1bc",
            "\x1b[!p",
            "\x1b[38;2;1;2;3m",
            "\x08",
            "\x0e",
            "\x0f",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 1..6),
    ];
    (vec(sequence, 1..8), any::<prop::sample::Index>()).prop_map(|(sequences, cut)| {
        let mut bytes = sequences.concat();
        bytes.truncate(cut.index(bytes.len()) + 1);
        bytes
    })
}

fn shown() -> impl Strategy<Value = What> {
    prop_oneof![
        8 => terminal_output().prop_map(|bytes| What::Output(bytes.into())),
        1 => terminal_output().prop_map(|bytes| What::Notice(bytes.into())),
        1 => terminal_output().prop_map(|bytes| What::ErrorOutput(bytes.into())),
        1 => (1u16..40, 1u16..12).prop_map(|(cols, rows)| What::Resize { cols, rows }),
        1 => Just(What::Typed(1)),
    ]
}

/// Segments of events, some with a key frame.
fn segments() -> impl Strategy<Value = Vec<(Vec<Event>, bool)>> {
    vec((vec((0u64..3, shown()), 1..6), any::<bool>()), 1..8).prop_map(|segments| {
        let mut clock = 0;
        let mut timed = |(pause, what)| {
            clock += pause;
            at(clock, what)
        };
        segments
            .into_iter()
            .map(|(steps, is_kept)| (steps.into_iter().map(&mut timed).collect(), is_kept))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn seeking_equals_playing_up_to_it(segments in segments()) {
        let mut source = Cut::new(header(), &segments);
        let events: Vec<Event> = segments.into_iter().flat_map(|(events, _)| events).collect();
        let end = events.last().unwrap().at.as_micros();

        for instant in 0..=end + 1 {
            let instant = Elapsed::from_micros(instant);
            let sought: Playback<AvtReplica> = seek(&mut source, instant).unwrap();
            let played = played(&header(), &events, instant);
            prop_assert_eq!(everything(sought.replica()), everything(&played), "at {:?}", instant);
        }
    }

    #[test]
    fn playing_on_from_a_seek_equals_playing_from_the_start(segments in segments(), from in any::<prop::sample::Index>()) {
        let mut source = Cut::new(header(), &segments);
        let events: Vec<Event> = segments.into_iter().flat_map(|(events, _)| events).collect();
        let end = events.last().unwrap().at.as_micros();

        let from = from.index(end as usize + 1) as u64;
        let mut playback: Playback<AvtReplica> = seek(&mut source, Elapsed::from_micros(from)).unwrap();
        for instant in from..=end {
            let instant = Elapsed::from_micros(instant);
            playback.play_until(&mut source, instant).unwrap();
            prop_assert_eq!(everything(playback.replica()), everything(&played(&header(), &events, instant)));
        }
    }

    #[test]
    fn step_by_step_no_event_is_passed_over(segments in segments()) {
        let mut source = Cut::new(header(), &segments);
        let events: Vec<Event> = segments.into_iter().flat_map(|(events, _)| events).collect();

        let mut playback: Playback<AvtReplica> = Playback::start(&source);
        let mut stepped = Vec::new();
        while let Some(event) = playback.step(&mut source).unwrap() {
            stepped.push(event);
        }
        prop_assert_eq!(stepped, events);
    }
}

#[test]
fn a_seek_reads_the_segments_from_the_nearest_key_frame_on_and_no_other() {
    let segment = |n: u64, is_kept| (vec![output(n * 10, "a"), output(n * 10 + 5, "b")], is_kept);
    let mut source = Cut::new(
        header(),
        &[segment(0, false), segment(1, true), segment(2, false), segment(3, true), segment(4, true)],
    );
    let mut reads = |micros| {
        source.read.clear();
        let playback: Playback<AvtReplica> = seek(&mut source, Elapsed::from_micros(micros)).unwrap();
        (source.read.clone(), playback.position().segment, playback.position().event)
    };

    assert_eq!(reads(12), (vec![1], 1, 1));
    assert_eq!(reads(22), (vec![1, 2], 2, 1));
    assert_eq!(reads(45), (vec![4], 4, 2));
    assert_eq!(reads(3), (vec![0], 0, 1));
}

#[test]
fn a_key_frame_that_cannot_be_had_is_replaced_by_an_earlier_one() {
    let segment = |n: u64| (vec![output(n * 10, n.to_string())], true);
    let mut source = Cut::new(header(), &[segment(0), segment(1), segment(2)]);
    source.segments[2].1 = None;

    let playback: Playback<AvtReplica> = seek(&mut source, Elapsed::from_micros(20)).unwrap();
    assert_eq!(playback.replica().row(0).take(3).map(|cell| cell.ch).collect::<String>(), "012");
}

#[test]
fn a_live_recording_is_played_on_as_it_grows() {
    let mut source = MemorySource::new(header());
    let mut playback: Playback<AvtReplica> = Playback::start(&source);
    assert_eq!(playback.step(&mut source).unwrap(), None);

    for n in 0..4 {
        source.push(output(n, "x"));
        source.close();
        playback.play_until(&mut source, Elapsed::from_micros(n)).unwrap();
        assert_eq!(u64::from(playback.replica().cursor().col), n + 1);
        assert_eq!(playback.next(&mut source).unwrap(), None);
    }
}

#[test]
fn a_recording_in_memory_is_cut_so_that_no_seek_shows_much() {
    let mut source = MemorySource::new(header());
    for n in 0..1_000 {
        source.push(at(n, What::Output(Bytes::from(vec![b'a'; 1_000]))));
    }
    source.close();

    let spans = source.timeline().spans();
    assert!(spans.len() >= 15 && spans.iter().all(|span| span.has_keyframe && span.plain_bytes < 67_000));
}
