//! The opening of one channel: what it is for, where it goes, and whether it may.
//!
//! A channel's requests are heard in the order in which they were sent, up to the one that starts a program. Then
//! its destination is known: a target, a word of the bastion's own, or nothing, which is answered with a list. What
//! is granted becomes a [`Session`].

mod lead;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gate::{
    Decision, Denial, Destination, Env, Forwarding, Gate, Grant, NewKey, Notice, Opening, Opens, Principal,
    Pty, Request, Target, exit_code,
};
use recording::{FORMAT, Facts, Header, Layout};
use russh::{Channel, ChannelMsg, server};
use tokio::time::Instant;

use crate::{
    answer::{self, Answer},
    audit::{self, Act},
    child::{self, ChildFault},
    connection::Shared,
    dial, forced,
    house::{self, House, Rules},
    last_use::LastUse,
    live::{Holder, Known, Standing},
    menu::{self, Chosen, Item},
    picker,
    session::{Parts, Session},
    storm, wire, words,
};

use lead::{Leads, lead};

/// How long a channel may be open without saying what it is for.
const UNSAID_MAX: Duration = Duration::from_secs(120);
/// Size that the recording of a channel without a terminal, or with one of unknown size, states.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Serves one channel from its opening to its end.
pub async fn serve(
    house: Arc<House>,
    shared: Arc<Shared>,
    caller: Arc<Known>,
    user: String,
    mut channel: Channel<server::Msg>,
    handle: server::Handle,
) {
    let heard = hear_opening(&house, &shared.id, &mut channel);
    let (mut opening, input_ended) = match tokio::time::timeout(UNSAID_MAX, heard).await {
        Ok(Some(heard)) => heard,
        Ok(None) => return,
        Err(_) => {
            if let Err(fault) = channel.close().await {
                tracing::debug!(connection = %shared.id, "a silent channel was gone before it was closed: {fault}");
            }
            return;
        }
    };
    let principal = caller.principal.load_full();
    storm::strike("session", principal.name.as_str());
    let asked = match forced::hold(&house, &shared, &principal, &mut opening).await {
        Ok(asked) => asked,
        Err(notice) => return refuse(channel, opening.pty.is_some(), &notice).await,
    };
    let desk = Desk { rules: house.rules(), house, shared, caller, principal, handle, input_ended, asked };
    desk.serve(channel, &user, opening).await;
}

/// Hears what a channel is for; none if it closed without saying.
///
/// A client may end its input before that: answers whether it has.
async fn hear_opening(
    house: &House,
    connection: &str,
    channel: &mut Channel<server::Msg>,
) -> Option<(Opening, bool)> {
    let rules = house.rules();
    let (mut pty, mut env, mut refused) = (None, Env::default(), Vec::new());
    let (mut input_ended, mut dropped) = (false, 0_usize);
    loop {
        let opens = match channel.wait().await? {
            ChannelMsg::RequestPty {
                term,
                col_width,
                row_height,
                pix_width,
                pix_height,
                terminal_modes,
                ..
            } => {
                pty = Some(wire::pty(&term, col_width, row_height, (pix_width, pix_height), &terminal_modes));
                continue;
            }
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                if let Some(pty) = &mut pty {
                    wire::resize(pty, col_width, row_height, (pix_width, pix_height));
                }
                continue;
            }
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                let has_room = env.passed().len() < rules.settings.limits.env;
                if !(has_room && env.set(rules.settings.env_allow.filter(), &variable_name, &variable_value))
                {
                    dropped += 1;
                }
                continue;
            }
            ChannelMsg::AgentForward { .. } if !refused.contains(&Forwarding::Agent) => {
                refused.push(Forwarding::Agent);
                continue;
            }
            ChannelMsg::RequestX11 { .. } if !refused.contains(&Forwarding::X11) => {
                refused.push(Forwarding::X11);
                continue;
            }
            ChannelMsg::RequestShell { .. } => Opens::Shell,
            ChannelMsg::Exec { command, .. } => Opens::Exec(command.into()),
            ChannelMsg::RequestSubsystem { name, .. } => Opens::Subsystem(name),
            ChannelMsg::Eof => {
                input_ended = true;
                continue;
            }
            ChannelMsg::Close => return None,
            _ => continue,
        };
        if dropped > 0 {
            tracing::info!(%connection, dropped, "variables that are not allowed (env_allow), or too many (limits.env)");
        }
        return Some((Opening { pty, env: env.passed().to_vec(), refused, opens }, input_ended));
    }
}

