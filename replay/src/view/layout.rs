//! Where each part stands, on a terminal of any size.

use ratatui::layout::Rect;

/// The places of one frame. What does not fit is left out: the header first, then the time line, then the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whose session it is.
    pub header: Option<Rect>,
    /// The recorded screen.
    pub screen: Rect,
    /// The time line.
    pub time_line: Option<Rect>,
    /// Position, speed, and what else is to be said.
    pub status: Option<Rect>,
}

impl Layout {
    /// Divides `area`. If `bare`, all of it is the screen.
    pub fn of(area: Rect, bare: bool) -> Self {
        let lines = if bare { 0 } else { area.height };
        let (has_header, has_time_line, has_status) = (lines >= 5, lines >= 4, lines >= 2);
        let [above, below] = [u16::from(has_header), u16::from(has_time_line) + u16::from(has_status)];
        let line = |y: u16| Rect { y, height: 1, ..area };
        let screen = Rect { y: area.y + above, height: area.height.saturating_sub(above + below), ..area };
        Layout {
            header: has_header.then(|| line(area.y)),
            screen,
            time_line: has_time_line.then(|| line(screen.bottom())),
            status: has_status.then(|| line(area.bottom() - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_any_size_every_row_belongs_to_one_part() {
        for height in 0..60 {
            for width in [0, 1, 2, 80, 300] {
                for bare in [false, true] {
                    let area = Rect { x: 0, y: 0, width, height };
                    let layout = Layout::of(area, bare);
                    let lines = [layout.header, layout.time_line, layout.status];
                    let rows =
                        lines.iter().flatten().map(|line| line.height).sum::<u16>() + layout.screen.height;
                    assert_eq!(rows, height, "{layout:?}");
                    assert!(lines.iter().flatten().all(|line| line.bottom() <= height));
                    assert!(height == 0 || layout.screen.height > 0, "{layout:?}");
                }
            }
        }
    }
}
