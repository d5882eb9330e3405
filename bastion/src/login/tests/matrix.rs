//! Every order and repetition of up to four steps of a sign-in, against a model that says who must be in, and as whom.
//!
//! The clock of the runtime stands still, so a poll happens when a step lets a second pass and at no other time: each order
//! has one outcome, and thousands of them take seconds.

use std::task::Poll;

use ::tests::{
    hostile::{Fault, Hostile},
    provider::{ALICE, BEA, Person},
};

use super::{hostile::bench_at, *};

/// As many steps as an order has at most: what a whole sign-in takes.
const STEPS: usize = 4;

/// Two people who may come. The model needs to know no more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Alice,
    Bea,
}

use User::{Alice, Bea};

impl User {
    fn name(self) -> &'static str {
        self.person().name
    }

    fn person(self) -> &'static Person {
        match self {
            Alice => &ALICE,
            Bea => &BEA,
        }
    }
}

/// Two keys: one is nobody's, the other is bound to alice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    New,
    OfAlice,
}

impl Key {
    fn public(self) -> PublicKey {
        key(self as u8)
    }
}

/// What a person says of the code that was shown last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    ConfirmedBy(User),
    Denied,
}

/// What can happen in a sign-in. Whatever comes from the client names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A signature of this key is verified.
    Proves(Key, User),
    /// The client begins keyboard-interactive, or begins it anew.
    Begins(User),
    /// A second has passed, the provider has been polled, and the client answers one prompt.
    Answers(User),
    /// The same, and the client answers two.
    AnswersTwo(User),
    /// A person opens the address and rules.
    Rules(Ruling),
}

use Step::{Answers, AnswersTwo, Begins, Proves, Rules};

const EVERY_STEP: [Step; 12] = [
    Proves(Key::New, Alice),
    Proves(Key::New, Bea),
    Proves(Key::OfAlice, Alice),
    Proves(Key::OfAlice, Bea),
    Begins(Alice),
    Begins(Bea),
    Answers(Alice),
    Answers(Bea),
    AnswersTwo(Alice),
    Rules(Ruling::ConfirmedBy(Alice)),
    Rules(Ruling::ConfirmedBy(Bea)),
    Rules(Ruling::Denied),
];

/// What the client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Partial,
    Asked,
    Refused,
    In(User, Option<Key>),
}

/// A sign-in at the provider, as far as it has come.
struct Begun {
    ruled: Option<Ruling>,
    /// What the polls have brought home.
    brought: Option<Ruling>,
    is_asked: bool,
}

/// Who must be in: what the words in docs/login.md come to.
#[derive(Default)]
struct Model {
    user: Option<User>,
    key: Option<Key>,
    begun: Option<Begun>,
    codes: u32,
    is_over: bool,
}

impl Model {
    fn hears(&mut self, step: Step) -> Heard {
        match step {
            Rules(ruling) => {
                // It is too late for what the bastion has been told already.
                if let Some(begun) = self.begun.as_mut().filter(|begun| begun.brought.is_none()) {
                    begun.ruled = Some(ruling);
                }
                Heard::Nothing
            }
            Proves(key, user) => {
                *self = Model { user: Some(user), key: Some(key), codes: self.codes, ..Model::default() };
                match (key, user) {
                    (Key::OfAlice, Alice) => Heard::In(user, self.key),
                    _ => Heard::Partial,
                }
            }
            Begins(user) => {
                self.is_for(user);
                self.begins()
            }
            Answers(user) | AnswersTwo(user) => {
                self.begun.iter_mut().for_each(|begun| begun.brought = begun.ruled);
                self.is_for(user);
                self.answers(matches!(step, Answers(_)))
            }
        }
    }

    /// Another user name begins with nothing. Only how many codes the connection has had is kept.
    fn is_for(&mut self, user: User) {
        if self.user != Some(user) {
            *self = Model { user: Some(user), codes: self.codes, ..Model::default() };
        }
    }

    fn begins(&mut self) -> Heard {
        match &mut self.begun {
            _ if self.is_over => Heard::Refused,
            None if self.codes == FLOWS_PER_CONNECTION_MAX => Heard::Refused,
            None => {
                self.codes += 1;
                self.begun = Some(Begun { ruled: None, brought: None, is_asked: true });
                Heard::Asked
            }
            Some(begun) => {
                begun.is_asked = true;
                self.is_told()
            }
        }
    }

    fn answers(&mut self, is_right: bool) -> Heard {
        let Some(begun) = self.begun.as_mut().filter(|_| !self.is_over) else { return Heard::Refused };
        let was_asked = std::mem::replace(&mut begun.is_asked, false);
        if !was_asked || !is_right {
            return Heard::Refused;
        }
        begun.is_asked = true;
        self.is_told()
    }

