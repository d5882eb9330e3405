use std::{io::Write, os::unix::net::UnixStream as Blocking};

use archive::{
    Filter, Library, State,
    control::{Client, ControlFault},
};
use bytes::Bytes;
use recording::{Elapsed, Event, Layout, What};

use super::*;
use crate::recorder::{RecorderSettings, Tape, tests::header};

struct Bench {
    folder: tempfile::TempDir,
    recorder: Recorder,
    control: Control,
    orders: mpsc::Receiver<Order>,
}

impl Bench {
    /// Must be called within a runtime.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open_exclusive(folder.path()).unwrap();
        let recorder = Recorder::start(archive.clone(), RecorderSettings::default()).unwrap();
        let (order, orders) = mpsc::channel(4);
        let control = Control::start(folder.path(), archive, recorder.clone(), order).unwrap();
        Bench { folder, recorder, control, orders }
    }

    /// Asks from a thread that may wait, as another process does.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(Client) -> T + Send + 'static) -> T {
        let socket = self.control.socket().to_path_buf();
        tokio::task::spawn_blocking(move || ask(Client::connect(&socket).unwrap())).await.unwrap()
    }
}

fn output(n: u64) -> Event {
    Event { at: Elapsed::from_micros(n * 1000), what: What::Output(Bytes::from(format!("line {n}\r\n"))) }
}

async fn write(tape: &mut Tape, events: impl IntoIterator<Item = Event>) {
    let last = events.into_iter().map(|event| tape.append(event)).last().unwrap();
    while tape.positions().written < last {
        tape.reached().await.unwrap();
    }
}

fn events(recording: &mut OpenRecording) -> Vec<Event> {
    let segments = recording.timeline().spans().len();
    (0..segments).flat_map(|segment| recording.events(segment).unwrap().to_vec()).collect()
}

#[tokio::test]
async fn a_recording_reads_the_same_through_the_server_live_and_sealed() {
    let bench = Bench::new();
    let mut tape = bench.recorder.begin(header(Layout::Lines));
    let id = tape.id();
    write(&mut tape, (1..=9_000).map(output)).await;

    let mut recording = bench.ask(move |client| client.open_recording(id).unwrap()).await;
    let read = move || {
        let read = events(&mut recording);
        (recording, read)
    };
    let (mut recording, live) = tokio::task::spawn_blocking(read).await.unwrap();
    assert_eq!(live, (1..=9_000).map(output).collect::<Vec<_>>());

    write(&mut tape, (9_001..=12_000).map(output)).await;
    tape.close();
    bench.recorder.clone().shutdown();
    let (ended, read) = tokio::task::spawn_blocking(move || {
        recording.refresh().unwrap();
        (recording.has_ended().unwrap(), events(&mut recording))
    })
    .await
    .unwrap();
    assert!(ended);
    assert_eq!(read, (1..=12_000).map(output).collect::<Vec<_>>());
    assert_eq!(
        bench.ask(move |mut client| client.session(id).unwrap().unwrap().state).await,
        State::Finished
    );
    bench.ask(move |mut client| client.order(&Request::Verify { id }).unwrap()).await;
}

#[tokio::test]
async fn a_library_asks_the_server_while_there_is_one_and_opens_the_store_after() {
    let bench = Bench::new();
    let mut tape = bench.recorder.begin(header(Layout::Chunks));
    let id = tape.id();
    write(&mut tape, [output(1)]).await;
    let data = bench.folder.path().to_path_buf();
    let list = move || Library::open(Some(&data), None).unwrap().sessions(&Filter::default()).unwrap();
    let listed = tokio::task::spawn_blocking(list.clone()).await.unwrap();
    assert_eq!(listed.iter().map(|s| (s.id, s.state)).collect::<Vec<_>>(), [(id, State::Live)]);

    tape.close();
    let Bench { folder, recorder, control, orders } = bench;
    recorder.shutdown();
    drop((control, orders));
    for _ in 0..1000 {
        // The tasks of the socket let go of the store when the runtime has run them.
        if Archive::open_exclusive(folder.path()).is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let listed = tokio::task::spawn_blocking(list).await.unwrap();
    assert_eq!(listed.iter().map(|s| (s.id, s.state)).collect::<Vec<_>>(), [(id, State::Finished)]);
}

#[tokio::test]
async fn the_socket_is_for_its_user_alone_and_takes_the_place_of_a_stale_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap());
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    let recorder = Recorder::start(archive.clone(), RecorderSettings::default()).unwrap();
    let (order, _orders) = mpsc::channel(1);
    let control = Control::start(folder.path(), archive, recorder, order).unwrap();

    let mode = fs::metadata(control.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = control.socket().to_path_buf();
    let status = tokio::task::spawn_blocking(move || Client::connect(&socket).unwrap().status().unwrap());
    assert_eq!(status.await.unwrap().process, std::process::id());

    let socket = control.socket().to_path_buf();
    drop(control);
    assert!(!socket.exists());
}

