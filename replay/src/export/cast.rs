//! asciicast version 2, as asciinema 2 and 3 and asciinema-player play it.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use recording::{CastHeader, Event, Header, LineWriter, What};
use serde_json::{Map, Value, json};

use crate::source::with_returns;

/// Output without a terminal is written in pieces of so many bytes, so that each is one line even if all of it is
/// line feeds.
const PIECE_BYTES: usize = 32 * 1024;

/// The first line. A recording of ours keeps its facts; of others' what asciinema knows is kept.
pub fn header_line(header: &CastHeader) -> Vec<u8> {
    if let Some(facts) = &header.facts {
        let header = Header {
            cols: header.cols,
            rows: header.rows,
            command: header.command.clone(),
            title: header.title.clone().unwrap_or_default(),
            env: header.env.clone(),
            facts: facts.clone(),
        };
        return header.to_line();
    }
    let mut line = Map::new();
    let known = [
        ("version", Some(json!(2))),
        ("width", Some(json!(header.cols))),
        ("height", Some(json!(header.rows))),
        ("timestamp", header.timestamp.map(Value::from)),
        ("idle_time_limit", header.idle_time_limit.map(Value::from)),
        ("command", header.command.clone().map(Value::from)),
        ("title", header.title.clone().map(Value::from)),
        ("env", Some(json!(header.env)).filter(|_| !header.env.is_empty())),
    ];
    line.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    format!("{}\n", Value::Object(line)).into_bytes()
}

/// Writes events as lines.
pub struct Lines {
    writer: LineWriter,
    has_terminal: bool,
    written: Vec<u8>,
}

impl Lines {
    /// For a recording that begins.
    pub fn new(has_terminal: bool) -> Self {
        Lines { writer: LineWriter::new(), has_terminal, written: Vec::new() }
    }

    /// The event's lines.
    pub fn of(&mut self, event: &Event) -> &[u8] {
        self.written.clear();
        let (data, what): (&Bytes, fn(Bytes) -> What) = match &event.what {
            What::Output(data) => (data, What::Output),
            What::ErrorOutput(data) => (data, What::ErrorOutput),
            What::Notice(data) => (data, What::Notice),
            _ => {
                self.writer.write(event, &mut self.written);
                return &self.written;
            }
        };
        if self.has_terminal || !data.contains(&b'\n') {
            self.writer.write(event, &mut self.written);
            return &self.written;
        }
        for piece in data.chunks(PIECE_BYTES) {
            let exact = Bytes::copy_from_slice(piece);
            self.with_returns(&exact, Event { at: event.at, what: what(with_returns(&exact)) });
        }
        &self.written
    }

    /// No terminal turned these line feeds into new lines, and a player would show stairs. So the line shows them with
    /// returns, and the one before it keeps the exact bytes.
    fn with_returns(&mut self, exact: &Bytes, shown: Event) {
        let mut lines = Vec::new();
        self.writer.write(&shown, &mut lines);
        let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        let Some((content, announcements)) = lines.split_last() else { return };
        // What the writer says of exact bytes is said of the text with returns.
        for line in announcements.iter().filter(|line| code(line) != Some(b'B')) {
            self.written.extend_from_slice(line);
        }
        let exact = json!([shown.at.as_secs_f64(), "B", STANDARD.encode(exact)]);
        self.written.extend_from_slice(format!("{exact}\n").as_bytes());
        self.written.extend_from_slice(content);
    }
}

/// The code of a line: the letter in the first quotes.
fn code(line: &[u8]) -> Option<u8> {
    let quote = line.iter().position(|byte| *byte == b'"')?;
    line.get(quote + 1).copied()
}

#[cfg(test)]
mod tests {
    use recording::{CastReader, Elapsed};

    use super::*;

    fn output(data: &'static [u8]) -> Event {
        Event { at: Elapsed::from_micros(1_500_000), what: What::Output(Bytes::from_static(data)) }
    }

    #[test]
    fn without_a_terminal_lines_begin_at_the_left_and_the_exact_bytes_stay() {
        let mut lines = Lines::new(false);
        let text = String::from_utf8(lines.of(&output(b"a\nb\xff\n")).to_vec()).unwrap();

        assert_eq!(text, "[1.5,\"B\",\"YQpi/wo=\"]\n[1.5,\"o\",\"a\\r\\nb\u{fffd}\\r\\n\"]\n");
    }

    #[test]
    fn on_a_terminal_lines_are_as_they_were_sent() {
        let mut lines = Lines::new(true);
        assert_eq!(lines.of(&output(b"a\nb\r\n")), b"[1.5,\"o\",\"a\\nb\\r\\n\"]\n");
    }

    #[test]
    fn a_foreign_header_keeps_what_asciinema_knows() {
        let line =
            br#"{"version":3,"term":{"cols":90,"rows":30},"timestamp":5,"title":"t","env":{"SHELL":"sh"}}"#;
        let mut reader = CastReader::new();
        reader.feed(&[&line[..], b"\n"].concat(), &mut Vec::new()).unwrap();
        let written = header_line(reader.header().unwrap());

        let value: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(
            value,
            json!({"version":2,"width":90,"height":30,"timestamp":5,"title":"t","env":{"SHELL":"sh"}})
        );
    }
}
