//! `bastion sessions`: what was recorded.

use std::io::Write;

use archive::{Filter, Library, Match, OpenRecording, State, Summary};
use jiff::{SignedDuration, Timestamp, Zoned, civil};
use recording::Source;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    place::PlaceArgs,
    times::{local, rfc3339},
};

/// `bastion sessions`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bastion sessions --user alice --since 2d\n  bastion sessions --target web1 --since 2026-11-20 --until 2026-11-21T12:00:00Z --json\n  bastion sessions show last\n\nWatch one:  replay ID"
)]
pub struct SessionsArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Of this person, by name
    #[arg(long)]
    user: Option<String>,
    /// To this target
    #[arg(long)]
    target: Option<String>,
    /// Still going on at this time or later: 2h, 3d, 2026-11-21, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Begun before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<SessionsCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum SessionsCommand {
    /// Everything about one session
    #[command(after_help = "Example:  bastion sessions show 01JD7W8Z6K3Q9V5B2N4M8R1T0X")]
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The session's id, or the beginning of it if no other begins so; or `last`
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs `bastion sessions`.
///
/// # Errors
/// If there is no server and no store, or what was asked for is not there.
pub fn run(args: &SessionsArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    if let Some(SessionsCommand::Show(show)) = &args.command {
        return show_one(args, &show.id, out);
    }
    let micros = |at: Option<Timestamp>| at.map(|at| u64::try_from(at.as_microsecond()).unwrap_or_default());
    let filter = Filter {
        user: args.user.clone(),
        target: args.target.clone(),
        since_us: micros(args.since),
        until_us: micros(args.until),
        audit: false,
    };
    let place = args.place.find()?;
    let sessions = place.sessions(&filter)?;
    if args.json {
        let told: Vec<Told> = sessions.iter().map(Told::of).collect();
        writeln!(out, "{}", serde_json::to_string(&told).map_err(std::io::Error::other)?)?;
    } else if sessions.is_empty() {
        writeln!(out, "no session matches in {}", place.data().display())?;
    } else {
        write!(out, "{}", table(&sessions))?;
    }
    Ok(0)
}

/// A time as people write it: how long ago, a day, or RFC 3339.
///
/// # Errors
/// If it is none of these.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time; write 2h, 3d, 2026-11-21 or 2026-11-21T12:00:00Z");
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Ok(at.timestamp());
    }
    // A time of day without its zone is none of these: taken as the day alone it would say more than was asked.
    if let (Ok(day), false) = (text.parse::<civil::Date>(), text.contains(['T', 't', ' '])) {
        let begin = day.to_zoned(jiff::tz::TimeZone::system()).map_err(|_| wrong())?;
        return Ok(begin.timestamp());
    }
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<i64>().ok());
    let hours = days.and_then(|days| days.checked_mul(24));
    let ago = match hours {
        Some(hours) => SignedDuration::from_hours(hours.clamp(0, 24 * 365_000)),
        None => text.parse::<SignedDuration>().map_err(|_| wrong())?,
    };
    Timestamp::now().checked_sub(ago.abs()).map_err(|_| wrong())
}

/// One session, as JSON tells it: what the list knows, and times that people can read.
#[derive(Serialize)]
struct Told {
    started: String,
    ended: Option<String>,
    #[serde(flatten)]
    summary: Map<String, Value>,
}

impl Told {
    fn of(summary: &Summary) -> Self {
        let (started, ended) = (rfc3339(summary.started_us), summary.ended_us.map(rfc3339));
        let summary = match serde_json::to_value(summary) {
            Ok(Value::Object(summary)) => summary,
            _ => Map::new(), // a summary is an object, and writing one cannot fail
        };
        let is_kept = |key: &str| !["started_us", "ended_us"].contains(&key);
        Told { started, ended, summary: summary.into_iter().filter(|(key, _)| is_kept(key)).collect() }
    }
}

fn show_one(args: &SessionsArgs, wanted: &str, out: &mut dyn Write) -> Result<u8, Failure> {
    let place = args.place.find()?;
    let Some(library) = place.library()? else {
        let what = format!("nothing was recorded yet in {}", place.data().display());
        return Err(Failure::new(what, "--data FOLDER or --config FILE, if that is another bastion's"));
    };
    let summary = find(&library, wanted)?;
    let recording = library.open_recording(summary.id)?;
    if args.json {
        let text = serde_json::to_string(&Shown::of(summary, &recording)).map_err(std::io::Error::other)?;
        writeln!(out, "{text}")?;
    } else {
        write!(out, "{}", description(&summary, &recording))?;
    }
    Ok(0)
}

