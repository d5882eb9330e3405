//! Stock clients on a terminal of their own, signing in at a server that does nothing else.

use std::{process::Stdio, sync::Arc, time::Duration};

use ::tests::provider::{ALICE, Provider as RealProvider};
use russh::{
    Channel, ChannelId, MethodKind, MethodSet,
    keys::{Algorithm as KeyAlgorithm, HashAlg, PrivateKey},
    server::{Auth, Config, Handler, Msg, Response, Session, VerifiedPublicKey, run_stream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

use super::{tests::given_back, *};

/// A client and a provider need a second or two each; a busy machine is slower.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(60);

/// Answers what it is asked from its terminal, as a program with asyncssh inside would.
const ASYNCSSH: &str = r#"
import asyncio, asyncssh, sys

class Person(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ''

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        print(instructions, end='', flush=True)
        return [input(text) for text, echo in prompts]

async def main(port, user, key):
    door = asyncssh.connect('127.0.0.1', int(port), username=user, client_keys=[key], known_hosts=None,
                            client_factory=Person, agent_path=None)
    async with door as connection:
        print((await connection.run('whoami')).stdout)

asyncio.run(main(*sys.argv[1:]))
"#;

struct Door(SignIn);

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.0.key_proven(user, key.public_key).await.into())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let answers = response.map(|all| all.map(|a| String::from_utf8_lossy(&a).into_owned()).collect());
        Ok(self.0.interactive(user, answers).await.into())
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let name = self.0.principal().map_or("nobody".to_owned(), |p| p.name.to_string());
        session.channel_success(id)?;
        session.data(id, format!("in as {name}\n"))?;
        session.exit_status_request(id, 0)?;
        session.eof(id)?;
        session.close(id)
    }
}

struct House {
    provider: RealProvider,
    login: Arc<Login>,
    port: u16,
    host_key: String,
    folder: tempfile::TempDir,
}

impl House {
    async fn asking(prompt: Prompt) -> House {
        let provider = RealProvider::start();
        provider.interval(1);
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { prompt, ..Settings::new(provider.issuer().into(), "bastion".into()) };
        let login = Arc::new(
            Login::new(
                settings,
                &folder.path().join("state"),
                None,
                Clock::system(),
                audit::tests::heard().0,
            )
            .unwrap(),
        );
        let host = PrivateKey::random(&mut russh::keys::key::safe_rng(), KeyAlgorithm::Ed25519).unwrap();
        let host_key = host.public_key().fingerprint(HashAlg::Sha256).to_string();
        let config = Arc::new(Config {
            keys: vec![host],
            methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..]),
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = login.clone();
        tokio::spawn(async move {
            while let Ok((stream, source)) = listener.accept().await {
                tokio::spawn(serve(config.clone(), stream, SignIn::new(shared.clone(), source)));
            }
        });
        let key = folder.path().join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status().await;
        assert!(made.unwrap().success());
        House { provider, login, port, host_key, folder }
    }

    fn openssh(&self, user: &str, more: &[&str]) -> Vec<String> {
        let mut line = vec!["ssh".to_owned(), "-F".into(), "/dev/null".into(), "-T".into()];
        let key = self.folder.path().join("key").display().to_string();
        for option in ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "IdentitiesOnly=yes"] {
            line.extend(["-o".into(), option.into()]);
        }
        line.extend(["-i".into(), key, "-p".into(), self.port.to_string()]);
        line.extend(more.iter().map(|s| (*s).to_owned()));
        line.extend([format!("{user}@127.0.0.1"), "whoami".into()]);
        line
    }

    fn plink(&self, user: &str) -> Vec<String> {
        let port = self.port.to_string();
        let fixed = [
            "plink",
            "-ssh",
            "-noagent",
            "-no-antispoof",
            "-hostkey",
            &self.host_key,
            "-P",
            &port,
            "-l",
            user,
            "127.0.0.1",
        ];
        fixed.into_iter().chain(["whoami"]).map(str::to_owned).collect()
    }

    fn asyncssh(&self, user: &str) -> Vec<String> {
        let key = self.folder.path().join("key").display().to_string();
        // Debian's own python, for which Debian's asyncssh is installed.
        let fixed = ["/usr/bin/python3", "-W", "ignore", "-c", ASYNCSSH];
        fixed.into_iter().map(str::to_owned).chain([self.port.to_string(), user.to_owned(), key]).collect()
    }

    /// Runs a client on a terminal; at the prompt somebody confirms as alice and Enter is pressed.
    async fn sign_in(&self, line: &[String]) -> String {
        let done = async {
            let mut seat = Seat::at(line);
            let shown = seat.read_until("then press Enter: ").await;
            self.provider.approve(&code_in(&shown), &ALICE);
            seat.terminal.write_all(b"\r").await.unwrap();
            shown + &seat.read_to_end().await
        };
        tokio::time::timeout(CLIENT_TIME_MAX, done).await.unwrap()
    }
}

