//! The player of bastion's recordings, and of any asciicast.
//!
//! A [`Source`](source::Source) gives a recording segment by segment, a [`Reel`](reel::Reel) shows it at an instant, a
//! [`Player`](player::Player) moves that instant as time passes and keys are pressed, a view draws it, and the terminal
//! waits for the next key. Of a recording, cells alone are drawn: its bytes never reach the viewer's terminal.

mod bench;
mod cli;
mod export;
mod info;
mod play;
mod printable;
mod terminal;

pub mod keymap;
pub mod player;
pub mod reel;
pub mod source;
pub mod view;

pub use cli::run;
