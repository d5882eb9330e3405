//! Packets that no client sends: before anybody is known, each ends its own connection or does nothing at all.

use std::{
    thread,
    time::{Duration, Instant},
};

use tests::world::{
    LONG, SHORT, Setup, TestBastion, noise,
    raw::{Answer, Key, Next, Offer, Raw, Words, msg, sign_in, text},
    tier,
};

/// A grace so long, and so many places, that a cut is one for what was said.
fn gateway() -> TestBastion {
    let limits =
        "[limits]\nlogin_grace = \"10m\"\nunauthenticated = 2000\nunauthenticated_per_address = 2000";
    Setup::default().table(limits).start()
}

/// Whoever goes by `ana`, once her first key is bound.
#[track_caller]
fn signed_in(port: u16) -> Raw {
    let mut raw = Raw::at_the_door(port);
    assert_eq!(raw.prove("ana", &Key::of(1)), Answer::Success);
    raw
}

/// A little more than a connection costs.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

#[test]
fn what_is_no_name_is_cut_whatever_its_length() {
    let bastion = gateway();
    let long = format!("SSH-2.0-{}\r\n", "x".repeat(100_000));
    let wrong: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: bastion\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"\r\n\r\n\r\n",
        b"hello\r\nSSH-2.0-late\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &b"x\n".repeat(20_000),
        &b"x".repeat(100_000),
        long.as_bytes(),
        &[0; 100_000],
    ];
    let before = bastion.rss_kib();
    for bytes in wrong {
        let mut raw = Raw::connect(bastion.port());
        raw.hear_name();
        // It may be cut before it has said all of it.
        raw.say(bytes).ok();
        raw.say(b"\n").ok();
        raw.expect_end(SHORT);
    }
    bastion.grows_less_than(before, GROWTH_KIB_MAX, Duration::ZERO);
    let mut raw = Raw::connect(bastion.port());
    raw.say(format!("SSH-2.0-{}\r\n", "x".repeat(240)).as_bytes()).unwrap();
    raw.hear_name();
    assert!(
        matches!(raw.next(LONG), Next::Packet(packet) if packet[0] == msg::KEXINIT),
        "a long name is a name"
    );
}

#[test]
fn a_packet_that_claims_a_length_costs_nothing_until_it_comes() {
    let bastion = gateway();
    let key = Key::of(1);
    let hers = sign_in(&bastion, "ana", &key);
    type Begin = fn(u16) -> Raw;
    let places: [(&str, Begin); 3] = [
        ("in clear", |port| {
            let mut raw = Raw::connect(port);
            raw.greet();
            raw
        }),
        ("encrypted", Raw::exchanged),
        ("signed in", signed_in),
    ];
    let before = bastion.rss_kib();
    for (place, begin) in places {
        let mut open = vec![];
        for length in [0, 1, 3, 300_000, 256 << 20, 1 << 31, u32::MAX] {
            for body in [vec![], vec![0; 64], noise(1, 4096)] {
                let mut raw = begin(bastion.port());
                let packet = raw.sealed(length, body);
                raw.say(&packet).ok();
                open.push((length, raw));
            }
        }
        bastion.grows_less_than(before, 2 * GROWTH_KIB_MAX, Duration::ZERO);
        for (length, mut raw) in open {
            // What is too short to be a packet may still be waited for.
            raw.end();
            let cut = raw.kinds_until_cut(SHORT);
            assert!(cut.is_ok(), "{place}, {length}: still open");
        }
    }
    let mut again = hers;
    assert!(again.run(":whoami").is_some(), "who was in before is in");
    bastion.grows_less_than(before, GROWTH_KIB_MAX, Duration::ZERO);
}

#[test]
fn too_large_a_claim_is_cut_at_once() {
    let bastion = gateway();
    for length in [300_000, 256 << 20, 1 << 31, u32::MAX] {
        let mut clear = Raw::connect(bastion.port());
        clear.greet();
        let mut sealed = Raw::exchanged(bastion.port());
        for raw in [&mut clear, &mut sealed] {
            raw.say(&u32::to_be_bytes(length)).unwrap();
            raw.say(&[0; 28]).ok();
            raw.expect_cut(SHORT);
        }
    }
}

