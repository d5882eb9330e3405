//! A data folder of one's own, and sessions to put into it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use archive::{Archive, BindLimits, Binder, End, Limits, Live, TailWriter};
use bytes::Bytes;
use recording::{Elapsed, Event, Facts, Header, Layout, Person, SessionId, Source, What};

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub archive: Archive,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open_exclusive(folder.path()).unwrap();
        archive.recover().unwrap();
        Bench { folder, archive }
    }

    /// What a kill would leave, in a folder of its own, taken up again.
    pub fn killed(&self) -> Bench {
        let copy = self.copied();
        let archive = Archive::open_exclusive(copy.path()).unwrap();
        archive.recover().unwrap();
        Bench { folder: copy, archive }
    }

    /// What a kill would leave.
    pub fn copied(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    pub fn binder(&self) -> Binder {
        Binder::new(self.archive.clone(), BindLimits::default()).unwrap()
    }

    pub fn bind(&self) {
        self.binder().run_dry();
    }

    pub fn session(&self, layout: Layout) -> Session {
        self.session_on(layout, Limits::default())
    }

    pub fn session_on(&self, layout: Layout, limits: Limits) -> Session {
        let header = header(layout);
        let live = self.archive.begin(&header);
        let tail = TailWriter::new(self.archive.disk(), &self.archive.tails(), &header, limits);
        Session { tail, live, id: header.facts.id }
    }

    /// A session that has ended.
    pub fn recorded(&self, layout: Layout, events: &[Event]) -> SessionId {
        let mut session = self.session(layout);
        session.write(events);
        session.end(End::Finished)
    }

    pub fn events(&self, id: SessionId) -> Vec<Event> {
        events(&self.archive, id)
    }

    pub fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.folder.path().join(below), &mut found);
        found.sort();
        found
    }
}

pub struct Session {
    pub tail: TailWriter,
    pub live: Arc<Live>,
    pub id: SessionId,
}

impl Session {
    /// Writes each event by itself, as a recorder with nothing else to do does.
    pub fn write(&mut self, events: &[Event]) {
        for event in events {
            self.tail.push(event);
            self.tail.write().unwrap();
        }
        self.live.reached(self.tail.events(), self.tail.bytes(), self.tail.last_us());
    }

    pub fn end(mut self, end: End) -> SessionId {
        self.tail.end(end);
        self.tail.write().unwrap();
        self.live.reached(self.tail.events(), self.tail.bytes(), self.tail.last_us());
        self.live.end(end);
        self.id
    }
}

pub fn events(archive: &Archive, id: SessionId) -> Vec<Event> {
    let mut recording = archive.open_recording(id).unwrap();
    let segments = recording.timeline().spans().len();
    (0..segments).flat_map(|segment| recording.events(segment).unwrap().to_vec()).collect()
}

pub fn header(layout: Layout) -> Header {
    let facts = Facts {
        format: 1,
        id: archive::new_id(),
        salt: "00112233445566778899aabbccddeeff".into(),
        started_us: 1_700_000_000_000_000,
        layout,
        person: Person { name: "alice".into(), ..Person::default() },
        source: "127.0.0.1:50000".into(),
        key: None,
        certificate: None,
        asked: None,
        connection: "c1".into(),
        target: "web1".into(),
        address: "127.0.0.1:22".into(),
        login: "root".into(),
        channel: "shell".into(),
        rule: "all".into(),
    };
    Header { cols: 80, rows: 24, command: None, title: "alice on web1".into(), env: [].into(), facts }
}

pub fn event(micros: u64, what: What) -> Event {
    Event { at: Elapsed::from_micros(micros), what }
}

pub fn output(n: u64, bytes: impl Into<Bytes>) -> Event {
    event(n * 1000, What::Output(bytes.into()))
}

/// Some hundred events that make several segments.
pub fn work() -> Vec<Event> {
    let mut events = vec![event(0, What::Opened(Bytes::new())), output(1, "$ ")];
    for n in 2..400 {
        events.push(match n % 50 {
            7 => event(n * 1000, What::Typed(1)),
            8 => event(n * 1000, What::Marker(format!("cmd #{n}"))),
            9 => event(n * 1000, What::Resize { cols: 80 + (n % 40) as u16, rows: 24 }),
            10 => output(n, &b"\xff\xfe no text \xe2\x82"[..]),
            _ => output(n, format!("\x1b[{}mline {n} {}\x1b[0m\r\n", 31 + n % 7, "xyz ".repeat(120))),
        });
    }
    events.push(event(401_000, What::Exit(recording::Exit::Status(3))));
    events
}

/// Output that no compressor makes shorter, in printable letters.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + (state >> 40) as u8 % 95
    };
    (0..len).map(|_| next()).collect()
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}
