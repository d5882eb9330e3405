//! Who is calling, asked by a client that lies: what only sounds like a proof lets nobody in.

use std::{
    thread,
    time::{Duration, Instant},
};

use tests::world::{
    SHORT, Setup, TestBastion, person,
    raw::{Answer, Key, Raw, Words, code_of, msg, sign_in, signed},
    tier, within,
};

/// All that may ever be offered as a way in.
const METHODS: &str = "publickey,keyboard-interactive";

fn refused() -> Answer {
    Answer::Failure { methods: METHODS.into(), partial: false }
}

/// A step that is right, and not enough.
fn one_step() -> Answer {
    Answer::Failure { methods: "keyboard-interactive".into(), partial: true }
}

/// A gateway that takes more connections of one address than it does by itself.
fn gateway() -> TestBastion {
    Setup::default().table("[limits]\nunauthenticated_per_address = 100").start()
}

#[test]
fn a_key_that_is_only_offered_opens_nothing() {
    let bastion = gateway();
    let (bound, other) = (Key::of(1), Key::of(2));
    let mut hers = sign_in(&bastion, "ana", &bound);
    assert!(hers.run(":whoami").unwrap().contains("ana"), "the client works");

    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.offer("ana", &bound), Answer::KeyWouldDo);
    assert_eq!(raw.prove("ana", &other), one_step(), "another key is proven: not hers");
    assert_eq!(raw.offer("ana", &bound), Answer::KeyWouldDo);
    raw.try_open();
    assert_eq!(raw.offer("ana", &bound), Answer::KeyWouldDo, "nobody is in, and no channel was confirmed");
    let (said, request) = signed(&raw.session_id, "ana", "ssh-connection", "ssh-ed25519", &bound.blob());
    let by_another = Words::none().raw(request).string(other.sign(&said)).done();
    let answer = raw.step(&by_another);
    assert!(
        matches!(answer, Answer::Failure { partial: false, .. }),
        "offered the one, signed with the other"
    );
    assert_eq!(raw.prove("ana", &bound), Answer::Success, "the control");
}

/// Whoever offers another's key and then signs in herself has her own rights, and nothing of that key.
#[test]
fn a_key_that_was_offered_beside_a_second_step_is_not_bound() {
    let bastion = gateway();
    let (anas, malloys) = (Key::of(1), Key::of(2));
    drop(sign_in(&bastion, "ana", &anas));

    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.prove("malloy", &malloys), one_step());
    assert_eq!(raw.offer("malloy", &anas), Answer::KeyWouldDo);
    let asked = raw.interactive("malloy");
    let code = raw.until_code(asked);
    assert_eq!(raw.offer("malloy", &anas), Answer::KeyWouldDo, "in the middle of it too");
    let asked = raw.interactive("malloy");
    assert_eq!(raw.until_code(asked), code, "the same sign-in goes on");
    bastion.provider().approve_as(&code, person("malloy"));
    assert_eq!(raw.enter_until_decided(1), Answer::Success);
    let told = raw.run(":keys").unwrap();
    assert_eq!(told.matches("SHA256:").count(), 1, "{told}");

    let again = |user: &str, key: &Key| Raw::at_the_door(bastion.port()).prove(user, key);
    assert_eq!(again("malloy", &malloys), Answer::Success, "the key that was proven");
    assert_eq!(again("malloy", &anas), one_step());
    assert_eq!(again("ana", &malloys), one_step());
    assert_eq!(again("ana", &anas), Answer::Success, "and hers is hers still");
}

/// What a signature is made over, and what becomes of it. As it is made it is right.
struct Claim {
    session_id: Vec<u8>,
    user: &'static str,
    service: &'static str,
    algorithm: &'static str,
    blob: Vec<u8>,
    signer: Key,
    spoil: fn(Vec<u8>) -> Vec<u8>,
}

impl Claim {
    fn of(raw: &Raw, key: u8) -> Claim {
        Claim {
            session_id: raw.session_id.clone(),
            user: "ana",
            service: "ssh-connection",
            algorithm: "ssh-ed25519",
            blob: Key::of(key).blob(),
            signer: Key::of(key),
            spoil: |signature| signature,
        }
    }

    /// The request to sign in as `ana`.
    fn request(&self) -> Vec<u8> {
        let (said, _) = signed(&self.session_id, self.user, self.service, self.algorithm, &self.blob);
        let (_, request) = signed(&[], "ana", "ssh-connection", self.algorithm, &self.blob);
        Words::none().raw(request).string((self.spoil)(self.signer.sign(&said))).done()
    }
}

/// A signature's own bytes, behind the name of its algorithm.
fn bare(signature: &[u8]) -> &[u8] {
    &signature[4 + "ssh-ed25519".len() + 4..]
}

type Wrong = fn(&mut Claim);

