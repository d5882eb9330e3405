//! Accepts connections, one task each, and drains them at shutdown.
//!
//! The accept loop is our own: russh's ends at the first `accept` error, which is a moment without free file handles.

mod exchanges;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use russh::server;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    connection::{Connection, Shared, Stage},
    doorstep::{Doorstep, Place},
    hello::{self, Hello},
    house::House,
    severable::{Severable, Severing},
    spare_memory,
    squeeze::Squeeze,
    wire,
};

use exchanges::{Exchanges, Exchanging};

/// A client's machine that answers nothing for so long is asked by the kernel whether it is still there, three times.
const STILL_THERE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(30))
    .with_retries(3);
/// How long accepting pauses when it fails, which it does while file handles are exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open sessions are given to end at a shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// How long those who have not signed in are waited for at a shutdown: what they tried is written down once they are gone.
const UNKNOWN_GONE_MAX: Duration = Duration::from_secs(3);

/// Accepts connections until `stop` says so, then tells the open sessions and waits for them.
pub async fn serve(house: Arc<House>, doors: Vec<TcpListener>, mut stop: watch::Receiver<bool>) {
    let (unknown, mut none_unknown) = mpsc::channel(1);
    let entrance =
        Entrance { doorstep: Arc::default(), exchanges: Exchanges::default(), stop: stop.clone(), unknown };
    let mut accepting = tokio::task::JoinSet::new();
    for door in doors {
        accepting.spawn(accept(house.clone(), door, entrance.clone()));
    }
    drop(entrance);
    let giver = house.clone();
    accepting.spawn(async move { spare_memory::give_back(&giver.ended).await });
    // An error means that nobody is left who could say stop: then stop too.
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("nobody is left to say stop");
    }
    house.login.closes();
    accepting.shutdown().await;
    house.live.end_all("the bastion is shutting down");
    let gone = tokio::time::timeout(UNKNOWN_GONE_MAX, none_unknown.recv());
    let (gone, ()) = tokio::join!(gone, house.live.drained(DRAIN_MAX));
    if gone.is_err() {
        tracing::warn!("who had not signed in is not gone in time; what was tried there is in no trail");
    }
}

/// What strangers share, whichever door they come by.
#[derive(Clone)]
struct Entrance {
    doorstep: Arc<Doorstep>,
    exchanges: Exchanges,
    stop: watch::Receiver<bool>,
    /// Held by each that has not signed in.
    unknown: mpsc::Sender<Infallible>,
}

