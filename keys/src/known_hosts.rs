//! Which host keys are trusted: lines as OpenSSH keeps them in `known_hosts` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

mod certificate;

use aws_lc_rs::hmac;
use russh_keys::keys::ssh_key::{
    Algorithm, HashAlg, PublicKey,
    known_hosts::{Entry, HostPatterns, Marker},
};

pub use certificate::HostCertificateFault;

/// The default port of SSH: a host is named without a port there, and as `[host]:port` elsewhere.
const SSH_PORT: u16 = 22;

/// Lines that say which key a host has. Order does not matter: `@revoked` wins wherever it stands.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

/// What the known lines say about a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyVerdict {
    /// A line names this host with this key.
    Known,
    /// No line names this host.
    Unknown,
    /// Lines name this host, with other keys: these.
    Changed(Vec<PublicKey>),
    /// A `@revoked` line names this host with this key.
    Revoked,
}

/// Why a line is none that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnownHostsFault {
    /// It cannot be read.
    #[error("line {line} is no known_hosts line: {text:?}")]
    NotALine {
        /// Counted from 1.
        line: usize,
        /// How it begins.
        text: String,
    },
}

/// So much of a wrong line is shown.
const SHOWN_CHARS_MAX: usize = 60;

impl KnownHosts {
    /// Reads lines. Empty ones and comments are skipped.
    ///
    /// # Errors
    /// At the first line that cannot be used: a pin that is skipped in silence is a host that cannot be reached,
    /// or a revocation that does not hold.
    pub fn parse(text: &str) -> Result<Self, KnownHostsFault> {
        let mut known = KnownHosts::default();
        for (index, line) in text.lines().enumerate() {
            known.add(index + 1, line)?;
        }
        Ok(known)
    }

    /// A line that names `host` at `port` with `key`, as `known_hosts` has it.
    pub fn line(host: &str, port: u16, key: &PublicKey) -> String {
        let key = PublicKey::new(key.key_data().clone(), "");
        format!("{} {}", host_and_port(host, port), key.to_openssh().unwrap_or_default().trim_end())
    }

    /// Takes all lines of `other` too.
    pub fn extend(&mut self, other: KnownHosts) {
        self.entries.extend(other.entries);
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there no line at all?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the lines say about `key`, shown by `host` at `port`.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> HostKeyVerdict {
        if self.is_revoked(host, port, key) {
            return HostKeyVerdict::Revoked;
        }
        let known = self.keys(host, port);
        if known.iter().any(|known| known.key_data() == key.key_data()) {
            return HostKeyVerdict::Known;
        }
        if known.is_empty() { HostKeyVerdict::Unknown } else { HostKeyVerdict::Changed(known) }
    }

    /// The keys by which `host` at `port` is known.
    pub fn keys(&self, host: &str, port: u16) -> Vec<PublicKey> {
        self.of(host, port, None).map(|entry| entry.public_key().clone()).collect()
    }

    /// The algorithms of those keys: asked for first, so that a host with several keys shows the known one.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        self.of(host, port, None).map(|entry| entry.public_key().algorithm()).collect()
    }

    fn is_revoked(&self, host: &str, port: u16, key: &PublicKey) -> bool {
        let mut revoked = self.of(host, port, Some(Marker::Revoked));
        revoked.any(|entry| entry.public_key().key_data() == key.key_data())
    }

    fn of<'a>(
        &'a self,
        host: &'a str,
        port: u16,
        marker: Option<Marker>,
    ) -> impl Iterator<Item = &'a Entry> + 'a {
        let wanted = host_and_port(host, port);
        self.entries
            .iter()
            .filter(move |entry| entry.marker().copied() == marker)
            .filter(move |entry| names(entry.host_patterns(), &wanted))
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), KnownHostsFault> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        // ssh-key splits at single spaces; OpenSSH at any run of spaces and tabs.
        let spaced = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let entry: Entry = spaced.parse().map_err(|_| KnownHostsFault::NotALine {
            line: number,
            text: line.chars().take(SHOWN_CHARS_MAX).collect(),
        })?;
        self.entries.push(entry);
        Ok(())
    }
}

/// The fingerprint people compare: `SHA256:` and base64.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// OpenSSH lowers names before it looks them up, and so before it hashes them.
fn host_and_port(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == SSH_PORT { host } else { format!("[{host}]:{port}") }
}

fn names(patterns: &HostPatterns, wanted: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, wanted.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let matches = |pattern: &str| glob(pattern.to_ascii_lowercase().as_bytes(), wanted.as_bytes());
            let denied = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(matches);
            !denied && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|p| matches(p))
        }
    }
}

