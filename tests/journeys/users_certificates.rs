//! People who come with an OpenSSH certificate of their own authority.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::world::{Caller, Done, LONG, Program, SHORT, Setup, TestBastion, make_key, scratch, within};

/// Somebody who signs certificates: a key, and `ssh-keygen`.
pub struct Authority {
    folder: TempDir,
    public: String,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = scratch();
        let public = make_key(&folder.path().join("ca")).trim().to_owned();
        Authority { folder, public }
    }

    /// The settings that trust it.
    pub fn table(&self) -> String {
        format!("[login.certificates]\nauthorities = [{:?}]", self.public)
    }

    /// A gateway whose people come with its certificates.
    #[track_caller]
    fn trusted(&self) -> TestBastion {
        Setup::default().table(&self.table()).start()
    }

    /// Certifies a caller's key, where her ssh finds the certificate by itself. `more` are arguments of ssh-keygen.
    #[track_caller]
    pub fn certifies(&self, caller: &Caller, more: &[&str]) {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-z", "17", "-I", "laptop of ana", "-s"]).arg(self.folder.path().join("ca"));
        let valid = if more.contains(&"-V") { [].as_slice() } else { &["-V", "+1h"] };
        let done = sign.args(valid).args(more).arg(caller.path("id.pub")).output().expect("ssh-keygen runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Says `:whoami` with asyncssh, which signs with the algorithm that it is told, whatever the server would like.
const ASYNCSSH: &str = r#"
import asyncio, sys, warnings
warnings.filterwarnings("ignore")
import asyncssh

async def main():
    port, key, algorithm = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    options = dict(username="ana", client_keys=[key], signature_algs=[algorithm], known_hosts=None, config=None)
    async with asyncssh.connect("127.0.0.1", port, preferred_auth="publickey", **options) as connection:
        print((await connection.run(":whoami")).stdout)

asyncio.run(main())
"#;

/// What the trail has of this kind, once it has so many.
#[track_caller]
fn trail(bastion: &TestBastion, act: &str, many: usize) -> Vec<Value> {
    within(SHORT, &format!("{many} {act} in the trail"), || {
        let told = bastion.command(&["audit", "--json", "--act", act]).expect_ok("bastion audit").text();
        let told: Vec<Value> = serde_json::from_str(&told).expect("it is a JSON list");
        (told.len() >= many).then_some(told)
    })
}

/// What `bastion sessions show` says of her last session.
#[track_caller]
fn shown(bastion: &TestBastion, name: &str) -> String {
    let session = bastion.last_session_of(name);
    bastion.command(&["sessions", "show", session["id"].as_str().unwrap()]).expect_ok("sessions show").text()
}

#[test]
fn a_certificate_lets_its_holder_in_and_is_named_in_recording_and_trail() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "bob,ana"]);

    let done = ana.ssh(&["web1", "echo in"]).done().expect_ok("with a certificate");
    assert_eq!(done.text(), "in\n");
    let who = ana.ssh(&[":whoami", "--json"]).done().text();
    let who: Value = serde_json::from_str(&who).unwrap();
    assert_eq!((&who["subject"], &who["groups"]), (&json!("ana"), &json!([])));
    assert_eq!(who["certificate"]["key_id"], "laptop of ana");
    let terminal = ana.ssh(&["web1", "tty"]).options(&["-t"]).on_terminal(80, 24).done(SHORT);
    assert!(terminal.text().contains("/dev/pts/"), "{}", terminal.text());

    let signed_in = trail(&bastion, "signed-in", 3).remove(0);
    let certificate = &signed_in["certificate"];
    assert_eq!((&certificate["key_id"], &certificate["serial"]), (&json!("laptop of ana"), &json!(17)));
    let fingerprint = certificate["authority"].as_str().unwrap();
    assert_eq!(signed_in["person"]["issuer"], format!("ssh-ca:{fingerprint}"));
    let told = shown(&bastion, "ana");
    assert!(told.contains(&format!("laptop of ana, serial 17, of {fingerprint}")), "{told}");
    let bound = bastion.command(&["bindings", "list", "--json"]).expect_ok("bindings list").text();
    assert_eq!(bound.trim(), "[]", "a certificate binds nothing");

    let check = bastion.command(&["check"]).expect_ok("bastion check").text();
    let said = format!("A certificate of {fingerprint} lets in whom it is made out to, for 24h at most.");
    assert!(check.contains(&said), "{check}");
}

