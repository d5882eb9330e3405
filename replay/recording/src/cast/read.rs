//! Whole asciicasts, of any program, read as they come in.

use super::{CastHeader, HeaderFault, LINE_BYTES_MAX, LineFault, LineProblem, line::Assembler};
use crate::Event;

/// How many faults are kept with their place; more are only counted.
const FAULTS_KEPT_MAX: usize = 16;

/// Why something is no asciicast at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CastFault {
    /// It has no first line.
    #[error("empty: an asciicast begins with a header")]
    Empty,
    /// Its first line is no header.
    #[error("line 1: {0}")]
    Header(#[from] HeaderFault),
}

/// What was found besides events, once all has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// The header.
    pub header: CastHeader,
    /// The line that was cut off at the end, as a crash leaves it. All before it was read.
    pub cut: Option<u64>,
    /// How many lines had a code that is not known here; such lines are meant to be skipped.
    pub skipped: u64,
    /// How many lines could not be read, and were skipped.
    pub unreadable: u64,
    /// The first of these, with their places.
    pub faults: Vec<LineFault>,
}

/// Reads an asciicast of version 2 or 3 from bytes, however they are cut; holds one line at a time.
///
/// What cannot be read is skipped and counted: a recording with one bad line is still worth watching. Segments of
/// our own store are read by [`crate::decode`], which forgives nothing.
#[derive(Debug, Default)]
pub struct CastReader {
    begun: Vec<u8>,
    /// The line is longer than any line may be; what is left of it is dropped.
    is_dropping: bool,
    lines: u64,
    body: Option<(CastHeader, Assembler)>,
    unreadable: u64,
    faults: Vec<LineFault>,
}

impl CastReader {
    /// A reader that expects the header first.
    pub fn new() -> Self {
        CastReader::default()
    }

    /// The header, once it has been read.
    pub fn header(&self) -> Option<&CastHeader> {
        self.body.as_ref().map(|(header, _)| header)
    }

    /// Reads what came next, and appends the events that are complete.
    ///
    /// # Errors
    /// When the first line is no header.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), CastFault> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                None => self.keep(part)?,
                Some(end) if self.begun.is_empty() && !self.is_dropping => self.line(end, events)?,
                Some(end) => {
                    self.keep(end)?;
                    let line = std::mem::take(&mut self.begun);
                    if std::mem::take(&mut self.is_dropping) {
                        self.lines += 1;
                        self.unreadable(LineProblem::TooLong);
                    } else {
                        self.line(&line, events)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what stands behind the last newline, and tells what was found.
    ///
    /// # Errors
    /// When there was no header.
    pub fn finish(mut self, events: &mut Vec<Event>) -> Result<Ending, CastFault> {
        let last = std::mem::take(&mut self.begun);
        let mut cut = None;
        if self.body.is_none() {
            self.line(&last, events)?;
        } else if let Some((_, assembler)) =
            self.body.as_mut().filter(|_| !last.is_empty() || self.is_dropping)
        {
            self.lines += 1;
            // Some programs leave out the last newline: what is a whole event is one.
            match assembler.line(&last) {
                Ok(event) if !self.is_dropping => events.extend(event),
                _ => cut = Some(self.lines),
            }
        }
        let Some((header, assembler)) = self.body else { return Err(CastFault::Empty) };
        if cut.is_none() && assembler.is_waiting() {
            cut = Some(self.lines);
        }
        let skipped = assembler.skipped();
        Ok(Ending { header, cut, skipped, unreadable: self.unreadable, faults: self.faults })
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), CastFault> {
        if self.begun.len() + part.len() > LINE_BYTES_MAX {
            if self.body.is_none() {
                return Err(HeaderFault::TooLong.into());
            }
            self.begun.clear();
            self.is_dropping = true;
        }
        if !self.is_dropping {
            self.begun.extend_from_slice(part);
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), CastFault> {
        self.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((header, assembler)) = &mut self.body else {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            if line.is_empty() {
                return Err(CastFault::Empty);
            }
            let header = CastHeader::from_line(line)?;
            let assembler = Assembler::new(header.facts.is_some(), header.version == 3);
            self.body = Some((header, assembler));
            return Ok(());
        };
        if line.trim_ascii().is_empty() || header.version == 3 && line.starts_with(b"#") {
            return Ok(());
        }
        match assembler.line(line) {
            Ok(event) => events.extend(event),
            Err(problem) => self.unreadable(problem),
        }
        Ok(())
    }

    fn unreadable(&mut self, problem: LineProblem) {
        self.unreadable += 1;
        if self.faults.len() < FAULTS_KEPT_MAX {
            self.faults.push(LineFault { line: self.lines, problem });
        }
    }
}

/// The events of one segment of lines of ours.
///
/// # Errors
/// At the first line that is not as we write them.
pub(crate) fn segment(plain: &[u8]) -> Result<Vec<Event>, LineFault> {
    let mut assembler = Assembler::new(true, false);
    let mut events = Vec::new();
    let mut lines = 0;
    for line in plain.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        let fault = |problem| LineFault { line: lines, problem };
        let line = line.strip_suffix(b"\n").ok_or_else(|| fault(LineProblem::Cut))?;
        events.extend(assembler.line(line).map_err(fault)?);
    }
    if assembler.is_waiting() {
        Err(LineFault { line: lines, problem: LineProblem::Cut })
    } else {
        Ok(events)
    }
}
