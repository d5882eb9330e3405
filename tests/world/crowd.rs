//! A crowd: many people whose keys are bound, many targets, many rules. For what must stay fast when there are many.
//!
//! Signing in a thousand people at a provider takes an hour. So one person signs in, the gateway is stopped, and what it
//! stored of her is stored again for each of the others, under names, keys and ids of their own. That is done with the
//! database itself, from outside: the gateway has no door for it, and takes it for its own.

use std::fs;

use base64::prelude::*;
use serde_json::Value;

use super::{Caller, Setup, TestBastion};

/// How many of each.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Keys that are bound, hers among them.
    pub bindings: usize,
    /// Targets, `web1` among them.
    pub targets: usize,
    /// Files that the targets stand in.
    pub files: usize,
    /// Rules. The last one lets everybody on to every target.
    pub rules: usize,
}

/// Teams that targets belong to, and that rules are about.
const TEAMS: usize = 50;

impl Crowd {
    /// A gateway with all of them, and `ana`, who has signed in at its provider as people do.
    #[track_caller]
    pub fn gather(self) -> (TestBastion, Caller) {
        let bastion = Setup::default().policy(&self.policy()).start();
        let ana = bastion.caller("ana");
        bastion.stop();
        self.write_targets(&bastion);
        self.bind(&bastion);
        bastion.start_again();
        (bastion, ana)
    }

    /// Half of the rules are about ana, whose group is `people`, and each kind has something else to ask her.
    fn policy(self) -> String {
        let mut text = String::from("[groups]\noncall = ['bea']\npeople = { provider = 'people' }\n");
        (0..TEAMS).for_each(|team| text += &format!("team-{team} = {{ provider = 'team-{team}' }}\n"));
        for number in 1..self.rules {
            let team = number % TEAMS;
            let (action, who, rest) = match number % 4 {
                0 => (
                    "deny",
                    format!("groups = ['team-{team}', 'people']"),
                    format!(
                        "labels = {{ role = 'database', team = 'team-{team}' }}\nlogins = ['root']\n\
                             unless = {{ groups = ['oncall'], max_age = '15m' }}"
                    ),
                ),
                1 => (
                    "allow",
                    format!("groups = ['team-{team}']"),
                    "targets = ['host-1*', '*-db']\nfrom = ['10.0.0.0/8', '2001:db8::/32']\nlongest = '8h'"
                        .into(),
                ),
                2 => (
                    "deny",
                    "groups = ['people']".into(),
                    format!(
                        "labels = {{ team = 'team-{team}' }}\nunless = {{ from = ['127.0.0.0/8', '10.0.0.0/8'] }}"
                    ),
                ),
                _ => (
                    "allow",
                    format!("users = ['user-{number}', 'carol*']"),
                    format!(
                        "targets = ['host-{number}*']\nchannels = ['exec', 'sftp']\n\
                             when = {{ days = ['mon-fri'], hours = ['08:00-18:00'], zone = 'Europe/Berlin' }}"
                    ),
                ),
            };
            text += &format!("[[rule]]\nname = 'rule-{number}'\naction = '{action}'\n{who}\n{rest}\n");
        }
        text + "[[rule]]\nname = 'last'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n"
    }

    fn write_targets(self, bastion: &TestBastion) {
        let folder = bastion.path("targets.d");
        fs::create_dir_all(&folder).unwrap();
        let targets: Vec<String> = (1..self.targets).map(target).collect();
        for (number, file) in targets.chunks(self.targets.div_ceil(self.files)).enumerate() {
            fs::write(folder.join(format!("{number:04}.toml")), file.concat()).unwrap();
        }
    }

    /// Stores what the stopped gateway has stored of ana for others, too.
    fn bind(self, bastion: &TestBastion) {
        let store = sled::open(bastion.data().join("state")).expect("the gateway is stopped");
        for tree in ["binding", "name"] {
            let tree = store.open_tree(tree).unwrap();
            let (_, anas) = tree.first().unwrap().expect("ana has signed in");
            let anas: Value = serde_json::from_slice(&anas).unwrap();
            for number in 1..self.bindings {
                let mut another = anas.clone();
                another["name"] = format!("user-{number}").into();
                another["subject"] = format!("id-of-user-{number}").into();
                if another.get("fingerprint").is_some() {
                    another["fingerprint"] =
                        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(bytes(number))).into();
                }
                let key = another.get("fingerprint").unwrap_or(&another["name"]).as_str().unwrap();
                tree.insert(key, serde_json::to_vec(&another).unwrap()).unwrap();
            }
        }
        store.flush().unwrap();
    }
}

/// With labels, three logins and a host key, as an inventory would have it.
fn target(number: usize) -> String {
    let (team, role) = (number % TEAMS, ["web", "database", "cache", "batch"][number % 4]);
    let env = ["production", "staging", "test"][number % 3];
    let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    key.extend(bytes(number));
    let key = BASE64_STANDARD.encode(key);
    format!(
        "[targets.host-{number}]\naddress = \"10.{}.{}.{}\"\nlogins = [\"deploy\", \"readonly\", \"root\"]\n\
         default_login = \"deploy\"\nlabels = {{ env = \"{env}\", role = \"{role}\", team = \"team-{team}\" }}\n\
         host_keys = [\"ssh-ed25519 {key}\"]\n\n",
        number >> 16,
        number >> 8 & 255,
        number & 255,
    )
}

/// 32 bytes that nothing else has.
fn bytes(number: usize) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}
