//! russh's messages and the gate's, one into the other.

use std::sync::Arc;

use gate::{FromClient, FromTarget, Pty, ToClient, ToTarget, clamp_size, clean_term};
use recording::Exit;
use russh::{ChannelMsg, ChannelWriteHalf, Sig, client, server};
use tokio::{io::BufReader, net::TcpStream};

use crate::{outbox::Broken, session::ClientMessage};

/// Bytes read at once from a socket. russh reads the length of a packet, its rest, and then whether there is more: three
/// calls for a key. More than a few KiB gains nothing, for what is larger goes past the buffer.
const READ_BYTES: usize = 8 << 10;

/// A socket that is asked once for each packet.
pub fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(READ_BYTES, stream)
}

/// A client's message, once its channel's opening request is through; none for what says nothing to a gate.
pub fn from_client(sent: Option<ChannelMsg>) -> Option<FromClient> {
    match sent {
        None | Some(ChannelMsg::Close) => Some(FromClient::Close),
        Some(ChannelMsg::Data { data }) if !data.is_empty() => Some(FromClient::Data(data)),
        Some(ChannelMsg::Eof) => Some(FromClient::Eof),
        Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
            let (cols, rows) = clamp_size(col_width, row_height);
            Some(FromClient::Resize { cols, rows, width_px: pix_width, height_px: pix_height })
        }
        Some(ChannelMsg::Signal { signal }) => signal_name(&signal).map(FromClient::Signal),
        Some(_) => None,
    }
}

/// A target's message; none for what says nothing to a gate.
pub fn from_target(sent: Option<ChannelMsg>) -> Option<FromTarget> {
    match sent {
        None | Some(ChannelMsg::Close) => Some(FromTarget::Close),
        Some(ChannelMsg::Data { data }) if !data.is_empty() => Some(FromTarget::Data(data)),
        Some(ChannelMsg::ExtendedData { data, .. }) if !data.is_empty() => Some(FromTarget::ErrorData(data)),
        Some(ChannelMsg::Eof) => Some(FromTarget::Eof),
        Some(ChannelMsg::ExitStatus { exit_status }) => Some(FromTarget::Exit(Exit::Status(exit_status))),
        Some(ChannelMsg::ExitSignal { signal_name: signal, .. }) => {
            let name = signal_name(&signal).unwrap_or_else(|| "UNKNOWN".to_owned());
            Some(FromTarget::Exit(Exit::Signal(name)))
        }
        Some(ChannelMsg::Failure) => Some(FromTarget::Refused),
        Some(_) => None,
    }
}

/// A terminal as the client asked for it.
pub fn pty(term: &str, cols: u32, rows: u32, px: (u32, u32), modes: &[(russh::Pty, u32)]) -> Pty {
    let (cols, rows) = clamp_size(cols, rows);
    let modes = modes.iter().map(|(mode, argument)| (*mode as u8, *argument)).collect();
    Pty { term: clean_term(term).to_owned(), cols, rows, width_px: px.0, height_px: px.1, modes }
}

/// The terminal has a new size.
pub fn resize(pty: &mut Pty, cols: u32, rows: u32, px: (u32, u32)) {
    (pty.cols, pty.rows) = clamp_size(cols, rows);
    (pty.width_px, pty.height_px) = px;
}

fn signal_name(signal: &Sig) -> Option<String> {
    let name = match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    };
    gate::is_signal(name).then(|| name.to_owned())
}

fn signal(name: &str) -> Sig {
    match name {
        "ABRT" => Sig::ABRT,
        "ALRM" => Sig::ALRM,
        "FPE" => Sig::FPE,
        "HUP" => Sig::HUP,
        "ILL" => Sig::ILL,
        "INT" => Sig::INT,
        "KILL" => Sig::KILL,
        "PIPE" => Sig::PIPE,
        "QUIT" => Sig::QUIT,
        "SEGV" => Sig::SEGV,
        "TERM" => Sig::TERM,
        "USR1" => Sig::USR1,
        other => Sig::Custom(other.to_owned()),
    }
}

/// Sends one message to the client, respecting its window.
pub async fn to_client(
    half: Arc<ChannelWriteHalf<server::Msg>>,
    handle: server::Handle,
    message: ClientMessage,
) -> Result<(), Broken> {
    let sent = match message {
        ClientMessage::Send(ToClient::Data(bytes)) => half.data_bytes(bytes).await,
        ClientMessage::Send(ToClient::ErrorData(bytes)) => half.extended_data_bytes(1, bytes).await,
        ClientMessage::Send(ToClient::Exit(Exit::Status(status))) => half.exit_status(status).await,
        ClientMessage::Send(ToClient::Exit(Exit::Signal(name))) => {
            // Only the handle can send it; both use the same queue, so the order holds.
            let nothing = String::new;
            let sent =
                handle.exit_signal_request(half.id(), signal(&name), false, nothing(), nothing()).await;
            sent.map_err(|()| russh::Error::SendError)
        }
        ClientMessage::Send(ToClient::Eof) => half.eof().await,
        ClientMessage::Close => half.close().await,
    };
    sent.map_err(|_| Broken)
}

/// Sends one message to the target, respecting its window.
pub async fn to_target(half: Arc<ChannelWriteHalf<client::Msg>>, message: ToTarget) -> Result<(), Broken> {
    let sent = match message {
        ToTarget::Data(bytes) => half.data_bytes(bytes).await,
        ToTarget::Pty(Pty { term, cols, rows, width_px, height_px, modes }) => {
            let modes = known_modes(&modes);
            let (cols, rows) = (u32::from(cols), u32::from(rows));
            half.request_pty(true, &term, cols, rows, width_px, height_px, &modes).await
        }
        ToTarget::Env(name, value) => half.set_env(false, name, value).await,
        ToTarget::Shell => half.request_shell(true).await,
        ToTarget::Exec(command) => half.exec(true, command).await,
        ToTarget::Subsystem(name) => half.request_subsystem(true, name).await,
        ToTarget::Resize { cols, rows, width_px, height_px } => {
            half.window_change(u32::from(cols), u32::from(rows), width_px, height_px).await
        }
        ToTarget::Signal(name) => half.signal(signal(&name)).await,
        ToTarget::Eof => half.eof().await,
        ToTarget::Close => half.close().await,
    };
    sent.map_err(|_| Broken)
}

/// The modes that russh can name; it has taken the others out on their way in.
fn known_modes(modes: &[(u8, u32)]) -> Vec<(russh::Pty, u32)> {
    modes.iter().filter_map(|(mode, argument)| Some((russh::Pty::from_u8(*mode)?, *argument))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_keeps_its_name_through_the_bastion() {
        for name in ["INT", "TERM", "USR1", "WINCH", "RTMIN"] {
            let sent = ChannelMsg::Signal { signal: signal(name) };
            assert_eq!(from_client(Some(sent)), Some(FromClient::Signal(name.to_owned())));
        }
        let foul = ChannelMsg::Signal { signal: Sig::Custom("A\x1b[2J".to_owned()) };
        assert_eq!(from_client(Some(foul)), None);
    }
}
