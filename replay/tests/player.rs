//! The player's laws, told by a pretended clock and drawn on a pretended terminal.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};
use recording::{
    AvtReplica, CastHeader, CastReader, DecodeFault, Elapsed, Event, Replica, Span, Timeline, What,
};
use replay::{
    keymap::{Key, TABLE},
    player::{Answer, Heard, Player, Start},
    reel::Reel,
    source::{About, Flaw, Growth, Source, SourceFault},
    view,
};
use unicode_width::UnicodeWidthChar;

/// What a test adds to a recording while it is played.
#[derive(Default)]
struct Shared {
    segments: Vec<Arc<[Event]>>,
    is_over: bool,
    is_broken: bool,
}

/// A session that goes on while it is watched.
struct Live {
    header: CastHeader,
    about: About,
    timeline: Timeline,
    shared: Arc<Mutex<Shared>>,
    growth: Growth,
}

impl Source for Live {
    fn about(&self) -> &About {
        &self.about
    }

    fn header(&self) -> &CastHeader {
        &self.header
    }

    fn has_terminal(&self) -> bool {
        true
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, SourceFault> {
        let shared = self.shared.lock().unwrap();
        if shared.is_broken {
            let fault = recording::decode(recording::Layout::Chunks, b"\xff").unwrap_err();
            return Err(DecodeFault::into(fault));
        }
        Ok(shared.segments.get(segment).cloned().unwrap_or_default())
    }

    fn keyframe(&mut self, _: usize) -> Result<Option<AvtReplica>, SourceFault> {
        Ok(None)
    }

    fn refresh(&mut self) -> Result<bool, SourceFault> {
        let shared = self.shared.lock().unwrap();
        let before = self.timeline.clone();
        self.timeline =
            Timeline::new(shared.segments.iter().filter_map(|events| Span::of(events, 0)).collect());
        if shared.is_over {
            self.growth = Growth::Done;
        }
        Ok(self.timeline != before)
    }

    fn await_more(&mut self) {}

    fn growth(&self) -> Growth {
        self.growth
    }

    fn flaw(&self) -> Option<Flaw> {
        None
    }
}

struct Bench {
    player: Player,
    shared: Arc<Mutex<Shared>>,
    now: Duration,
}

impl Bench {
    fn of(growth: Growth, segments: Vec<Vec<Event>>, start: Start) -> Bench {
        let (mut reader, mut none) = (CastReader::new(), Vec::new());
        reader.feed(b"{\"version\":2,\"width\":20,\"height\":5}\n", &mut none).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        shared.lock().unwrap().segments = segments.into_iter().map(Into::into).collect();
        let source = Live {
            header: reader.header().unwrap().clone(),
            about: About::default(),
            timeline: Timeline::default(),
            shared: Arc::clone(&shared),
            growth,
        };
        Bench {
            player: Player::new(Reel::new(Box::new(source)), start, Duration::ZERO),
            shared,
            now: Duration::ZERO,
        }
    }

    fn passes(&mut self, seconds: f64) -> Answer {
        self.now += Duration::from_secs_f64(seconds);
        self.player.hear(Heard::Tick, self.now)
    }

    fn press(&mut self, key: Key) -> Answer {
        self.player.hear(Heard::Key(key), self.now)
    }

    fn at(&self) -> f64 {
        self.player.position().as_secs_f64()
    }

    fn first_row(&self) -> String {
        self.player.reel().replica().row(0).map(|cell| cell.ch).collect::<String>().trim_end().to_owned()
    }

