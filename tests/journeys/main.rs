//! Journeys: what people and programs do through a gateway, with the real clients, servers and provider.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says so by a panic")]

mod algorithms;
mod bad_input;
mod certificates;
mod channel_requests;
mod conformance;
mod crash;
mod demo;
mod first_time;
mod flow;
mod house;
mod identity;
mod keys;
mod killed;
mod limits;
mod log_in;
mod master_key;
mod other_logins;
mod picker;
mod plain_names;
mod play;
mod prompts;
mod raw_floods;
mod raw_packets;
mod raw_sign_in;
mod recheck;
mod reload;
mod run;
mod secrets;
mod shell;
mod storm;
mod targets;
mod time_limits;
mod turned_away;
mod unrecorded;
mod users_certificates;
