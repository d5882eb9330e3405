//! The server's end of the control socket: what it is asked, it answers out of the store it has open.
//!
//! Only the server's own user and root are heard. Every connection is a task of its own: one that sends nonsense,
//! reads nothing or goes away ends alone.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use archive::{
    Archive, OpenRecording, ReadFault,
    control::{
        ANSWER_BYTES_MAX, Answer, REQUEST_BYTES_MAX, Request, SESSIONS_AT_ONCE, SOCKET, Status,
        with_short_path,
    },
};
use recording::{SessionId, Source};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{house::now_us, recorder::Recorder};

/// Connections at a time; a player has one.
const CONNECTIONS_MAX: usize = 64;
/// Recordings that one connection keeps open; a player has one.
const RECORDINGS_MAX: usize = 4;
/// Whoever does not read its answer for so long is gone.
const UNREAD_AT_MOST: Duration = Duration::from_secs(30);
/// After a failed accept (no descriptor is free) the next one waits a little.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What only the server as a whole can do, for a user of this machine.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub what: Request,
    /// The number of the user who asks.
    pub uid: u32,
    /// What to answer: a line, or what stands behind the answer, or what is wrong.
    pub tell: oneshot::Sender<Result<Reply, String>>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done; one line for people.
    Done(String),
    /// What was asked for, as JSON.
    Json(Vec<u8>),
}

/// A control socket that answers, until this is dropped.
pub struct Control {
    socket: PathBuf,
    accepting: JoinHandle<()>,
}

struct Shared {
    archive: Archive,
    recorder: Recorder,
    orders: mpsc::Sender<Order>,
    data: String,
    started_us: u64,
}

