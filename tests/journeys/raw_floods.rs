//! Those who take time and places and give nothing: each is bounded, and others come in meanwhile.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tests::world::{
    Caller, LONG, SHORT, Setup, TestBastion,
    raw::{Answer, Key, Next, Offer, Raw, Words, msg, sign_in},
    tier, within,
};

const SECOND: Duration = Duration::from_secs(1);

/// What memory may grow by while somebody floods. A connection costs some ten KiB.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

/// Somebody with a key calls from an address of her own, as a person elsewhere would.
#[track_caller]
fn comes_in(caller: &Caller, from: &str) {
    let done = caller.ssh(&["web1", "echo in"]).options(&["-b", from]).done();
    assert_eq!(done.expect_ok("a sign-in beside it").text().trim(), "in");
}

#[test]
fn handshakes_that_go_on_without_end_are_cut_each_in_its_way() {
    let bastion = Setup::default().table("[limits]\nlogin_grace = \"4s\"").start();
    let ana = bastion.caller("ana");
    let port = bastion.port();
    // Each pace is a second in which nothing has to come.
    let pace = |raw: &mut Raw| raw.next(SECOND) != Next::Cut;
    let slow: [(&str, &(dyn Fn() + Sync)); 7] = [
        ("silence", &|| Raw::connect(port).expect_end(LONG)),
        ("a name, byte by byte", &|| {
            let mut raw = Raw::connect(port);
            raw.hear_name();
            for byte in b"SSH-2.0-slow".iter().cycle() {
                if raw.say(&[*byte]).is_err() || !pace(&mut raw) {
                    return;
                }
            }
        }),
        ("a list, byte by byte", &|| {
            let mut raw = Raw::connect(port);
            raw.greet();
            let list = raw.packet(&Offer::default().payload());
            raw.hear();
            for byte in list {
                if raw.say(&[byte]).is_err() || !pace(&mut raw) {
                    return;
                }
            }
        }),
        ("keys, then silence", &|| Raw::exchanged(port).expect_end(LONG)),
        ("keys, then IGNORE", &|| {
            let mut raw = Raw::exchanged(port);
            let ignore = Words::of(msg::IGNORE).string("still here").done();
            while raw.send(&ignore).is_ok() && pace(&mut raw) {}
        }),
        ("new keys again and again", &|| {
            let mut raw = Raw::exchanged(port);
            raw.exchange();
            raw.expect_end(LONG);
        }),
        ("a key proven, then silence", &|| {
            let mut raw = Raw::at_the_door(port);
            raw.prove("ana", &Key::of(9));
            raw.expect_end(LONG);
        }),
    ];
    thread::scope(|scope| {
        let running: Vec<_> = slow.into_iter().map(|(what, client)| (what, scope.spawn(client))).collect();
        comes_in(&ana, "127.0.0.1");
        for (what, client) in running {
            assert!(client.join().is_ok(), "not cut: {what}");
        }
    });
    within(SHORT, "seven cuts in the log", || {
        (bastion.log().matches("login grace time is over").count() >= 7).then_some(())
    });
}

/// The time that a person needs at the provider is for those who are there.
#[test]
fn only_a_sign_in_that_is_under_way_has_more_time() {
    let limits = "[limits]\nlogin_grace = \"3s\"\nsign_in_grace = \"10m\"";
    let bastion = Setup::default().table(limits).start();
    let mut waits = Raw::at_the_door(bastion.port());
    let asked = waits.interactive("ana");
    waits.until_code(asked);

    let mut gave_up = Raw::at_the_door(bastion.port());
    let asked = gave_up.interactive("ana");
    gave_up.until_code(asked);
    assert!(matches!(gave_up.prove("ana", &Key::of(1)), Answer::Failure { partial: true, .. }));
    gave_up.expect_end(SHORT);

    assert!(matches!(waits.respond(&[""]), Answer::Asks(_)), "she is asked still");
}

/// There is nothing to wait for once she was told no, whether she presses Enter or not.
#[test]
fn a_refusal_that_nobody_answers_is_not_waited_on_for_long() {
    let limits = "[limits]\nlogin_grace = \"4s\"\nsign_in_grace = \"10m\"";
    let bastion = Setup::default().table(limits).start();
    let denied = || {
        let mut raw = Raw::at_the_door(bastion.port());
        let asked = raw.interactive("ana");
        let code = raw.until_code(asked);
        bastion.provider().deny(&code);
        let mut answer = raw.respond(&[""]);
        while let Answer::Asks(questions) = &answer
            && !questions.iter().any(|question| question.contains("denied"))
        {
            answer = raw.respond(&vec![""; questions.len()]);
        }
        raw
    };

    denied().expect_end(SHORT);
    let mut answers = denied();
    assert!(
        matches!(answers.respond(&[""]), Answer::Failure { .. }),
        "heard, although its first time is over"
    );
    answers.expect_end(SHORT);
}