/// What is wrong, and how.
const WRONG: &[(&str, Wrong)] = &[
    ("another user", |claim| claim.user = "bea"),
    ("another connection", |claim| claim.session_id = vec![1; 32]),
    ("no connection", |claim| claim.session_id.clear()),
    ("another service", |claim| claim.service = "ssh-userauth"),
    ("another algorithm, announced", |claim| claim.algorithm = "rsa-sha2-512"),
    ("another algorithm, in the signature", |claim| {
        claim.spoil = |signature| Words::none().string("rsa-sha2-512").string(bare(&signature)).done();
    }),
    ("nothing", |claim| claim.spoil = |_| vec![]),
    ("nothing, of the right kind", |claim| {
        claim.spoil = |_| Words::none().string("ssh-ed25519").string("").done();
    }),
    ("zeros", |claim| claim.spoil = |_| Words::none().string("ssh-ed25519").string([0; 64]).done()),
    ("one bit less", |claim| {
        claim.spoil = |mut signature| {
            *signature.last_mut().unwrap() ^= 1;
            signature
        };
    }),
    ("all but the end", |claim| {
        claim.spoil = |signature| Words::none().string("ssh-ed25519").string(&bare(&signature)[..63]).done();
    }),
    ("another key", |claim| claim.blob = Key::of(2).blob()),
    ("by another key", |claim| claim.signer = Key::of(2)),
];

#[test]
fn a_signature_of_anything_else_is_refused() {
    let bastion = gateway();
    let mut first = sign_in(&bastion, "ana", &Key::of(1));

    for (what, wrong) in WRONG {
        let mut raw = Raw::at_the_door(bastion.port());
        let mut claim = Claim::of(&raw, 1);
        wrong(&mut claim);
        let answer = raw.step(&claim.request());
        assert!(answer == refused() || answer == Answer::Cut, "{what}: {answer:?}");
        if answer != Answer::Cut {
            let right = Claim::of(&raw, 1).request();
            assert_eq!(raw.step(&right), Answer::Success, "the control beside: {what}");
        }
    }
    // A signature that was right once, and in a connection that lives still.
    let mut raw = Raw::at_the_door(bastion.port());
    let again = Claim { session_id: first.session_id.clone(), ..Claim::of(&raw, 1) };
    assert_eq!(raw.step(&again.request()), refused(), "of another connection");
    let right = Claim::of(&raw, 1).request();
    assert_eq!(raw.step(&right), Answer::Success, "the control");
    assert!(first.run(":whoami").is_some());
}

#[test]
fn whoever_changes_the_name_begins_anew() {
    let bastion = gateway();
    let key = Key::of(1);

    // A key proven as one person is not a step of another's.
    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.prove("ana", &key), one_step());
    let asked = raw.interactive("bea");
    let code = raw.until_code(asked);
    bastion.provider().approve_as(&code, person("bea"));
    assert_eq!(raw.enter_until_decided(1), Answer::Success);
    assert!(raw.run(":whoami").unwrap().contains("bea"));
    for user in ["ana", "bea"] {
        assert_eq!(Raw::at_the_door(bastion.port()).prove(user, &key), one_step(), "bound to nobody");
    }

    // What one person began at the provider is not another's sign-in.
    let mut raw = Raw::at_the_door(bastion.port());
    let asked = raw.interactive("ana");
    let code = raw.until_code(asked);
    let other = raw.interactive("bea");
    assert_ne!(raw.until_code(other), code, "another name, another code");
    bastion.provider().approve_as(&code, person("ana"));
    let polled = bastion.provider().seen().polls.len();
    within(SHORT, "two more polls", || (bastion.provider().seen().polls.len() > polled + 1).then_some(()));
    assert!(matches!(raw.respond(&[""]), Answer::Asks(_)), "bea is asked still");
    assert!(matches!(raw.interactive("ana"), Answer::Asks(_)), "and ana is asked anew");

    // And another service is none that there is.
    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.prove("ana", &key), one_step());
    let other = Words::of(msg::USERAUTH_REQUEST).string("ana").string("ssh-userauth").string("none").done();
    assert!(matches!(raw.step(&other), Answer::Cut | Answer::Failure { partial: false, .. }));
}