#[test]
fn a_seal_that_does_not_hold_ends_the_connection() {
    let bastion = gateway();
    let right = Words::of(msg::SERVICE_REQUEST).string("ssh-userauth").done();
    for at in [0, 5, 20] {
        let mut raw = Raw::exchanged(bastion.port());
        let mut packet = raw.packet(&right);
        let at = packet.len() - 1 - at;
        packet[at] ^= 1;
        raw.say(&packet).unwrap();
        let heard = raw.expect_cut(SHORT);
        assert!(!heard.contains(&msg::SERVICE_ACCEPT), "{heard:?}");
    }
    // A packet again, as a wire that repeats it would.
    let mut raw = Raw::exchanged(bastion.port());
    let packet = raw.packet(&right);
    raw.say(&[packet.clone(), packet].concat()).unwrap();
    raw.hear_kind(msg::SERVICE_ACCEPT);
    raw.expect_cut(SHORT);
}

#[test]
fn shares_of_no_worth_agree_on_nothing() {
    let bastion = gateway();
    let zero = [0; 32];
    let one = {
        let mut one = zero;
        one[0] = 1;
        one
    };
    // A point of order eight (RFC 7748, section 7): everything multiplied with it is zero.
    let eight = *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00";
    let shares: Vec<Vec<u8>> = vec![
        Words::none().string(zero).done(),
        Words::none().string(one).done(),
        Words::none().string(eight).done(),
        Words::none().string([9; 31]).done(),
        Words::none().string([9; 33]).done(),
        Words::none().string("").done(),
        Words::none().string([9; 30_000]).done(),
        Words::none().number(u32::MAX).raw([9; 32]).done(),
        Words::none().number(32).raw([9; 31]).done(),
        vec![],
        vec![0, 0],
    ];
    // The other key exchange that is offered takes a share of both kinds, one behind the other.
    let both = |lattice: &[u8], curve: &[u8]| Words::none().string([lattice, curve].concat()).done();
    let hybrid: Vec<Vec<u8>> = vec![
        both(&[], &[]),
        both(&[], &[9; 32]),
        both(&[0; 1183], &[9; 32]),
        both(&[0; 1184], &zero),
        both(&[0; 1184], &eight),
        both(&[0xff; 1184], &[9; 32]),
        both(&[0; 1184], &[9; 33]),
        vec![0, 0, 4],
    ];
    let all = shares.iter().map(|share| ("curve25519-sha256", share));
    for (kex, share) in all.chain(hybrid.iter().map(|share| ("mlkem768x25519-sha256", share))) {
        let mut raw = Raw::connect(bastion.port());
        raw.greet();
        raw.send(&Offer { kex: kex.into(), ..Offer::default() }.payload()).unwrap();
        raw.send(&Words::of(msg::KEX_ECDH_INIT).raw(share).done()).unwrap();
        let heard = raw.expect_cut(SHORT);
        assert!(!heard.contains(&msg::KEX_ECDH_REPLY), "{kex}, {share:?}: {heard:?}");
    }
    drop(sign_in(&bastion, "ana", &Key::of(1)));
    assert_eq!(bastion.log().matches("connection task failed").count(), 0, "{}", bastion.log());
}

#[test]
fn a_terminal_of_many_modes_harms_its_own_connection_alone() {
    let bastion = gateway();
    let key = Key::of(1);
    let mut other = sign_in(&bastion, "ana", &key);
    for modes in [129, 130, 131, 200, 5000] {
        let mut raw = signed_in(bastion.port());
        let channel = raw.open().expect("a channel");
        let list = (0..modes).fold(Words::none(), |list, _| list.raw([53]).number(1)).raw([0]).done();
        let words =
            Words::of(msg::CHANNEL_REQUEST).number(channel).string("pty-req").truth(true).string("xterm");
        let asked = [80, 24, 0, 0].into_iter().fold(words, Words::number).string(list).done();
        raw.send(&asked).unwrap();
        let answer = raw.next(LONG);
        assert!(matches!(answer, Next::Cut | Next::Packet(_)), "{modes}: {answer:?}");
    }
    assert!(other.run(":whoami").is_some());
    assert!(!bastion.log().contains("connection task failed"), "{}", bastion.log());
}

