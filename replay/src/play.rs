//! Brings player, view and terminal together, until the viewer has seen enough.

use std::time::Instant;

use crate::{
    player::{self, Answer, Player, Start},
    reel::Reel,
    source::Flaw,
    terminal::{Heard, Terminal, TerminalFault},
    view,
};

/// How a showing ended.
#[derive(Debug)]
pub enum Left {
    /// The viewer quit; what is wrong with the recording was on the screen, and is worth a line below it.
    Quit(Option<Flaw>),
    /// A signal of this number ended it.
    Signal(i32),
    /// The terminal went away.
    Gone,
}

/// Plays the recording on this terminal.
///
/// # Errors
/// There is no terminal, or it cannot be written to.
pub fn play(reel: Reel, start: Start) -> Result<Left, TerminalFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(showing(reel, start))
}

async fn showing(reel: Reel, start: Start) -> Result<Left, TerminalFault> {
    let mut terminal = Terminal::take()?;
    let begun = Instant::now();
    let mut player = Player::new(reel, start, begun.elapsed());
    terminal.draw(|frame| view::draw(&mut player, frame))?;
    loop {
        let heard = match terminal.hear(player.patience()).await {
            Heard::Key(key) => player::Heard::Key(key),
            Heard::Tick => player::Heard::Tick,
            Heard::Resize => player::Heard::Resize,
            Heard::Signal(number) => return Ok(Left::Signal(number)),
            Heard::Gone => return Ok(Left::Gone),
        };
        match player.hear(heard, begun.elapsed()) {
            Answer::Quit => return Ok(Left::Quit(player.flaw())),
            Answer::Draw => terminal.draw(|frame| view::draw(&mut player, frame))?,
            Answer::Nothing => {}
        }
    }
}