/// A yes, and what it was said to.
struct Granted {
    request: Request,
    grant: Grant,
}

/// One channel's way through the house.
struct Desk {
    house: Arc<House>,
    rules: Arc<Rules>,
    shared: Arc<Shared>,
    caller: Arc<Known>,
    /// As she is known while this desk serves her; others may learn more of her meanwhile.
    principal: Arc<Principal>,
    handle: server::Handle,
    /// The client ended its input before it said what to open.
    input_ended: bool,
    /// What the client asked for, if its certificate has put another command in its place.
    asked: Option<String>,
}

impl Desk {
    async fn serve(self, channel: Channel<server::Msg>, user: &str, opening: Opening) {
        let terminal = opening.pty.is_some();
        match lead(user, &opening.opens) {
            Ok(Leads::To(destination, opens)) => {
                self.open(channel, destination, Opening { opens, ..opening }, Bytes::new()).await;
            }
            Ok(Leads::Word(word, arguments)) => {
                let knows =
                    if words::lists_targets(&word) { self.knows().await } else { self.knows_herself() };
                let answer = match words::hear(&word, &arguments, &knows) {
                    words::Said::Answer(answer) => answer,
                    words::Said::Keys(asks, json) => {
                        words::answer_keys(&self.house, &self.principal, asks, json).await
                    }
                };
                answer::give(channel, terminal, forced::discreet(self.asked.as_deref(), answer)).await;
            }
            Ok(Leads::Nowhere) if terminal => self.offer(channel, opening).await,
            Ok(Leads::Nowhere) => {
                let answer = match &opening.opens {
                    // A program speaks there (scp, sftp): a list would be read as its other half's words.
                    Opens::Subsystem(_) => words::no_target_for_a_program(&self.knows_herself()),
                    _ => words::no_target(&self.knows().await),
                };
                answer::give(channel, terminal, answer).await;
            }
            Err(fault) => {
                tracing::info!(connection = %self.shared.id, user = %self.principal.name, "refused: {fault}");
                let line = format!("bastion: {fault}; try: ssh {}@BASTION :help", self.principal.name);
                let answer = Answer::refusal(line, exit_code::USAGE);
                answer::give(channel, terminal, forced::discreet(self.asked.as_deref(), answer)).await;
            }
        }
    }

