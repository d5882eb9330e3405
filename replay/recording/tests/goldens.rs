//! Real programs, seeked in: vim, top, tmux and less, recorded with resizes in the middle of their work.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use common::at;
use recording::{
    AvtReplica, CastHeader, CastReader, Cell, Cursor, Elapsed, Event, Keyframe, LineWriter, Playback,
    Replica, Source, Span, Timeline, What, seek,
};

const CASTS: [(&str, &[u8]); 4] = [
    ("vim", include_bytes!("casts/vim.cast")),
    ("top", include_bytes!("casts/top.cast")),
    ("tmux", include_bytes!("casts/tmux.cast")),
    ("less", include_bytes!("casts/less.cast")),
];

/// Output is cut anew into pieces of a prime number of bytes, so that sequences and characters fall apart everywhere.
const PIECE_BYTES: usize = 211;

type Shown = (Vec<Vec<Cell>>, Cursor, bool, Keyframe);

fn shown(replica: &AvtReplica) -> Shown {
    let cells = (0..replica.size().1).map(|row| replica.row(row).collect()).collect();
    (cells, replica.cursor(), replica.is_alternate(), replica.keyframe())
}

/// The recording's events, one microsecond apart.
fn golden(cast: &[u8]) -> (CastHeader, Vec<Event>) {
    let mut reader = CastReader::new();
    let mut events = Vec::new();
    reader.feed(cast, &mut events).unwrap();
    let ending = reader.finish(&mut events).unwrap();
    assert_eq!((ending.cut, ending.skipped, ending.unreadable), (None, 0, 0));

    let pieces = events.into_iter().flat_map(|event| match event.what {
        What::Output(data) => {
            data.chunks(PIECE_BYTES).map(|piece| What::Output(Bytes::copy_from_slice(piece))).collect()
        }
        other => vec![other],
    });
    (ending.header, pieces.enumerate().map(|(n, what)| at(n as u64, what)).collect())
}

/// One segment for each event, with a key frame before each.
struct Framed {
    header: CastHeader,
    timeline: Timeline,
    segments: Vec<(Arc<[Event]>, Vec<u8>)>,
}

impl Source for Framed {
    type Error = Infallible;

    fn header(&self) -> &CastHeader {
        &self.header
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, Infallible> {
        Ok(self.segments[segment].0.clone())
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Keyframe>, Infallible> {
        Ok(Some(Keyframe::from_bytes(&self.segments[segment].1).unwrap()))
    }
}

#[test]
fn seeking_in_real_programs_equals_playing_up_to_there_and_on_to_the_end() {
    for (name, cast) in CASTS {
        let (header, events) = golden(cast);
        let mut replica = AvtReplica::blank(header.cols, header.rows);
        let mut source = Framed { header, timeline: Timeline::default(), segments: Vec::new() };
        let mut screens = Vec::new();
        for event in &events {
            let mut span = Span::of(std::slice::from_ref(event), 0).unwrap();
            span.has_keyframe = true;
            source.timeline.push(span);
            source.segments.push((Arc::from([event.clone()]), replica.keyframe().to_bytes()));
            replica.apply(event);
            screens.push(shown(&replica));
        }

        let last = screens.last().unwrap();
        for (n, screen) in screens.iter().enumerate() {
            let mut playback: Playback<AvtReplica> =
                seek(&mut source, Elapsed::from_micros(n as u64)).unwrap();
            assert!(
                shown(playback.replica()) == *screen,
                "{name}: another screen at event {n} than when played"
            );
            playback.play_until(&mut source, Elapsed::from_micros(u64::MAX)).unwrap();
            assert!(shown(playback.replica()) == *last, "{name}: another end when played on from event {n}");
        }
        let has_alternate = screens.iter().any(|screen| screen.2);
        assert_eq!(has_alternate, name != "top", "{name}: top alone draws on the primary screen");
    }
}

/// A foreign player knows the text of the `o` lines and the `r` lines, and nothing of ours.
#[test]
fn a_foreign_player_shows_the_same_screen() {
    for (name, cast) in CASTS {
        let (header, events) = golden(cast);
        let mut ours = AvtReplica::blank(header.cols, header.rows);
        let mut lines = Vec::new();
        let mut writer = LineWriter::new();
        for event in &events {
            ours.apply(event);
            writer.write(event, &mut lines);
        }

        let mut theirs = avt::Terminal::new(header.cols.into(), header.rows.into()).unwrap();
        for line in String::from_utf8(lines).unwrap().lines() {
            match serde_json::from_str::<(f64, String, String)>(line).unwrap() {
                (_, code, text) if code == "o" => theirs.feed(text.as_str()),
                (_, code, size) if code == "r" => {
                    let (cols, rows) = size.split_once('x').unwrap();
                    theirs.resize(cols.parse().unwrap(), rows.parse().unwrap());
                }
                _ => {}
            }
        }
        assert_eq!(ours.keyframe().dump(), theirs.dump(), "{name}");
    }
}

#[test]
fn a_recorded_program_comes_back_from_lines_byte_for_byte() {
    for (_, cast) in CASTS {
        let (_, events) = golden(cast);
        for layout in [recording::Layout::Lines, recording::Layout::Chunks] {
            let mut encoder = recording::Encoder::new(layout);
            let mut bytes = Vec::new();
            events.iter().for_each(|event| encoder.write(event, &mut bytes));

            assert!(recording::decode(layout, &bytes).unwrap() == events);
        }
    }
}
