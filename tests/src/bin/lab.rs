//! The benchmark's laboratory: adds a gateway of this build to the endpoints that `tests/bench/setup_lab.sh` made,
//! with somebody signed in, and runs the benchmark over all of them.
//!
//! `lab FOLDER [ARGUMENTS OF bench.py]`. The gateway records, as it always does.

#![allow(clippy::indexing_slicing, reason = "a laboratory that is wrong says so by a panic")]

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use serde_json::{Value, json};
use tests::{
    provider::Provider,
    world::{Caller, Setup, TestBastion, TestTarget, project},
};

/// Threads whose work is reported apart from the relay's: they compress, seal and make key frames behind it.
const APART: &[&str] = &["behind", "archive", "keyframe"];

/// Compression goes on behind a transfer; what it leaves on the disk is read after this.
const SETTLE_S: u32 = 8;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("lab FOLDER [ARGUMENTS OF bench.py]");
    let folder = Path::new(&folder);
    let endpoints = read(&folder.join("endpoints.json"));
    let bastion = gateway(folder, &endpoints);
    let ana = bastion.caller("ana");
    let config = add(folder, endpoints, &bastion, &ana);

    let mut bench = Command::new("python3");
    bench.arg(project().join("tests/bench/bench.py")).arg("--config").arg(config);
    let status = bench.args(arguments).status().expect("python3 runs");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    serde_json::from_str(&text).expect("setup_lab.sh writes JSON")
}

/// A gateway whose one target is the laboratory's sshd.
fn gateway(folder: &Path, endpoints: &Value) -> TestBastion {
    let direct = endpoints["endpoints"]["direct"]["ssh"].as_str().expect("setup_lab.sh names the direct way");
    let config = direct.split(' ').nth(2).expect("ssh -F FILE direct");
    let told = Command::new("ssh").args(["-G", "-F", config, "direct"]).output().expect("ssh runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let port = told.lines().find_map(|line| line.strip_prefix("port ")).and_then(|port| port.parse().ok());
    let host_key =
        fs::read_to_string(folder.join("keys/host_target.pub")).expect("setup_lab.sh makes host keys");
    let host_key = host_key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let limits = "[limits]\nsessions_per_person = 1000\nunauthenticated_per_address = 200";
    let setup =
        Setup::default().target("lab", port.expect("ssh -G tells the port"), &host_key, "").table(limits);
    let bastion = setup.start_with(Provider::start(), None);
    let keys = folder.join("authorized_keys_target");
    let line = bastion.gateway_key("lab");
    let known = fs::read_to_string(&keys).expect("setup_lab.sh writes authorized_keys");
    if !known.contains(line.trim()) {
        fs::write(&keys, format!("{}\n{line}\n", known.trim_end())).expect("the laboratory can be written");
    }
    bastion
}

/// The endpoints with ours among them, in a file of their own.
fn add(folder: &Path, mut endpoints: Value, bastion: &TestBastion, ana: &Caller) -> std::path::PathBuf {
    let pid = folder.join("bastion.pid");
    fs::write(&pid, bastion.pid().to_string()).expect("the laboratory can be written");
    let client = folder.join("ssh_config_bastion");
    let config = format!(
        "Host bastion\n HostName 127.0.0.1\n Port {}\n User ana%lab\n IdentityFile {}\n IdentitiesOnly yes\n \
         IdentityAgent none\n StrictHostKeyChecking no\n UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n \
         UpdateHostKeys no\n",
        bastion.port(),
        ana.path("id").display(),
        ana.path("known").display(),
    );
    // `%` begins a token in User lines of newer clients, so the login goes on the command line.
    fs::write(&client, config.replace(" User ana%lab\n", "")).expect("the laboratory can be written");
    let client = client.display();
    endpoints["endpoints"]["bastion"] = json!({
        "ssh": format!("ssh -F {client} -l ana%lab bastion"),
        "sftp": format!("sftp -F {client} -b {{batch}} ana%lab@bastion"),
        "server_pid_file": pid,
        "record_dirs": [bastion.data()],
        "record_settle_s": SETTLE_S,
        "apart_threads": APART,
    });
    let file = folder.join("endpoints_bastion.json");
    fs::write(&file, endpoints.to_string()).expect("the laboratory can be written");
    println!(
        "# gateway of login {} at port {}, data in {}",
        TestTarget::login(),
        bastion.port(),
        bastion.data().display()
    );
    file
}
