//! What was typed at a text interface: what waits for it, and what it may have left for the program behind it.

/// What a client may have typed that the interface has not read. More is a paste that was meant for something else;
/// cut short it would mean something else again, so it is refused whole.
pub const WAITING_BYTES_MAX: usize = 64 * 1024;
/// What is kept of what the interface was given. It reads at once what there is, and ends with the key that chooses.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Everything that was typed, of which the beginning is forgotten.
#[derive(Debug, Default)]
pub struct Typed {
    /// The last of it: what was given, then what waits.
    kept: Vec<u8>,
    forgotten: usize,
    given: usize,
}

/// More was typed than waits.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Typed {
    /// This was typed.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), TooMuch> {
        if self.waiting().len() + bytes.len() > WAITING_BYTES_MAX {
            return Err(TooMuch);
        }
        self.kept.extend_from_slice(bytes);
        Ok(())
    }

    /// What the interface was not given yet.
    pub fn waiting(&self) -> &[u8] {
        self.kept.get(self.given.saturating_sub(self.forgotten)..).unwrap_or_default()
    }

    /// It was given so much of that.
    pub fn gave(&mut self, bytes: usize) {
        self.given += bytes.min(self.waiting().len());
        let old = self.given.saturating_sub(self.forgotten).saturating_sub(KEPT_BYTES_MAX);
        self.kept.drain(..old);
        self.forgotten += old;
    }

    /// All that was typed behind the first `used` bytes, given or not; none if it was not given so many, or if more
    /// than is kept would be left. So an interface says where to cut, and never what was typed.
    pub fn behind(&self, used: usize) -> Option<Vec<u8>> {
        let at = used.checked_sub(self.forgotten).filter(|_| used <= self.given)?;
        self.kept.get(at..).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_is_the_end_of_what_was_typed_wherever_it_is_cut() {
        let mut typed = Typed::default();
        typed.add(b"web1\rech").unwrap();
        typed.gave(6);
        assert_eq!(typed.waiting(), b"ch");
        typed.add(b"o\r").unwrap();

        assert_eq!(typed.behind(5).unwrap(), b"echo\r");
        assert_eq!(typed.behind(6).unwrap(), b"cho\r");
        assert_eq!(typed.behind(0).unwrap(), b"web1\recho\r");
        assert_eq!(typed.behind(7), None, "what it was not given it has not used");
        assert_eq!(typed.behind(usize::MAX), None);
    }

    #[test]
    fn what_waits_is_bounded_and_what_was_given_is_forgotten_in_time() {
        let mut typed = Typed::default();
        for _ in 0..10 {
            typed.add(&[b'x'; WAITING_BYTES_MAX]).unwrap();
            assert_eq!(typed.add(b"y"), Err(TooMuch));
            typed.gave(WAITING_BYTES_MAX);
            assert!(typed.kept.len() <= KEPT_BYTES_MAX + WAITING_BYTES_MAX);
        }
        typed.add(b"end").unwrap();
        assert_eq!(typed.behind(10 * WAITING_BYTES_MAX).unwrap(), b"end");
        assert_eq!(typed.behind(10 * WAITING_BYTES_MAX - 1).unwrap(), b"xend");
        assert_eq!(typed.behind(1), None, "forgotten");
    }
}
