//! When a rule holds: days of the week and hours of the day, on the clocks of one time zone.

use std::fmt;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};

/// Days and hours, on the clocks of one time zone. A summer time change moves them as it moves the clocks.
#[derive(Clone, Debug)]
pub(crate) struct Hours {
    pub(super) days: Vec<Weekday>,
    pub(super) spans: Vec<Span>,
    pub(super) zone: TimeZone,
}

/// From this minute of a day up to, and without, that one. Where `to` is not after `from`, it is of the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    from: u16,
    to: u16,
}

const DAY_MINUTES: u16 = 24 * 60;
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Hours {
    /// Whether the instant (seconds since 1970, UTC) lies within; none if no calendar reaches that far.
    pub(crate) fn hold_at(&self, now: i64) -> Option<bool> {
        let local = Timestamp::from_second(now).ok()?.to_zoned(self.zone.clone());
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
        let today = self.days.contains(&local.weekday());
        let yesterday = self.days.contains(&local.weekday().previous());
        Some(self.spans.iter().any(|span| span.holds(minute, today, yesterday)))
    }
}

impl Span {
    /// All of a day.
    pub(super) const WHOLE_DAY: Span = Span { from: 0, to: DAY_MINUTES };

    /// Reads `08:00-18:00`; `22:00-06:00` goes on into the next day, `24:00` is the day's end.
    pub(super) fn parse(text: &str) -> Option<Span> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from.trim())?, minute(to.trim())?);
        (from < DAY_MINUTES && from != to).then_some(Span { from, to })
    }

    fn holds(self, minute: u16, today: bool, yesterday: bool) -> bool {
        if self.from < self.to {
            today && (self.from..self.to).contains(&minute)
        } else {
            today && minute >= self.from || yesterday && minute < self.to
        }
    }
}

/// Reads `mon`, or `mon-fri`; a stretch may go over the end of the week.
pub(super) fn days(text: &str) -> Option<Vec<Weekday>> {
    let day = |name: &str| DAYS.iter().position(|(known, _)| name.trim().eq_ignore_ascii_case(known));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let length = (last + DAYS.len() - first) % DAYS.len() + 1;
    Some(DAYS.iter().cycle().skip(first).take(length).map(|(_, day)| *day).collect())
}

/// All days of a week.
pub(super) fn every_day() -> Vec<Weekday> {
    DAYS.iter().map(|(_, day)| *day).collect()
}

/// Reads `HH:MM`, up to 24:00.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY_MINUTES).then_some(all)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> =
            DAYS.iter().filter(|(_, day)| self.days.contains(day)).map(|(name, _)| *name).collect();
        let spans: Vec<String> = self.spans.iter().map(Span::to_string).collect();
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} {} {zone}", days.join(","), spans.join(","))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{}-{}", clock(self.from), clock(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days_text: &str, span: &str, zone: &str) -> Hours {
        Hours {
            days: days(days_text).unwrap(),
            spans: vec![Span::parse(span).unwrap()],
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn office_hours_follow_the_clocks_of_their_zone_through_summer_time() {
        let office = hours("mon-fri", "08:00-18:00", "Europe/Berlin");
        assert_eq!(office.hold_at(at("2026-01-05T07:00:00Z")), Some(true), "08:00 in winter");
        assert_eq!(office.hold_at(at("2026-01-05T06:59:59Z")), Some(false));
        assert_eq!(office.hold_at(at("2026-07-06T06:00:00Z")), Some(true), "08:00 in summer");
        assert_eq!(office.hold_at(at("2026-07-06T16:00:00Z")), Some(false), "18:00 is over");
        assert_eq!(office.hold_at(at("2026-07-05T10:00:00Z")), Some(false), "a Sunday");
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let night = hours("fri", "22:00-06:00", "UTC");
        assert_eq!(night.hold_at(at("2026-11-20T23:00:00Z")), Some(true), "Friday night");
        assert_eq!(night.hold_at(at("2026-11-21T05:59:00Z")), Some(true), "Saturday before six");
        assert_eq!(
            night.hold_at(at("2026-11-20T05:00:00Z")),
            Some(false),
            "Friday before six is Thursday's night"
        );
        assert_eq!(night.hold_at(at("2026-11-21T23:00:00Z")), Some(false));
    }

    #[test]
    fn what_is_no_day_or_hour_is_refused() {
        for text in [
            "8-18",
            "08:00",
            "25:00-26:00",
            "08:60-09:00",
            "09:00-09:00",
            "24:00-08:00",
            "-1:00-02:00",
            "+8:00-09:00",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(days("sat-mon").unwrap().len(), 3);
        assert_eq!(days("friday"), None);
        assert_eq!(Span::parse("00:00-24:00"), Some(Span::WHOLE_DAY));
    }

    #[test]
    fn a_clock_beyond_every_calendar_answers_nothing() {
        assert_eq!(hours("mon-sun", "00:00-24:00", "UTC").hold_at(i64::MAX), None);
    }
}