    /// One more prompt, or what came of it.
    fn is_told(&mut self) -> Heard {
        let Some(ruling) = self.begun.as_ref().and_then(|begun| begun.brought) else { return Heard::Asked };
        match (ruling, self.user, self.key) {
            (Ruling::ConfirmedBy(person), Some(user), None | Some(Key::New)) if person == user => {
                Heard::In(user, self.key)
            }
            // Her key alone lets alice in, so whoever comes this far with it is somebody else.
            _ => {
                self.is_over = true;
                Heard::Asked
            }
        }
    }
}

/// One connection to the real thing.
struct Real<'b> {
    bench: &'b Bench,
    provider: &'b Hostile,
    caller: SignIn,
    code: Option<String>,
}

impl Real<'_> {
    async fn hears(&mut self, step: Step) -> Heard {
        match step {
            Rules(ruling) => {
                self.rules(ruling);
                Heard::Nothing
            }
            Proves(key, user) => match self.caller.key_proven(user.name(), &key.public()).await {
                KeyAnswer::Success(principal) => is_in(&principal),
                KeyAnswer::PartialSuccess | KeyAnswer::PartialSuccessOrCertificate => Heard::Partial,
                KeyAnswer::Failure => Heard::Refused,
            },
            Begins(user) => self.interactive(user, None).await,
            Answers(user) => self.answers(user, 1).await,
            AnswersTwo(user) => self.answers(user, 2).await,
        }
    }

    fn rules(&self, ruling: Ruling) {
        match (self.code.as_deref(), ruling) {
            (None, _) => {}
            (Some(code), Ruling::ConfirmedBy(user)) => self.provider.approve(code, user.person()),
            (Some(code), Ruling::Denied) => self.provider.deny(code),
        }
    }

    async fn answers(&mut self, user: User, count: usize) -> Heard {
        if let State::Asking { flow, .. } = &mut self.caller.state
            && let Progress::Waiting { answers: before, .. } = flow.now()
        {
            tokio::time::advance(INTERVAL).await;
            let is_news = |progress: &Progress| !matches!(progress, Progress::Waiting { answers, .. } if *answers == before);
            let news = flow.progress.wait_for(is_news).await.unwrap();
            if matches!(*news, Progress::Decided(_)) {
                // The provider forgets a code that it has answered for, so there is nothing left to rule on.
                self.code = None;
            }
        }
        self.interactive(user, Some(vec![String::new(); count])).await
    }

    async fn interactive(&mut self, user: User, answers: Option<Vec<String>>) -> Heard {
        match self.round(user, answers).await {
            InteractiveAnswer::Success(principal) => is_in(&principal),
            InteractiveAnswer::Failure => Heard::Refused,
            InteractiveAnswer::Ask(question) => {
                let [(prompt, _)] = question.prompts.as_slice() else { panic!("{question:?}") };
                if let Some((_, code)) = prompt.split_once("enter the code ") {
                    self.code = code.split_whitespace().next().map(str::to_owned);
                }
                Heard::Asked
            }
        }
    }

    /// Enter is answered once the provider was asked after it: a second must pass.
    async fn round(&mut self, user: User, answers: Option<Vec<String>>) -> InteractiveAnswer {
        let is_answered = answers.is_some();
        let answer = {
            let mut answer = std::pin::pin!(self.caller.interactive(user.name(), answers));
            match futures::poll!(&mut answer) {
                Poll::Ready(answer) => answer,
                Poll::Pending => {
                    if is_answered {
                        tokio::time::advance(INTERVAL).await;
                    }
                    answer.await
                }
            }
        };
        match answer {
            // That was the round's own second. What was asked in it is answered in the next.
            InteractiveAnswer::Ask(question) if question.prompts.is_empty() => {
                self.caller.interactive(user.name(), Some(Vec::new())).await
            }
            answer => answer,
        }
    }

    /// Whose the key that was nobody's is now.
    fn owner(&self) -> Option<String> {
        let found = self.bench.login.bindings.find(&fingerprint(&Key::New.public()), self.bench.login.now());
        found.unwrap().map(|binding| binding.subject)
    }
}

/// What the provider of these tests wants between two polls.
const INTERVAL: Duration = Duration::from_secs(1);

fn is_in(principal: &Principal) -> Heard {
    let user = [Alice, Bea].into_iter().find(|user| {
        (user.name(), user.person().sub) == (principal.name.as_str(), principal.subject.as_str())
    });
    let keys = [Key::New, Key::OfAlice].into_iter();
    let key = principal.key.as_ref().map(|print| {
        keys.clone().find(|key| fingerprint(&key.public()) == *print).expect("one of the two keys")
    });
    Heard::In(user.expect("one of the two people, by both her names"), key)
}

