//! A gate to speak to.

use gate::{
    Decision, Ending, FromClient, FromTarget, Gate, Heard, Opening, Reason, Step, ToClient, ToTarget,
};
use recording::Elapsed;

use super::*;

/// A gate on a pretended clock.
pub struct Bench {
    pub gate: Gate,
    pub now: Elapsed,
}

impl Bench {
    pub fn new(opening: Opening) -> Bench {
        Bench::with_limits(opening, "")
    }

    pub fn with_limits(opening: Opening, limits: &str) -> Bench {
        let policy = policy(&format!(
            "[[rule]]\nname = 'all'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n{limits}"
        ));
        let asked = request(person("alice", &[]), target("web1", &[], &["deploy"]), opening.clone());
        let Decision::Allow(grant) = policy.decide(&asked) else { panic!("denied") };
        Bench { gate: Gate::new(grant, opening), now: Elapsed::ZERO }
    }

    /// One that has begun.
    pub fn begun(opening: Opening) -> Bench {
        let mut bench = Bench::new(opening);
        bench.hears(Heard::Begin);
        bench
    }

    pub fn hears(&mut self, heard: Heard) -> Vec<Step> {
        self.gate.hear(heard, self.now)
    }

    pub fn client(&mut self, sent: FromClient) -> Vec<Step> {
        self.hears(Heard::Client(sent))
    }

    pub fn target(&mut self, sent: FromTarget) -> Vec<Step> {
        self.hears(Heard::Target(sent))
    }

    /// Lets time pass up to the gate's next deadline, and tells it.
    pub fn deadline(&mut self) -> Vec<Step> {
        self.now = self.gate.deadline().expect("something is waited for");
        self.hears(Heard::Deadline)
    }

    pub fn seconds(&self) -> f64 {
        self.now.as_secs_f64()
    }
}

/// What a client is told in words, and what ends the session.
pub fn told(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Tell(line) => Some(format!("tell {}", String::from_utf8_lossy(line))),
        Step::ToClient(ToClient::ErrorData(line)) => {
            Some(format!("stderr {}", String::from_utf8_lossy(line)))
        }
        Step::ToClient(ToClient::Exit(exit)) => Some(format!("{exit:?}")),
        Step::ToClient(ToClient::Eof) => Some("eof".to_owned()),
        Step::ToTarget(ToTarget::Close) => Some("close target".to_owned()),
        Step::Close(reason) => Some(format!("close {reason:?}")),
        Step::Abandon(reason) => Some(format!("abandon {reason:?}")),
        _ => None,
    };
    steps.iter().filter_map(line).collect()
}

/// An administrator's end.
pub fn at_once(why: &str) -> Ending {
    Ending { why: why.into(), reason: Reason::Ended, after: std::time::Duration::ZERO }
}