    /// What the bastion's own words may tell this caller.
    async fn knows(&self) -> words::Knows {
        let (rules, principal) = (self.rules.clone(), self.principal.clone());
        // Thousands of targets and hundreds of rules take half a second, in which others want to be served.
        let looked = tokio::task::spawn_blocking(move || {
            let reachable = rules.policy.reachable(&principal, &rules.targets, house::now());
            reachable.iter().map(item).collect()
        });
        let items = looked.await.unwrap_or_else(|fault| match fault.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The bastion goes down.
            Err(_) => Vec::new(),
        });
        words::Knows { items, ..self.knows_herself() }
    }

    /// The same without the targets that she may reach, which take their time.
    fn knows_herself(&self) -> words::Knows {
        let alone_until = self.house.login.alone_until(&self.principal);
        words::Knows { principal: self.principal.as_ref().clone(), items: Vec::new(), alone_until }
    }

    /// A terminal and no target: the list to pick from.
    async fn offer(self, mut channel: Channel<server::Msg>, mut opening: Opening) {
        let knows = self.knows().await;
        let Some(pty) = opening.pty.as_mut().filter(|_| !knows.items.is_empty()) else {
            return answer::give(channel, true, words::no_target(&knows)).await;
        };
        let chosen = match self.pick(&mut channel, pty, &opening.env, &knows.items).await {
            Err(ChildFault::NoPlace | ChildFault::NotStarted(_)) => {
                menu::ask(&mut channel, pty, &knows.items).await.unwrap_or(Chosen::Nothing)
            }
            Err(fault) => return answer::give(channel, true, child::apology(&fault)).await,
            Ok(chosen) => chosen,
        };
        match chosen {
            Chosen::Target(to, typed_ahead) => self.open(channel, to, opening, typed_ahead.into()).await,
            Chosen::Nothing => answer::give(channel, true, Answer::default()).await,
        }
    }

    /// Lets her pick, as her terminal can show it.
    async fn pick(
        &self,
        channel: &mut Channel<server::Msg>,
        pty: &mut Pty,
        env: &[(String, String)],
        items: &[Item],
    ) -> Result<Chosen, ChildFault> {
        if !picker::fits(pty) {
            return Err(ChildFault::NoPlace);
        }
        let now = house::now();
        let offer = picker::offer(items, self.house.last_uses.of(&self.principal, now), now);
        let idle = self.rules.settings.limits.list_idle;
        let chosen = picker::ask(channel, pty, env, &self.principal, &offer, idle).await;
        if let Err(fault) = chosen.as_ref()
            && !matches!(fault, ChildFault::Left)
        {
            tracing::warn!(connection = %self.shared.id, user = %self.principal.name, "the list of targets: {fault}");
        }
        chosen
    }

    /// Asks the policy, and opens what it grants.
    async fn open(self, channel: Channel<server::Msg>, to: Destination, opening: Opening, early: Bytes) {
        // What holds now: she may have looked at a list for an hour.
        let desk = Desk { rules: self.house.rules(), principal: self.caller.principal.load_full(), ..self };
        if let Some(why) = desk.is_over() {
            let (connection, user) = (&desk.shared.id, &desk.principal.name);
            tracing::info!(%connection, %user, "a session is refused: {why}");
            let notice = Notice::Withdrawn(why.to_owned());
            return refuse(channel, opening.pty.is_some(), &notice).await;
        }
        desk.open_now(channel, to, opening, early).await;
    }

    /// Why nothing more is opened on this connection, if it is so: what let her in may be gone since the channel was.
    fn is_over(&self) -> Option<&'static str> {
        if self.house.connected.is_ending(&self.shared.id) {
            return Some("the connection that it came by is ended");
        }
        self.house.login.lapsed(&self.principal, &self.rules.settings.login.certificates)
    }

    async fn open_now(self, channel: Channel<server::Msg>, to: Destination, opening: Opening, early: Bytes) {
        let terminal = opening.pty.is_some();
        match self.decide(&to, &opening) {
            Ok(granted) => self.begin(channel, granted, early).await,
            Err(denial) => {
                tracing::info!(connection = %self.shared.id, user = %self.principal.name, target = %to.target,
                    channel = %opening.kind(), "denied: {}", denial.why());
                self.house.audit.refused(Act::Denied {
                    person: audit::person(&self.principal),
                    connection: self.shared.id.clone(),
                    target: to.target.to_string(),
                    login: to.login.as_ref().map(ToString::to_string),
                    channel: opening.kind().to_string(),
                    why: denial.why().to_string(),
                });
                let refusal = refusal(&Notice::Denied { target: to.target, denial });
                answer::give(channel, terminal, forced::discreet(self.asked.as_deref(), refusal)).await;
            }
        }
    }

    fn decide(&self, to: &Destination, opening: &Opening) -> Result<Granted, Denial> {
        let target = self.rules.settings.targets.get(&to.target).ok_or_else(Denial::unknown_target)?;
        let request = Request {
            principal: self.principal.as_ref().clone(),
            target: target.target.clone(),
            login: to.login.clone(),
            opening: opening.clone(),
            now: house::now(),
        };
        match self.rules.policy.decide(&request) {
            // Asked again later, it is about this login, whatever rules come to mean where none is named.
            Decision::Allow(grant) => {
                let request = Request { login: Some(grant.login().clone()), ..request };
                Ok(Granted { request, grant })
            }
            Decision::Deny(denial) => Err(denial),
        }
    }

    /// Begins the recording, and carries the session to its end.
    async fn begin(self, channel: Channel<server::Msg>, granted: Granted, early: Bytes) {
        let Granted { request, grant } = granted;
        let opening = request.opening.clone();
        let terminal = opening.pty.is_some();
        let id = archive::new_id();
        let most = self.rules.settings.limits.sessions_per_person;
        let standing = Standing { request, grant: Some(grant.clone()) };
        let place = self.house.live.enter(id, Holder::of(&self.principal, &self.shared.id), standing, most);
        let Some(mut place) = place else {
            tracing::warn!(user = %self.principal.name, most, "too many sessions of one person; one refused");
            return refuse(channel, terminal, &Notice::Full).await;
        };
        self.look_again();
        let used = LastUse { at: house::now(), login: grant.login().clone() };
        self.house.last_uses.note(&self.principal, &grant.target().name, used);
        let header = self.header(id, &grant, &opening);
        let news = (self.news(terminal), place.news.take());
        tracing::info!(session = %id, connection = %self.shared.id, user = %self.principal.name,
            target = %grant.target().name, login = %grant.login(), channel = %opening.kind(), rule = grant.rule(),
            "session begins");
        let began = Instant::now();
        let (client, client_half) = channel.split();
        let (house, rules) = (self.house.clone(), self.rules);
        let key_id = dial::key_id(&self.principal, id);
        let session = Session::new(Parts {
            client,
            client_half,
            client_handle: self.handle,
            backlog: self.shared.backlog.clone(),
            dial: Box::new(move |grant| house.dial(&rules, grant, key_id.clone(), terminal)),
            tape: self.house.recorder.begin(header),
            gate: Gate::new(grant, opening),
            began,
            severing: self.shared.severing.clone(),
            news,
            orders: place.orders.clone(),
        });
        let reason = session.run(early, self.input_ended).await;
        tracing::info!(session = %id, seconds = began.elapsed().as_secs_f64(), "session ended: {reason:?}");
        drop(place);
    }

    /// What was learnt between the decision and the moment at which its session stood among the open ones.
    fn look_again(&self) {
        if !Arc::ptr_eq(&self.rules, &self.house.rules()) {
            self.house.review(house::POLICY_CHANGED);
        }
        let principal = self.caller.principal.load_full();
        if !Arc::ptr_eq(&self.principal, &principal) {
            let is_hers = |holder: &Holder| holder.connection == self.shared.id;
            self.house.regroup_sessions(is_hers, &principal.groups);
        }
    }

    /// Keys that were bound to her and that the key she came with has not told her of, if there is a terminal to tell it on.
    fn news(&self, terminal: bool) -> Vec<NewKey> {
        if !terminal {
            return Vec::new();
        }
        let Principal { issuer, subject, key, .. } = self.principal.as_ref();
        let news = self.house.login.bindings().news_for(issuer, subject, key.as_deref(), house::now());
        news.unwrap_or_else(|fault| {
            tracing::warn!(%fault, "nobody can say which keys were bound");
            Vec::new()
        })
    }

    fn header(&self, id: recording::SessionId, grant: &Grant, opening: &Opening) -> Header {
        let (target, principal) = (grant.target(), &self.principal);
        let pty = opening.pty.as_ref();
        let size = pty.map(|pty| (pty.cols, pty.rows)).filter(|(cols, rows)| *cols > 0 && *rows > 0);
        let (cols, rows) = size.unwrap_or(USUAL_SIZE);
        let (channel, command) = match &opening.opens {
            Opens::Shell => (if pty.is_some() { "terminal" } else { "shell" }, None),
            Opens::Exec(command) => ("exec", Some(String::from_utf8_lossy(command).into_owned())),
            Opens::Subsystem(name) => ("subsystem", Some(name.clone())),
        };
        let mut env: std::collections::BTreeMap<String, String> = opening.env.iter().cloned().collect();
        if let Some(pty) = pty {
            env.insert("TERM".into(), pty.term.clone());
        }
        let title = format!("{} -> {}@{}", principal.name, grant.login(), target.name);
        let facts = Facts {
            format: FORMAT,
            id,
            salt: house::salt(),
            started_us: house::now_us(),
            layout: if pty.is_some() { Layout::Lines } else { Layout::Chunks },
            person: audit::person(principal),
            source: self.shared.source.to_string(),
            key: principal.key.clone(),
            certificate: audit::certificate(principal),
            asked: self.asked.clone(),
            connection: self.shared.id.clone(),
            target: target.name.to_string(),
            address: format!("{}:{}", target.address, target.port),
            login: grant.login().to_string(),
            channel: channel.into(),
            rule: grant.rule().into(),
        };
        Header { cols, rows, command, title, env, facts }
    }
}

/// Says why not, with the exit code that belongs to it.
async fn refuse(channel: Channel<server::Msg>, terminal: bool, notice: &Notice) {
    answer::give(channel, terminal, refusal(notice)).await;
}

fn refusal(notice: &Notice) -> Answer {
    Answer::refusal(format_args!("bastion: {notice}"), notice.exit_code().unwrap_or(exit_code::USAGE))
}

fn item(reachable: &gate::Reachable<'_>) -> Item {
    let usual = reachable.default_login.clone();
    let others = reachable.logins.iter().filter(|login| Some(*login) != usual.as_ref()).cloned();
    let logins = usual.iter().cloned().chain(others).collect();
    let Target { name, labels, .. } = reachable.target;
    let labels = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Item { name: name.clone(), logins, labels }
}
