//! The SSH handler of one connection: hands protocol calls on, decides nothing.
//!
//! russh calls a [`Connection`] from the connection's own loop, which serves no channel meanwhile. So nothing here
//! waits, save for sign-in (before any channel exists) and for the brake of the squeeze. What a channel asks for is
//! heard by its own task, in order, from its queue; the calls here only give the replies that the protocol wants.

mod door;
mod farewell;
mod open;

use std::{
    collections::HashMap,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use futures::FutureExt;
use gate::{Env, Forwarding, Notice, Principal, Printable};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Sig,
    keys::{Algorithm, Certificate},
    server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, VerifiedPublicKey},
};
use tokio::sync::watch;

use farewell::{apologise, end_when_told};
use open::Open;

use crate::{
    audit::{self, Act},
    doorstep::Spot,
    front_desk,
    house::House,
    live::{Holder, Known, Place},
    login::SignIn,
    severable::Severing,
    squeeze::Squeeze,
    wrong_signatures::Listening,
};

/// Forwards and the like that are refused before the connection is ended: a client that goes on is not a person's.
const REFUSALS_MAX: usize = 200;

/// Channels that one connection opens in all, at most: russh 0.65.1 keeps some 5 KB of each that we closed first, for as
/// long as the connection lives.
const CHANNELS_IN_ALL_MAX: u32 = 10_000;

/// What other tasks may know of a connection.
pub struct Shared {
    /// Where the client calls from.
    pub source: SocketAddr,
    /// Names the connection in recordings and logs.
    pub id: String,
    /// Bytes that wait for targets, for the squeeze.
    pub backlog: Arc<AtomicUsize>,
    /// Channels that are open.
    pub channels: AtomicUsize,
    /// Cuts it.
    pub severing: Severing,
    /// How far sign-in is: the grace clock looks at it.
    pub stage: watch::Sender<Stage>,
    /// Where it stands until then.
    pub spot: Spot,
    /// What says goodbye to it, as soon as there is a conversation.
    pub handle: OnceLock<server::Handle>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody yet.
    Unknown,
    /// A browser sign-in is under way, which may take its time.
    SigningIn,
    /// One has failed, and its owner may still read why.
    Refused,
    /// Somebody.
    SignedIn,
}

/// The handler of one connection.
pub struct Connection {
    house: Arc<House>,
    shared: Arc<Shared>,
    sign_in: SignIn,
    user: String,
    squeeze: Squeeze,
    /// Whether a channel has had its shell, command or subsystem: one program per channel.
    started: HashMap<ChannelId, bool>,
    refusals: usize,
    key_offers: usize,
    listening: Option<Listening>,
    /// Goodbye was said before the sign-in.
    is_parting: bool,
    /// Channels that were asked for in all.
    opened: u32,
    /// Channels refused because there were too many.
    too_many: usize,
    /// Its place among its person's connections, once it is hers.
    place: Option<Place<Arc<Known>>>,
    /// Her, once she is known.
    caller: Option<Arc<Known>>,
}

impl Connection {
    /// A handler for a connection that nothing is known of yet.
    pub fn new(house: Arc<House>, shared: Arc<Shared>, squeeze: Squeeze) -> Connection {
        let sign_in = SignIn::new(house.login.clone(), shared.source);
        let (user, started) = (String::new(), HashMap::new());
        Connection {
            house,
            shared,
            sign_in,
            user,
            squeeze,
            started,
            refusals: 0,
            key_offers: 0,
            listening: None,
            is_parting: false,
            opened: 0,
            too_many: 0,
            place: None,
            caller: None,
        }
    }

    /// What a program gets it gets before it starts.
    fn is_to_start(&self, channel: ChannelId) -> bool {
        self.started.get(&channel) == Some(&false)
    }

    /// Answers the request that starts a channel's program; the second on one channel is refused.
    fn start(&mut self, channel: ChannelId, session: &mut server::Session) -> Result<(), russh::Error> {
        match self.started.insert(channel, true) {
            Some(false) => session.channel_success(channel),
            _ => session.channel_failure(channel),
        }
    }

