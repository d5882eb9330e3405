//! Fingerprints of keys, as people type them.

/// SHA-256 in base64, without padding.
const CHARS: usize = 43;

/// Reads one: `SHA256:` and 43 characters of base64, as `ssh-keygen -lf KEY.pub` prints it.
///
/// # Errors
/// What it should look like, and where to find it.
pub fn read(text: &str) -> Result<String, String> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    match text.strip_prefix("SHA256:") {
        Some(print) if print.len() == CHARS && print.bytes().all(is_base64) => Ok(text.to_owned()),
        _ => Err(format!(
            "no fingerprint, which is SHA256: and {CHARS} characters of base64; `bastion bindings list` shows those that \
             sign people in, `ssh-keygen -lf KEY.pub` that of a file"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_sha256_in_base64_and_nothing_else_is() {
        let whole = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(read(whole).as_deref(), Ok(whole));
        let without = whole.trim_start_matches("SHA256:");
        let more = [format!("{whole}="), format!("{whole}A"), whole.replace('/', "-")];
        for wrong in ["foo", "", "SHA256:", "MD5:00:11", without, &whole[..49]]
            .into_iter()
            .chain(more.iter().map(String::as_str))
        {
            let refused = read(wrong).unwrap_err();
            assert!(
                refused.contains("43") && refused.contains("bastion bindings list"),
                "{wrong:?}: {refused}"
            );
        }
    }
}
