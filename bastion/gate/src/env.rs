//! Which variables of a client reach a target.

/// More variables than this nobody needs to pass on.
pub const PASSED_MAX: usize = 32;
/// Of ours there are few, and each is short.
const OURS_MAX: usize = 8;
/// The longest value that is kept of a variable that settings add, or of ours.
const VALUE_BYTES_MAX: usize = 1024;
/// The longest value of `LANG`, `LC_*`, `TERM` and `COLORTERM`.
const PLAIN_BYTES_MAX: usize = 64;
/// Names that begin so are the bastion's own: read, never passed on.
const OURS: &str = "BASTION_";
/// With these a client decides what runs at the target, whatever policy says of its command.
const NEVER: [&str; 10] =
    ["LD_*", "DYLD_*", "GLIBC_TUNABLES", "PATH", "IFS", "ENV", "BASH_ENV", "BASH_FUNC_*", "SHELLOPTS", "PS4"];

/// Which variables are passed on beside `LANG`, `LC_*`, `TERM` and `COLORTERM`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFilter {
    /// Names, or beginnings of names with a `*` behind.
    more: Vec<String>,
}

/// Why a name cannot be added to those that are passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvFilterFault {
    /// It is no name of a variable.
    #[error("{0:?} is no name of a variable; letters, digits and '_', with '*' at its end for any ending")]
    NoName(String),
    /// It is never passed on.
    #[error(
        "{0:?} would let a client choose what runs at the target, or is the bastion's own; it is never passed on"
    )]
    Never(String),
}

/// What a client set: for the target, and for the bastion itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    passed: Vec<(String, String)>,
    ours: Vec<(String, String)>,
}

impl EnvFilter {
    /// A filter that passes these names too: `GIT_PROTOCOL`, `MY_*`.
    ///
    /// # Errors
    ///
    /// [`EnvFilterFault`] for what is no name, and for what is never passed on.
    pub fn with(names: impl IntoIterator<Item = String>) -> Result<EnvFilter, EnvFilterFault> {
        let mut more = vec![];
        for name in names {
            let stem = name.strip_suffix('*').unwrap_or(&name);
            if !is_name(stem) {
                return Err(EnvFilterFault::NoName(name.chars().take(PLAIN_BYTES_MAX).collect()));
            }
            let never = |pattern: &&str| {
                matches(pattern, stem)
                    || name.ends_with('*') && pattern.trim_end_matches('*').starts_with(stem)
            };
            if stem.starts_with(OURS)
                || OURS.starts_with(stem) && name.ends_with('*')
                || NEVER.iter().any(never)
            {
                return Err(EnvFilterFault::Never(name));
            }
            more.push(name);
        }
        Ok(EnvFilter { more })
    }

    fn admits(&self, name: &str, value: &str) -> bool {
        let plain = |more: &[u8]| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            !value.is_empty() && value.len() <= PLAIN_BYTES_MAX && value.bytes().all(fits)
        };
        match name {
            "LANG" => plain(b"_.@-"),
            _ if name.starts_with("LC_") && is_name(name) => plain(b"_.@-"),
            "TERM" => plain(b"+.-") && !value.bytes().any(|b| b.is_ascii_uppercase()),
            "COLORTERM" => plain(b"-"),
            _ => {
                let printable =
                    value.len() <= VALUE_BYTES_MAX && value.bytes().all(|b| (b' '..=b'~').contains(&b));
                is_name(name) && printable && self.more.iter().any(|pattern| matches(pattern, name))
            }
        }
    }
}

impl Env {
    /// Takes a variable that a client set, if it may pass or is ours; tells whether it was kept.
    pub fn set(&mut self, filter: &EnvFilter, name: &str, value: &str) -> bool {
        let (list, max, kept) = if name.starts_with(OURS) {
            (&mut self.ours, OURS_MAX, is_name(name) && value.len() <= VALUE_BYTES_MAX)
        } else {
            (&mut self.passed, PASSED_MAX, filter.admits(name, value))
        };
        if !kept {
            return false;
        }
        if let Some((_, known)) = list.iter_mut().find(|(known, _)| known == name) {
            *known = value.to_owned();
            return true;
        }
        let room = list.len() < max;
        if room {
            list.push((name.to_owned(), value.to_owned()));
        }
        room
    }

    /// What the target is told, in the client's order.
    pub fn passed(&self) -> &[(String, String)] {
        &self.passed
    }

