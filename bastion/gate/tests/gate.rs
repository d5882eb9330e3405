//! What a gate answers to what it hears: the record before the byte, OpenSSH's order of endings, limits, failures.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{bench::*, *};
use gate::{
    FromClient, FromTarget, Heard, Opening, Pty, Reason, Step, ToClient, ToTarget, Unrecorded, WaitsFor,
};
use proptest::prelude::*;
use recording::{Elapsed, Event, Exit, What};

fn data(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn written(what: What) -> Step {
    Step::Record(Event { at: Elapsed::ZERO, what }, WaitsFor::Written)
}

fn synced(what: What) -> Step {
    Step::Record(Event { at: Elapsed::ZERO, what }, WaitsFor::Synced)
}

#[test]
fn a_command_is_recorded_exactly_and_waits_for_the_disk_before_its_target_has_it() {
    let command = Bytes::from_static(b"printf '\xff\x00' | tee /srv/x");
    let mut bench = Bench::new(Opening {
        opens: gate::Opens::Exec(command.clone()),
        env: vec![("LANG".into(), "C".into())],
        refused: vec![],
        pty: None,
    });
    let steps = bench.hears(Heard::Begin);
    assert_eq!(steps[0], synced(What::Opened(command.clone())));
    assert!(matches!(&steps[1], Step::Dial(grant) if grant.login().as_str() == "deploy"));
    assert_eq!(steps[2], Step::ToTarget(ToTarget::Env("LANG".into(), "C".into())));
    assert_eq!(steps[3], Step::ToTarget(ToTarget::Exec(command)));
    assert_eq!(steps.len(), 4);
}

#[test]
fn a_terminal_is_asked_for_before_its_shell_and_its_size_is_recorded() {
    let mut bench = Bench::new(terminal());
    let steps = bench.hears(Heard::Begin);
    assert_eq!(steps[0], synced(What::Opened(Bytes::new())));
    assert_eq!(steps[1], synced(What::Resize { cols: 80, rows: 24 }));
    assert!(matches!(&steps[3], Step::ToTarget(ToTarget::Pty(pty)) if pty.cols == 80));
    assert_eq!(steps[4], Step::ToTarget(ToTarget::Shell));
}

#[test]
fn a_size_of_nothing_is_passed_on_and_recorded_as_programs_take_it() {
    let mut bench = Bench::new(Opening { pty: Some(Pty::default()), ..terminal() });
    let steps = bench.hears(Heard::Begin);
    assert_eq!(steps[1], synced(What::Resize { cols: 80, rows: 24 }));
    assert!(matches!(&steps[3], Step::ToTarget(ToTarget::Pty(pty)) if pty.cols == 0));

    let steps =
        bench.client(FromClient::Resize { cols: u16::MAX, rows: u16::MAX, width_px: 1, height_px: 1 });
    assert_eq!(steps[0], written(What::Resize { cols: 1000, rows: 500 }));
    assert_eq!(
        steps[1],
        Step::ToTarget(ToTarget::Resize { cols: 1000, rows: 500, width_px: 1, height_px: 1 })
    );
}

#[test]
fn every_byte_is_recorded_before_it_is_relayed_each_stream_apart() {
    let mut bench = Bench::begun(exec("cat"));
    assert_eq!(
        bench.client(FromClient::Data(data("\x03in"))),
        [written(What::Input(data("\x03in"))), Step::ToTarget(ToTarget::Data(data("\x03in")))]
    );
    assert_eq!(
        bench.target(FromTarget::Data(data("out"))),
        [written(What::Output(data("out"))), Step::ToClient(ToClient::Data(data("out")))]
    );
    assert_eq!(
        bench.target(FromTarget::ErrorData(data("err"))),
        [written(What::ErrorOutput(data("err"))), Step::ToClient(ToClient::ErrorData(data("err")))]
    );
    assert_eq!(
        bench.client(FromClient::Signal("INT".into())),
        [written(What::Signal("INT".into())), Step::ToTarget(ToTarget::Signal("INT".into()))]
    );
    assert_eq!(bench.client(FromClient::Eof), [written(What::InputEnd), Step::ToTarget(ToTarget::Eof)]);
    assert_eq!(bench.target(FromTarget::Data(data("late")))[1], Step::ToClient(ToClient::Data(data("late"))));
}

#[test]
fn a_signal_that_is_none_reaches_nobody() {
    let mut bench = Bench::begun(exec("cat"));
    for name in ["", "INT\n", "\x1b[2J", &"X".repeat(1000)] {
        let steps = bench.client(FromClient::Signal(name.to_owned()));
        assert_eq!(steps, [], "{name:?}");
    }
}

#[test]
fn the_end_of_output_waits_for_the_exit_status_that_belongs_before_it() {
    let mut bench = Bench::begun(exec("true"));
    assert_eq!(bench.target(FromTarget::Eof), [written(What::OutputEnd)]);
    let steps = bench.target(FromTarget::Exit(Exit::Status(3)));
    assert_eq!(told(&steps), ["Status(3)", "eof"]);
    assert_eq!(told(&bench.target(FromTarget::Close)), ["close TargetDone"]);
}

#[test]
fn an_exit_status_that_comes_first_lets_the_end_of_output_pass_at_once() {
    let mut bench = Bench::begun(exec("true"));
    assert_eq!(told(&bench.target(FromTarget::Exit(Exit::Signal("TERM".into())))), ["Signal(\"TERM\")"]);
    assert_eq!(bench.target(FromTarget::Data(data("last")))[1], Step::ToClient(ToClient::Data(data("last"))));
    assert_eq!(told(&bench.target(FromTarget::Eof)), ["eof"]);
    assert_eq!(told(&bench.target(FromTarget::Close)), ["close TargetDone"]);
}

#[test]
fn the_end_of_output_is_held_for_half_a_second_and_no_longer() {
    let mut bench = Bench::begun(exec("daemon"));
    bench.target(FromTarget::Eof);
    assert_eq!(told(&bench.deadline()), ["eof"]);
    assert_eq!(bench.seconds(), 0.5);
    assert_eq!(bench.gate.deadline(), None);
    assert_eq!(told(&bench.target(FromTarget::Exit(Exit::Status(0)))), ["Status(0)"]);
}

#[test]
fn a_target_that_closes_midway_is_named_in_one_line_and_no_exit_code_is_made_up() {
    let mut bench = Bench::begun(exec("sleep 9"));
    bench.target(FromTarget::Data(data("half")));
    let steps = bench.target(FromTarget::Close);
    assert_eq!(
        told(&steps),
        [
            "stderr bastion: target web1 closed the session without saying how it ended\n",
            "eof",
            "close TargetDone"
        ]
    );
    assert!(matches!(&steps[0], Step::Record(Event { what: What::Notice(_), .. }, _)));
}

#[test]
fn an_unreachable_target_is_a_line_on_stderr_and_69() {
    let mut bench = Bench::begun(exec("true"));
    let steps = bench.target(FromTarget::Unreachable("web1 cannot be reached: connection refused".into()));
    assert_eq!(
        told(&steps),
        [
            "stderr bastion: web1 cannot be reached: connection refused\n",
            "Status(69)",
            "eof",
            "close target",
            "close Unreachable"
        ]
    );
    assert_eq!(bench.client(FromClient::Data(data("more"))), []);

    let mut bench = Bench::begun(subsystem("netconf\x1b"));
    let steps = told(&bench.target(FromTarget::Refused));
    assert_eq!(steps[..2], ["stderr bastion: target web1 has no subsystem netconf\\u{1b}\n", "Status(69)"]);
}

#[test]
fn what_a_client_that_is_gone_has_left_may_be_read_for_two_seconds() {
    let mut bench = Bench::begun(exec("cat"));
    assert_eq!(told(&bench.client(FromClient::Close)), ["close target"]);
    assert_eq!(bench.hears(Heard::ClientGone), [], "said once");
    assert_eq!(told(&bench.deadline()), ["abandon ClientDone"]);
    assert_eq!(bench.seconds(), 2.0);

    let mut bench = Bench::begun(exec("cat"));
    bench.hears(Heard::ClientGone);
    assert_eq!(told(&bench.target(FromTarget::Close)), ["eof", "close ClientDone"]);
}

#[test]
fn a_session_is_told_of_its_end_a_minute_before_it() {
    let mut bench = Bench::with_limits(terminal(), "longest = '1h'");
    bench.hears(Heard::Begin);
    assert_eq!(told(&bench.deadline()), ["tell \r\nbastion: this session ends in 1 minute by policy\r\n"]);
    assert_eq!(bench.seconds(), 3540.0);
    let steps = told(&bench.deadline());
    assert_eq!(bench.seconds(), 3600.0);
    assert_eq!(
        steps[0],
        "stderr \r\nbastion: this session has lasted 1 hour, the longest that policy allows; it ends here\r\n"
    );
    assert_eq!(steps[1..], ["Status(77)", "eof", "close target", "close TimeOver"]);
    assert_eq!(told(&bench.deadline()), ["abandon TimeOver"], "a client that does not read cannot stay");
    assert_eq!(bench.gate.deadline(), None);
}

#[test]
fn a_terminal_is_idle_when_nobody_types_whatever_its_program_prints() {
    let mut bench = Bench::with_limits(terminal(), "idle = '10m'");
    bench.hears(Heard::Begin);
    bench.now = Duration::from_secs(300).into();
    bench.client(FromClient::Data(data("x")));
    bench.target(FromTarget::Data(data("x")));
    bench.now = Duration::from_secs(600).into();
    bench.target(FromTarget::Data(data("tick")));
    assert_eq!(
        told(&bench.deadline()),
        ["tell \r\nbastion: nothing happens here; this session ends in 1 minute\r\n"]
    );
    assert_eq!(bench.seconds(), 840.0);
    assert_eq!(told(&bench.deadline())[1..], ["Status(77)", "eof", "close target", "close Idle"]);
    assert_eq!(bench.seconds(), 900.0);
}

#[test]
fn a_key_takes_an_idle_warning_back() {
    let mut bench = Bench::with_limits(terminal(), "idle = '10m'");
    bench.hears(Heard::Begin);
    bench.deadline();
    bench.client(FromClient::Data(data("x")));
    assert_eq!(told(&bench.deadline()).len(), 1);
    assert_eq!(bench.seconds(), 540.0 + 540.0);
}

#[test]
fn a_transfer_is_not_idle_while_bytes_flow_either_way() {
    let mut bench = Bench::with_limits(exec("cat big"), "idle = '10m'");
    bench.hears(Heard::Begin);
    bench.now = Duration::from_secs(599).into();
    bench.target(FromTarget::Data(data("x")));
    assert_eq!(bench.gate.deadline(), Some(Duration::from_secs(599 + 540).into()));
}

#[test]
fn a_failing_recording_pauses_the_session_and_then_ends_it() {
    let mut bench = Bench::begun(terminal());
    let paused = bench.hears(Heard::Unrecorded(Unrecorded("no space left".into())));
    assert_eq!(
        told(&paused),
        [
            "tell \r\nbastion: recording fails, so this session is paused; what you type is kept and sent once recording works again\r\n"
        ]
    );
    assert_eq!(bench.hears(Heard::Unrecorded(Unrecorded("again".into()))), [], "said once");
    assert_eq!(
        told(&bench.deadline()),
        ["tell \r\nbastion: recording failed, so this session ends here\r\n", "abandon RecordingFailed"]
    );
    assert_eq!(bench.seconds(), 30.0);
    assert_eq!(Reason::RecordingFailed.exit_code(), Some(74));
    assert_eq!(bench.gate.deadline(), None);
}

#[test]
fn a_recording_that_works_again_lets_the_session_go_on() {
    let mut bench = Bench::begun(exec("cat"));
    bench.hears(Heard::Unrecorded(Unrecorded("no space left".into())));
    assert_eq!(
        told(&bench.hears(Heard::RecordedAgain)),
        ["tell bastion: recording works again, the session goes on\n"]
    );
    assert_eq!(bench.gate.deadline(), None);
    assert_eq!(bench.client(FromClient::Data(data("x"))).len(), 2);
}

#[test]
fn a_close_that_waits_for_a_dead_disk_does_not_wait_for_ever() {
    let mut bench = Bench::begun(exec("true"));
    bench.target(FromTarget::Exit(Exit::Status(0)));
    bench.target(FromTarget::Close);
    bench.hears(Heard::Unrecorded(Unrecorded("no space left".into())));
    assert_eq!(told(&bench.deadline()).last().unwrap(), "abandon RecordingFailed");
}

#[test]
fn an_administrator_ends_a_session_at_once_even_while_nothing_is_recorded() {
    let mut bench = Bench::begun(exec("sleep 9"));
    let steps = told(&bench.hears(Heard::End(at_once("the bastion is shutting down"))));
    assert_eq!(steps[0], "stderr bastion: this session was ended: the bastion is shutting down\n");
    assert_eq!(steps[1..], ["Status(75)", "eof", "close target", "close Ended"]);

    let mut bench = Bench::begun(exec("sleep 9"));
    bench.hears(Heard::Unrecorded(Unrecorded("no space left".into())));
    let steps = told(&bench.hears(Heard::End(at_once("the bastion is shutting down"))));
    assert_eq!(
        steps,
        ["tell bastion: this session was ended: the bastion is shutting down\n", "abandon Ended"]
    );
}

#[test]
fn a_shell_without_a_terminal_hints_only_when_nothing_has_come_for_a_second() {
    let mut bench = Bench::begun(shell());
    let steps = told(&bench.deadline());
    assert_eq!(bench.seconds(), 1.0);
    assert!(steps[0].starts_with("stderr bastion: no terminal:"), "{steps:?}");
    assert_eq!(bench.gate.deadline(), None, "once");

    for heard in [FromClient::Data(data("ls\n")), FromClient::Eof] {
        let mut bench = Bench::begun(shell());
        bench.client(heard);
        assert_eq!(bench.gate.deadline(), None);
    }
    assert_eq!(Bench::begun(exec("cat")).gate.deadline(), None);
}

#[test]
fn nothing_is_answered_once_it_is_over() {
    let mut bench = Bench::begun(exec("cat"));
    bench.client(FromClient::Close);
    bench.deadline();
    for heard in
        [Heard::Begin, Heard::Deadline, Heard::Target(FromTarget::Data(data("x"))), Heard::End(at_once("x"))]
    {
        assert_eq!(bench.hears(heard), []);
    }
}

fn any_heard() -> impl Strategy<Value = Heard> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        8 => bytes.clone().prop_map(|bytes| Heard::Client(FromClient::Data(bytes))),
        8 => bytes.clone().prop_map(|bytes| Heard::Target(FromTarget::Data(bytes))),
        2 => bytes.prop_map(|bytes| Heard::Target(FromTarget::ErrorData(bytes))),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(cols, rows)| Heard::Client(FromClient::Resize { cols, rows, width_px: 0, height_px: 0 })),
        1 => prop::sample::select(vec![
            Heard::Client(FromClient::Eof),
            Heard::Client(FromClient::Close),
            Heard::ClientGone,
            Heard::TargetGone,
            Heard::Target(FromTarget::Eof),
            Heard::Target(FromTarget::Exit(Exit::Status(0))),
            Heard::Target(FromTarget::Close),
            Heard::Target(FromTarget::Refused),
            Heard::Unrecorded(Unrecorded("full".into())),
            Heard::RecordedAgain,
            Heard::Deadline,
            Heard::End(at_once("stop")),
            Heard::End(gate::Ending { after: Duration::from_secs(1), ..at_once("soon") }),
        ]),
    ]
}

