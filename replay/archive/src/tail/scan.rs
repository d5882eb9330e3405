//! One recording's tails, read as what they are: one stream of frames.

use std::{
    io,
    path::{Path, PathBuf},
};

use recording::{Elapsed, Encoder, Event, Layout, Outcome, SessionId, Span, What, decode};

use super::{Damage, Ends, Frame, FrameHead, Place, TailFault, TailReader, path};

/// Where one reader of a recording's tails stands: always between two segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Number of the tail.
    pub(crate) number: u32,
    /// Byte in it; 0 is its beginning.
    pub(crate) offset: u64,
    /// Number of the next event.
    pub(crate) next_event: u64,
}

/// All frames of a recording from an event on, whichever files they lie in. What was written twice, because a sync
/// failed, is told once.
pub(crate) struct Scan {
    folder: PathBuf,
    id: SessionId,
    at: Standing,
    open: Option<(u32, TailReader)>,
    damage: Vec<Damage>,
}

/// Events that one segment is, or will be.
pub(crate) struct Run {
    /// Encoded.
    pub(crate) plain: Vec<u8>,
    /// Number of the first event.
    pub(crate) first_event: u64,
    /// How many.
    pub(crate) events: u64,
    /// So many bytes of `plain` are no frame's: the marker that tells of missing events.
    pub(crate) lead_bytes: usize,
    /// So many events are missing before it, by their numbers.
    pub(crate) missing: u64,
    /// When the first and the last of them happened, in microseconds.
    pub(crate) span_us: (u64, u64),
    /// What ends with it; nothing, if it may still grow.
    pub(crate) ends: Ends,
    /// The frames that it came from: tail, and place in it.
    pub(crate) places: Vec<(u32, Place)>,
}

impl Scan {
    /// Reads on from where one stood; from the first tail that there is, if nobody has stood anywhere.
    pub(crate) fn open(
        folder: &Path,
        id: SessionId,
        next_event: u64,
        standing: Option<Standing>,
    ) -> Result<Self, TailFault> {
        let at = match standing.filter(|standing| standing.next_event == next_event) {
            Some(standing) => standing,
            None => Standing { number: first_number(folder, id)?, offset: 0, next_event },
        };
        Ok(Scan { folder: folder.to_path_buf(), id, at, open: None, damage: Vec::new() })
    }

    /// Where the last whole segment ended.
    pub(crate) fn standing(&self) -> Standing {
        self.at
    }

    /// The header line, as the tails tell it.
    pub(crate) fn any_header_line(&mut self) -> Result<Option<Vec<u8>>, TailFault> {
        if self.open.is_none() && !self.open_tail(self.at.number)? {
            return Ok(None);
        }
        Ok(self.open.as_ref().map(|(_, tail)| tail.header_line().to_vec()))
    }

    /// The damage that was passed over since this was last asked.
    pub(crate) fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    /// The next segment's events. The last run may end nothing, and holds no events if there are no more.
    ///
    /// A segment also ends before missing events, and the next one begins with a marker in their place.
    pub(crate) fn next_run(&mut self) -> Result<Run, TailFault> {
        let mut run = Run::before(self.at.next_event);
        let mut next_event = self.at.next_event;
        while let Some((number, place, frame)) = self.next_frame()? {
            let Frame { head, events } = frame;
            let is_known = head.events > 0 && head.next() <= next_event;
            let ends_nothing_new = head.events == 0 && head.ends == Ends::Segment && run.events == 0;
            if !is_known && head.first > next_event {
                if let Some(again) = self.written_again(number, next_event)? {
                    self.open_tail(again)?;
                    continue;
                }
                if run.events > 0 {
                    self.read_again(place.offset)?;
                    self.at = Standing { number, offset: place.offset, next_event };
                    run.ends = Ends::Segment;
                    break;
                }
            }
            if !is_known && !ends_nothing_new {
                if head.first > next_event {
                    run.miss(self.layout(), head.first - next_event, &head);
                }
                run.add(number, place, &head, &events);
                next_event = head.next().max(next_event);
            }
            if run.ends != Ends::Nothing {
                self.at = Standing { number, offset: place.end, next_event };
                break;
            }
            if run.events == 0 {
                self.at = Standing { number, offset: place.end, next_event };
            }
        }
        Ok(run)
    }

