//! `bastion audit`, and the entries that other commands write.

use std::{io::Write, path::Path};

use archive::{
    Archive, Filter, Library, LibraryFault,
    control::{Client, Request, SOCKET},
};
use jiff::Timestamp;
use recording::{Source, What};
use serde_json::{Map, Value};
use strum::VariantNames;

use super::{Act, Audit};
use crate::{
    failure::Failure,
    place::PlaceArgs,
    recorder::{Recorder, RecorderSettings},
    sessions::{instant, printable},
    settings::Settings,
    times::{local, local_s, rfc3339},
};

/// `bastion audit`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bastion audit --since 2d\n  bastion audit --user alice --act sign-in-refused --json\n\ndocs/audit.md lists the acts."
)]
pub struct AuditArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// About this person, by name
    #[arg(long)]
    user: Option<String>,
    /// Only acts of this kind; may be given more than once
    #[arg(long, value_name = "ACT", value_parser = act)]
    act: Vec<String>,
    /// At this time or later: 2h, 3d, 2026-11-21, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// As JSON, with the texts of files
    #[arg(long)]
    json: bool,
}

/// An entry of another kind is in no trail: a slip here would read as "that never happened".
fn act(text: &str) -> Result<String, String> {
    if Act::VARIANTS.contains(&text) {
        return Ok(text.to_owned());
    }
    let meant = gate::nearest(text, Act::VARIANTS.iter().copied());
    let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    Err(format!("no such act; {meant}The acts are {}", Act::VARIANTS.join(", ")))
}

/// Runs `bastion audit`.
///
/// # Errors
/// If there is no server and no store, or a piece of the trail cannot be read: what can be is printed before.
pub fn run(args: &AuditArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let place = args.place.find()?;
    let filter = Filter { audit: true, ..Filter::default() };
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    if let Some(library) = place.library()? {
        for summary in library.sessions(&filter)?.iter().rev() {
            if let Err(fault) = read(&library, summary.id, &mut entries) {
                faults.push(format!("{}: {fault}", summary.id));
            }
        }
    }
    entries.retain(|entry| args.asks_for(entry));
    // Each piece is in order; a clock that was set back between two of them does not turn the order around for long.
    entries.sort_by_key(time_us);
    if args.json {
        let told: Vec<Value> = entries.into_iter().map(|entry| Value::Object(with_time(entry))).collect();
        writeln!(out, "{}", Value::Array(told))?;
    } else if entries.is_empty() {
        writeln!(out, "no entry matches in {}", place.data().display())?;
    } else {
        for entry in &entries {
            writeln!(out, "{}", line(entry))?;
        }
    }
    match faults.first() {
        None => Ok(0),
        Some(first) => {
            let more = faults.len() - 1;
            let what = format!("a piece of the audit trail cannot be read (and {more} more): {first}");
            Err(Failure::new(what, "look at the file that is named"))
        }
    }
}

impl AuditArgs {
    fn asks_for(&self, entry: &Map<String, Value>) -> bool {
        let micros = |at: &Timestamp| u64::try_from(at.as_microsecond()).unwrap_or_default();
        let at = time_us(entry);
        let act = entry.get("act").and_then(Value::as_str).unwrap_or_default();
        (self.act.is_empty() || self.act.iter().any(|wanted| wanted == act))
            && self.since.as_ref().is_none_or(|since| micros(since) <= at)
            && self.until.as_ref().is_none_or(|until| at < micros(until))
            && self.user.as_ref().is_none_or(|user| is_about(entry, user))
    }
}

/// Whether the entry names this person: as the one it is about, as who wanted it, or as the user name that was given, with
/// a target behind it (`alice/web1`) or not.
fn is_about(entry: &Map<String, Value>, user: &str) -> bool {
    let name = |value: Option<&Value>| value?.get("name")?.as_str().map(str::to_owned);
    let by = entry.get("by").and_then(|by| by.get("person"));
    let named = [name(entry.get("person")), name(by)];
    let given = ["user", "name"].map(|key| entry.get(key).and_then(Value::as_str).map(str::to_owned));
    let is_hers = |found: &String| {
        let first = found.split(['%', '/']).next().unwrap_or_default();
        first.eq_ignore_ascii_case(user) || found == user
    };
    named.iter().chain(&given).flatten().any(is_hers)
}