/// How many bytes of input and output an event is the record of.
fn recorded(event: &Event) -> (usize, usize) {
    match &event.what {
        What::Input(data) => (data.len(), 0),
        What::Typed(count) => (*count as usize, 0),
        What::Output(data) | What::ErrorOutput(data) | What::Notice(data) => (0, data.len()),
        _ => (0, 0),
    }
}

proptest! {
    #[test]
    fn no_byte_leaves_before_its_record_whatever_happens(
        on_terminal in any::<bool>(),
        story in prop::collection::vec((any_heard(), 0u64..2_000_000), 0..60),
    ) {
        let mut bench = Bench::begun(if on_terminal { terminal() } else { exec("cat") });
        let (mut to_record, mut sent) = ((0, 0), (0, 0));
        for (heard, micros) in story {
            bench.now = bench.now.after(Duration::from_micros(micros));
            for step in bench.hears(heard) {
                match step {
                    Step::Record(event, _) => {
                        let (input, output) = recorded(&event);
                        to_record = (to_record.0 + input, to_record.1 + output);
                    }
                    Step::ToTarget(ToTarget::Data(data)) => sent.0 += data.len(),
                    Step::ToClient(ToClient::Data(data) | ToClient::ErrorData(data)) | Step::Tell(data) => sent.1 += data.len(),
                    _ => {}
                }
                prop_assert!(sent.0 <= to_record.0 && sent.1 <= to_record.1);
            }
            prop_assert_eq!(to_record, sent, "and what is recorded leaves");
        }
    }

    #[test]
    fn a_deadline_that_has_come_is_never_asked_for_again(
        story in prop::collection::vec((any_heard(), 0u64..90_000_000), 0..60),
    ) {
        let mut bench = Bench::with_limits(shell(), "longest = '20m'\nidle = '1m'");
        bench.hears(Heard::Begin);
        for (heard, micros) in story {
            bench.now = bench.now.after(Duration::from_micros(micros));
            bench.hears(heard);
            bench.hears(Heard::Deadline);
            prop_assert!(bench.gate.deadline().is_none_or(|at| at > bench.now), "or the loop would spin");
        }
    }
}