/// Every order of up to [`STEPS`] steps. It ends where the model says that somebody is in; rulings need a code.
fn orders() -> Vec<Vec<Step>> {
    let (mut open, mut all) = (vec![vec![]], vec![]);
    for _ in 0..STEPS {
        let longer = open.iter().flat_map(|order: &Vec<Step>| {
            EVERY_STEP.map(|step| order.iter().copied().chain([step]).collect::<Vec<_>>())
        });
        let has_code = |order: &Vec<Step>| order.iter().any(|step| matches!(step, Begins(_)));
        let sensible = longer.filter(|order| has_code(order) || !matches!(order.last(), Some(Rules(_))));
        let (ended, unended) = sensible.partition(|order| ends_in(order).is_some());
        open = unended;
        all.extend::<Vec<_>>(ended);
    }
    all.extend(open);
    all
}

/// Who is in at the end, as the model has it, and with which key.
fn ends_in(order: &[Step]) -> Option<(User, Option<Key>)> {
    let mut model = Model::default();
    match order.iter().map(|step| model.hears(*step)).last() {
        Some(Heard::In(user, key)) => Some((user, key)),
        _ => None,
    }
}

/// Whether the order has what lets `user` in: her own key's proof, or all of a sign-in, in one piece and by herself.
/// Said once more and otherwise than the model says it, so that a mistake in it does not hide one in the program.
fn is_a_full_set(order: &[Step], user: User, key: Option<Key>) -> bool {
    if key == Some(Key::OfAlice) {
        return order.last() == Some(&Proves(Key::OfAlice, user)) && user == Alice;
    }
    let breaks = |step: &Step| match step {
        Proves(..) => true,
        Begins(by) | Answers(by) | AnswersTwo(by) => *by != user,
        Rules(_) => false,
    };
    let from = order.iter().rposition(breaks);
    let proven = from.and_then(|at| match order[at] {
        Proves(key, by) if by == user => Some(key),
        _ => None,
    });
    let mut piece = order[from.map_or(0, |at| at + 1)..].iter();
    let begun = piece.by_ref().any(|step| *step == Begins(user));
    let confirmed = begun && piece.by_ref().any(|step| *step == Rules(Ruling::ConfirmedBy(user)));
    let polled = confirmed && piece.by_ref().any(|step| matches!(step, Answers(_) | AnswersTwo(_)));
    polled && proven == key && matches!(order.last(), Some(Answers(_) | Begins(_)))
}

async fn walk(bench: &Bench, provider: &Hostile, order: &[Step]) {
    let (caller, mut model) = (bench.caller(), Model::default());
    let mut real = Real { bench, provider, caller, code: None };
    for (at, step) in order.iter().enumerate() {
        let (due, heard) = (model.hears(*step), real.hears(*step).await);
        assert_eq!(heard, due, "step {at} of {order:?}");
        let is_in = matches!(heard, Heard::In(..));
        assert_eq!(real.caller.principal().is_some(), is_in, "step {at} of {order:?}");
    }
    let owner = ends_in(order).filter(|(_, key)| *key == Some(Key::New)).map(|(user, _)| user);
    assert_eq!(real.owner().as_deref(), owner.map(|user| user.person().sub), "bound by {order:?}");
    drop(real);
    if let Some(owner) = owner {
        for user in [Alice, Bea] {
            let answer = bench.caller().key_proven(user.name(), &Key::New.public()).await;
            assert_eq!(matches!(answer, KeyAnswer::Success(_)), user == owner, "after {order:?}");
        }
        bench.login.bindings.revoke(&[fingerprint(&Key::New.public())]).unwrap();
    }
    given_back(&bench.login).await;
    bench.login.codes.forget_those_left();
}

/// Walks some of the orders, on a clock that stands still.
fn walk_all(orders: &[Vec<Step>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // A clock that stands still is turned on by itself while all wait, and network answers are waited for; it is not
        // while a thread has work, so one has.
        let (done, work) = std::sync::mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || work.recv().is_err());
        let now = Clock::system().now();
        let provider = Hostile::start(Fault::Nothing, now);
        provider.waits();
        let bench = bench_at(&provider, now);
        bench.bind(&Key::OfAlice.public(), Alice.name(), Alice.person().sub).await;
        for order in orders {
            walk(&bench, &provider, order).await;
        }
        drop(done);
        assert!(work.await.unwrap());
    });
}

#[test]
fn of_every_order_of_four_steps_only_those_with_the_full_set_let_somebody_in() {
    let orders = orders();
    for order in &orders {
        if let Some((user, key)) = ends_in(order) {
            assert!(is_a_full_set(order, user, key), "the model lets {user:?} in after {order:?}");
        }
    }
    for user in [Alice, Bea] {
        let steps = [Proves(Key::New, user), Begins(user), Rules(Ruling::ConfirmedBy(user)), Answers(user)];
        assert!(orders.contains(&steps.to_vec()) && orders.contains(&steps[1..].to_vec()));
        assert_eq!(ends_in(&steps), Some((user, Some(Key::New))));
        assert_eq!(ends_in(&steps[1..]), Some((user, None)));
    }

    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for part in orders.chunks(orders.len().div_ceil(at_once)) {
            scope.spawn(move || walk_all(part));
        }
    });
}
