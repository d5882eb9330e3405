//! Those who knock without end, and those who are not kept out by them.

use std::{fs, io::Read, net::TcpStream, time::Duration};

use tests::{
    provider::Sky,
    world::{LONG, SHORT, Setup, make_key, person, press_enter_until_done, user_code, within},
};

#[test]
fn a_client_that_offers_key_after_key_is_cut_off() {
    let bastion = Setup::default().table("[limits]\nkey_offers = 4").start();
    let ana = bastion.caller("ana");
    let config = fs::read_to_string(ana.config()).unwrap();
    let with = |count: usize| {
        // Keys that she can offer and not prove: their private halves are elsewhere.
        let others: String = (0..count)
            .map(|number| {
                let key = ana.path(&format!("offered{count}-{number}"));
                make_key(&key);
                fs::remove_file(&key).unwrap();
                format!("IdentityFile {}\n", key.display())
            })
            .collect();
        fs::write(ana.config(), format!("{others}{config}")).unwrap();
        ana.ssh(&["web1", "echo in"]).done()
    };

    assert_eq!(with(3).expect_ok("the fourth is hers").text().trim(), "in");
    let cut = with(4);
    assert_eq!(cut.code, Some(255), "{cut:?}");
    assert!(!cut.err.contains("Permission denied"), "cut off, not refused: {cut:?}");
    bastion.logged("limits.key_offers");
}

#[test]
fn attempts_to_sign_in_are_counted() {
    let bastion = Setup::default().table("[limits]\nattempts = 3").start();
    bastion.provider().sky(Sky::Down);
    let ana = bastion.stranger("ana");

    let endless = ["-o", "NumberOfPasswordPrompts=50"];
    let ssh = ana.ssh(&["web1", "true"]).attended().options(&endless).on_terminal(100, 30);
    let done = press_enter_until_done(&ssh);

    assert_eq!(done.code, Some(255), "{}", done.text());
    let told = done.text().matches("sign-in provider").count();
    assert!((1..=3).contains(&told), "{told} attempts: {}", done.text());
}

#[test]
fn handshakes_that_stall_keep_nobody_out_and_are_ended() {
    let limits = "[limits]\nlogin_grace = \"3s\"\nunauthenticated_per_address = 10";
    let bastion = Setup::default().table(limits).start();
    let ana = bastion.caller("ana");
    let stalled: Vec<_> = (0..8)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", bastion.port())).unwrap();
            if number % 2 == 0 {
                std::io::Write::write_all(&mut stream, b"SSH-2.0-stalls\r\n\0\0").unwrap();
            }
            stream
        })
        .collect();

    ana.ssh(&["web1", "true"]).done().expect_ok("beside eight that stall");
    for mut stream in stalled {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut heard = vec![];
        // Ended by a reset or in order: ended.
        let end = stream.read_to_end(&mut heard).err().map(|fault| fault.kind());
        assert_ne!(end, Some(std::io::ErrorKind::WouldBlock), "still open");
    }
}

#[test]
fn one_address_cannot_take_all_places() {
    let bastion = Setup::default().table("[limits]\nunauthenticated_per_address = 3").start();
    let ana = bastion.caller("ana");
    let waiting: Vec<_> =
        (0..3).map(|_| TcpStream::connect(("127.0.0.1", bastion.port())).unwrap()).collect();
    let greeted = |stream: &TcpStream| {
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let mut first = [0; 4];
        (&mut &*stream).read_exact(&mut first).is_ok()
    };
    assert!(waiting.iter().all(greeted), "three may wait");

    let fourth = ana.ssh(&["web1", "true"]).done();
    assert_eq!(fourth.code, Some(255), "{fourth:?}");
    drop(waiting);
    within(SHORT, "the places to be free again", || {
        (ana.ssh(&["web1", "true"]).done().code == Some(0)).then_some(())
    });
}