#[test]
fn a_certificate_that_does_not_hold_lets_nobody_in_and_the_trail_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let bastion = authority.trusted();
    let cases: [(&Authority, &[&str], &str); 8] = [
        (&other, &["-n", "ana"], "is not among login.certificates.authorities"),
        (&authority, &["-n", "bob,ana*"], "it is made out to bob, ana*"),
        (&authority, &[], "it is made out to nobody"),
        (
            &authority,
            &["-n", "ana", "-O", "source-address=10.0.0.0/8"],
            "it may be shown from 10.0.0.0/8 alone",
        ),
        (
            &authority,
            &["-n", "ana", "-O", "critical:x@example.org=1"],
            "its critical option x@example.org is unknown",
        ),
        (
            &authority,
            &["-n", "ana", "-O", "verify-required"],
            "its critical option verify-required is unknown",
        ),
        (&authority, &["-n", "ana", "-V", "+2d"], "and login.certificates.length_max is 86400 s"),
        (&authority, &["-n", "ana", "-V", "always:forever"], "and login.certificates.length_max is 86400 s"),
    ];
    for (number, (authority, args, why)) in (1..).zip(cases) {
        let ana = bastion.stranger("ana");
        authority.certifies(&ana, args);
        let done = ana.ssh(&["web1", "true"]).done();
        assert_eq!((done.code, done.out.as_slice()), (Some(255), &b""[..]), "{why}: {done:?}");
        assert!(done.err.contains("Permission denied") && !done.err.contains("certificate"), "{}", done.err);
        let entry = trail(&bastion, "sign-in-refused", number).pop().unwrap();
        assert!(entry["why"].as_str().unwrap().contains(why), "{why}: {entry}");
        bastion.logged(why);
    }
    assert_eq!(bastion.sessions(), [] as [Value; 0]);
}

/// The SSH library looks at the dates before it tells anybody of the certificate.
#[test]
fn a_certificate_of_another_time_is_as_good_as_none() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    for valid in ["20200101:20200102", "20990101:20990102"] {
        let ana = bastion.stranger("ana");
        authority.certifies(&ana, &["-n", "ana", "-V", valid]);
        let done = ana.ssh(&["web1", "true"]).done();
        assert_eq!(done.code, Some(255), "{done:?}");
        // As docs/login.md has it.
        assert!(done.err.contains("Permission denied (publickey,keyboard-interactive)."), "{done:?}");
    }
    bastion.logged("Certificate is expired or not yet valid");
    let refused = trail(&bastion, "sign-in-refused", 2);
    assert!(refused.iter().all(|entry| entry["user"] == "ana"), "{refused:?}");
    let hint = "if a certificate was shown with it, that has run out or is not valid yet";
    assert!(refused.iter().all(|entry| entry["why"].as_str().unwrap().contains(hint)), "{refused:?}");
    bastion.logged(hint);
}

#[test]
fn what_a_certificate_restricts_is_not_got_round_by_what_comes_after_it() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    // Her key alone would do. Her ssh tries that first, so that the certificate must be named.
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "true"]).done().expect_ok("with a bound key");
    authority.certifies(&ana, &["-n", "ana", "-O", "source-address=10.0.0.0/8"]);

    let file = format!("CertificateFile={}", ana.path("id-cert.pub").display());
    let by_key = ana.ssh(&["web1", "true"]).options(&["-o", &file]).done();
    assert_eq!(by_key.code, Some(255), "{by_key:?}");
    fs::remove_file(ana.path("id-cert.pub")).unwrap();
    ana.ssh(&["web1", "true"]).done().expect_ok("without the certificate");

    // Whoever could sign in is not asked to.
    let bea = bastion.stranger("bea");
    authority.certifies(&bea, &["-n", "bea", "-O", "source-address=10.0.0.0/8"]);
    let by_sign_in = bea.ssh(&["web1", "true"]).attended().on_terminal(100, 30).done(LONG);
    assert_eq!(by_sign_in.code, Some(255));
    assert!(!by_sign_in.text().contains("To sign in"), "{}", by_sign_in.text());
    fs::remove_file(bea.path("id-cert.pub")).unwrap();
    let asked = bea.ssh(&["web1", "true"]).attended().on_terminal(100, 30);
    asked.out.wait("To sign in", SHORT);
}