fn read(
    library: &Library,
    id: recording::SessionId,
    entries: &mut Vec<Map<String, Value>>,
) -> Result<(), LibraryFault> {
    let mut recording = library.open_recording(id)?;
    for segment in 0..recording.timeline().spans().len() {
        for event in recording.events(segment)?.iter() {
            if let What::Act(json) = &event.what
                && let Ok(Value::Object(entry)) = serde_json::from_slice(json)
            {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

fn time_us(entry: &Map<String, Value>) -> u64 {
    entry.get("time_us").and_then(Value::as_u64).unwrap_or_default()
}

/// With its time as everything else tells times, in front.
fn with_time(entry: Map<String, Value>) -> Map<String, Value> {
    let time = Value::String(rfc3339(time_us(&entry)));
    let rest = entry.into_iter().filter(|(key, _)| key != "time_us");
    std::iter::once(("time".to_owned(), time)).chain(rest).collect()
}

/// Keys that hold a moment.
const TIMES: [&str; 2] = ["at_provider", "expires_at"];

/// `2026-11-21 12:00:00+00:00  signed-in  person=alice source=127.0.0.1:5022`
fn line(entry: &Map<String, Value>) -> String {
    let act = entry.get("act").and_then(Value::as_str).unwrap_or("?");
    let rest =
        entry.iter().filter(|(key, value)| !["act", "time_us"].contains(&key.as_str()) && !value.is_null());
    let told: Vec<String> = rest.map(|(key, value)| format!("{key}={}", told(key, value))).collect();
    printable(&format!("{}  {act:16}  {}", local(time_us(entry)), told.join(" ")))
}

fn told(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if key == "text" => format!("({} bytes)", text.len()),
        Value::String(text) if TIMES.contains(&key) => {
            text.parse::<Timestamp>().map_or(text.clone(), |at| local_s(at.as_second()).replacen(' ', "T", 1))
        }
        Value::String(text) if text.contains(char::is_whitespace) || text.is_empty() => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Array(several) => several.iter().map(|one| told(key, one)).collect::<Vec<_>>().join(","),
        Value::Object(fields) => match (fields.get("name"), fields.get("file"), fields.iter().next()) {
            (Some(name), _, _) => told(key, name),
            (_, Some(file), _) => told(key, file),
            (_, _, Some((kind, one))) if key == "by" => told(kind, one),
            (_, _, Some((_, one))) => told(key, one),
            (_, _, None) => String::new(),
        },
        other => other.to_string(),
    }
}

/// Writes what a command is about to do: through the server, if one runs on this data folder, else into the store.
///
/// # Errors
/// When it cannot be written; then the command must not do it.
pub async fn write_as_command(settings: &Settings, acts: &[Act]) -> Result<(), Failure> {
    let Ok(mut client) = Client::connect(&settings.data.join(SOCKET)) else {
        return write_into_store(&settings.data, acts).await;
    };
    for act in acts {
        let Ok(Value::Object(act)) = serde_json::to_value(act) else {
            return Err(Failure::new("an entry of the audit trail is no object", "report this as a mistake"));
        };
        client.order(&Request::Record { act }).map_err(|fault| {
            let what = format!("the audit trail cannot be written: {fault}");
            Failure::new(what, "look at the server's log")
        })?;
    }
    Ok(())
}

/// The same where no server runs on this folder.
///
/// # Errors
/// As [`write_as_command`].
pub async fn write_into_store(data: &Path, acts: &[Act]) -> Result<(), Failure> {
    let unwritten = |fault: &dyn std::fmt::Display| {
        let what = format!("the audit trail cannot be written: {fault}");
        Failure::new(what, format!("run this as the owner of {}, and look at that folder", data.display()))
    };
    let owner = std::fs::metadata(data).ok().map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    let user = rustix::process::geteuid().as_raw();
    if let Some(owner) = owner.filter(|owner| *owner != user) {
        return Err(unwritten(&format!("{} belongs to user {owner}, and this is {user}", data.display())));
    }
    let archive = Archive::open_exclusive(data).map_err(|fault| unwritten(&fault))?;
    let recorder =
        Recorder::start(archive, RecorderSettings::default()).map_err(|fault| unwritten(&fault))?;
    let audit = Audit::begin(&recorder);
    let written = audit.write_all(acts).await;
    audit.end().await;
    let ended = tokio::task::spawn_blocking(move || recorder.shutdown()).await;
    written.map_err(|fault| unwritten(&fault))?;
    ended.map_err(|fault| unwritten(&fault))
}

#[cfg(test)]
mod tests {
    use super::super::By;
    use super::*;

    #[test]
    fn an_act_that_nothing_writes_is_refused_with_the_one_that_was_meant_and_all_there_are() {
        assert_eq!(act("sign-in-refused"), Ok("sign-in-refused".to_owned()));
        let refused = act("signed-on").unwrap_err();
        assert!(
            refused.contains("did you mean signed-in? ") && refused.contains(", target-pinned"),
            "{refused}"
        );
        assert!(!act("xyzzy").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn what_an_act_is_called_in_the_trail_is_what_is_asked_for_and_the_document_names_it() {
        let acts = [
            Act::ServerStopped { by: By::Bastion },
            Act::LeftOut { refusals: 1, source: None, person: None },
            Act::KeyMade { name: "k".into(), key: "SHA256:x".into(), by: By::Bastion },
        ];
        for written in acts {
            let written = serde_json::to_value(&written).unwrap();
            assert!(Act::VARIANTS.iter().any(|name| written["act"] == *name), "{written}");
        }
        let document = include_str!("../../../docs/audit.md");
        for name in Act::VARIANTS {
            assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/audit.md");
        }
    }
}