/// Messages of a later phase, each right in its own place.
fn early() -> Vec<Vec<u8>> {
    let open =
        Words::of(msg::CHANNEL_OPEN).string("session").number(0).number(1 << 20).number(1 << 15).done();
    let exec = |of: Words| of.string("exec").truth(true).string("touch /tmp/reached").done();
    vec![
        vec![msg::USERAUTH_SUCCESS],
        open.clone(),
        Words::of(msg::USERAUTH_INFO_RESPONSE).number(1).string("").done(),
        Words::of(msg::USERAUTH_INFO_RESPONSE).number(0).done(),
        Words::of(msg::SERVICE_ACCEPT).string("ssh-userauth").done(),
        Words::of(msg::SERVICE_ACCEPT).string("ssh-connection").done(),
        Words::of(msg::SERVICE_REQUEST).string("ssh-connection").done(),
        Words::of(msg::USERAUTH_FAILURE).string("publickey").truth(true).done(),
        Words::of(msg::USERAUTH_INFO_REQUEST).string("").string("").string("").number(0).done(),
        Words::of(msg::CHANNEL_OPEN_CONFIRMATION).number(0).number(0).number(1 << 20).number(1 << 15).done(),
        exec(Words::of(msg::CHANNEL_REQUEST).number(0)),
        exec(Words::of(msg::CHANNEL_REQUEST).number(2)),
        Words::of(msg::CHANNEL_DATA).number(0).string("touch /tmp/reached\n").done(),
        Words::of(msg::CHANNEL_WINDOW_ADJUST).number(0).number(u32::MAX).done(),
        Words::of(msg::GLOBAL_REQUEST).string("tcpip-forward").truth(true).string("").number(0).done(),
        Words::of(msg::GLOBAL_REQUEST).string("keepalive@openssh.com").truth(true).done(),
        vec![msg::NEWKEYS],
        Words::of(msg::KEX_ECDH_INIT).string([9; 32]).done(),
        Words::of(msg::PING).string("x").done(),
    ]
}

/// What a server says to those who are in, and to nobody else.
const INSIDE: &[u8] = &[
    msg::USERAUTH_SUCCESS,
    msg::REQUEST_SUCCESS,
    msg::CHANNEL_OPEN_CONFIRMATION,
    msg::CHANNEL_SUCCESS,
    msg::CHANNEL_DATA,
    msg::CHANNEL_WINDOW_ADJUST,
];

#[test]
fn a_message_before_its_time_opens_nothing() {
    let bastion = gateway();
    type Begin = fn(u16) -> Raw;
    let phases: [(&str, Begin); 7] = [
        ("greeted", |port| {
            let mut raw = Raw::connect(port);
            raw.greet();
            raw
        }),
        ("lists exchanged", |port| {
            let mut raw = Raw::connect(port);
            raw.greet();
            raw.send(&Offer::default().payload()).unwrap();
            raw
        }),
        ("lists exchanged, not strictly", |port| {
            let mut raw = Raw::connect(port);
            raw.greet();
            raw.send(&Offer { kex: "curve25519-sha256".into(), ..Offer::default() }.payload()).unwrap();
            raw
        }),
        ("keys agreed on", Raw::exchanged),
        ("at the door", Raw::at_the_door),
        ("a key offered", |port| {
            let mut raw = Raw::at_the_door(port);
            assert_eq!(raw.offer("ana", &Key::of(1)), Answer::KeyWouldDo);
            raw
        }),
        ("a key proven", |port| {
            let mut raw = Raw::at_the_door(port);
            assert!(matches!(raw.prove("ana", &Key::of(2)), Answer::Failure { partial: true, .. }));
            raw
        }),
    ];
    let open = early()[1].clone();
    thread::scope(|scope| {
        for (phase, begin) in phases {
            let (port, open) = (bastion.port(), &open);
            scope.spawn(move || {
                for message in early() {
                    let mut raw = begin(port);
                    // The server may have hung up at the first of them.
                    let sent = raw.send(&message).is_ok() && raw.send(open).is_ok();
                    // Lists are answered in every phase, once all before them was heard; in clear they are one too many.
                    sent.then(|| raw.send(&Offer::default().payload()).ok());
                    raw.end();
                    let heard =
                        raw.kinds_until_cut(SHORT).unwrap_or_else(|kinds| panic!("{phase}: open: {kinds:?}"));
                    let inside: Vec<&u8> = heard.iter().filter(|kind| INSIDE.contains(kind)).collect();
                    assert!(inside.is_empty(), "{phase}: {:?} brings {heard:?}", message[0]);
                }
            });
        }
    });
    assert_eq!(bastion.sessions().len(), 0);
}