/// `*` is any run of bytes, `?` any one byte. Goes back to the last star alone, so its time is bounded by the
/// product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    fn known(lines: &str) -> KnownHosts {
        KnownHosts::parse(lines).unwrap()
    }

    #[test]
    fn a_pinned_key_is_known_at_its_host_and_port_alone() {
        let known = known(&format!("web.example {A}\n[web.example]:2200 {B}\n"));

        assert_eq!(known.check("web.example", 22, &key(A)), HostKeyVerdict::Known);
        assert_eq!(known.check("WEB.example", 22, &key(A)), HostKeyVerdict::Known);
        assert_eq!(known.check("web.example", 2200, &key(B)), HostKeyVerdict::Known);
        assert_eq!(known.check("web.example", 22, &key(B)), HostKeyVerdict::Changed(vec![key(A)]));
        assert_eq!(known.check("web.example", 2201, &key(A)), HostKeyVerdict::Unknown);
        assert_eq!(known.check("db.example", 22, &key(A)), HostKeyVerdict::Unknown);
    }

    /// Made by `ssh-keygen -H` for `example.com`.
    #[test]
    fn a_hashed_line_names_its_host_and_no_other() {
        let hashed = known(&format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {B}"));

        assert_eq!(hashed.check("example.com", 22, &key(B)), HostKeyVerdict::Known);
        assert_eq!(hashed.check("example.com", 22, &key(A)), HostKeyVerdict::Changed(vec![key(B)]));
        assert_eq!(hashed.check("example.com", 2222, &key(B)), HostKeyVerdict::Unknown);
        assert_eq!(hashed.check("example.org", 22, &key(B)), HostKeyVerdict::Unknown);
    }

    #[test]
    fn a_revoked_key_is_refused_wherever_its_line_stands() {
        let after = known(&format!("web {A}\n@revoked * {A}"));
        let before = known(&format!("@revoked\tweb   {A}\nweb {A}"));

        assert_eq!(after.check("web", 22, &key(A)), HostKeyVerdict::Revoked);
        assert_eq!(before.check("web", 22, &key(A)), HostKeyVerdict::Revoked);
        assert_eq!(before.check("web", 22, &key(B)), HostKeyVerdict::Changed(vec![key(A)]));
    }

    #[test]
    fn an_authority_is_no_host_key() {
        let known = known(&format!("@cert-authority *.example {A}\nweb.example {B}"));

        assert_eq!(known.check("web.example", 22, &key(A)), HostKeyVerdict::Changed(vec![key(B)]));
        assert_eq!(known.check("db.example", 22, &key(A)), HostKeyVerdict::Unknown);
        assert_eq!(known.authorities("db.example", 22), [key(A)]);
        assert_eq!(known.authorities("db.example", 2200), []);
        assert_eq!(known.algorithms("db.example", 22), []);
    }

    #[test]
    fn patterns_and_negations_are_understood() {
        let known = known(&format!("*.example,!secret.example,10.0.?.1 {A}"));

        assert_eq!(known.check("web.example", 22, &key(A)), HostKeyVerdict::Known);
        assert_eq!(known.check("secret.example", 22, &key(A)), HostKeyVerdict::Unknown);
        assert_eq!(known.check("10.0.7.1", 22, &key(A)), HostKeyVerdict::Known);
        assert_eq!(known.check("10.0.77.1", 22, &key(A)), HostKeyVerdict::Unknown);
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_and_never_skipped() {
        let cut = KnownHosts::parse(&format!("# mine\n\nweb {A}\nweb ssh-ed25519 AAAA\n"));
        assert_eq!(
            cut.unwrap_err(),
            KnownHostsFault::NotALine { line: 4, text: "web ssh-ed25519 AAAA".into() }
        );

        let authority = KnownHosts::parse("@cert-authority * ssh-ed25519 AAAA");
        assert!(matches!(authority, Err(KnownHostsFault::NotALine { line: 1, .. })));
    }

    #[test]
    fn a_line_written_is_a_line_read() {
        for port in [22, 2200] {
            let line = KnownHosts::line("Web.example", port, &key(A));
            assert_eq!(known(&line).check("web.example", port, &key(A)), HostKeyVerdict::Known);
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "*a".repeat(64);
        assert!(!glob(pattern.as_bytes(), "a".repeat(63).as_bytes()));
        assert!(glob(pattern.as_bytes(), "a".repeat(640).as_bytes()));
    }
}