#[tokio::test]
async fn nonsense_at_the_socket_harms_nobody_else() {
    let bench = Bench::new();
    let socket = bench.control.socket().to_path_buf();
    let mut bad = Vec::new();
    for nonsense in
        [&b"\n"[..], b"{}\n", b"{\"ask\":\"fly\"}\n", &[0xff; 100_000], b"{\"ask\":\"status\"", b""]
    {
        let mut stream = Blocking::connect(&socket).unwrap();
        // The server may hang up in the middle of it.
        drop(stream.write_all(nonsense));
        bad.push(stream);
    }

    assert_eq!(bench.ask(|mut client| client.status().unwrap().live_sessions).await, 0);
    let none = bench.ask(|mut client| client.session(archive::new_id()).unwrap()).await;
    assert_eq!(none, None);
    let fault = bench.ask(|client| client.open_recording(archive::new_id()).err().unwrap()).await;
    assert!(fault.0.contains("no such session"), "{fault}");
}

#[tokio::test]
async fn more_connections_than_there_are_places_wait_for_nobody() {
    let bench = Bench::new();
    let socket = bench.control.socket().to_path_buf();
    let held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| Blocking::connect(&socket).unwrap()).collect();
    let refused = bench.ask(|mut client| client.status()).await;
    assert!(matches!(refused, Err(ControlFault::Broken(..))), "{refused:?}");

    drop(held);
    for _ in 0..1000 {
        if bench.ask(|mut client| client.status().is_ok()).await {
            return;
        }
    }
    panic!("places were not given back");
}

#[tokio::test]
async fn orders_reach_the_server_and_its_refusal_reaches_who_asked() {
    let mut bench = Bench::new();
    let socket = bench.control.socket().to_path_buf();
    let asked =
        tokio::task::spawn_blocking(move || Client::connect(&socket).unwrap().order(&Request::Reload));
    let Some(Order { what: Request::Reload, tell, .. }) = bench.orders.recv().await else {
        panic!("a reload was asked for")
    };
    tell.send(Err("policy.toml:3: no".into())).unwrap();
    assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "policy.toml:3: no");

    let socket = bench.control.socket().to_path_buf();
    let asked =
        tokio::task::spawn_blocking(move || Client::connect(&socket).unwrap().order(&Request::Shutdown));
    let Some(Order { what: Request::Shutdown, tell, uid }) = bench.orders.recv().await else {
        panic!("a shutdown was asked for")
    };
    assert_eq!(uid, rustix::process::geteuid().as_raw());
    tell.send(Ok(Reply::Done("stopping".into()))).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "stopping");
}

#[tokio::test]
async fn a_socket_below_a_long_path_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120)).join("e".repeat(120));
    let archive = Archive::open_exclusive(&deep).unwrap();
    let recorder = Recorder::start(archive.clone(), RecorderSettings::default()).unwrap();
    let (order, _orders) = mpsc::channel(1);
    let control = Control::start(&deep, archive, recorder, order).unwrap();

    let socket = control.socket().to_path_buf();
    let status = tokio::task::spawn_blocking(move || Client::connect(&socket).unwrap().status().unwrap());
    assert_eq!(status.await.unwrap().data, deep.display().to_string());
}

#[tokio::test]
async fn segments_end_when_somebody_asks() {
    let bench = Bench::new();
    let mut tape = bench.recorder.begin(header(Layout::Lines));
    write(&mut tape, [output(1)]).await;
    bench.ask(|mut client| client.order(&Request::EndSegments).unwrap()).await;
    write(&mut tape, [output(2)]).await;

    let id = tape.id();
    let spans = bench
        .ask(move |client| {
            client.open_recording(id).unwrap().timeline().spans().iter().map(|s| s.events).collect::<Vec<_>>()
        })
        .await;
    assert_eq!(spans, [1, 1]);
}
