//! What a recording is, in a few lines or as JSON.

use std::fmt::Write;

use serde_json::json;

use crate::{
    printable::printable_text,
    source::{self, Flaw, Source},
    view::clock,
};

/// The most characters that are shown of one value.
const VALUE_CHARS_MAX: usize = 300;

/// Reads all of the recording, and tells what it is and what is wrong with it.
pub fn info(source: &mut dyn Source, as_json: bool) -> (String, Option<Flaw>) {
    source::await_all(source);
    let flaw = source.check();
    (tell(source, flaw.as_ref(), as_json), flaw)
}

fn tell(source: &dyn Source, flaw: Option<&Flaw>, as_json: bool) -> String {
    let timeline = source.timeline();
    let (about, end) = (source.about(), timeline.end());
    let events: u64 = timeline.spans().iter().map(|span| span.events).sum();
    let keyframes = source.keyframes();
    let markers: Vec<_> = timeline.markers().collect();
    let flaw = flaw.map(Flaw::to_string);
    if as_json {
        let told = json!({
            "source": about.name,
            "session": source.header().facts.as_ref().map(|facts| facts.id),
            "principal": about.principal,
            "login": about.login,
            "target": about.target,
            "started": about.started(),
            "command": about.command,
            "title": about.title,
            "cols": about.size.0,
            "rows": about.size.1,
            "duration_s": end.as_secs_f64(),
            "outcome": timeline.outcome(),
            "events": events,
            "segments": timeline.spans().len(),
            "keyframes": keyframes,
            "markers": markers.iter().map(|(at, label)| json!([at.as_secs_f64(), label])).collect::<Vec<_>>(),
            "flaw": flaw,
        });
        return format!("{told}\n");
    }
    let mut text = String::new();
    let mut tell = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(text, "{name:<10} {}", printable_text(&value, VALUE_CHARS_MAX))
                .expect("a string takes all");
        }
    };
    tell("source", Some(about.name.clone()));
    tell("session", source.header().facts.as_ref().map(|facts| facts.id.to_string()));
    tell("principal", about.principal.clone());
    tell("login", about.login.clone());
    tell("target", about.target.clone());
    tell("started", about.started());
    tell("command", about.command.clone());
    tell("title", about.title.clone());
    tell("size", Some(format!("{}x{}", about.size.0, about.size.1)));
    tell("duration", Some(clock(end)));
    tell("ended", Some(timeline.outcome().to_string()).filter(|outcome| !outcome.is_empty()));
    tell("events", Some(events.to_string()));
    tell("key frames", Some(format!("{keyframes} in {} segments", timeline.spans().len())));
    for (at, label) in markers {
        tell("marker", Some(format!("{} {label}", clock(at))));
    }
    tell("flaw", flaw);
    text
}
