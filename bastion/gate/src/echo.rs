//! What was typed on a terminal, and whether the screen showed it.

use bytes::Bytes;
use recording::{Elapsed, What};

use crate::keys::{Key, Keys};

/// Keeps typed text back until the screen has shown it.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    keys: Keys,
}

impl Echo {
    /// What of these bytes is recorded before they are relayed: control keys with their content, text as a count.
    pub(crate) fn typed(&mut self, data: &Bytes, now: Elapsed) -> Vec<What> {
        let mut all: Vec<What> = Vec::new();
        let mut begin = 0;
        let mut before = None;
        for (at, byte) in data.iter().enumerate() {
            let known = matches!(self.keys.next(*byte, now), Key::Control | Key::ControlEnd);
            if before.is_some_and(|before| before != known) {
                all.push(piece(data.slice(begin..at), !known));
                begin = at;
            }
            before = Some(known);
        }
        if let Some(known) = before {
            all.push(piece(data.slice(begin..), known));
        }
        all
    }
}

fn piece(data: Bytes, known: bool) -> What {
    if known { What::Input(data) } else { What::Typed(u32::try_from(data.len()).unwrap_or(u32::MAX)) }
}
