//! The viewer's terminal: taken for the player, and given back whatever happens.
//!
//! It is given back when the [`Terminal`] is dropped, when the program panics, and when a signal ends it
//! (the waiting loop hears [`Heard::Signal`] and returns). Nothing else of this package writes to it, and what
//! is drawn are ratatui's cells: moves, colours and printable characters.

use std::{
    io::{self, IsTerminal, Stdout, stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossterm::{
    cursor::Show,
    event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute,
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use futures::StreamExt;
use ratatui::{Frame, backend::CrosstermBackend};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::keymap::{Key, Way};

/// Whether the terminal is ours just now. The panic hook can be told by nothing smaller.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What comes out of the viewer's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key.
    Key(Key),
    /// The window has another size.
    Resize,
    /// The time that was asked for has passed.
    Tick,
    /// A signal of this number asks the program to end.
    Signal(i32),
    /// The terminal is gone.
    Gone,
}

/// Why there is no terminal to draw on.
#[derive(Debug, thiserror::Error)]
pub enum TerminalFault {
    /// Standard output leads elsewhere.
    #[error("standard output is not a terminal, and the player has nothing else to draw on")]
    NotATerminal,
    /// The terminal would not be set up, or could not be written to.
    #[error("the terminal cannot be used: {0}")]
    Unusable(#[from] io::Error),
}

/// The terminal, in raw mode and on its alternate screen, until this is dropped.
pub struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<Stdout>>,
    events: EventStream,
    ends: [(i32, Signal); 3],
}

impl Terminal {
    /// Takes the terminal. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Standard output is not a terminal, or the terminal refuses.
    pub fn take() -> Result<Self, TerminalFault> {
        if !stdout().is_terminal() {
            return Err(TerminalFault::NotATerminal);
        }
        let end = |kind: SignalKind| signal(kind).map(|signal| (kind.as_raw_value(), signal));
        let ends = [end(SignalKind::terminate())?, end(SignalKind::hangup())?, end(SignalKind::interrupt())?];
        give_back_on_panic();
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        // From here on whatever fails gives the terminal back, by the drop of this guard.
        let guard = GiveBack;
        // Cleared here: ratatui's own clear asks the terminal where its cursor is, and waits for the answer among keys.
        execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All))?;
        let screen = ratatui::Terminal::new(CrosstermBackend::new(stdout()))?;
        std::mem::forget(guard);
        Ok(Terminal { screen, events: EventStream::new(), ends })
    }

    /// Draws one frame.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.screen.draw(draw).map(drop)
    }

    /// Waits for a key, a new size or a signal, and no longer than `patience`.
    pub async fn hear(&mut self, patience: Duration) -> Heard {
        let [(first, one), (second, two), (third, three)] = &mut self.ends;
        let tick = sleep(patience);
        tokio::pin!(tick);
        loop {
            return tokio::select! {
                biased;
                _ = one.recv() => Heard::Signal(*first),
                _ = two.recv() => Heard::Signal(*second),
                _ = three.recv() => Heard::Signal(*third),
                event = self.events.next() => match event {
                    Some(Ok(Event::Key(event))) => match key(event) {
                        Some(key) => Heard::Key(key),
                        None => continue,
                    },
                    Some(Ok(Event::Resize(..))) => Heard::Resize,
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Heard::Gone,
                },
                () = &mut tick => Heard::Tick,
            };
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the alternate screen and raw mode, once.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nobody is left to be told that the terminal is gone.
        let _gone = execute!(stdout(), LeaveAlternateScreen, Show).and_then(|()| disable_raw_mode());
    }
}

/// The terminal first, so that the words of the panic stand on the screen that stays.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let shift = event.modifiers.contains(KeyModifiers::SHIFT);
    let arrow = |way| Some(if shift { Key::ShiftArrow(way) } else { Key::Arrow(way) });
    match event.code {
        KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => {
            Some(Key::Ctrl(c.to_ascii_lowercase()))
        }
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Left => arrow(Way::Left),
        KeyCode::Right => arrow(Way::Right),
        KeyCode::Up => arrow(Way::Up),
        KeyCode::Down => arrow(Way::Down),
        KeyCode::Home => Some(Key::Home),
        KeyCode::End => Some(Key::End),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Esc),
        _ => None,
    }
}