    /// Draws on a terminal of this size, and answers with what stands on it.
    fn drawn(&mut self, cols: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(cols, rows)).unwrap();
        terminal.draw(|frame| view::draw(&mut self.player, frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        cells.iter().map(|cell| cell.symbol().to_owned()).collect()
    }
}

fn output(second: f64, text: &str) -> Event {
    Event {
        at: Elapsed::from_micros((second * 1e6) as u64),
        what: What::Output(Bytes::copy_from_slice(text.as_bytes())),
    }
}

#[test]
fn twice_the_speed_takes_half_the_time() {
    let start = Start { speed: 2.0, idle_limit: None, ..Start::default() };
    let mut bench = Bench::of(Growth::Done, vec![vec![output(0.0, "a"), output(10.0, "b")]], start);

    assert_eq!(bench.passes(2.0), Answer::Draw);
    assert_eq!((bench.at(), bench.first_row().as_str()), (4.0, "a"));
    bench.passes(3.0);
    assert_eq!((bench.at(), bench.first_row().as_str()), (10.0, "ab"));
    assert_eq!(bench.passes(3.0), Answer::Nothing);
}

#[test]
fn an_idle_hour_is_played_as_long_as_the_limit_and_can_be_gone_back_over() {
    let mut bench = Bench::of(
        Growth::Done,
        vec![vec![output(0.0, "a")], vec![output(3600.0, "b"), output(3620.0, "c")]],
        Start::default(),
    );

    bench.passes(1.9);
    assert_eq!(bench.at(), 1.9);
    bench.passes(0.2);
    assert!((3600.0..3600.2).contains(&bench.at()), "{}", bench.at());
    assert_eq!(bench.first_row(), "ab");

    bench.press(Key::Arrow(replay::keymap::Way::Left));
    assert_eq!(bench.at(), 0.0);
}

#[test]
fn without_a_limit_every_second_is_played() {
    let mut bench =
        Bench::of(Growth::Done, vec![vec![output(0.0, "a"), output(3600.0, "b")]], Start::default());
    bench.press(Key::Char('i'));
    bench.passes(100.0);
    assert_eq!(bench.at(), 100.0);
}

#[test]
fn a_live_session_is_followed_as_its_end_grows() {
    let mut bench = Bench::of(Growth::Live, vec![vec![output(0.0, "a"), output(1.0, "b")]], Start::default());
    bench.passes(5.0);
    assert_eq!(bench.first_row(), "ab");

    // The open segment grows, and another one begins.
    bench.shared.lock().unwrap().segments = vec![
        vec![output(0.0, "a"), output(1.0, "b"), output(2.0, "c")].into(),
        vec![output(3.0, "d")].into(),
    ];
    bench.passes(0.25);
    bench.passes(5.0);
    assert_eq!((bench.at(), bench.first_row().as_str()), (3.0, "abcd"));

    // At its end, space waits for more instead of starting over; once the session is over, it starts over.
    bench.press(Key::Char(' '));
    bench.press(Key::Char(' '));
    assert_eq!(bench.at(), 3.0);
    bench.shared.lock().unwrap().is_over = true;
    bench.passes(0.25);
    bench.press(Key::Char(' '));
    assert_eq!(bench.at(), 0.0);
}

#[test]
fn a_place_that_has_not_been_read_yet_is_gone_to_as_soon_as_it_has() {
    let start = Start { at: Elapsed::from_micros(50_000_000), ..Start::default() };
    let mut bench = Bench::of(Growth::Reading(None), vec![vec![output(0.0, "a")]], start);
    bench.press(Key::Char('p')); // any key: she may want something else now
    let mut waiting = Bench::of(Growth::Reading(None), vec![vec![output(0.0, "a")]], start);

    for bench in [&mut bench, &mut waiting] {
        bench.shared.lock().unwrap().segments.push(vec![output(40.0, "b"), output(60.0, "c")].into());
        bench.passes(0.0);
    }
    assert_eq!((waiting.at(), waiting.first_row().as_str()), (50.0, "ab"));
    assert_eq!(bench.at(), 0.0);
}

#[test]
fn a_recording_that_breaks_stops_and_says_so() {
    let segments =
        vec![vec![output(0.0, "a")], vec![output(5.0, "b")], vec![output(9.0, "c")], vec![output(12.0, "d")]];
    let mut bench = Bench::of(Growth::Done, segments, Start::default());
    bench.shared.lock().unwrap().is_broken = true;
    bench.press(Key::End);

    assert!(matches!(bench.player.flaw(), Some(Flaw::Broken(_))));
    assert!(!bench.player.is_playing());
    let shown = bench.drawn(80, 24).concat();
    assert!(shown.contains("chunk at byte 0"), "{shown}");
}

#[test]
fn recorded_seconds_beyond_the_end_of_time_do_not_overflow() {
    let mut bench = Bench::of(
        Growth::Done,
        vec![vec![output(0.0, "a"), Event { at: recording::LATEST, what: What::OutputEnd }]],
        Start::default(),
    );
    for key in ["9", "5"] {
        bench.press(Key::Char(key.chars().next().unwrap()));
        bench.drawn(80, 24);
    }
    bench.press(Key::Arrow(replay::keymap::Way::Up));
    assert_eq!(bench.at(), recording::LATEST.as_secs_f64());
}

fn any_event() -> impl Strategy<Value = Vec<Event>> {
    let what = prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| What::Output(bytes.into())),
        "(\x1b\\[[0-9;?]{0,6}[a-zA-Z]|\u{202e}|\u{301}|漢|\r\n|a|\u{9b}|\u{17d8}){0,30}"
            .prop_map(|text| What::Output(text.into())),
        (any::<u16>(), any::<u16>())
            .prop_map(|(cols, rows)| What::Resize { cols: cols % 300, rows: rows % 90 }),
        ".{0,40}".prop_map(What::Marker),
    ];
    prop::collection::vec((0..5_000_000_u64, what), 1..12).prop_map(|events| {
        let mut at = 0;
        let told = |(after, what)| {
            at += after;
            Event { at: Elapsed::from_micros(at), what }
        };
        events.into_iter().map(told).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever was recorded, whatever is pressed, however small the terminal: it is drawn, and each character that is
    /// drawn has a width and does nothing else.
    #[test]
    fn nothing_that_is_recorded_or_pressed_harms_the_player(
        events in any_event(),
        presses in prop::collection::vec((0..TABLE.len(), 0.0..3.0_f64, 1..130_u16, 1..40_u16), 0..25),
    ) {
        let mut at = Elapsed::ZERO;
        let mut segments: Vec<Vec<Event>> = Vec::new();
        for chunk in events.chunks(4) {
            at = at.max(chunk.last().unwrap().at);
            segments.push(chunk.to_vec());
        }
        let mut bench = Bench::of(Growth::Done, segments, Start::default());
        for (binding, seconds, cols, rows) in presses {
            for key in TABLE[binding].keys {
                bench.press(*key);
            }
            bench.passes(seconds);
            for symbol in bench.drawn(cols, rows) {
                let mut chars = symbol.chars();
                let (first, rest) = (chars.next(), chars.next());
                prop_assert!(rest.is_none() && first.is_none_or(|c| matches!(c.width(), Some(1 | 2))), "{symbol:?} was drawn");
            }
        }
    }
}
