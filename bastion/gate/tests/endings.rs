//! Ends that come from outside: said first, done later, and what policy takes back it can give again.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{bench::*, *};
use gate::{Ending, Gate, Grant, Heard, Reason, Unrecorded};

fn later(reason: Reason, seconds: u64) -> Heard {
    Heard::End(Ending { why: "because".into(), reason, after: Duration::from_secs(seconds) })
}

/// What a policy with these limits answers to the same request.
fn grant(limits: &str) -> Grant {
    let text = format!("[[rule]]\nname = 'all'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n{limits}");
    granted(&policy(&text), &request(person("alice", &[]), target("web1", &[], &["deploy"]), exec("sleep 9")))
}

#[test]
fn an_end_is_said_first_and_done_when_its_time_has_come() {
    for (reason, code, why) in [(Reason::Withdrawn, 77, "Withdrawn"), (Reason::Ended, 75, "Ended")] {
        let mut bench = Bench::begun(exec("sleep 9"));
        let warned = told(&bench.hears(later(reason, 60)));
        assert_eq!(warned, ["tell bastion: this session ends in 1 minute: because\n"]);

        let steps = told(&bench.deadline());
        assert_eq!(bench.seconds(), 60.0);
        let end = [format!("Status({code})"), "eof".into(), "close target".into(), format!("close {why}")];
        assert_eq!(steps[0], "stderr bastion: this session was ended: because\n");
        assert_eq!(steps[1..], end);
    }
}

#[test]
fn of_two_ends_the_sooner_one_counts_and_it_is_said_once() {
    let mut bench = Bench::begun(exec("sleep 9"));
    bench.hears(later(Reason::Withdrawn, 60));
    assert_eq!(told(&bench.hears(later(Reason::Withdrawn, 60))), Vec::<String>::new());
    assert_eq!(told(&bench.hears(later(Reason::Ended, 2))).len(), 1);
    bench.hears(later(Reason::Withdrawn, 60));
    assert_eq!(told(&bench.deadline()).last().unwrap(), "close Ended");
    assert_eq!(bench.seconds(), 2.0);
}

#[test]
fn what_policy_took_back_it_can_give_again_and_an_administrators_end_stays() {
    let mut bench = Bench::begun(exec("sleep 9"));
    bench.hears(later(Reason::Withdrawn, 60));
    let again = told(&bench.hears(Heard::Regranted(grant(""))));
    assert_eq!(again, ["tell bastion: policy allows this session again, it goes on\n"]);
    assert_eq!(bench.gate.deadline(), None);

    bench.hears(later(Reason::Ended, 2));
    assert_eq!(told(&bench.hears(Heard::Regranted(grant("")))), Vec::<String>::new());
    assert_eq!(told(&bench.deadline()).last().unwrap(), "close Ended");
}

#[test]
fn an_end_that_was_said_comes_while_nothing_is_recorded() {
    let mut bench = Bench::begun(exec("sleep 9"));
    bench.hears(later(Reason::Withdrawn, 2));
    bench.hears(Heard::Unrecorded(Unrecorded("no space left".into())));
    assert_eq!(told(&bench.deadline()).last().unwrap(), "abandon Withdrawn");
}

#[test]
fn a_limit_that_a_new_policy_brings_warns_before_it_ends_what_is_past_it() {
    let mut bench =
        Bench { gate: Gate::new(grant("longest = '8h'"), exec("sleep 9")), now: recording::Elapsed::ZERO };
    bench.hears(Heard::Begin);
    bench.now = Duration::from_secs(7200).into();
    assert_eq!(told(&bench.hears(Heard::Regranted(grant("longest = '1h'")))), Vec::<String>::new());

    assert_eq!(told(&bench.deadline()), ["tell bastion: this session ends in 1 minute by policy\n"]);
    assert_eq!(bench.seconds(), 7200.0);
    assert_eq!(told(&bench.deadline()).last().unwrap(), "close TimeOver");
    assert_eq!(bench.seconds(), 7260.0);
}

#[test]
fn a_limit_that_a_new_policy_lifts_ends_nothing() {
    let mut bench =
        Bench { gate: Gate::new(grant("longest = '1h'"), exec("sleep 9")), now: recording::Elapsed::ZERO };
    bench.hears(Heard::Begin);
    bench.deadline();
    bench.hears(Heard::Regranted(grant("")));
    assert_eq!(bench.gate.deadline(), None);
}
