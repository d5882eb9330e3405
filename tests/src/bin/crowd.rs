//! Whether a gateway with many people, targets and rules is as quick as one with few: `crowd [--smoke] [FILE]`.
//!
//! Both run at the same time and are asked in turns, so that whatever else the machine does slows both. The table goes to
//! standard output and into FILE. Each figure is the median of its rounds; `tests/bench/README.md` says what it means.
//! Exit code 1 if one of them is far slower among many.

use std::{
    fs,
    io::Read,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tests::world::{Caller, Crowd, LONG, TestBastion, within};

const FEW: Crowd = Crowd { bindings: 10, targets: 10, files: 1, rules: 5 };
const MANY: Crowd = Crowd { bindings: 1_000, targets: 10_000, files: 100, rules: 500 };
const SMOKE: Crowd = Crowd { bindings: 100, targets: 1_000, files: 10, rules: 50 };

/// Of what takes tenths of a second.
const ROUNDS: usize = 11;

/// Nothing may take so much longer among many than among few, not even on a busy machine.
const LONGER_MAX: Duration = Duration::from_secs(2);

struct World {
    bastion: TestBastion,
    ana: Caller,
}

type Measure = fn(&World) -> Duration;

/// What is asked, in the order of the table.
const ASKED: &[(&str, Measure)] = &[
    ("start, until it greets", |world| {
        world.bastion.stop();
        timed(|| world.bastion.start_again())
    }),
    ("reload, until it is in force", reload),
    ("sign-in with a bound key, `:whoami`", |world| ssh(world, ":whoami", "name     ana")),
    ("`:targets`, all of it", |world| ssh(world, ":targets", "web1")),
    ("first byte of a command on web1", |world| first_byte(world.ana.ssh_to("web1", &["echo x"]).command())),
    ("first byte of a terminal on web1", |world| {
        first_byte(world.ana.ssh_to("web1", &["echo x"]).options(&["-tt"]).command())
    }),
    ("the same command on OpenSSH directly", direct),
    ("`bastion check`", |world| command(world, &["check"])),
    ("`bastion explain`", |world| {
        command(world, &["explain", "--user", "ana", "--groups", "people", "--target", "web1"])
    }),
    ("`bastion target list`", |world| command(world, &["target", "list"])),
    ("`bastion bindings list`", |world| command(world, &["bindings", "list"])),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_smoke = arguments.first().is_some_and(|first| first == "--smoke");
    let (many, rounds) = if is_smoke { (SMOKE, 2) } else { (MANY, ROUNDS) };
    let worlds = [gather(FEW), gather(many)];
    let (table, is_slow) = table(&worlds, many, rounds);
    print!("{table}");
    if let Some(file) = arguments.get(usize::from(is_smoke)) {
        fs::write(file, table).unwrap_or_else(|fault| panic!("{file}: {fault}"));
    }
    ExitCode::from(u8::from(is_slow))
}

fn gather(crowd: Crowd) -> World {
    let (bastion, ana) = crowd.gather();
    bastion.target().authorize(ana.public_key());
    let bound = bastion.command(&["bindings", "list"]).expect_ok("bastion bindings list").text();
    assert_eq!(bound.lines().count(), crowd.bindings, "the gateway takes what was stored for its own");
    let listed = ana.ssh(&[":targets"]).done().expect_ok(":targets").text();
    let hosts = listed.lines().filter(|line| line.contains("host-")).count();
    assert_eq!(hosts + 1, crowd.targets, "she may reach all of them");
    World { bastion, ana }
}

/// The table, and whether something in it takes too long.
fn table(worlds: &[World; 2], many: Crowd, rounds: usize) -> (String, bool) {
    let [few, most] = [FEW, many].map(|crowd| {
        format!("{} bindings, {} targets, {} rules", crowd.bindings, crowd.targets, crowd.rules)
    });
    let mut is_slow = false;
    let mut table = format!("| | {few} | {most} | ratio |\n|---|---|---|---|\n");
    for (what, measure) in ASKED {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            times.iter_mut().zip(worlds).for_each(|(times, world)| times.push(measure(world)));
        }
        let medians = times.map(median);
        let longer = medians[1].saturating_sub(medians[0]);
        if longer > LONGER_MAX {
            is_slow = true;
            eprintln!("crowd: {what} takes {longer:?} longer among many, and may take {LONGER_MAX:?}");
        }
        let [few, many] = medians.map(|median| median.as_secs_f64() * 1e3);
        table += &format!("| {what} | {few:.1} ms | {many:.1} ms | {:.2} |\n", many / few);
        eprintln!("# {what}: {few:.1} ms, {many:.1} ms");
    }
    let [few, many] = [0, 1].map(|at| worlds.get(at).map_or(0, |world| world.bastion.rss_kib()) / 1024);
    table += &format!("| memory (RSS), then | {few} MiB | {many} MiB | {:.2} |\n", many as f64 / few as f64);
    (table, is_slow)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

fn reload(world: &World) -> Duration {
    let said = |world: &World| world.bastion.log().matches("settings and policy read again").count();
    let before = said(world);
    timed(|| {
        world.bastion.reload();
        within(LONG, "a reload", || (said(world) > before).then_some(()));
    })
}

fn ssh(world: &World, word: &str, answer: &str) -> Duration {
    let (took, told) = whole(world.ana.ssh(&[word]).command());
    assert!(told.contains(answer), "{word}: {told}");
    took
}

fn command(world: &World, arguments: &[&str]) -> Duration {
    whole(world.bastion.program("bastion", arguments)).0
}

/// From a program's start to its end, and what it prints.
fn whole(mut command: Command) -> (Duration, String) {
    let begun = Instant::now();
    let done = command.stdin(Stdio::null()).output().expect("the program runs");
    let took = begun.elapsed();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    (took, String::from_utf8_lossy(&done.stdout).into_owned())
}

/// From the client's start to the first byte that it prints.
fn first_byte(mut command: Command) -> Duration {
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ssh runs");
    let mut out = child.stdout.take().expect("stdout is a pipe");
    let mut byte = [0];
    out.read_exact(&mut byte).expect("ssh prints something");
    let took = begun.elapsed();
    out.read_to_end(&mut Vec::new()).expect("ssh prints to its end");
    assert!(child.wait().expect("ssh ends").success());
    took
}

fn direct(world: &World) -> Duration {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(world.ana.config()).args(["-o", "BatchMode=yes"]);
    ssh.args(["-p", &world.bastion.target().port().to_string(), "127.0.0.1", "echo x"]);
    first_byte(ssh)
}
