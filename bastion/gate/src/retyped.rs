//! A value of the wrong kind in a TOML file, as it was probably meant.

/// A longer value is not shown again.
const SHOWN_CHARS_MAX: usize = 80;

/// The way out for a value of the wrong kind: `message` is what serde says of it, `found` what stands in the file. None
/// for other faults.
pub fn retyped(message: &str, found: &str) -> Option<String> {
    let (kind, expected) = message.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let expected = expected.split([' ', ',']).next().map_or(expected, |article| match article {
        "a" | "an" => expected.get(article.len() + 1..).unwrap_or(expected),
        _ => expected,
    });
    let found = found.trim();
    let is_short = found.chars().count() <= SHOWN_CHARS_MAX && !found.contains('\n');
    let bare = found.trim_matches(['"', '\'']);
    match expected {
        "sequence" if kind.starts_with("string") && is_short => Some(format!("a list: [{found}]")),
        "sequence" => Some("a list, as in [\"...\"]".into()),
        "string" if kind.starts_with("integer") && is_short => {
            Some(format!("in quotes: \"{found}\"; a length of time with its unit, as in \"{found}m\""))
        }
        "string" if kind == "sequence" => Some("one text in quotes, without [ and ]".into()),
        "string" if is_short && !kind.starts_with("map") => Some(format!("in quotes: \"{found}\"")),
        "string" => Some("a text in quotes".into()),
        "boolean" if matches!(bare, "true" | "false") => Some(format!("without quotes: {bare}")),
        "boolean" => Some("true or false, without quotes".into()),
        "map" => Some("a table, as in { key = \"value\" }".into()),
        number if number.ends_with(['8', '6', '2', '4']) || number.ends_with("size") => {
            Some(match bare.parse::<u32>() {
                Ok(bare) => format!("without quotes: {bare}"),
                Err(_) => "a whole number, without quotes".into(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde says and what stood there: asked of the toml crate of this workspace.
    #[test]
    fn a_value_of_the_wrong_kind_is_told_as_it_was_probably_meant() {
        for (message, found, way_out) in [
            (
                "integer `2`, expected a string",
                "2",
                "in quotes: \"2\"; a length of time with its unit, as in \"2m\"",
            ),
            ("boolean `true`, expected a string", "true", "in quotes: \"true\""),
            ("sequence, expected a string", "[\"a\"]", "one text in quotes, without [ and ]"),
            ("string \"x\", expected a sequence", "\"x\"", "a list: [\"x\"]"),
            ("integer `3`, expected a sequence", "3", "a list, as in [\"...\"]"),
            ("string \"5\", expected usize", "\"5\"", "without quotes: 5"),
            ("string \"five\", expected a nonzero u16", "\"five\"", "a whole number, without quotes"),
            ("string \"true\", expected a boolean", "\"true\"", "without quotes: true"),
            ("integer `1`, expected a boolean", "1", "true or false, without quotes"),
            ("string \"x\", expected a map", "\"x\"", "a table, as in { key = \"value\" }"),
        ] {
            assert_eq!(
                retyped(&format!("invalid type: {message}"), found).as_deref(),
                Some(way_out),
                "{message}"
            );
        }
        assert_eq!(retyped("unknown field `a`, expected `b`", "a"), None);
        let long = format!("{:?}", "x".repeat(1000));
        assert_eq!(
            retyped(&format!("invalid type: string {long}, expected a sequence"), &long).unwrap().len(),
            "a list, as in [\"...\"]".len()
        );
    }
}