#[test]
fn channels_of_one_connection_are_limited() {
    let bastion = Setup::default().table("[limits]\nchannels_per_connection = 2").start();
    let ana = bastion.caller("ana");
    let socket = ana.path("mux").display().to_string();
    let master = ["-M", "-S", &socket];
    let first = ana.ssh(&["web1", "echo first; cat"]).options(&master).start();
    first.out.wait("first", LONG);
    let shares = ["-S", &socket, "-o", "ControlMaster=no"];
    let second = ana.ssh(&["web1", "echo second; cat"]).options(&shares).start();
    second.out.wait("second", LONG);

    // Stock clients take the refusal and call anew.
    let third = ana.ssh(&["web1", "echo third"]).options(&shares).done().expect_ok("by itself");
    assert!(third.err.contains("refused"), "{third:?}");
    second.send_end();
    assert_eq!(second.done(LONG).code, Some(0));
    within(Duration::from_secs(20), "the place to be free again", || {
        let third = ana.ssh(&["web1", "echo third"]).options(&shares).done();
        (third.code == Some(0) && third.err.is_empty()).then_some(())
    });
    first.send_end();
    assert_eq!(first.done(LONG).code, Some(0));
}

/// What the bastion answers itself is over once it is said.
#[test]
fn words_in_a_row_do_not_use_up_a_connections_channels() {
    let bastion = Setup::default().table("[limits]\nchannels_per_connection = 3").start();
    let ana = bastion.caller("ana");
    let socket = ana.path("mux").display().to_string();
    let first = ana.ssh(&["web1", "echo first; cat"]).options(&["-M", "-S", &socket]).start();
    first.out.wait("first", LONG);
    for word in [":whoami", ":targets", ":keys", "nowhere", ":whoami", ":help"] {
        let done = ana.ssh(&[word]).options(&["-S", &socket, "-o", "ControlMaster=no"]).done();
        assert!(done.code != Some(255) && !done.err.contains("refused"), "{word}: {done:?}");
    }
    assert!(!bastion.log().contains("too many channels"), "{}", bastion.log());
}

#[test]
fn connections_of_one_person_are_limited() {
    let bastion = Setup::default().table("[limits]\nconnections_per_person = 2").start();
    let (ana, bea) = (bastion.caller("ana"), bastion.caller("bea"));
    let open: Vec<_> = (0..2)
        .map(|_| {
            let ssh = ana.ssh(&["web1", "echo up; cat"]).start();
            ssh.out.wait("up", LONG);
            ssh
        })
        .collect();

    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "a third one is ended");
    bastion.logged("limits.connections_per_person");
    bea.ssh(&["web1", "true"]).done().expect_ok("others come in");
    for ssh in open {
        ssh.send_end();
        assert_eq!(ssh.done(LONG).code, Some(0));
    }
    within(SHORT, "the places to be free again", || {
        (ana.ssh(&["web1", "true"]).done().code == Some(0)).then_some(())
    });
}

#[test]
fn a_connection_that_panics_ends_alone() {
    let bastion = Setup::default().env("BASTION_STORM", "panic sign-in zed").start();
    let ana = bastion.caller("ana");
    let shell = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = shell.out.wait("target> ", SHORT);

    let zed = bastion.stranger("zed");
    assert_eq!(zed.ssh(&["web1", "true"]).attended().on_terminal(100, 30).done(SHORT).code, Some(255));
    bastion.logged("connection task failed");

    shell.send("echo still-here; exit\r");
    shell.out.wait_from(at, "\nstill-here\r\n", SHORT);
    assert_eq!(shell.done(SHORT).code, Some(0));
    assert_eq!(ana.ssh(&["web1", "echo in"]).done().expect_ok("a new session").text().trim(), "in");
}

#[test]
fn a_banner_stands_on_a_line_of_its_own() {
    let bastion = Setup::default().table("[ssh]\nbanner = \"mind the step\"").start();
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["web1", "echo in"]).options(&["-o", "LogLevel=INFO"]).done().expect_ok("a command");
    assert_eq!(done.err, "mind the step\r\n");
}

#[test]
fn a_session_that_panics_ends_aloud_and_alone() {
    let bastion = Setup::default().env("BASTION_STORM", "panic session zed").start();
    let ana = bastion.caller("ana");
    let zed = bastion.stranger("zed");

    let ssh = zed.ssh(&["web1", "echo in"]).attended().on_terminal(100, 30);
    bastion.provider().approve_as(&user_code(&ssh), person("zed"));
    let told = press_enter_until_done(&ssh);
    assert_eq!(told.code, Some(70), "{}", told.text());
    assert!(told.text().contains("bastion: this session failed inside the bastion"), "{}", told.text());
    bastion.logged("a session panicked");
    assert_eq!(ana.ssh(&["web1", "echo in"]).done().expect_ok("a session").text().trim(), "in");
}