async fn accept(house: Arc<House>, door: TcpListener, entrance: Entrance) {
    loop {
        match door.accept().await {
            Ok((stream, source)) => {
                let limits = house.rules().settings.limits;
                let severing = Severing::default();
                let (stage, staged) = watch::channel(Stage::Unknown);
                let place = entrance.doorstep.admit(
                    source.ip(),
                    severing.clone(),
                    staged,
                    limits.unauthenticated,
                    limits.unauthenticated_per_address,
                );
                let Some(place) = place else {
                    tracing::warn!(%source, "too many connections that have not signed in; one refused");
                    continue;
                };
                tokio::spawn(greet(
                    house.clone(),
                    stream,
                    Caller { source, severing, stage },
                    place,
                    entrance.clone(),
                ));
            }
            Err(fault) => {
                tracing::error!("accepting connections: {fault}; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who calls, and what tells of her and cuts her.
struct Caller {
    source: SocketAddr,
    severing: Severing,
    stage: watch::Sender<Stage>,
}

/// Serves one connection. A panic in it ends this task alone.
async fn greet(
    house: Arc<House>,
    stream: TcpStream,
    Caller { source, severing, stage }: Caller,
    place: Place,
    Entrance { exchanges, mut stop, unknown, .. }: Entrance,
) {
    set_up(&stream, source);
    let limits = house.rules().settings.limits;
    let squeeze = Squeeze::default();
    let staged = stage.subscribe();
    let shared = Arc::new(Shared {
        source,
        id: archive::new_id().to_string(),
        backlog: squeeze.backlog(),
        channels: Default::default(),
        severing: severing.clone(),
        stage,
        spot: place.spot(),
        handle: OnceLock::new(),
    });
    let connection = Connection::new(house.clone(), shared.clone(), squeeze);
    let stream = Severable::new(wire::buffered(stream), severing.clone());
    let sight = staged.clone();
    let talk = async {
        let Hello { stream, has_gcm } = hello::hear(stream).await?;
        let stream = Exchanging::new(stream, exchanges, sight);
        match server::run_stream(house.ssh_config(has_gcm), stream, connection).await {
            Ok(running) => {
                // Set once, long before the client can have agreed on keys.
                shared.handle.get_or_init(|| running.handle());
                running.await
            }
            Err(fault) => Err(fault),
        }
    };
    tokio::pin!(talk);
    let done = tokio::select! {
        biased; // who has just signed in is told why her sessions end
        done = &mut talk => Some(done),
        signed_in = grace(staged, limits.login_grace, limits.sign_in_grace) => {
            if signed_in {
                drop(unknown);
            } else {
                tracing::info!(%source, "login grace time is over; connection cut");
                severing.cut();
            }
            None
        }
        _ = stop.wait_for(|stop| *stop) => {
            // Whoever hears of the stop first says so: what is cut now was not left.
            house.login.closes();
            severing.cut();
            None
        }
    };
    drop(place);
    let done = match done {
        Some(done) => done,
        None => talk.await,
    };
    house.ended.notify_one();
    match done {
        Ok(()) => tracing::debug!(%source, "connection closed"),
        Err(russh::Error::Join(fault)) => tracing::error!(%source, "connection task failed: {fault}"),
        Err(fault) => tracing::info!(%source, "connection ended: {fault}"),
    }
}

/// A machine that is gone is noticed, and a key press is not kept back. Without either it works as well.
fn set_up(stream: &TcpStream, source: SocketAddr) {
    if let Err(fault) = SockRef::from(stream).set_tcp_keepalive(&STILL_THERE) {
        tracing::debug!(%source, "keepalive: {fault}");
    }
    if let Err(fault) = stream.set_nodelay(true) {
        tracing::debug!(%source, "nodelay: {fault}");
    }
}

/// Done when somebody has signed in (true), or when the time for it is over (false). A browser sign-in that is under
/// way stretches it; once that has failed there is as much time left to hear why as anybody has at the beginning.
async fn grace(mut stage: watch::Receiver<Stage>, short: Duration, long: Duration) -> bool {
    let began = Instant::now();
    let mut refused = None;
    loop {
        let until = match *stage.borrow_and_update() {
            Stage::SignedIn => return true,
            Stage::SigningIn => began + long,
            Stage::Refused => {
                (*refused.get_or_insert_with(Instant::now) + short).min(began + long.max(short))
            }
            Stage::Unknown => began + short,
        };
        tokio::select! {
            changed = stage.changed() => if changed.is_err() { return true }, // the connection is over
            () = tokio::time::sleep_until(until) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_cut_and_a_browser_sign_in_has_more_time() {
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(50));
        let (stage, staged) = watch::channel(Stage::Unknown);
        let began = Instant::now();
        assert!(!grace(staged.clone(), short, long).await);
        assert!(began.elapsed() >= short);

        stage.send_replace(Stage::SigningIn);
        let began = Instant::now();
        assert!(!grace(staged.clone(), short, long).await);
        assert!(began.elapsed() >= long);

        stage.send_replace(Stage::SignedIn);
        assert!(grace(staged, short, long).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_refused_has_a_little_time_once() {
        let (short, long) = (Duration::from_secs(30), Duration::from_secs(600));
        let (stage, staged) = watch::channel(Stage::SigningIn);
        let began = Instant::now();
        let ends = tokio::spawn(grace(staged, short, long));
        for (second, next) in [(100, Stage::Refused), (120, Stage::SigningIn), (125, Stage::Refused)] {
            tokio::time::sleep_until(began + Duration::from_secs(second)).await;
            stage.send_replace(next);
        }
        assert!(!ends.await.unwrap());
        assert_eq!(began.elapsed(), Duration::from_secs(130));
    }
}