#[test]
fn a_forced_command_is_run_whatever_is_asked_for_and_both_are_recorded() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "ana", "-O", "force-command=web1 echo forced; tty"]);

    let sftp = || Program::start_with(&mut ana.sftp("web1", &[], "ls\n"), Stdio::null()).done(LONG);
    let forced = |done: Done| assert!(done.text().contains("forced"), "{done:?}");
    forced(ana.ssh(&["web1", "echo asked"]).done());
    assert_eq!(bastion.last_session_of("ana")["command"], "echo forced; tty");
    let told = shown(&bastion, "ana");
    assert!(told.contains("exec web1 echo asked (the certificate forced the command)"), "{told}");
    forced(ana.ssh(&[":help"]).done());
    forced(ana.ssh(&["web1 sftp"]).options(&["-s"]).done());
    let shell = ana.ssh::<&str>(&[]).options(&["-tt"]).on_terminal(80, 24).done(SHORT);
    assert!(shell.text().contains("forced") && shell.text().contains("/dev/pts/"), "{}", shell.text());

    let acts = trail(&bastion, "command-forced", 4);
    let asked: Vec<&str> = acts.iter().map(|act| act["asked"].as_str().unwrap()).collect();
    assert_eq!(asked, ["exec web1 echo asked", "exec :help", "subsystem web1 sftp", "shell"]);
    assert!(
        acts.iter().all(|act| act["command"] == "web1 echo forced; tty" && act["person"]["name"] == "ana")
    );

    // Where the user name says where to, the command is what runs there; and sftp gets no file.
    authority.certifies(&ana, &["-n", "ana", "-O", "force-command=echo there"]);
    assert_eq!(ana.ssh_to("web1", &["echo asked"]).done().text(), "there\n");
    let no_files = sftp();
    assert_ne!(no_files.code, Some(0), "{no_files:?}");
    let last = bastion.last_session_of("ana");
    assert_eq!((&last["channel"], &last["command"]), (&json!("exec"), &json!("echo there")));

    // A word is said only if the command is one.
    authority.certifies(&ana, &["-n", "ana", "-O", "force-command=:whoami"]);
    assert!(ana.ssh(&["web1", "echo asked"]).done().text().starts_with("name     ana\n"));
}

#[test]
fn without_permit_pty_there_is_no_terminal() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "ana", "-O", "no-pty"]);

    // Whoever insists on a terminal gives up, and her ssh says why.
    let insists = ana.ssh(&["web1", "echo ran"]).options(&["-tt", "-o", "LogLevel=INFO"]).done();
    assert_eq!((insists.code, insists.out.as_slice()), (Some(255), &b""[..]), "{insists:?}");
    assert!(insists.err.contains("PTY allocation request failed"), "{}", insists.err);

    let goes_on = ana.ssh_to::<&str>("web1", &[]).on_terminal(80, 24);
    goes_on.send("tty; exit\r");
    let goes_on = goes_on.done(SHORT);
    assert!(goes_on.text().contains("not a tty"), "{}", goes_on.text());
    assert_eq!(bastion.last_session_of("ana")["channel"], "shell");
}

#[test]
fn an_authority_that_is_dropped_opens_nothing_more_on_open_connections() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "ana"]);
    let control = format!("ControlPath={}", ana.path("control").display());
    let first = ana.ssh(&["web1", "echo in; read line; echo got $line"]);
    let first = first.options(&["-o", "ControlMaster=yes", "-o", &control]).start();
    first.out.wait("in\n", SHORT);
    let shared = || ana.ssh(&["web1", "echo shared"]).options(&["-o", &control]).done();
    assert_eq!(shared().expect_ok("on the open connection").text(), "shared\n");

    let settings = fs::read_to_string(bastion.settings()).unwrap();
    let dropped = settings.replace(&format!("authorities = [{:?}]", authority.public), "authorities = []");
    assert_ne!(settings, dropped);
    fs::write(bastion.settings(), dropped).unwrap();
    bastion.reload();
    within(SHORT, "the authority to be dropped", || (shared().code == Some(255)).then_some(()));

    bastion.logged(
        "a channel is refused: the authority of this connection's certificate is not trusted any more",
    );
    assert!(!bastion.log().contains("stays as it was"), "{}", bastion.log());
    first.send("still here\n");
    first.out.wait("got still here\n", SHORT);
    assert_eq!(first.done(SHORT).code, Some(0), "an open session goes on");
}