#[test]
fn nothing_slips_in_between_the_keys() {
    let bastion = gateway();
    let ignore = Words::of(msg::IGNORE).string("x").done();
    let debug = Words::of(msg::DEBUG).truth(true).string("x").string("").done();
    let unimplemented = Words::of(msg::UNIMPLEMENTED).number(0).done();
    let ext_info = Words::of(msg::EXT_INFO).number(0).done();
    let share = Words::of(msg::KEX_ECDH_INIT).string([9; 32]).done();
    for message in [ignore, debug, unimplemented, ext_info] {
        for place in 0..3 {
            let mut raw = Raw::connect(bastion.port());
            raw.greet();
            let steps = [Offer::default().payload(), share.clone(), vec![msg::NEWKEYS]];
            for (at, step) in steps.iter().enumerate() {
                if at == place {
                    raw.send(&message).ok();
                }
                // What comes after a violation may not arrive.
                raw.send(step).ok();
            }
            let heard = raw.expect_cut(SHORT);
            assert!(place < 2 || heard.contains(&msg::KEX_ECDH_REPLY), "{heard:?}");
            assert!(
                place == 2 || !heard.contains(&msg::NEWKEYS),
                "message {} at {place}: {heard:?}",
                message[0]
            );
        }
    }
    // The control: the same after the keys harms nobody.
    let mut raw = Raw::exchanged(bastion.port());
    assert!(text(&raw.server_offer).contains("kex-strict-s-v00@openssh.com"));
    raw.send(&Words::of(msg::IGNORE).string("x").done()).unwrap();
    raw.ask_for_service();
}

