//! Asking a running server. It blocks: for programs, not for the server.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use recording::{Header, Layout, SessionId, Span, Timeline};
use serde::de::DeserializeOwned;

use super::{ANSWER_BYTES_MAX, Answer, BODY_BYTES_MAX, Request, SESSIONS_AT_ONCE, Status, with_short_path};
use crate::{Fetch, Filter, OpenRecording, ReadFault, Summary};

/// A server that has not answered for so long will not.
const SILENCE_AT_MOST: Duration = Duration::from_secs(60);

/// Why a server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlFault {
    /// Nobody listens there.
    #[error("{0}: no server listens there: {1}")]
    Absent(PathBuf, #[source] io::Error),
    /// The connection broke.
    #[error("{0}: {1}")]
    Broken(PathBuf, #[source] io::Error),
    /// Its answer is none that is known here.
    #[error("{0}: not an answer that is known here: {1}")]
    Senseless(PathBuf, String),
    /// It could not do what was asked.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a running server.
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

/// What a server answered, and what stood behind it.
struct Answered {
    answer: Answer,
    body: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(socket: &Path) -> Result<Client, ControlFault> {
        let absent = |fault| ControlFault::Absent(socket.to_path_buf(), fault);
        let stream = with_short_path(socket, |path| UnixStream::connect(path)).map_err(absent)?;
        stream.set_read_timeout(Some(SILENCE_AT_MOST)).map_err(absent)?;
        stream.set_write_timeout(Some(SILENCE_AT_MOST)).map_err(absent)?;
        Ok(Client { socket: socket.to_path_buf(), stream: BufReader::new(stream) })
    }

    /// How the server is.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&mut self) -> Result<Status, ControlFault> {
        let none = ControlFault::Senseless(self.socket.clone(), "no status".into());
        self.ask_for(&Request::Status)?.ok_or(none)
    }

    /// The sessions that match, the newest first.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sessions(&mut self, filter: &Filter) -> Result<Vec<Summary>, ControlFault> {
        let mut all = Vec::<Summary>::new();
        loop {
            let before = all.last().map(|last| last.id);
            let request = Request::Sessions { filter: filter.clone(), before };
            let some: Vec<Summary> = self.ask_for(&request)?.unwrap_or_default();
            let is_last = some.len() < SESSIONS_AT_ONCE;
            all.extend(some);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// One session; none if there is none of that id.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn session(&mut self, id: SessionId) -> Result<Option<Summary>, ControlFault> {
        self.ask_for(&Request::Session { id })
    }

    /// The session that began last.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn last(&mut self) -> Result<Option<Summary>, ControlFault> {
        self.ask_for(&Request::Last)
    }

    /// Asks for something to be done, and answers what the server said.
    ///
    /// # Errors
    /// When it does not answer, or could not do it.
    pub fn order(&mut self, request: &Request) -> Result<String, ControlFault> {
        match self.ask(request)?.answer {
            Answer::Done { said } => Ok(said),
            other => Err(ControlFault::Senseless(self.socket.clone(), format!("{other:?}"))),
        }
    }

    /// Opens a recording for reading. It takes this connection.
    ///
    /// # Errors
    /// When there is none of that id, or the server does not answer.
    pub fn open_recording(mut self, id: SessionId) -> Result<OpenRecording, ReadFault> {
        let header = self.ask(&Request::Header { id }).map_err(ReadFault::of)?;
        if header.answer == Answer::None {
            return Err(ReadFault(format!("{id}: no such session")));
        }
        let layout = Header::from_line(&header.body).map_err(ReadFault::of)?.facts.layout;
        let remote = Remote { client: self, id, layout, spans: Vec::new(), has_ended: false };
        OpenRecording::new(header.body, Box::new(remote))
    }

    /// Asks for something that stands behind the answer as JSON; none if there is no such thing.
    ///
    /// # Errors
    /// When it does not answer, or it is something else.
    pub fn ask_for<T: DeserializeOwned>(&mut self, request: &Request) -> Result<Option<T>, ControlFault> {
        let Answered { answer, body } = self.ask(request)?;
        if answer == Answer::None {
            return Ok(None);
        }
        let read = serde_json::from_slice(&body);
        read.map(Some).map_err(|fault| ControlFault::Senseless(self.socket.clone(), fault.to_string()))
    }

    fn ask(&mut self, request: &Request) -> Result<Answered, ControlFault> {
        let asked =
            self.exchange(request).map_err(|fault| ControlFault::Broken(self.socket.clone(), fault))?;
        let (line, body) = asked;
        let answer = serde_json::from_slice(&line);
        match answer.map_err(|fault| ControlFault::Senseless(self.socket.clone(), fault.to_string()))? {
            Answer::Fault { fault } => Err(ControlFault::Refused(fault)),
            answer => Ok(Answered { answer, body }),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        line.clear();
        self.stream.by_ref().take(ANSWER_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = match serde_json::from_slice(&line) {
            Ok(Answer::Body { bytes, .. }) if bytes > BODY_BYTES_MAX => {
                return Err(io::Error::other(format!("an answer of {bytes} bytes is more than is read")));
            }
            Ok(Answer::Body { bytes, .. }) => bytes,
            _ => 0,
        };
        let mut body = Vec::new();
        self.stream.by_ref().take(bytes).read_to_end(&mut body)?;
        if body.len() as u64 == bytes { Ok((line, body)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// One recording, as a server has it.
struct Remote {
    client: Client,
    id: SessionId,
    layout: Layout,
    spans: Vec<Span>,
    has_ended: bool,
}

impl Remote {
    /// The first span that may still change: the last one, which may grow, or the first that may still get its key
    /// frame. They come in order.
    fn unsure(&self) -> usize {
        let last = self.spans.len().saturating_sub(1);
        let without = match self.layout {
            Layout::Lines => self.spans.iter().skip(1).position(|span| !span.has_keyframe),
            Layout::Chunks => None,
        };
        without.map_or(last, |without| (without + 1).min(last))
    }
}

impl Fetch for Remote {
    fn timeline(&mut self) -> Result<Timeline, ReadFault> {
        let from = self.unsure();
        let request = Request::Timeline { id: self.id, from };
        let Answered { answer, body } = self.client.ask(&request).map_err(ReadFault::of)?;
        self.has_ended = matches!(answer, Answer::Body { has_ended: true, .. });
        let spans: Vec<Span> = serde_json::from_slice(&body).map_err(ReadFault::of)?;
        self.spans.truncate(from);
        self.spans.extend(spans);
        Ok(Timeline::new(self.spans.clone()))
    }

    fn stored(&mut self, segment: usize) -> Result<(Vec<u8>, u64), ReadFault> {
        let request = Request::Segment { id: self.id, segment };
        match self.client.ask(&request).map_err(ReadFault::of)? {
            Answered { answer: Answer::Body { plain_len, .. }, body } => Ok((body, plain_len)),
            _ => Err(ReadFault(format!("{}: there is no segment {}", self.id, segment + 1))),
        }
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Vec<u8>>, ReadFault> {
        let asked = self.client.ask(&Request::Keyframe { id: self.id, segment }).map_err(ReadFault::of)?;
        Ok(Some(asked.body).filter(|_| asked.answer != Answer::None))
    }

    fn has_ended(&mut self) -> Result<bool, ReadFault> {
        Ok(self.has_ended)
    }
}
