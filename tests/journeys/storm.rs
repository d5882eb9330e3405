//! Every wait of every session interrupted at random: a writer that is not safe against that shows itself at once.

use std::fs::File;

use tests::world::{LONG, SHORT, Setup, digest, noise};

#[test]
fn bytes_stay_exact_while_every_wait_is_interrupted() {
    let bastion = Setup::default().env("BASTION_STORM", "1").start();
    let ana = bastion.caller("ana");
    let (from, to) = (ana.path("from"), ana.path("to"));
    std::fs::write(&from, noise(7, 20 << 20)).unwrap();

    ana.ssh(&["web1", "cat"]).through(File::open(&from).unwrap(), &to).done(LONG).expect_ok("duplex");
    assert_eq!(digest(&to), digest(&from));

    let done = ana.ssh(&["web1", "tee /dev/stderr | sha256sum; exit 11"]).from_file(&from);
    assert_eq!((done.code, &done.text()[..64]), (Some(11), digest(&from).as_str()));

    for code in 0..20 {
        let done = ana.ssh(&["web1", &format!("head -c 70000 /dev/zero; exit {code}")]).done();
        assert_eq!((done.code, done.out.len()), (Some(code), 70_000));
    }
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait("target> ", SHORT);
    ssh.send("seq 5000 | tail -1; exit 12\r");
    ssh.out.wait_from(at, "\n5000\r\n", SHORT);
    assert_eq!(ssh.done(SHORT).code, Some(12));
}
