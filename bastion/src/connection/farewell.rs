//! How a connection, or one of its channels, is ended from within.

use std::time::Duration;

use gate::{Ending, exit_code};
use russh::{ChannelId, server};
use tokio::sync::watch;

use crate::{live::Orders, severable::Severing};

/// A connection whose person is to go ends so much later than its sessions.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long its goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Ends a connection once its person is not to have it any more: a little later, so that its sessions can say why.
/// Done, too, when the connection is gone.
pub(super) async fn end_when_told(
    mut orders: watch::Receiver<Orders>,
    handle: server::Handle,
    severing: Severing,
) {
    let Ok(Orders::End(Ending { why, after, .. })) =
        orders.wait_for(|order| matches!(order, Orders::End(_))).await.map(|order| order.clone())
    else {
        return;
    };
    tokio::time::sleep(after + FAREWELL).await;
    if handle.disconnect(russh::Disconnect::ByApplication, why, "en".into()).await.is_err() {
        tracing::debug!("a connection that was to end had ended");
    }
    // russh says no goodbye in the middle of a key exchange, and a client can leave one unfinished.
    tokio::time::sleep(GOODBYE).await;
    severing.cut();
}

/// Ends a channel whose task is gone. Its recording ends as interrupted.
pub(super) async fn apologise(handle: &server::Handle, channel: ChannelId) {
    let line = "\r\nbastion: this session failed inside the bastion, whose log says where; it ends here\r\n";
    let told = async {
        handle.extended_data(channel, 1, line).await.map_err(drop)?;
        handle.exit_status_request(channel, exit_code::BROKEN).await?;
        handle.eof(channel).await?;
        handle.close(channel).await
    };
    if told.await.is_err() {
        tracing::debug!("the connection of a session that panicked is gone too");
    }
}