/// After the first keys nobody sees what a stranger sends; that she sends much is enough.
#[test]
fn who_sends_more_than_a_sign_in_takes_is_cut() {
    let bastion = Setup::default().table("[limits]\nlogin_grace = \"10m\"").start();
    let mut raw = Raw::at_the_door(bastion.port());
    let ignore = Words::of(msg::IGNORE).string([0; 1000]).done();
    for _ in 0..240 {
        raw.send(&ignore).unwrap();
    }
    assert!(raw.lives(SHORT), "240 KiB are a sign-in of many large keys");
    for _ in 0..40 {
        // Cut on the way.
        raw.send(&ignore).ok();
    }
    raw.expect_end(SHORT);
    bastion.logged("bytes came before the sign-in");
}

/// What hangs up in the middle of an exchange takes its place along.
#[test]
fn an_exchange_that_is_left_unfinished_leaves_nothing_behind() {
    let bastion =
        Setup::default().table("[limits]\nlogin_grace = \"10m\"\nunauthenticated_per_address = 3").start();
    let (ana, before) = (bastion.caller("ana"), bastion.rss_kib());
    let share = Words::of(msg::KEX_ECDH_INIT).string([9; 32]).done();
    let begun = |how_much: usize| {
        let mut raw = Raw::connect(bastion.port());
        raw.greet();
        raw.send(&Offer::default().payload()).unwrap();
        raw.hear_kind(msg::KEXINIT);
        let packet = raw.packet(&share);
        raw.say(&packet[..how_much.min(packet.len())]).unwrap();
        raw
    };
    for round in 0..50 {
        // Nothing of a share, half of it, and all of it, which is answered and never confirmed.
        let unfinished = [begun(0), begun(20), begun(usize::MAX)];
        if round % 25 == 0 {
            Raw::connect(bastion.port()).expect_end(SHORT);
            comes_in(&ana, "127.0.0.2");
        }
        drop(unfinished);
        within(SHORT, "a place", || {
            let mut stream = TcpStream::connect(("127.0.0.1", bastion.port())).ok()?;
            // Greeted, or hung up on.
            stream.read_exact(&mut [0]).ok()
        });
    }
    comes_in(&ana, "127.0.0.1");
    bastion.grows_less_than(before, GROWTH_KIB_MAX, SECOND);
}

#[test]
fn half_open_connections_of_many_addresses_keep_nobody_out() {
    let limits = "[limits]\nlogin_grace = \"10m\"\nunauthenticated = 60\nunauthenticated_per_address = 10";
    let bastion = Setup::default().table(limits).start();
    let ana = bastion.caller("ana");
    let bea = bastion.stranger("bea");
    let before = bastion.rss_kib();

    // Six addresses take all places there are, and are greeted.
    let stopped: Vec<Raw> = (0..60u8).map(|at| stops(&bastion, Ipv4Addr::new(127, 0, 1, at / 10))).collect();
    comes_in(&ana, "127.0.0.1");
    // As many addresses as there are places, of which each takes one.
    let scattered: Vec<Raw> = (0..60u8).map(|at| stops(&bastion, Ipv4Addr::new(127, 0, 2, at))).collect();
    comes_in(&ana, "127.0.0.1");
    bastion.sign_in(&bea);
    drop((stopped, scattered));

    for at in 0..tier().half_open {
        let address = Ipv4Addr::new(127, 0, 3, u8::try_from(at % 200).unwrap());
        // Most of them are cut to make room for the next, or are refused: that is the point.
        if let Ok(mut raw) = Raw::connect_from(address, bastion.port()) {
            raw.say(b"SSH-2.0-half\r\n").ok();
        }
    }
    comes_in(&ana, "127.0.0.1");
    bastion.grows_less_than(before, GROWTH_KIB_MAX, SECOND);
}

/// Greeted, and silent from then on.
#[track_caller]
fn stops(bastion: &TestBastion, from: Ipv4Addr) -> Raw {
    let mut raw = Raw::connect_from(from, bastion.port()).unwrap();
    raw.hear_name();
    raw
}

#[test]
fn whoever_begins_handshakes_all_the_time_delays_nobody_else() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let until = Instant::now() + Duration::from_secs(tier().flood_seconds);
    let before = bastion.rss_kib();
    let begun = thread::scope(|scope| {
        let floods: Vec<_> = (0..3)
            .map(|_| {
                let port = bastion.port();
                scope.spawn(move || {
                    let mut begun = 0;
                    while Instant::now() < until {
                        let mut raw = Raw::connect(port);
                        // Beyond what one address may, it is hung up on.
                        raw.say(b"SSH-2.0-flood\r\n").ok();
                        raw.send(&Offer::default().payload()).ok();
                        raw.send(&Words::of(msg::KEX_ECDH_INIT).string([9; 32]).done()).ok();
                        begun += 1;
                    }
                    begun
                })
            })
            .collect();
        while Instant::now() < until {
            comes_in(&ana, "127.0.0.2");
        }
        floods.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>()
    });
    assert!(begun > 100 * tier().flood_seconds, "{begun} handshakes are no flood");
    bastion.grows_less_than(before, 2 * GROWTH_KIB_MAX, SECOND);
}

