//! Moments, as people and programs are told them. None is ever told without its zone.

use jiff::{Timestamp, tz::TimeZone};
use serde::Serializer;

/// For people, in this machine's zone: `2026-11-21 13:00:00+01:00`. It may be given back as `--since`.
pub fn local(micros: u64) -> String {
    shown(from_micros(micros))
}

/// The same of seconds since 1970 (UTC).
pub fn local_s(seconds: i64) -> String {
    shown(Timestamp::from_second(seconds).unwrap_or_default())
}

/// For programs, as RFC 3339 writes it, in UTC: `2026-11-21T12:00:00Z`. Of microseconds since 1970 (UTC).
pub fn rfc3339(micros: u64) -> String {
    from_micros(micros).to_string()
}

/// The same of seconds since 1970 (UTC).
pub fn rfc3339_s(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// Serializes seconds since 1970 (UTC) as [`rfc3339_s`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize_s<S: Serializer>(seconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339_s(*seconds))
}

fn shown(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

fn from_micros(micros: u64) -> Timestamp {
    let at = i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    at.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_are_shown_is_the_moment_that_programs_are_told_and_has_its_zone() {
        let moment = 1_700_000_000;
        assert_eq!(rfc3339_s(moment), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
        assert_eq!(local_s(moment), local(1_700_000_000_000_000));
        let read_again = crate::sessions::instant(&local_s(moment)).unwrap();
        assert_eq!(read_again.as_second(), moment, "{}", local_s(moment));
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_no_panic() {
        for told in [local(u64::MAX), rfc3339(u64::MAX), local_s(i64::MAX), rfc3339_s(i64::MIN)] {
            assert!(told.starts_with("1970-01-01") || told.starts_with("1969-12-31"), "{told}");
        }
    }
}
