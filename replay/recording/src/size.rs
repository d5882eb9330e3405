//! How large a terminal may be.

/// The most columns that a recording tells, and that are ever drawn. A client may claim 65535; a screen of that
/// size costs gigabytes.
pub const COLS_MAX: u16 = 1000;

/// The most rows that a recording tells, and that are ever drawn.
pub const ROWS_MAX: u16 = 500;

/// The size that stands for this one: at least 1x1, at most [`COLS_MAX`] x [`ROWS_MAX`].
///
/// Whoever asks a target for a terminal asks for this size too, else the recording shows another screen.
pub fn clamped(cols: u16, rows: u16) -> (u16, u16) {
    (cols.clamp(1, COLS_MAX), rows.clamp(1, ROWS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_out_of_reason_is_brought_back_to_it() {
        assert_eq!(clamped(0, 0), (1, 1));
        assert_eq!(clamped(u16::MAX, u16::MAX), (COLS_MAX, ROWS_MAX));
        assert_eq!(clamped(120, 40), (120, 40));
    }
}