/// The name-lists of a KEXINIT, in their order.
fn lists(offer: &[u8]) -> Vec<String> {
    let (mut lists, mut rest) = (vec![], &offer[17..]);
    for _ in 0..10 {
        let (length, more) = rest.split_first_chunk::<4>().unwrap();
        let (list, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        lists.push(text(list));
        rest = more;
    }
    lists
}

#[test]
fn nothing_old_and_no_compression_is_agreed_on() {
    let bastion = gateway();
    let now = Offer::default;
    let old = [
        Offer { kex: "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1".into(), ..now() },
        Offer { kex: "diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha256".into(), ..now() },
        Offer { kex: "none".into(), ..now() },
        Offer { host_keys: "ssh-rsa,ssh-dss".into(), ..now() },
        Offer { ciphers: "3des-cbc,aes128-cbc,aes256-cbc,arcfour".into(), ..now() },
        Offer { ciphers: "none,clear".into(), ..now() },
        Offer { ciphers: "aes256-ctr".into(), macs: "hmac-sha1,hmac-md5,none".into(), ..now() },
        Offer { compression: "zlib,zlib@openssh.com".into(), ..now() },
        Offer { kex: String::new(), ..now() },
    ];
    for offer in old {
        let mut raw = Raw::connect(bastion.port());
        raw.greet();
        raw.send(&offer.payload()).unwrap();
        raw.send(&Words::of(msg::KEX_ECDH_INIT).string([9; 32]).done()).ok();
        let heard = raw.expect_cut(SHORT);
        assert!(!heard.contains(&msg::KEX_ECDH_REPLY), "{offer:?}: {heard:?}");
    }
    for ciphers in ["aes256-gcm@openssh.com", "aes256-ctr"] {
        let mut raw = Raw::connect(bastion.port());
        raw.greet();
        raw.send(&Offer { ciphers: ciphers.into(), ..now() }.payload()).unwrap();
        let lists = lists(&raw.hear_kind(msg::KEXINIT));
        assert_eq!(lists[6..8], ["none", "none"], "compression");
        let weak = ["sha1", "md5", "cbc", "ssh-rsa", "ssh-dss", "group1", "none"];
        let named: Vec<&str> = lists[..6].iter().flat_map(|list| list.split(',')).collect();
        let found: Vec<&&str> =
            named.iter().filter(|name| weak.iter().any(|weak| name.contains(weak))).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// A seeded source of choices.
struct Dice(Vec<u8>, usize);

impl Dice {
    fn of(seed: u64) -> Dice {
        Dice(noise(seed, 1 << 16), 0)
    }

    fn byte(&mut self) -> u8 {
        self.1 = (self.1 + 1) % self.0.len();
        self.0[self.1]
    }

    fn below(&mut self, end: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end.max(1)
    }
}

/// One conversation of right packets, most of them spoilt: cut, lengthened, with other bytes, or of another kind.
fn babble(port: u16, seed: u64, right: &[Vec<u8>], begin: &dyn Fn(u16) -> Raw) {
    let (mut dice, mut raw) = (Dice::of(seed), begin(port));
    for _ in 0..=dice.below(12) {
        let mut packet = right[dice.below(right.len())].clone();
        for _ in 0..dice.below(4) {
            match dice.below(5) {
                0 => packet.truncate(dice.below(packet.len() + 1)),
                1 => {
                    let more = dice.below(64);
                    packet.extend((0..more).map(|_| dice.byte()));
                }
                2 if !packet.is_empty() => packet[0] = dice.byte(),
                _ if !packet.is_empty() => {
                    let at = dice.below(packet.len());
                    packet[at] = if dice.below(2) == 0 { 0xff } else { dice.byte() };
                }
                _ => {}
            }
        }
        // It may have had enough.
        if raw.send(&packet).is_err() {
            return;
        }
    }
}

#[test]
fn whatever_is_said_the_gateway_lives_and_serves() {
    let bastion = gateway();
    let key = Key::of(1);
    let mut hers = sign_in(&bastion, "ana", &key);
    let mut right = early();
    let proof = |truth| {
        Words::of(msg::USERAUTH_REQUEST)
            .string("ana")
            .string("ssh-connection")
            .string("publickey")
            .truth(truth)
    };
    let blob = key.blob();
    let interactive = Words::of(msg::USERAUTH_REQUEST)
        .string("ana")
        .string("ssh-connection")
        .string("keyboard-interactive");
    right.extend([
        Offer::default().payload(),
        proof(false).string("ssh-ed25519").string(&blob).done(),
        proof(true).string("ssh-ed25519").string(&blob).string(key.sign(b"another thing")).done(),
        interactive.string("").string("").done(),
        Words::of(msg::SERVICE_REQUEST).string("ssh-userauth").done(),
        Words::of(msg::DEBUG).truth(true).string("x").string("").done(),
    ]);
    let before = bastion.rss_kib();

    let until = Instant::now() + Duration::from_secs(tier().flood_seconds);
    let said = thread::scope(|scope| {
        let babblers: Vec<_> = (0..4)
            .map(|babbler| {
                let (right, port) = (&right, bastion.port());
                scope.spawn(move || {
                    let places: [&dyn Fn(u16) -> Raw; 5] = [
                        &|port| {
                            let mut raw = Raw::connect(port);
                            raw.greet();
                            raw
                        },
                        &Raw::exchanged,
                        &Raw::at_the_door,
                        &Raw::at_the_door,
                        &signed_in,
                    ];
                    let mut round = 0;
                    while Instant::now() < until {
                        round += 1;
                        let seed = babbler << 32 | round;
                        babble(port, seed, right, places[babbler as usize % places.len()]);
                    }
                    round
                })
            })
            .collect();
        babblers.into_iter().map(|babbler| babbler.join().unwrap()).sum::<u64>()
    });

    assert!(said > 20, "{said} conversations");
    assert!(hers.run(":whoami").is_some(), "who was in before");
    assert_eq!(Raw::at_the_door(bastion.port()).prove("ana", &key), Answer::Success);
    bastion.grows_less_than(before, 2 * GROWTH_KIB_MAX, Duration::ZERO);
    assert!(!bastion.log().contains("connection task failed"), "{}", bastion.log());
}
