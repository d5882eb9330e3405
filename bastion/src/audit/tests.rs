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

fn denial_of(name: &str) -> Act {
    Act::Denied {
        person: Person { name: name.into(), subject: name.into(), ..Person::default() },
        connection: "c".into(),
        target: "web1".into(),
        login: None,
        channel: "shell".into(),
        why: "no".into(),
    }
}

fn refusal_from(source: &str) -> Act {
    Act::SignInRefused {
        user: "x".into(),
        source: source.parse().unwrap(),
        key: None,
        person: None,
        why: "no".into(),
    }
}

/// How many entries of each act the trail was told, with the name or the source in them.
fn told(heard: &Heard) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for act in heard.lock().unwrap().iter() {
        let who = act["person"]["name"].as_str().or(act["source"].as_str()).unwrap_or_default();
        let by = act["refusals"].as_u64().unwrap_or(1);
        *counts.entry(format!("{} {who}", act["act"].as_str().unwrap())).or_default() += by;
    }
    counts
}

/// Denials as fast as they come wait for the trail's thread; a test that fills it would measure that.
async fn refuse_slowly(audit: &Audit, times: u64, act: impl Fn() -> Act) {
    for _ in 0..times {
        audit.refused(act());
        while audit.inbox.capacity() < INBOX_MAX {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn one_persons_noise_hides_nobody_elses_denial_and_is_told_at_the_end() {
    let (audit, heard) = heard();
    refuse_slowly(&audit, 5000, || denial_of("mallory")).await;
    refuse_slowly(&audit, 2, || denial_of("alice")).await;
    refuse_slowly(&audit, 1, || refusal_from("192.0.2.1:22")).await;
    audit.tell_what_is_left_out().await;

    let told = told(&heard);
    assert_eq!((told["denied mallory"], told["left-out mallory"]), (SHARE_A_MINUTE, 5000 - SHARE_A_MINUTE));
    assert_eq!((told["denied alice"], told["sign-in-refused 192.0.2.1:22"]), (2, 1));
}

#[tokio::test]
async fn a_source_that_is_turned_away_is_written_whatever_floods_the_trail() {
    let (audit, heard) = heard();
    for n in 0..IN_ALL_A_MINUTE + 100 {
        let source = format!("10.0.{}.{}:22", n / 256, n % 256);
        refuse_slowly(&audit, 1, || refusal_from(&source)).await;
    }
    refuse_slowly(&audit, SHARE_A_MINUTE + 50, || refusal_from("203.0.113.9:22")).await;
    let source = "203.0.113.9:22".parse().unwrap();
    audit.refused(Act::SourceTurnedAway { source, failed: 5 });
    audit.write(stopped("x")).await.unwrap();
    assert_eq!(told(&heard)["source-turned-away 203.0.113.9:22"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_is_told_when_the_minute_is_over_though_nothing_more_happens() {
    let (inbox, mut asked) = mpsc::channel(INBOX_MAX);
    let (audit, begun) = (Audit::with(inbox, None), Instant::now());
    for _ in 0..SHARE_A_MINUTE + 7 {
        audit.refused(refusal_from("192.0.2.1:22"));
    }
    for _ in 0..SHARE_A_MINUTE {
        asked.try_recv().unwrap();
    }
    let told = asked.recv().await.unwrap();
    assert!(begun.elapsed() >= brake::MINUTE && begun.elapsed() < 2 * brake::MINUTE);
    let told: Value = serde_json::from_slice(&told.entries[0]).unwrap();
    assert_eq!((&told["act"], &told["refusals"]), (&"left-out".into(), &7.into()));
    assert_eq!((&told["source"], &told["person"]), (&"192.0.2.1".into(), &Value::Null));
}

#[tokio::test]
async fn what_does_not_fit_into_the_inbox_is_counted() {
    let (inbox, mut asked) = mpsc::channel(1);
    let audit = Audit::with(inbox, None);
    for _ in 0..3 {
        audit.refused(refusal_from("192.0.2.1:22"));
    }
    drop(asked.try_recv().unwrap());
    let left_out = lock(&audit.inner.strangers).begin_anew(Instant::now());
    assert_eq!(left_out.iter().map(|(_, refusals)| refusals).sum::<u64>(), 2);
}

#[tokio::test]
async fn what_is_refused_while_the_trail_ends_is_written_if_it_came_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open_exclusive(folder.path()).unwrap();
    let recorder = Recorder::start(archive.clone(), RecorderSettings::default()).unwrap();
    let audit = Audit::begin(&recorder);
    let nothing = Asked { entries: Vec::new(), done: None };
    audit.inbox.try_send(nothing).unwrap();
    audit.refused(refusal_from("192.0.2.1:22"));
    audit.end().await;
    tokio::task::spawn_blocking(|| recorder.shutdown()).await.unwrap();
    assert_eq!(acts_in(&archive)[0]["act"], "sign-in-refused");
}