#[test]
fn a_refused_forwarding_is_told_on_a_terminal_by_its_rule_and_recorded() {
    let refused = || vec![gate::Forwarding::Agent];

    let steps = Bench::new(Opening { refused: refused(), ..terminal() }).hears(Heard::Begin);
    let lines = told(&steps);
    assert!(matches!(lines.as_slice(), [line] if line.contains("no-forwarding")), "{lines:?}");
    assert!(steps.iter().any(|step| matches!(step, Step::Record(Event { what: What::Notice(_), .. }, _))));

    let steps = Bench::new(Opening { refused: refused(), ..exec("true") }).hears(Heard::Begin);
    assert_eq!(told(&steps), Vec::<String>::new());
}

#[test]
fn why_a_session_ended_is_recorded_once_and_before_it_closes() {
    let shutdown = "the bastion is shutting down";
    for (ends, why) in [
        (Heard::Target(FromTarget::Close), "the target closed"),
        (Heard::ClientGone, "the client closed"),
        (Heard::End(at_once(shutdown)), shutdown),
        (Heard::Target(FromTarget::Unreachable("no route".into())), "no route"),
        (Heard::Target(FromTarget::Misconfigured), "the bastion's settings for the target are wrong"),
        (Heard::Unrecorded(Unrecorded("disk full".into())), "recording failed"),
    ] {
        let mut bench = Bench::begun(exec("cat"));
        let mut steps = bench.hears(ends);
        while bench.gate.deadline().is_some() {
            steps.extend(bench.deadline());
        }
        let end = |step: &Step| matches!(step, Step::Record(Event { what: What::Ended(said), .. }, _) if said == why);
        let close = |step: &Step| matches!(step, Step::Close(_) | Step::Abandon(_));
        let ended = steps.iter().position(end).expect(why);
        assert_eq!(steps.iter().filter(|step| end(step)).count(), 1, "{why}");
        assert!(steps.iter().position(close).is_none_or(|closed| ended < closed), "{why}");
    }
}
