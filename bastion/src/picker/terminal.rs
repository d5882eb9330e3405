//! The picker's terminal: taken for the list, and given back when it is over.

use std::{
    fs::File,
    io::{self, Stdout, stdout},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

use crossterm::{
    cursor::Show,
    execute,
    terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen},
};
use gate::clamp_size;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};
use rustix::{
    fs::OFlags,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    signal::unix::{SignalKind, signal},
};

use super::{
    Offer, Pick, draw,
    keys::{Heard, Keys},
    list::{Key, List, Outcome},
};

/// An Escape that nothing has followed for so long is a key: a terminal sends the whole of another key at once, and a
/// network seldom cuts it for longer.
const ESCAPE: Duration = Duration::from_millis(100);

/// The process's own terminal, to read keys from.
///
/// # Errors
/// It has none.
pub fn open() -> io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).map_err(io::Error::other)?;
    File::options().read(true).write(true).custom_flags(flags).open("/dev/tty")
}

/// Shows the list and hears keys until somebody has picked or left. Opens no file.
///
/// # Errors
/// The terminal fails.
pub fn pick(tty: File, offer: Offer) -> io::Result<Pick> {
    // One thread: a confined process may have no other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(pick_now(tty, offer))
}

async fn pick_now(tty: File, offer: Offer) -> io::Result<Pick> {
    let mut list = List::new(offer);
    let mut keys = Keys::default();
    let mut resized = signal(SignalKind::window_change())?;
    let mut screen = Screen::take(&tty)?;
    // Unchecked means that it need not be a pipe: any file that can be waited for will do.
    let mut tty = Receiver::from_file_unchecked(tty)?;
    let (mut typed, mut used) = ([0; 1024], 0);
    let mut escaped = false;
    loop {
        screen.draw(&mut list)?;
        let outcome = tokio::select! {
            length = tty.read(&mut typed) => {
                // Nothing means that the terminal is gone.
                let Some(read @ [_, ..]) = typed.get(..length?) else { return Ok(left()) };
                match hear(&mut list, &mut keys, read, &mut escaped) {
                    (Outcome::Picked(name, login), more) => {
                        return Ok(Pick { chosen: Some((name, login)), used: used + more });
                    }
                    (outcome, more) => {
                        used += more;
                        outcome
                    }
                }
            }
            () = tokio::time::sleep(ESCAPE), if escaped => list.hear(Key::Leave),
            _ = resized.recv() => { screen.resize()?; Outcome::On }
        };
        if outcome == Outcome::Left {
            return Ok(left());
        }
    }
}

fn left() -> Pick {
    Pick { chosen: None, used: 0 }
}

/// Hears bytes up to the one that ends it; answers how many those are, and whether they end in an Escape.
fn hear(list: &mut List, keys: &mut Keys, bytes: &[u8], escaped: &mut bool) -> (Outcome, usize) {
    for (at, byte) in bytes.iter().enumerate() {
        let heard = keys.hear(*byte);
        *escaped = heard == Heard::Escape;
        let Heard::Key(key) = heard else { continue };
        match list.hear(key) {
            Outcome::On => {}
            over => return (over, at + 1),
        }
    }
    (Outcome::On, bytes.len())
}

/// The terminal, in raw mode and on its alternate screen, until this is dropped.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    tty: File,
    before: Termios,
}

impl Screen {
    fn take(tty: &File) -> io::Result<Screen> {
        let tty = tty.try_clone()?;
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        execute!(stdout(), EnterAlternateScreen)?;
        let terminal = terminal()?;
        Ok(Screen { terminal, tty, before })
    }

    fn draw(&mut self, list: &mut List) -> io::Result<()> {
        let draw = |frame: &mut ratatui::Frame<'_>| {
            let (area, cells) = (frame.area(), frame.buffer_mut());
            let cursor = draw::draw(list, area, cells);
            frame.set_cursor_position(cursor);
        };
        self.terminal.draw(draw).map(drop)
    }

    fn resize(&mut self) -> io::Result<()> {
        self.terminal = terminal()?;
        Ok(())
    }
}

/// A cleared screen of the terminal's size. Its viewport is fixed: ratatui's own resizing asks the terminal where its
/// cursor is, and waits for the answer among keys.
fn terminal() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    execute!(stdout(), Clear(ClearType::All))?;
    let size = tcgetwinsize(stdout())?;
    let (cols, rows) = clamp_size(size.ws_col.into(), size.ws_row.into());
    let viewport = Viewport::Fixed(Rect::new(0, 0, cols.max(1), rows.max(1)));
    Terminal::with_options(CrosstermBackend::new(stdout()), TerminalOptions { viewport })
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told that the terminal is gone.
        let _gone = execute!(stdout(), LeaveAlternateScreen, Show);
        let _gone = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}
