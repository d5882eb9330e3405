//! What the bastion itself says on a channel: a text, an exit code, and the end.

use std::time::Duration;

use russh::{Channel, server};

/// A client that does not read our few lines is not waited for longer than this.
const READ_MAX: Duration = Duration::from_secs(30);

/// What is said on a channel that opens no target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output, lines ending in `\n`.
    pub out: String,
    /// For standard error, lines ending in `\n`.
    pub err: String,
    /// Exit code: 0, or one of sysexits.
    pub code: u32,
}

impl Answer {
    /// Something that was asked for.
    pub fn out(out: impl Into<String>) -> Answer {
        Answer { out: out.into(), ..Answer::default() }
    }

    /// A refusal: one sentence, and its code.
    pub fn refusal(sentence: impl std::fmt::Display, code: u32) -> Answer {
        Answer { err: format!("{sentence}\n"), code, ..Answer::default() }
    }
}

/// Says it, and closes the channel. What the client sends meanwhile is heard and dropped, so that its connection
/// goes on.
pub async fn give(channel: Channel<server::Msg>, terminal: bool, answer: Answer) {
    let (mut hears, half) = channel.split();
    let lines = |text: String| if terminal { text.replace('\n', "\r\n") } else { text };
    let say = async {
        if !answer.out.is_empty() {
            half.data_bytes(lines(answer.out)).await?;
        }
        if !answer.err.is_empty() {
            half.extended_data_bytes(1, lines(answer.err)).await?;
        }
        half.exit_status(answer.code).await?;
        half.eof().await?;
        half.close().await
    };
    let drain = async { while hears.wait().await.is_some() {} };
    // Not until the client closes its end too: russh does not pass that on once we have closed ours.
    let said = tokio::select! {
        said = say => said,
        () = drain => Ok(()),
        () = tokio::time::sleep(READ_MAX) => Ok(()),
    };
    if let Err(fault) = said {
        tracing::debug!("an answer was not heard: {fault}");
    }
}
