//! The index that one seeks in.

use serde::{Deserialize, Serialize};

use crate::{Elapsed, Event, Outcome, What};

/// What is known of one segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// When its first event happened.
    pub first: Elapsed,
    /// When its last event happened.
    pub last: Elapsed,
    /// Bytes of its plain form.
    pub plain_bytes: u64,
    /// How many events it holds.
    pub events: u64,
    /// Whether there is a key frame of the screen before its first event.
    pub has_keyframe: bool,
    /// So many events before it cannot be read any more, by their numbers; its first event is a marker that says so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// The markers in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markers: Vec<(Elapsed, String)>,
    /// The new sizes in it: columns, rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resizes: Vec<(Elapsed, u16, u16)>,
    /// How the session ended, if that is in it.
    #[serde(default, skip_serializing_if = "Outcome::is_unknown")]
    pub outcome: Outcome,
}

impl Span {
    /// The span of these events, whose plain form has so many bytes; `None` if there are none.
    pub fn of(events: &[Event], plain_bytes: usize) -> Option<Span> {
        let (first, last) = (events.first()?.at, events.last()?.at);
        let mut span = Span {
            first,
            last,
            plain_bytes: plain_bytes as u64,
            events: events.len() as u64,
            has_keyframe: false,
            missing: 0,
            markers: Vec::new(),
            resizes: Vec::new(),
            outcome: Outcome::default(),
        };
        for event in events {
            span.outcome.hear(&event.what);
            match &event.what {
                What::Marker(label) => span.markers.push((event.at, label.clone())),
                What::Resize { cols, rows } => span.resizes.push((event.at, *cols, *rows)),
                _ => {}
            }
        }
        Some(span)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// All spans of a recording, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline {
    spans: Vec<Span>,
}

impl Timeline {
    /// The timeline of these spans, which follow one another in time.
    pub fn new(spans: Vec<Span>) -> Self {
        Timeline { spans }
    }

    /// Adds what came next: a live recording grows.
    pub fn push(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// The spans.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The instant of the last event.
    pub fn end(&self) -> Elapsed {
        self.spans.last().map_or(Elapsed::ZERO, |span| span.last)
    }

    /// The segment that is being shown at this instant: the last one that has begun; the first one before that.
    pub fn locate(&self, at: Elapsed) -> usize {
        self.spans.partition_point(|span| span.first <= at).saturating_sub(1)
    }

    /// So many events of the recording cannot be read any more.
    pub fn missing(&self) -> u64 {
        self.spans.iter().map(|span| span.missing).fold(0, u64::saturating_add)
    }

    /// How the session ended, as far as it is known.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        self.spans.iter().for_each(|span| outcome.then(&span.outcome));
        outcome
    }

    /// All markers with their instants, in order.
    pub fn markers(&self) -> impl DoubleEndedIterator<Item = (Elapsed, &str)> {
        self.spans.iter().flat_map(|span| &span.markers).map(|(at, label)| (*at, label.as_str()))
    }

    /// All new sizes with their instants, in order.
    pub fn resizes(&self) -> impl DoubleEndedIterator<Item = (Elapsed, u16, u16)> {
        self.spans.iter().flat_map(|span| &span.resizes).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(micros: u64, what: What) -> Event {
        Event { at: Elapsed::from_micros(micros), what }
    }

    fn span(first: u64, last: u64) -> Span {
        Span::of(&[event(first, What::InputEnd), event(last, What::OutputEnd)], 24).unwrap()
    }

    #[test]
    fn an_instant_is_in_the_last_segment_that_has_begun() {
        let timeline = Timeline::new(vec![span(5, 10), span(20, 30), span(30, 30), span(40, 50)]);
        let at = |micros| timeline.locate(Elapsed::from_micros(micros));

        assert_eq!([at(0), at(5), at(19), at(20), at(30), at(39), at(40), at(99)], [0, 0, 0, 1, 2, 2, 3, 3]);
        assert_eq!(timeline.end(), Elapsed::from_micros(50));
        assert_eq!(Timeline::default().locate(Elapsed::ZERO), 0);
    }

    #[test]
    fn markers_and_sizes_are_known_without_reading_a_segment() {
        let events = [event(1, What::Marker("a".into())), event(2, What::Resize { cols: 9, rows: 8 })];
        let later = [event(3, What::Marker("b".into()))];
        let timeline = Timeline::new(vec![Span::of(&events, 0).unwrap(), Span::of(&later, 0).unwrap()]);

        let micros = Elapsed::from_micros;
        assert_eq!(timeline.markers().collect::<Vec<_>>(), [(micros(1), "a"), (micros(3), "b")]);
        assert_eq!(timeline.resizes().collect::<Vec<_>>(), [(micros(2), 9, 8)]);
        assert_eq!(Span::of(&[], 0), None);
    }

    #[test]
    fn a_span_comes_back_from_its_json() {
        let mut span = span(5, 10);
        span.markers.push((Elapsed::from_micros(7), "m".into()));

        let json = serde_json::to_string(&span).unwrap();
        assert_eq!(
            json,
            r#"{"first":5,"last":10,"plain_bytes":24,"events":2,"has_keyframe":false,"markers":[[7,"m"]]}"#
        );
        assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), span);
    }
}