async fn serve(config: Arc<Config>, stream: TcpStream, sign_in: SignIn) {
    if let Ok(session) = run_stream(config, stream, Door(sign_in)).await {
        // How a client leaves is no matter here.
        session.await.unwrap_or_default();
    }
}

fn code_in(shown: &str) -> String {
    let (_, after) = shown.split_once("enter the code ").unwrap_or_else(|| panic!("no code in {shown:?}"));
    after.split_whitespace().next().unwrap().to_owned()
}

/// A client with a terminal of its own.
struct Seat {
    terminal: pty_process::Pty,
    child: tokio::process::Child,
}

impl Seat {
    fn at(line: &[String]) -> Seat {
        let (terminal, side) = pty_process::open().unwrap();
        terminal.resize(pty_process::Size::new(24, 200)).unwrap();
        let command = pty_process::Command::new(&line[0]).args(&line[1..]).env_remove("SSH_AUTH_SOCK");
        let child = command.kill_on_drop(true).spawn(side).unwrap();
        Seat { terminal, child }
    }

    async fn read_until(&mut self, end: &str) -> String {
        let mut shown = String::new();
        let mut part = [0; 1024];
        while !shown.contains(end) {
            let count = self.terminal.read(&mut part).await.unwrap_or(0);
            assert!(count > 0, "no {end:?} in {shown:?}");
            shown.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        shown
    }

    async fn read_to_end(&mut self) -> String {
        let mut shown = Vec::new();
        let mut part = [0; 1024];
        // A terminal whose last program has gone ends with an error.
        while let Ok(count @ 1..) = self.terminal.read(&mut part).await {
            shown.extend_from_slice(&part[..count]);
        }
        self.child.wait().await.unwrap();
        String::from_utf8_lossy(&shown).into_owned()
    }
}

#[tokio::test]
async fn stock_ssh_signs_in_by_prompt_and_then_by_key_alone() {
    let house = House::asking(Prompt::Enter).await;
    let shown = house.sign_in(&house.openssh("alice", &[])).await;
    assert!(shown.contains("in as alice"), "{shown}");

    let line = house.openssh("alice", &["-o", "BatchMode=yes"]);
    let again = Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), "in as alice\n");
}

#[tokio::test]
async fn ssh_that_hides_all_but_prompts_shows_where_to_go() {
    for quiet in [&["-q"][..], &["-o", "LogLevel=ERROR"]] {
        let house = House::asking(Prompt::Enter).await;
        let shown = house.sign_in(&house.openssh("alice", quiet)).await;
        let address = format!("{}/device?user_code=", house.provider.issuer());
        assert!(
            shown.contains(&address) && shown.contains("127.0.0.1") && shown.contains("SHA256:"),
            "{shown}"
        );
        assert!(shown.contains("in as alice"), "{shown}");
    }
}

