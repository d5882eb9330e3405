//! What was on the screen, and what scrolled off it, as text.

use std::io::{self, IsTerminal, Write};

use avt::observer::Transcript as Scrolled;
use bytes::Bytes;
use recording::{Emulator, Event, What};

use crate::{printable::printable, source::with_returns};

/// Collects the lines of a terminal as they scroll away, and the rest at the end. Full-screen programs leave no lines,
/// as on a real terminal.
pub struct Transcript {
    emulator: Emulator,
    scrolled: Scrolled,
    has_terminal: bool,
    /// Standard output is somebody's terminal: nothing that acts on it or hides in it may be written.
    is_watched: bool,
    /// The beginning of a character whose end is still to come.
    begun: Vec<u8>,
}

impl Transcript {
    /// On a blank terminal of this size.
    pub fn new(cols: u16, rows: u16, has_terminal: bool) -> Self {
        Transcript {
            emulator: Emulator::blank(cols, rows),
            scrolled: Scrolled::new(),
            has_terminal,
            is_watched: io::stdout().is_terminal(),
            begun: Vec::new(),
        }
    }

    /// Shows an event, and writes the lines that have scrolled away.
    pub fn take(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        let lines = match &event.what {
            What::Output(data) | What::ErrorOutput(data) | What::Notice(data) => {
                let text = self.decode(data);
                self.emulator.feed(&text, &mut self.scrolled).concat()
            }
            What::Resize { cols, rows } => self.emulator.resize(*cols, *rows, &mut self.scrolled).concat(),
            _ => return Ok(()),
        };
        self.write(&lines, out)
    }

    /// Writes what still stands on the screen.
    pub fn finish(self, out: &mut impl Write) -> io::Result<()> {
        let Transcript { emulator, scrolled, is_watched, .. } = self;
        write_lines(&scrolled.finish(emulator.terminal()), is_watched, out)
    }

    fn write(&self, lines: &[String], out: &mut impl Write) -> io::Result<()> {
        write_lines(lines, self.is_watched, out)
    }

    fn decode(&mut self, data: &Bytes) -> String {
        let data = if self.has_terminal { data.clone() } else { with_returns(data) };
        self.begun.extend_from_slice(&data);
        let bytes = std::mem::take(&mut self.begun);
        let is_begun = |fault: &std::str::Utf8Error| fault.error_len().is_none();
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            match std::str::from_utf8(chunk.invalid()) {
                Err(fault) if is_begun(&fault) => self.begun = chunk.invalid().to_vec(),
                Err(_) => text.push(char::REPLACEMENT_CHARACTER),
                Ok(_) => {}
            }
        }
        text
    }
}

fn write_lines(lines: &[String], is_watched: bool, out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        if is_watched {
            writeln!(out, "{}", line.chars().map(printable).collect::<String>())?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