    /// One of the bastion's own: `BASTION_...`. Its value may hold anything.
    pub fn ours(&self, name: &str) -> Option<&str> {
        self.ours.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A terminal's name, `TERM`, as it may be passed on: at most 64 of `a-z 0-9 + . -`; else `dumb`.
pub fn clean_term(term: &str) -> &str {
    if EnvFilter::default().admits("TERM", term) { term } else { "dumb" }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => name.starts_with(stem),
        None => pattern == name,
    }
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= PLAIN_BYTES_MAX
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(filter: &EnvFilter, all: &[(&str, &str)]) -> Vec<String> {
        let mut env = Env::default();
        for (name, value) in all {
            env.set(filter, name, value);
        }
        env.passed().iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn locale_and_terminal_pass_and_nothing_else() {
        let all = [
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "C@euro"),
            ("TERM", "xterm-256color"),
            ("COLORTERM", "truecolor"),
            ("LD_PRELOAD", "/tmp/x.so"),
            ("BASH_ENV", "/tmp/x"),
            ("PATH", "/tmp"),
            ("GIT_PROTOCOL", "version=2"),
            ("LC_", "C"),
        ];
        let wanted =
            ["LANG=de_DE.UTF-8", "LC_ALL=C@euro", "TERM=xterm-256color", "COLORTERM=truecolor", "LC_=C"];
        assert_eq!(passed(&EnvFilter::default(), &all), wanted);
    }

    #[test]
    fn a_value_that_a_shell_or_a_terminal_could_take_amiss_does_not_pass() {
        let long = "a".repeat(65);
        let all = [
            ("LANG", "() { :;}; id"),
            ("LANG", ""),
            ("LANG", "../../x"),
            ("LC_ALL", "C\nX=1"),
            ("TERM", "xterm\x1b"),
            ("LANG", long.as_str()),
            ("LC_A=B", "C"),
            ("LC_A\n", "C"),
            ("TERM", "../x"),
        ];
        assert_eq!(passed(&EnvFilter::default(), &all), [""; 0]);
    }

    #[test]
    fn our_own_are_read_and_never_passed_on() {
        let mut env = Env::default();
        assert!(env.set(&EnvFilter::default(), "BASTION_OUTPUT", "json"));
        assert_eq!((env.ours("BASTION_OUTPUT"), env.passed()), (Some("json"), &[][..]));
        assert!(!env.set(&EnvFilter::default(), "BASTION_OUTPUT", &"x".repeat(1 << 20)));
    }

    #[test]
    fn settings_may_add_names_but_none_that_choose_what_runs() {
        let filter = EnvFilter::with(["GIT_PROTOCOL".to_owned(), "MY_*".to_owned()]).unwrap();
        assert_eq!(
            passed(
                &filter,
                &[("GIT_PROTOCOL", "version=2"), ("MY_X", "a b"), ("MYX", "a"), ("MY_Y", "a\nb")]
            ),
            ["GIT_PROTOCOL=version=2", "MY_X=a b"]
        );
        for name in ["LD_PRELOAD", "LD_*", "L*", "PATH", "PATH*", "B*", "BASTION_X", "BASH_FUNC_ls"] {
            assert_eq!(
                EnvFilter::with([name.to_owned()]),
                Err(EnvFilterFault::Never(name.to_owned())),
                "{name}"
            );
        }
        assert!(matches!(EnvFilter::with(["A=B".to_owned()]), Err(EnvFilterFault::NoName(_))));
        assert!(matches!(EnvFilter::with(["*".to_owned()]), Err(EnvFilterFault::NoName(_))));
    }

    #[test]
    fn five_thousand_variables_leave_thirty_two() {
        let mut env = Env::default();
        for number in 0..5000 {
            env.set(&EnvFilter::default(), &format!("LC_{number}"), "C");
            env.set(&EnvFilter::default(), &format!("BASTION_{number}"), &"x".repeat(1024));
        }
        assert_eq!((env.passed().len(), env.ours.len()), (32, 8));
        assert!(env.set(&EnvFilter::default(), "LC_7", "POSIX"), "one that is there can change");
    }

    #[test]
    fn a_terminal_without_a_decent_name_is_dumb() {
        assert_eq!(clean_term("tmux-256color"), "tmux-256color");
        assert_eq!(clean_term("x\x1b[2J"), "dumb");
        assert_eq!(clean_term(""), "dumb");
    }
}