/// One session and its recording, as JSON tells them.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    told: Told,
    segments: usize,
    key_frames: usize,
    /// Seconds since the beginning, and label.
    markers: Vec<(f64, String)>,
    /// Its own first line, as it was written.
    header: Value,
}

impl Shown {
    fn of(summary: Summary, recording: &OpenRecording) -> Self {
        let timeline = recording.timeline();
        Shown {
            told: Told::of(&summary),
            segments: timeline.spans().len(),
            key_frames: timeline.spans().iter().filter(|span| span.has_keyframe).count(),
            markers: timeline.markers().map(|(at, label)| (at.as_secs_f64(), label.to_owned())).collect(),
            header: serde_json::from_slice(recording.header_line()).unwrap_or_default(),
        }
    }
}

/// The session of this id, of an id that begins so, or the last.
fn find(library: &Library, wanted: &str) -> Result<Summary, Failure> {
    let unknown = |why: String| Failure::new(why, "bastion sessions");
    if wanted == "last" {
        return library.last()?.ok_or_else(|| unknown("nothing was recorded yet".into()));
    }
    match library.find(wanted)? {
        Match::One(summary) => Ok(*summary),
        Match::None => Err(unknown(format!("no session has the id {wanted:?}, or one that begins so"))),
        Match::Several(one, other) => {
            Err(unknown(format!("{wanted:?} begins the ids {one}, {other} and perhaps more")))
        }
    }
}

fn table(sessions: &[Summary]) -> String {
    let rows: Vec<[String; 8]> = sessions
        .iter()
        .map(|s| {
            [
                s.id.to_string(),
                local(s.started_us),
                duration(s.duration_us),
                printable(&s.person),
                printable(&format!("{}@{}", s.login, s.target)),
                state(s.state).to_owned(),
                short(&printable(&s.outcome.to_string())),
                printable(s.command.as_deref().unwrap_or(&s.channel)),
            ]
        })
        .collect();
    let titles = ["ID", "STARTED", "FOR", "WHO", "WHERE", "STATE", "ENDED", "WHAT"].map(str::to_owned);
    let mut widths = [0; 8];
    for row in rows.iter().chain([&titles]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&titles].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn description(summary: &Summary, recording: &OpenRecording) -> String {
    let facts = &recording.session().facts;
    let person = &facts.person;
    let mut lines = vec![
        ("session", summary.id.to_string()),
        ("who", format!("{} ({} at {})", person.name, person.subject, person.issuer)),
        ("groups", person.groups.join(", ")),
        ("from", facts.source.clone()),
        ("key", facts.key.clone().unwrap_or_default()),
        ("cert", facts.certificate.as_ref().map(certificate).unwrap_or_default()),
        ("where", format!("{}@{} ({})", facts.login, facts.target, facts.address)),
        ("what", format!("{} {}", facts.channel, recording.session().command.as_deref().unwrap_or_default())),
        (
            "asked",
            facts
                .asked
                .as_ref()
                .map(|asked| format!("{asked} (the certificate forced the command)"))
                .unwrap_or_default(),
        ),
        ("rule", facts.rule.clone()),
        ("started", local(summary.started_us)),
        ("lasted", duration(summary.duration_us)),
        ("state", state(summary.state).to_owned()),
        ("ended", summary.outcome.to_string()),
        ("recorded", format!("{} events, {} bytes", summary.events, summary.bytes)),
    ];
    let spans = recording.timeline().spans();
    let frames = spans.iter().filter(|span| span.has_keyframe).count();
    lines.push(("segments", format!("{}, key frames {frames}", spans.len())));
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        text += &format!("{name:10}{}\n", printable(value.trim()));
    }
    for (at, label) in recording.timeline().markers() {
        text += &format!("{:10}{}\n", duration(at.as_micros()), printable(label));
    }
    text
}

fn certificate(shown: &recording::Certificate) -> String {
    format!("{}, serial {}, of {}", shown.key_id, shown.serial, shown.authority)
}

/// What a column has room for; `sessions show` has all of it.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.chars().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some(_) => text.chars().take(CHARS_MAX - 1).chain(['\u{2026}']).collect(),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Finished => "finished",
        State::Interrupted => "interrupted",
    }
}

/// Text of a recording, without anything that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|ch| if is_harmless(ch) { ch } else { '\u{fffd}' }).collect()
}

fn is_harmless(ch: char) -> bool {
    let turns =
        matches!(ch, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    !ch.is_control() && !turns
}

/// `1:02:03`, `2:03`, or `0.4s`.
fn duration(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0..10) => format!("{:.1}s", micros as f64 / 1e6),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests;