#[test]
fn who_sends_and_never_reads_makes_nothing_pile_up() {
    let bastion = Setup::default().table("[limits]\nlogin_grace = \"6s\"").start();
    let ana = bastion.caller("ana");
    let none = Words::of(msg::USERAUTH_REQUEST).string("ana").string("ssh-connection").string("none").done();
    let floods: [(&str, Vec<u8>); 8] = [
        ("PING", Words::of(msg::PING).string([0; 200]).done()),
        ("IGNORE", Words::of(msg::IGNORE).string([0; 200]).done()),
        ("DEBUG", Words::of(msg::DEBUG).truth(true).string([b'x'; 200]).string("").done()),
        (
            "a global request",
            Words::of(msg::GLOBAL_REQUEST).string("keepalive@openssh.com").truth(true).done(),
        ),
        ("no message at all", Words::of(199).string([0; 200]).done()),
        ("a channel", Words::of(msg::CHANNEL_OPEN).string("session").number(0).number(0).number(0).done()),
        ("the same service", Words::of(msg::SERVICE_REQUEST).string("ssh-userauth").done()),
        ("a method that proves nothing", none),
    ];
    let before = bastion.rss_kib();
    thread::scope(|scope| {
        for (_, message) in &floods {
            for has_service in [false, true] {
                let (port, flood) = (bastion.port(), tier().flood_packets);
                scope.spawn(move || {
                    let mut raw = if has_service { Raw::at_the_door(port) } else { Raw::exchanged(port) };
                    raw.write_for(LONG);
                    for _ in 0..flood / 100 {
                        let packets: Vec<u8> = (0..100).flat_map(|_| raw.packet(message)).collect();
                        if raw.say(&packets).is_err() {
                            return;
                        }
                    }
                    raw.expect_end(LONG);
                });
            }
        }
        comes_in(&ana, "127.0.0.2");
        bastion.grows_less_than(before, GROWTH_KIB_MAX, 3 * SECOND);
    });
    comes_in(&ana, "127.0.0.1");
    bastion.grows_less_than(before, GROWTH_KIB_MAX, Duration::ZERO);
}

/// Between a list of ours and new keys nothing may be queued for later.
#[test]
fn who_begins_new_keys_and_floods_is_cut() {
    let bastion = Setup::default().table("[limits]\nlogin_grace = \"10m\"").start();
    let before = bastion.rss_kib();
    let request = Words::of(msg::GLOBAL_REQUEST).string("keepalive@openssh.com").truth(true).done();
    let mut raw = Raw::at_the_door(bastion.port());
    raw.send(&Offer::default().payload()).unwrap();
    for _ in 0..1000 {
        // Cut soon after the first.
        raw.send(&request).ok();
    }
    raw.expect_end(SHORT);
    bastion.grows_less_than(before, GROWTH_KIB_MAX, Duration::ZERO);
}

/// Who says goodbye and does not hang up would keep her sessions for ever: nobody asks any more whether she is there.
#[test]
fn who_says_goodbye_and_stays_is_hung_up_on() {
    let bastion = TestBastion::start();
    let key = Key::of(1);
    drop(sign_in(&bastion, "ana", &key));
    type Goodbye = fn(&mut Raw) -> Vec<u8>;
    let goodbyes: [(&str, Goodbye); 2] = [
        ("DISCONNECT", |raw| {
            let goodbye = Words::of(msg::DISCONNECT).number(11).string("bye").string("").done();
            raw.packet(&goodbye)
        }),
        ("a packet of nothing", |raw| raw.sealed(0, vec![])),
    ];
    for (what, goodbye) in goodbyes {
        let mut raw = Raw::at_the_door(bastion.port());
        assert_eq!(raw.prove("ana", &key), Answer::Success);
        let channel = raw.open().expect("a channel");
        let exec = Words::of(msg::CHANNEL_REQUEST).number(channel).string("exec").truth(true);
        raw.send(&exec.string("web1 cat").done()).unwrap();
        within(SHORT, "the session", || {
            bastion.sessions_of("ana").iter().any(|session| session["state"] == "live").then_some(())
        });

        let goodbye = goodbye(&mut raw);
        raw.say(&goodbye).unwrap();
        // She says nothing more, so it is not that which ends it.
        within(SHORT, &format!("the end of her session after {what}"), || {
            bastion.sessions_of("ana").iter().all(|session| session["state"] != "live").then_some(())
        });
        drop(raw);
    }
}