#[tokio::test]
async fn ssh_without_a_key_signs_in_by_prompt() {
    let house = House::asking(Prompt::Enter).await;
    let shown = house.sign_in(&house.openssh("alice", &["-o", "PubkeyAuthentication=no"])).await;
    assert!(shown.contains("without a key") && shown.contains("in as alice"), "{shown}");
}

#[tokio::test]
async fn ssh_in_batch_mode_without_a_binding_fails_at_once() {
    let house = House::asking(Prompt::Enter).await;
    let line = house.openssh("alice", &["-o", "BatchMode=yes"]);
    let run = Command::new(&line[0]).args(&line[1..]).stdin(Stdio::null()).output();
    let failed = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap().unwrap();
    assert_eq!(failed.status.code(), Some(255));
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("Permission denied (keyboard-interactive)"), "{said}");
    assert_eq!(house.provider.seen().pending, 0);
}

#[tokio::test]
async fn ssh_without_a_terminal_signs_in_with_no_key_pressed_where_prompts_are_off() {
    let house = House::asking(Prompt::None).await;
    let line = house.openssh("alice", &[]);
    let mut child = Command::new("setsid")
        .arg("--wait")
        .args(&line)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = child.stderr.take().unwrap();
    let mut shown = String::new();
    let mut part = [0; 1024];
    while !shown.contains("began it yourself") {
        let count = said.read(&mut part).await.unwrap();
        assert!(count > 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    house.provider.approve(&code_in(&shown), &ALICE);
    let done = tokio::time::timeout(CLIENT_TIME_MAX, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "in as alice\n");
}

#[tokio::test]
async fn a_name_that_is_another_persons_is_refused_on_the_terminal() {
    let house = House::asking(Prompt::Enter).await;
    let done = async {
        let mut seat = Seat::at(&house.openssh("bea", &["-q"]));
        let shown = seat.read_until("then press Enter: ").await;
        house.provider.approve(&code_in(&shown), &ALICE);
        seat.terminal.write_all(b"\r").await.unwrap();
        let refused = seat.read_until("Press Enter: ").await;
        seat.terminal.write_all(b"\r").await.unwrap();
        refused + &seat.read_to_end().await
    };
    let shown = tokio::time::timeout(CLIENT_TIME_MAX, done).await.unwrap();
    assert!(shown.contains(notice::NOT_HER_NAME) && !shown.contains("in as"), "{shown}");
}

#[tokio::test]
async fn plink_signs_in_by_prompt() {
    let house = House::asking(Prompt::Enter).await;
    let shown = house.sign_in(&house.plink("alice")).await;
    assert!(shown.contains("in as alice"), "{shown}");
}

#[tokio::test]
async fn asyncssh_signs_in_by_prompt() {
    let house = House::asking(Prompt::Enter).await;
    let shown = house.sign_in(&house.asyncssh("alice")).await;
    assert!(shown.contains("in as alice"), "{shown}");
}

#[tokio::test]
async fn plink_and_asyncssh_need_no_key_pressed_where_prompts_are_off() {
    let house = House::asking(Prompt::None).await;
    for line in [house.asyncssh("alice"), house.plink("alice")] {
        let done = async {
            let mut seat = Seat::at(&line);
            let shown = seat.read_until("began it yourself").await;
            house.provider.approve(&code_in(&shown), &ALICE);
            seat.read_to_end().await
        };
        let shown = tokio::time::timeout(CLIENT_TIME_MAX, done).await.unwrap();
        assert!(shown.contains("in as alice"), "{shown}");
    }
}

#[tokio::test]
async fn a_client_that_is_killed_at_the_prompt_is_noticed_and_its_sign_in_dropped() {
    for prompt in [Prompt::Enter, Prompt::None] {
        let house = House::asking(prompt).await;
        let mut seat = Seat::at(&house.openssh("alice", &[]));
        seat.read_until("began it yourself").await;
        assert_eq!(house.login.codes.count(), 1);

        seat.child.start_kill().unwrap();
        tokio::time::timeout(Duration::from_secs(20), given_back(&house.login)).await.unwrap();
    }
}