#[test]
fn a_signature_with_sha_1_proves_no_key() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    for file in ["id", "id.pub"] {
        fs::remove_file(ana.path(file)).unwrap();
    }
    let rsa = ["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"];
    let made = Command::new("ssh-keygen").args(rsa).arg(ana.path("id")).status();
    assert!(made.expect("ssh-keygen runs").success());
    authority.certifies(&ana, &["-n", "ana"]);
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with asyncssh, as tests/run installs it");
    let signed_with = |algorithm: &str| {
        let mut client = Command::new(&python);
        client.args(["-c", ASYNCSSH, &bastion.port().to_string()]).arg(ana.path("id")).arg(algorithm);
        Program::start_with(&mut client, Stdio::null()).done(LONG)
    };

    assert!(signed_with("rsa-sha2-512").text().starts_with("name     ana\n"));
    let refused = signed_with("ssh-rsa");
    assert!(refused.err.contains("PermissionDenied") && refused.out.is_empty(), "{refused:?}");
    bastion.logged("a key was offered with signatures that can be forged");
    assert!(
        !bastion.log().contains("the key does not sign in alone"),
        "a key without its certificate is not proven either"
    );
}

#[test]
fn nothing_is_picked_from_a_list_that_was_open_when_its_certificate_ran_out() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "ana", "-V", "+20s"]);
    let list = ana.ssh::<&str>(&[]).options(&["-t"]).on_terminal(80, 24);
    list.out.wait("Enter opens", SHORT);

    within(LONG, "the certificate to run out", || {
        (ana.ssh(&[":whoami"]).done().code == Some(255)).then_some(())
    });
    list.send("web1\r");
    let done = list.done(SHORT);
    let why = "the certificate that opened this connection is not valid any more";
    assert!(done.text().contains(&format!("this session was ended: {why}")), "{}", done.text());
    bastion.logged(&format!("a session is refused: {why}"));
    assert_eq!(bastion.sessions(), [] as [Value; 0]);
}

#[test]
fn who_came_with_a_certificate_is_told_what_her_keys_are_and_how_she_leaves() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    authority.certifies(&ana, &["-n", "ana"]);
    let said = |word: &str| ana.ssh(&[word]).done().expect_ok(word).text();

    let signs_in = "The certificate \"laptop of ana\", serial 17, signs you in until ";
    assert!(said(":keys").starts_with(signs_in), "{}", said(":keys"));
    let logout = said(":logout");
    assert!(
        logout.starts_with(signs_in) && logout.contains("Closing this connection signs you out"),
        "{logout}"
    );
    let login = said(":login");
    assert!(login.contains("The certificate \"laptop of ana\" needs no prompt until "), "{login}");
    assert_eq!(ana.ssh(&[":keys", "--json"]).done().text(), "[]\n");
    ana.ssh(&["web1", "true"]).done().expect_ok("she is not logged out of her certificate");
}

#[test]
fn a_refusal_quotes_nothing_of_a_forced_command() {
    let authority = Authority::new();
    let bastion = authority.trusted();
    let ana = bastion.stranger("ana");
    for (command, code) in
        [(":sekrit", 64), ("sekrit uptime", 77), (":whoami --sekrit", 64), ("-o sekrit", 64)]
    {
        authority.certifies(&ana, &["-n", "ana", "-O", &format!("force-command={command}")]);
        let done = ana.ssh(&["web1", "true"]).done();
        assert_eq!(done.code, Some(code), "{command}: {done:?}");
        assert!(!done.err.contains("sekrit") && !done.text().contains("sekrit"), "{command}: {done:?}");
        assert!(
            done.err.contains("the command that your certificate forces is not possible here"),
            "{done:?}"
        );
    }
    bastion.logged("sekrit");
}