    /// A later tail that has the missing events, and all behind them: what was not synced was written again, to
    /// the next tail.
    fn written_again(&self, number: u32, next_event: u64) -> Result<Option<u32>, TailFault> {
        for later in numbers(&self.folder, self.id)?.into_iter().filter(|later| *later > number) {
            let Ok(mut tail) = TailReader::open(&path(&self.folder, self.id, later)) else { continue };
            if tail.next_frame()?.is_some_and(|(_, frame)| frame.head.first <= next_event) {
                return Ok(Some(later));
            }
        }
        Ok(None)
    }

    fn read_again(&mut self, offset: u64) -> Result<(), TailFault> {
        self.open.as_mut().map_or(Ok(()), |(_, tail)| tail.seek(offset))
    }

    fn layout(&self) -> Layout {
        self.open.as_ref().map_or(Layout::Chunks, |(_, tail)| tail.header().facts.layout)
    }

    fn next_frame(&mut self) -> Result<Option<(u32, Place, Frame)>, TailFault> {
        loop {
            if self.open.is_none() && !self.open_tail(self.at.number)? {
                return Ok(None);
            }
            let Some(number) = self.open.as_ref().map(|(number, _)| *number) else { return Ok(None) };
            if let Some((place, frame)) = self.read_frame()? {
                return Ok(Some((number, place, frame)));
            }
            if !path(&self.folder, self.id, number + 1).exists() {
                return Ok(None); // it may still grow
            }
            // It has grown for the last time before there was a next one, perhaps just now.
            let at = self.open.as_ref().map_or(0, |(_, tail)| tail.at());
            self.read_again(at)?;
            if let Some((place, frame)) = self.read_frame()? {
                return Ok(Some((number, place, frame)));
            }
            if !self.open_tail(number + 1)? {
                return Ok(None);
            }
        }
    }

    /// The next frame of the tail that is open. Damage is kept to be told of, once.
    fn read_frame(&mut self) -> Result<Option<(Place, Frame)>, TailFault> {
        let Some((_, tail)) = &mut self.open else { return Ok(None) };
        let read = tail.next_frame();
        self.damage.extend(tail.take_damage());
        self.damage.dedup();
        read
    }

    fn open_tail(&mut self, number: u32) -> Result<bool, TailFault> {
        let mut tail = match TailReader::open(&path(&self.folder, self.id, number)) {
            Ok(tail) => tail,
            Err(TailFault::Unreadable(_, fault)) if fault.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(TailFault::Headless(..)) if !path(&self.folder, self.id, number + 1).exists() => {
                return Ok(false); // being made, or torn while it was
            }
            Err(TailFault::Headless(..)) => return self.open_tail(number + 1),
            Err(fault) => return Err(fault),
        };
        if number == self.at.number && self.at.offset > 0 {
            tail.seek(self.at.offset)?;
        }
        self.open = Some((number, tail));
        Ok(true)
    }
}

impl Run {
    /// A run that holds nothing yet.
    fn before(first_event: u64) -> Self {
        Run {
            plain: Vec::new(),
            first_event,
            events: 0,
            lead_bytes: 0,
            missing: 0,
            span_us: (0, 0),
            ends: Ends::Nothing,
            places: Vec::new(),
        }
    }

    /// Begins with a marker in the place of missing events. It takes the last one's number.
    fn miss(&mut self, layout: Layout, missing: u64, behind: &FrameHead) {
        let events = if missing == 1 { "event" } else { "events" };
        let what = What::Marker(format!("damaged: {missing} {events} cannot be read here"));
        let event = Event { at: Elapsed::from_micros(behind.first_us), what };
        Encoder::new(layout).write(&event, &mut self.plain);
        (self.lead_bytes, self.missing) = (self.plain.len(), missing);
        (self.first_event, self.events) = (behind.first - 1, 1);
        self.span_us = (behind.first_us, behind.first_us);
    }