#[test]
fn methods_that_prove_nothing_are_refused_and_never_offered() {
    let bastion = gateway();
    let key = Key::of(1);
    let password = Words::none().truth(false).string("secret").done();
    let new_password = Words::none().truth(true).string("secret").string("new").done();
    let hostbased = Words::none().string("ssh-ed25519").string(key.blob()).string("host.example.org");
    let hostbased = hostbased.string("ana").string(key.sign(b"anything")).done();
    let kerberos = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
    let gssapi = Words::none().number(1).string(kerberos).done();
    let alone: [(&str, &[u8]); 6] = [
        ("none", &[]),
        ("password", &password),
        ("password", &new_password),
        ("hostbased", &hostbased),
        ("gssapi-with-mic", &gssapi),
        ("anything@example.org", &[]),
    ];

    thread::scope(|scope| {
        for user in ["ana", "root", ""] {
            for (method, rest) in alone {
                let port = bastion.port();
                scope.spawn(move || {
                    let mut raw = Raw::at_the_door(port);
                    assert_eq!(raw.try_method(user, method, rest), refused(), "{method} as {user:?}");
                    assert_eq!(raw.try_method(user, method, rest), refused(), "{method} again");
                    raw.try_open();
                    assert_eq!(raw.try_method(user, "none", &[]), refused(), "after {method}");
                });
            }
        }
    });
}

/// Every order of steps that does not end with a yes from the provider leaves everybody outside.
#[test]
fn no_order_of_steps_replaces_one_that_is_missing() {
    let bastion = Setup::default().table("[limits]\nunauthenticated_per_address = 200").start();
    let steps = ["offer", "prove", "ask", "answer"];
    let mut orders: Vec<Vec<&str>> = vec![vec![]];
    for _ in 0..tier().sign_in_steps {
        let longer = orders.iter().flat_map(|order| {
            steps.iter().map(move |step| order.iter().copied().chain([*step]).collect::<Vec<_>>())
        });
        orders = longer.collect();
    }
    let (port, at_once) = (bastion.port(), 16);
    thread::scope(|scope| {
        for (number, part) in orders.chunks(orders.len().div_ceil(at_once)).enumerate() {
            scope.spawn(move || {
                let key = Key::of(u8::try_from(10 + number).unwrap());
                for order in part {
                    let mut raw = Raw::at_the_door(port);
                    for step in order {
                        let answer = match *step {
                            "offer" => raw.offer("ana", &key),
                            "prove" => raw.prove("ana", &key),
                            "ask" => raw.interactive("ana"),
                            _ => raw.respond(&[""]),
                        };
                        assert_ne!(answer, Answer::Success, "{order:?}");
                    }
                    raw.try_open();
                    let after = raw.offer("ana", &key);
                    assert!(matches!(after, Answer::KeyWouldDo | Answer::Cut), "{order:?}: {after:?}");
                }
            });
        }
    });
}

#[test]
fn answers_that_belong_to_no_question_are_refused() {
    let bastion = gateway();
    let key = Key::of(1);
    let mut raw = Raw::at_the_door(bastion.port());
    assert_eq!(raw.respond(&[""]), refused(), "to nothing at all");
    assert_eq!(raw.prove("ana", &key), one_step());
    assert_eq!(raw.respond(&[""]), Answer::Failure { methods: "keyboard-interactive".into(), partial: true });

    // So many answers would be gigabytes, if somebody made room for them.
    let before = bastion.rss_kib();
    for count in [1 << 28, u32::MAX] {
        let mut raw = Raw::at_the_door(bastion.port());
        let asked = raw.interactive("ana");
        raw.until_code(asked);
        let many = Words::of(msg::USERAUTH_INFO_RESPONSE).number(count).done();
        let answer = raw.step(&many);
        assert!(answer == refused() || answer == Answer::Cut, "{count}: {answer:?}");
    }
    assert!(bastion.rss_kib() < before + 16 * 1024, "{} KiB, then {}", before, bastion.rss_kib());

    // Confirmed at the provider, and answered as what was not asked: too many, too few, after a restart, after another
    // method. Asked again, and answered rightly, the same sign-in is through.
    type Wrong = fn(&mut Raw) -> Answer;
    let wrongs: [(&str, Wrong); 3] = [
        ("two answers to one question", |raw| raw.respond(&["", ""])),
        ("no answer to a question", |raw| raw.respond(&[])),
        ("an answer after another method", |raw| {
            assert_eq!(raw.try_method("ana", "none", &[]), refused());
            raw.respond(&[""])
        }),
    ];
    for (what, wrong) in wrongs {
        let mut raw = Raw::at_the_door(bastion.port());
        let asked = raw.interactive("ana");
        let code = raw.until_code(asked);
        let given = bastion.provider().seen().secrets.len();
        bastion.provider().approve_as(&code, person("ana"));
        within(SHORT, "the tokens", || (bastion.provider().seen().secrets.len() > given).then_some(()));
        assert_eq!(wrong(&mut raw), refused(), "{what}");
        assert_eq!(raw.interactive("ana"), Answer::Success, "asked again after: {what}");
    }
}

