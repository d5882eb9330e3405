//! Tests of the trail, and one for others' tests that keeps what it is told in memory.

use std::sync::{Arc, Mutex};

use archive::Archive;
use recording::Source;

use super::*;
use crate::recorder::RecorderSettings;

/// What a trail was told, as JSON.
pub type Heard = Arc<Mutex<Vec<Value>>>;

/// A trail that takes everything at once.
pub fn heard() -> (Audit, Heard) {
    let (inbox, mut asked) = mpsc::channel::<Asked>(INBOX_MAX);
    let heard = Heard::default();
    let keeps = heard.clone();
    std::thread::spawn(move || {
        while let Some(Asked { entries, done }) = asked.blocking_recv() {
            let read = entries.iter().map(|entry| serde_json::from_slice(entry).unwrap());
            keeps.lock().unwrap().extend(read);
            drop(done.map(|done| done.send(Ok(()))));
        }
    });
    (Audit::with(inbox, None), heard)
}

/// A trail that is over, so that nothing can be written.
pub fn unwritable() -> Audit {
    Audit::with(mpsc::channel(1).0, None)
}

fn stopped(signal: &str) -> Act {
    Act::ServerStopped { by: By::Signal(signal.into()) }
}

fn acts_in(archive: &Archive) -> Vec<Value> {
    let filter = archive::Filter { audit: true, ..Default::default() };
    let mut acts = Vec::new();
    for summary in archive.sessions(&filter).unwrap().iter().rev() {
        let mut recording = archive.open_recording(summary.id).unwrap();
        for segment in 0..recording.timeline().spans().len() {
            for event in recording.events(segment).unwrap().iter() {
                let What::Act(json) = &event.what else { panic!("{event:?}") };
                acts.push(serde_json::from_slice(json).unwrap());
            }
        }
    }
    acts
}

#[tokio::test]
async fn what_was_written_is_read_back_in_order_and_is_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    let recorder = Recorder::start(archive.clone(), RecorderSettings::default()).unwrap();
    let audit = Audit::begin(&recorder);
    for signal in ["A", "B"] {
        audit.write(stopped(signal)).await.unwrap();
    }
    let live = acts_in(&archive);
    assert_eq!(live.iter().map(|act| &act["by"]["signal"]).collect::<Vec<_>>(), ["A", "B"]);
    assert!(live.iter().all(|act| act["act"] == "server-stopped" && act["time_us"].as_u64() > Some(0)));

    audit.end().await;
    assert!(audit.write(stopped("C")).await.is_err(), "it is over");
    tokio::task::spawn_blocking(|| recorder.shutdown()).await.unwrap();
    assert_eq!(acts_in(&archive), live);
    assert_eq!(archive.sessions(&archive::Filter::default()).unwrap(), []);
    assert_eq!(archive.last().unwrap(), None);
}

#[tokio::test]
async fn the_text_of_a_file_is_written_once_and_its_hash_with_every_rules() {
    let (audit, heard) = heard();
    let text = "é".repeat(TEXT_CHARS_MAX + 1);
    let file = FileRead { file: "policy.toml".into(), text: text.as_str().into() };
    for _ in 0..2 {
        audit.write_rules(By::Bastion, std::slice::from_ref(&file)).await.unwrap();
    }

    let heard = heard.lock().unwrap();
    let acts: Vec<_> = heard.iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["file-text", "file-text", "rules-in-force", "rules-in-force"]);
    let pieces: String = heard.iter().filter_map(|act| act["text"].as_str()).collect();
    assert_eq!(pieces, text);
    let sums: Vec<_> =
        heard.iter().map(|act| act["sha256"].as_str().or(act["files"][0]["sha256"].as_str())).collect();
    assert!(sums.iter().all(|sum| *sum == sums[0] && sum.is_some_and(|sum| sum.len() == 64)), "{sums:?}");
}

#[test]
fn refusals_beyond_the_bound_are_counted_and_told_with_the_next() {
    let begun = Instant::now();
    let mut brake = Brake { begun, written: 0, left_out: 0 };
    let passed = (0..REFUSALS_A_MINUTE + 7).filter(|_| brake.passes(begun).is_some()).count();
    assert_eq!(passed as u64, REFUSALS_A_MINUTE);

    assert_eq!(brake.passes(begun + MINUTE), Some(7));
    assert_eq!(brake.passes(begun + MINUTE), Some(0));
}

#[tokio::test]
async fn what_was_left_out_is_told_before_the_next_refusal() {
    let (audit, heard) = heard();
    audit.inner.people.lock().unwrap().left_out = 7;
    audit.denied(stopped("x"));
    audit.write(stopped("y")).await.unwrap();

    let acts: Vec<_> = heard.lock().unwrap().iter().map(|act| act["act"].clone()).collect();
    assert_eq!(acts, ["left-out", "server-stopped", "server-stopped"]);
    assert_eq!(heard.lock().unwrap()[0]["refusals"], 7);
}