    fn add(&mut self, number: u32, place: Place, head: &FrameHead, events: &[u8]) {
        if self.events == 0 {
            (self.first_event, self.span_us.0) = (head.first, head.first_us);
        }
        self.span_us.1 = self.span_us.1.max(head.last_us);
        self.events += u64::from(head.events);
        self.plain.extend_from_slice(events);
        self.places.push((number, place));
        self.ends = head.ends;
    }

    /// What an index says of it. Only what has markers, new sizes or an end in it is decoded for that.
    pub(crate) fn span(&self, layout: Layout) -> Span {
        let at = Elapsed::from_micros;
        let span = Span {
            first: at(self.span_us.0),
            last: at(self.span_us.1),
            plain_bytes: self.plain.len() as u64,
            events: self.events,
            has_keyframe: false,
            missing: self.missing,
            markers: Vec::new(),
            resizes: Vec::new(),
            outcome: Outcome::default(),
        };
        if layout == Layout::Lines && !has_landmarks(&self.plain) {
            return span;
        }
        // What does not decode is met as a fault by whoever reads it.
        let events = decode(layout, &self.plain).unwrap_or_default();
        let decoded = Span::of(&events, self.plain.len()).unwrap_or(span);
        Span { events: self.events, missing: self.missing, ..decoded }
    }
}

/// Whether any of these lines is a marker, a new size or an end, by its code: the first text in it.
fn has_landmarks(lines: &[u8]) -> bool {
    let code =
        |line: &[u8]| line.iter().position(|byte| *byte == b'"').and_then(|at| line.get(at + 1).copied());
    lines
        .split(|byte| *byte == b'\n')
        .any(|line| matches!(code(line), Some(b'm' | b'r' | b'x' | b'X' | b'Q')))
}

/// The numbers of a recording's tails, in order.
pub(crate) fn numbers(folder: &Path, id: SessionId) -> Result<Vec<u32>, TailFault> {
    let unreadable = |fault| TailFault::Unreadable(folder.to_path_buf(), fault);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(id.as_str())?.strip_prefix('.'));
        found.extend(number.and_then(|number| number.strip_suffix(".tail")?.parse::<u32>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn first_number(folder: &Path, id: SessionId) -> Result<u32, TailFault> {
    Ok(numbers(folder, id)?.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use recording::Exit;

    use super::*;

    fn run(layout: Layout, events: &[Event]) -> Run {
        let mut plain = Vec::new();
        let mut encoder = Encoder::new(layout);
        events.iter().for_each(|event| encoder.write(event, &mut plain));
        Run {
            plain,
            events: events.len() as u64,
            span_us: (events[0].at.as_micros(), events[events.len() - 1].at.as_micros()),
            ends: Ends::Segment,
            ..Run::before(1)
        }
    }

    /// Decoded or not, an index says the same of it.
    #[test]
    fn a_span_is_what_decoding_all_of_it_would_tell() {
        let event = |n: u64, what: What| Event { at: Elapsed::from_micros(n), what };
        let text = |text: &'static str| What::Output(Bytes::from_static(text.as_bytes()));
        let plain =
            vec![event(3, text("a \",\"m\",\"x\"\n")), event(1_000_007, text("[1.0,\"m\",\"no marker\"]"))];
        let mut marked = plain.clone();
        marked.push(event(2_000_000, What::Marker("here".into())));
        let mut resized = plain.clone();
        resized.push(event(2_000_001, What::Resize { cols: 100, rows: 30 }));
        let mut over = plain.clone();
        over.push(event(2_000_002, What::Exit(Exit::Signal("TERM".into()))));
        let mut ended = plain.clone();
        ended.push(event(2_000_003, What::Ended("idle".into())));

        for layout in [Layout::Lines, Layout::Chunks] {
            for events in [&plain, &marked, &resized, &over, &ended] {
                let run = run(layout, events);
                let decoded = Span::of(&decode(layout, &run.plain).unwrap(), run.plain.len()).unwrap();
                assert_eq!(run.span(layout), decoded);
            }
        }
        assert!(!has_landmarks(&run(Layout::Lines, &plain).plain));
        assert!(has_landmarks(&run(Layout::Lines, &marked).plain));
    }
}