#[test]
fn a_sign_in_begun_anew_keeps_its_code_and_takes_no_answer_to_the_old_question() {
    let bastion = gateway();
    let mut raw = Raw::at_the_door(bastion.port());
    let asked = raw.interactive("ana");
    let code = raw.until_code(asked);
    let again = raw.interactive("ana");
    assert_eq!(raw.until_code(again), code);

    // Two answers, sent at once: the second belongs to the question that the first one brings, or to none.
    let answer = Words::of(msg::USERAUTH_INFO_RESPONSE).number(1).string("").done();
    let twice = [raw.packet(&answer), raw.packet(&answer)].concat();
    raw.say(&twice).unwrap();
    assert!(matches!(raw.answer(SHORT), Answer::Asks(_)));
    assert_ne!(raw.answer(SHORT), Answer::Success);

    // A key proven in between ends what was under way: its answers are nobody's.
    let mut raw = Raw::at_the_door(bastion.port());
    let asked = raw.interactive("ana");
    let code = raw.until_code(asked);
    assert_eq!(raw.prove("ana", &Key::of(1)), one_step());
    bastion.provider().approve_as(&code, person("ana"));
    assert_eq!(raw.respond(&[""]), one_step());
    let asked = raw.interactive("ana");
    assert_ne!(raw.until_code(asked), code, "another code, for the key that is now proven");
}

#[test]
fn keys_are_offered_twenty_times_and_failures_made_ten_times() {
    let bastion = gateway();
    let mut raw = Raw::at_the_door(bastion.port());
    let answers: Vec<Answer> = (0..60).map(|seed| raw.offer("ana", &Key::of(seed))).collect();
    let heard = answers.iter().take_while(|answer| **answer == Answer::KeyWouldDo).count();
    assert_eq!(heard, 20, "{answers:?}");
    assert!(answers[heard..].iter().all(|answer| *answer == Answer::Cut), "{answers:?}");
    bastion.logged("limits.key_offers");

    // Another name in each does not begin the count anew.
    let mut raw = Raw::at_the_door(bastion.port());
    let answers: Vec<Answer> =
        (0..60).map(|seed| raw.offer(&format!("user{seed}"), &Key::of(seed))).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Answer::KeyWouldDo).count(), 20);

    let mut raw = Raw::at_the_door(bastion.port());
    let password = Words::none().truth(false).string("guess").done();
    let guesses = (0..12).map(|at| raw.try_method(&format!("user{at}"), "password", &password));
    let guesses: Vec<Answer> = guesses.collect();
    assert_eq!(guesses.iter().filter(|answer| **answer == refused()).count(), 10, "{guesses:?}");
    assert!(guesses[10..].iter().all(|answer| *answer == Answer::Cut), "{guesses:?}");
}

/// What is asked of the server about two names, one of which is somebody's.
const QUESTIONS: &[&str] = &["none", "offer", "her key", "wrong signature", "unbound key", "interactive"];

fn ask(port: u16, question: &str, user: &str, hers: &Key) -> (Duration, Answer) {
    let mut raw = Raw::at_the_door(port);
    let other = Key::of(77);
    let (said, request) = signed(&raw.session_id, user, "ssh-connection", "ssh-ed25519", &other.blob());
    let began = Instant::now();
    let answer = match question {
        "none" => raw.try_method(user, "none", &[]),
        "offer" => raw.offer(user, &other),
        "her key" => raw.offer(user, hers),
        "wrong signature" => raw.step(&Words::none().raw(request).string(hers.sign(&said)).done()),
        "unbound key" => raw.prove(user, &other),
        _ => raw.interactive(user),
    };
    (began.elapsed(), answer)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn neither_answers_nor_their_times_tell_whose_names_exist() {
    let bastion = gateway();
    let hers = Key::of(1);
    drop(sign_in(&bastion, "ana", &hers));
    let (port, rounds) = (bastion.port(), tier().timing_rounds);

    thread::scope(|scope| {
        for question in QUESTIONS {
            let hers = &hers;
            scope.spawn(move || {
                // Taken in turns, so that whatever else the machine does falls on both.
                let mut times = [vec![], vec![]];
                for _ in 0..rounds {
                    let [known, unknown] = ["ana", "nobody"].map(|user| ask(port, question, user, hers));
                    times[0].push(known.0);
                    times[1].push(unknown.0);
                    assert_eq!(alike(known.1), alike(unknown.1), "{question}");
                }
                let [known, unknown] = times.map(median);
                // What is over in milliseconds differs by what the machine does, so a floor goes with the share.
                let most = known.max(unknown).mul_f64(0.25).max(Duration::from_millis(10));
                let apart = known.abs_diff(unknown);
                assert!(apart <= most, "{question}: {known:?} for one who exists, {unknown:?} for none");
            });
        }
    });
}

/// An answer without the code in it, which is always another.
fn alike(answer: Answer) -> Answer {
    match answer {
        Answer::Asks(questions) => Answer::Asks(
            questions
                .into_iter()
                .map(|question| match code_of(&question) {
                    Some(code) => question.replace(&code, "CODE"),
                    None => question,
                })
                .collect(),
        ),
        other => other,
    }
}
