//! What it costs to show a recording again, and when a segment is therefore full.

use std::time::Duration;

use crate::{Event, What};

/// A segment is closed when its plain form has so many bytes.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// A segment is closed when showing it would cost so much: a seek shows one segment at most, and 3 ms leave room in a
/// frame of 16 ms.
pub const SEGMENT_COST_MAX: Duration = Duration::from_millis(3);

/// What it costs to show these bytes on a terminal of so many columns, on the machine that the model was measured on.
///
/// 0.02 us for a byte, and 0.0009 us for each column of each line feed, because a screen that scrolls moves its rows.
/// Bytes alone do not tell: 64 KiB of line feeds at 300 columns cost thirty times what 64 KiB of text do.
pub fn cost(bytes: &[u8], cols: u16) -> Duration {
    let line_feeds = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let nanos = 20 * bytes.len() as u64 + line_feeds * u64::from(cols) * 9 / 10;
    Duration::from_nanos(nanos)
}

/// How full the open segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    cols: u16,
    plain_bytes: usize,
    cost: Duration,
}

impl Fill {
    /// An empty segment, on a terminal of so many columns.
    pub fn new(cols: u16) -> Self {
        Fill { cols, plain_bytes: 0, cost: Duration::ZERO }
    }

    /// Adds an event, whose plain form has so many bytes.
    pub fn add(&mut self, event: &Event, plain_bytes: usize) {
        self.plain_bytes += plain_bytes;
        match &event.what {
            What::Output(data) | What::ErrorOutput(data) | What::Notice(data) => {
                self.cost += cost(data, self.cols)
            }
            What::Resize { cols, .. } => self.cols = *cols,
            _ => {}
        }
    }

    /// Whether the segment should be closed now.
    pub fn is_full(&self) -> bool {
        self.plain_bytes >= SEGMENT_BYTES_MAX || self.cost >= SEGMENT_COST_MAX
    }

    /// Begins the next segment on the same terminal.
    pub fn empty(&mut self) {
        *self = Fill::new(self.cols);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Elapsed;

    #[test]
    fn the_model_is_that_of_the_measurement() {
        assert_eq!(cost(&[b'a'; 1000], 300), Duration::from_micros(20));
        assert_eq!(cost(&[b'\n'; 1000], 300), Duration::from_micros(20 + 270));
    }

    #[test]
    fn a_segment_is_full_by_its_bytes_or_by_what_it_costs_to_show() {
        let event = |what| Event { at: Elapsed::ZERO, what };
        let output = |data: Vec<u8>| event(What::Output(Bytes::from(data)));

        let mut fill = Fill::new(80);
        fill.add(&output(vec![b'a'; SEGMENT_BYTES_MAX - 1]), SEGMENT_BYTES_MAX - 1);
        assert!(!fill.is_full());
        fill.add(&event(What::InputEnd), 12);
        assert!(fill.is_full());

        fill.empty();
        fill.add(&event(What::Resize { cols: 300, rows: 80 }), 16);
        fill.add(&output(vec![b'\n'; 10_000]), 20_000);
        assert!(!fill.is_full());
        fill.add(&output(vec![b'\n'; 1_000]), 2_000);
        assert!(fill.is_full());
    }
}