    /// Something has arrived for a target, of so many bytes; no window limits what has none.
    async fn arrived(&mut self, bytes: usize) -> Result<(), russh::Error> {
        self.squeeze.arrived(bytes).await.map_err(|flood| {
            tracing::warn!(connection = %self.shared.id, "{flood}; connection ended");
            russh::Error::Inconsistent
        })
    }

    /// Refuses a forward. russh's refusal has no place for a sentence, so that goes as a debug message beside it, which
    /// clients show when asked to be verbose, and into the log.
    async fn refuse_forward(
        &mut self,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.say_refused(Forwarding::Local, session)?;
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    fn say_refused(&mut self, what: Forwarding, session: &mut server::Session) -> Result<(), russh::Error> {
        let sentence = Notice::Forwarding(what);
        tracing::info!(connection = %self.shared.id, user = %Printable::of(&self.user), "refused: {sentence}");
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            return Err(russh::Error::Disconnect);
        }
        session.debug(true, &format!("bastion: {sentence}"), "en")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.sign_in.is_over();
        tracing::debug!(connection = %self.shared.id, "connection over");
    }
}

impl server::Handler for Connection {
    type Error = russh::Error;

    /// Stores nothing but the count: a key that is offered is not proven. russh counts refused offers only.
    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        self.may_try()?;
        self.key_offers += 1;
        let most = self.house.rules().settings.limits.key_offers;
        if self.key_offers > most {
            let (connection, user) = (&self.shared.id, Printable::of(user));
            tracing::warn!(%connection, %user, "ended: more than {most} keys offered (limits.key_offers)");
            return Err(russh::Error::Disconnect);
        }
        // russh verifies such signatures, whatever algorithms it was told to prefer.
        if matches!(offer.algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
            tracing::info!(connection = %self.shared.id, "a key was offered with signatures that can be forged");
            return Ok(Auth::reject());
        }
        self.listen_for_wrong_signatures();
        Ok(Auth::Accept)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.user = user.to_owned();
        // A sign-in that was under way for another key, or name, is dropped, and with it the time that it had.
        self.shared.stage.send_replace(Stage::Unknown);
        let rules = self.house.rules();
        let answer = self.sign_in.key_shown(user, key.public_key, &rules.settings.login.certificates).await;
        self.key_was_proven(&answer).await;
        Ok(answer.into())
    }

    /// russh has verified both signatures, and looked at the dates.
    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        self.user = user.to_owned();
        self.shared.stage.send_replace(Stage::Unknown);
        let rules = self.house.rules();
        let trusted = &rules.settings.login.certificates;
        let answer = self.sign_in.certificate_proven(user, certificate, trusted).await;
        self.note_what_failed();
        Ok(answer.into())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        self.talk(user, response).await
    }

    async fn auth_succeeded(&mut self, session: &mut server::Session) -> Result<(), russh::Error> {
        self.shared.stage.send_replace(Stage::SignedIn);
        let kept = tokio::sync::Mutex::new(self.sign_in.take_kept());
        let Some(principal) = self.sign_in.principal() else { return Err(russh::Error::Inconsistent) };
        let caller = Arc::new(Known { principal: ArcSwap::from_pointee(principal.clone()), kept });
        let holder = Holder::of(principal, &self.shared.id);
        let most = self.house.rules().settings.limits.connections_per_person;
        let place = self.house.connected.enter(archive::new_id(), holder.clone(), caller.clone(), most);
        let Some(place) = place else {
            let user = &principal.name;
            tracing::warn!(%user, "ended: more than {most} connections of one person (limits.connections_per_person)");
            return Err(russh::Error::Disconnect);
        };
        if !self.sign_in.still_holds() {
            tracing::info!(connection = %self.shared.id, "ended: its binding was revoked just now");
            return Err(russh::Error::Disconnect);
        }
        let written = self.house.audit.write(Act::SignedIn {
            person: audit::person(principal),
            source: self.shared.source,
            connection: self.shared.id.clone(),
            key: principal.key.clone(),
            at_provider: principal.signed_in_at,
            certificate: audit::certificate(principal),
        });
        if let Err(fault) = written.await {
            tracing::error!(connection = %self.shared.id, "ended: {fault}");
            return Err(russh::Error::Disconnect);
        }
        if let Some(key) = self.sign_in.newly_bound() {
            self.house.live.tell_those(|other| other.is_same_person(&holder), key);
        }
        tokio::spawn(end_when_told(place.orders.clone(), session.handle(), self.shared.severing.clone()));
        (self.place, self.caller) = (Some(place), Some(caller));
        Ok(())
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        // Clients write it as it is, and their prompt behind it.
        let banner = self.house.rules().settings.ssh.banner.clone();
        Ok(banner.map(|text| format!("{}\r\n", text.trim_end())))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let Some(caller) = self.caller.clone() else { return Ok(()) };
        if let Some(why) = self.sign_in.lapsed(&self.house.rules().settings.login.certificates) {
            // A stock client that shares the connection calls anew then, with whatever certificate it has by now.
            tracing::info!(connection = %self.shared.id, user = %caller.principal.load().name, "a channel is refused: {why}");
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return session.debug(true, &format!("bastion: {why}"), "en");
        }
        let most = self.house.rules().settings.limits.channels_per_connection;
        self.opened += 1;
        if self.shared.channels.load(Relaxed) >= most || self.opened > CHANNELS_IN_ALL_MAX {
            // Stock clients take it and call anew, so the connection and its open channels stay; the log is not flooded.
            self.too_many += 1;
            if self.too_many.is_power_of_two() {
                let (connection, refused, opened) = (&self.shared.id, self.too_many, self.opened);
                tracing::warn!(%connection, most, refused, opened, "too many channels on one connection");
            }
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.started.insert(channel.id(), false);
        let (house, shared, user, handle) =
            (self.house.clone(), self.shared.clone(), self.user.clone(), session.handle());
        let open = Open::count(&shared);
        tokio::spawn(async move {
            let _open = open;
            reply.accept().await;
            let (id, connection) = (channel.id(), shared.id.clone());
            let served = front_desk::serve(house, shared, caller, user, channel, handle.clone());
            if AssertUnwindSafe(served).catch_unwind().await.is_err() {
                tracing::error!(%connection, "a session panicked: this is a mistake of the bastion's, please report it");
                apologise(&handle, id).await;
            }
        });
        Ok(())
    }

    /// russh asks before it grants a window anew.
    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        self.squeeze.window()
    }

    /// Only counted here: the bytes themselves are heard from the channel's queue.
    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut server::Session) -> Result<(), russh::Error> {
        self.arrived(data.len()).await
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.started.remove(&channel);
        Ok(())
    }

    // Answered here and at once: russh keeps a single `wants_reply` per channel.

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let may = self.sign_in.principal().is_some_and(Principal::may_have_terminal);
        match may && self.is_to_start(channel) {
            true => session.channel_success(channel),
            false => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        let rules = self.house.rules();
        // Only asked: what counts is what the channel's own task keeps, in order and in number.
        if self.is_to_start(channel) && Env::default().set(rules.settings.env_allow.filter(), name, value) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.start(channel, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.start(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.start(channel, session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.arrived(0).await?;
        session.channel_success(channel)
    }

    async fn signal(&mut self, _: ChannelId, _: Sig, _: &mut server::Session) -> Result<(), russh::Error> {
        self.arrived(0).await
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.say_refused(Forwarding::X11, session)?;
        session.channel_failure(channel)
    }

    async fn agent_request(
        &mut self,
        _: ChannelId,
        session: &mut server::Session,
    ) -> Result<bool, russh::Error> {
        self.say_refused(Forwarding::Agent, session)?;
        Ok(false)
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        _: &mut u32,
        session: &mut server::Session,
    ) -> Result<bool, russh::Error> {
        self.say_refused(Forwarding::Remote, session)?;
        Ok(false)
    }

    async fn streamlocal_forward(
        &mut self,
        _: &str,
        session: &mut server::Session,
    ) -> Result<bool, russh::Error> {
        self.say_refused(Forwarding::Remote, session)?;
        Ok(false)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.refuse_forward(reply, session).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.refuse_forward(reply, session).await
    }
}