impl Control {
    /// Listens in the data folder. Orders are handed on.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(
        data: &Path,
        archive: Archive,
        recorder: Recorder,
        orders: mpsc::Sender<Order>,
    ) -> io::Result<Control> {
        let socket = data.join(SOCKET);
        // The store is locked by us, so what lies here was left by a server that is gone.
        match fs::remove_file(&socket) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
        let listener = with_short_path(&socket, |path| {
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        })?;
        let data = data.display().to_string();
        let shared = Arc::new(Shared { archive, recorder, orders, data, started_us: now_us() });
        Ok(Control { socket, accepting: tokio::spawn(accept(listener, shared)) })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.accepting.abort();
        // What stays behind is replaced by the next server.
        drop(fs::remove_file(&self.socket));
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("more than {CONNECTIONS_MAX} connections to the control socket: one refused");
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(fault) = serve(stream, shared).await {
                tracing::debug!(%fault, "a control connection ended");
            }
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        tracing::warn!(user, "another user at the control socket: not heard");
        return Ok(());
    }
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut desk = Desk { shared, uid: user, open: BTreeMap::new() };
    while let Some(line) = next_line(&mut reading).await? {
        let (answer, body) = match serde_json::from_slice(&line) {
            Ok(request) => {
                let answered;
                (desk, answered) = desk.answer(request).await?;
                answered
            }
            Err(fault) => refused(&format!("no request that is known here: {fault}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        timeout(UNREAD_AT_MOST, writing.write_all(&line)).await??;
        timeout(UNREAD_AT_MOST, writing.write_all(&body)).await??;
    }
    Ok(())
}

async fn next_line(reading: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reading.take(REQUEST_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::other(format!("a request without an end in {} bytes", line.len() + 1))),
    }
}

/// One connection's: it keeps what is being read open.
struct Desk {
    shared: Arc<Shared>,
    uid: u32,
    open: BTreeMap<SessionId, OpenRecording>,
}

type Answered = (Answer, Vec<u8>);

impl Desk {
    /// Answers on a thread that may wait for the disk.
    async fn answer(self, request: Request) -> io::Result<(Desk, Answered)> {
        match request {
            what if is_order(&what) => {
                let answered = order(&self.shared, what, self.uid).await;
                Ok((self, answered))
            }
            other => {
                let mut desk = self;
                let looked_up = tokio::task::spawn_blocking(move || {
                    let answered = desk.look_up(other).unwrap_or_else(|fault| refused(&fault.0));
                    (desk, answered)
                });
                looked_up.await.map_err(io::Error::other)
            }
        }
    }

    fn look_up(&mut self, request: Request) -> Result<Answered, ReadFault> {
        let archive = self.shared.archive.clone();
        let fault = |fault: archive::ArchiveFault| ReadFault(fault.to_string());
        match request {
            Request::Status => json(&self.status()?),
            Request::Sessions { filter, before } => {
                let all = archive.sessions(&filter).map_err(fault)?;
                let some = all.iter().filter(|summary| before.is_none_or(|before| summary.id < before));
                json(&some.take(SESSIONS_AT_ONCE).collect::<Vec<_>>())
            }
            Request::Session { id } => archive.session(id).map_err(fault)?.map_or(none(), |one| json(&one)),
            Request::Last => archive.last().map_err(fault)?.map_or(none(), |one| json(&one)),
            Request::Header { id } => {
                if archive.session(id).map_err(fault)?.is_none() {
                    return none();
                }
                Ok(body(self.open(id)?.header_line().to_vec()))
            }
            Request::Timeline { id, from } => {
                let recording = self.open(id)?;
                recording.refresh()?;
                let (mut answer, spans) =
                    json(&recording.timeline().spans().get(from..).unwrap_or_default())?;
                if let Answer::Body { has_ended, .. } = &mut answer {
                    *has_ended = recording.has_ended()?;
                }
                Ok((answer, spans))
            }
            Request::Segment { id, segment } => {
                let (stored, len) = self.open(id)?.stored(segment)?;
                let bytes = stored.len() as u64;
                Ok((Answer::Body { bytes, plain_len: len, has_ended: false }, stored))
            }
            Request::Keyframe { id, segment } => {
                self.open(id)?.stored_keyframe(segment)?.map_or(none(), |k| Ok(body(k)))
            }
            Request::Verify { id } => archive.verify(id).map(|()| done("intact")).map_err(fault),
            Request::EndSegments => {
                self.shared.recorder.end_segments();
                Ok(done("all open segments are ended"))
            }
            _ => none(), // an order, answered before
        }
    }

    fn open(&mut self, id: SessionId) -> Result<&mut OpenRecording, ReadFault> {
        if !self.open.contains_key(&id) {
            if self.open.len() >= RECORDINGS_MAX {
                self.open.pop_first();
            }
            let recording = self.shared.archive.open_recording(id)?;
            self.open.insert(id, recording);
        }
        self.open.get_mut(&id).ok_or_else(|| ReadFault(format!("{id}: closed again")))
    }

    fn status(&self) -> Result<Status, ReadFault> {
        Ok(Status {
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.shared.data.clone(),
            started_us: self.shared.started_us,
            live_sessions: self.shared.archive.live_sessions(),
        })
    }
}

/// Whether only the server as a whole can do it.
fn is_order(request: &Request) -> bool {
    use Request::{Bindings, Names, Record, Release, Reload, Revoke, Shutdown};
    matches!(request, Record { .. } | Bindings | Revoke { .. } | Names | Release { .. } | Reload | Shutdown)
}

async fn order(shared: &Shared, what: Request, uid: u32) -> Answered {
    const STOPPING: &str = "the server is stopping";
    let (tell, told) = oneshot::channel();
    if shared.orders.send(Order { what, uid, tell }).await.is_err() {
        return refused(STOPPING);
    }
    match told.await {
        Ok(Ok(Reply::Done(said))) => done(&said),
        Ok(Ok(Reply::Json(bytes))) => body(bytes),
        Ok(Err(fault)) => refused(&fault),
        Err(_) => refused(STOPPING),
    }
}

fn json(value: &impl Serialize) -> Result<Answered, ReadFault> {
    serde_json::to_vec(value).map(body).map_err(|fault| ReadFault(fault.to_string()))
}

fn body(bytes: Vec<u8>) -> Answered {
    (Answer::Body { bytes: bytes.len() as u64, plain_len: 0, has_ended: false }, bytes)
}

fn none() -> Result<Answered, ReadFault> {
    Ok((Answer::None, Vec::new()))
}

fn done(said: &str) -> Answered {
    (Answer::Done { said: said.to_owned() }, Vec::new())
}

/// A fault, short enough for the line of an answer whatever stands in it.
fn refused(fault: &str) -> Answered {
    let fault = fault.chars().take(ANSWER_BYTES_MAX / 16).collect();
    (Answer::Fault { fault }, Vec::new())
}

#[cfg(test)]
mod tests;
