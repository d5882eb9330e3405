//! What a client may ask of a session that runs already: signals, and requests that nobody knows.

use std::process::Command;

use recording::{Exit, What};
use tests::world::{LONG, Program, events_of};

use crate::demo::Demo;

/// A client of asyncssh: signals a program that traps them, and asks for what is not there.
const ASKS: &str = r#"
import asyncio, sys, warnings
warnings.filterwarnings("ignore")
import asyncssh
from asyncssh.packet import String, UInt32

TRAPS = "trap 'echo heard-usr1' USR1; trap 'echo heard-term; exit 5' TERM; echo ready; while :; do sleep 0.1; done"

async def heard(process, word):
    while True:
        line = await process.stdout.readline()
        assert line, "it ended before it said " + word
        if line.strip() == word:
            print(word, flush=True)
            return

async def main():
    port, key, user = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    options = dict(username=user, client_keys=[key], known_hosts=None)
    async with asyncssh.connect("127.0.0.1", port, **options) as connection:
        process = await connection.create_process("web1 " + TRAPS)
        await heard(process, "ready")
        for request, data in ((b"break", UInt32(500)), (b"odd@example.org", String("what"))):
            answer = await process.channel._make_request(request, data)
            print(request.decode(), answer, flush=True)
        process.send_signal("USR1")
        await heard(process, "heard-usr1")
        process.send_signal("TERM")
        await heard(process, "heard-term")
        done = await process.wait()
        print("exit", done.exit_status, flush=True)

asyncio.run(asyncio.wait_for(main(), 60))
"#;

#[test]
fn signals_reach_the_program_and_the_record_and_what_nobody_knows_is_refused() {
    // OpenSSH's sshd passes no signals on to whoever is root, as tests may be; the demo's target passes them to anybody.
    let demo = Demo::start();
    let bastion = demo.gateway();
    let sue = bastion.caller("sue");
    let python = std::env::var("PY").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let mut client = Command::new(python);
    client.args(["-W", "ignore", "-c", ASKS, &bastion.port().to_string()]).arg(sue.path("id")).arg("sue");

    let done = Program::start(&mut client).done(LONG);

    let lines = "ready\nbreak False\nodd@example.org False\nheard-usr1\nheard-term\nexit 5\n";
    assert_eq!(done.text(), lines, "{}", done.err);
    let session = bastion.last_session_of("sue");
    assert_eq!(session["exit"]["status"], 5);
    let events = events_of(&bastion, &session);
    let told: Vec<String> = events
        .into_iter()
        .filter_map(|event| match event.what {
            What::Signal(name) => Some(name),
            What::Exit(Exit::Status(status)) => Some(format!("exit {status}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["USR1", "TERM", "exit 5"]);
}
