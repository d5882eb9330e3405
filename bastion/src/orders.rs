//! What commands on this machine have the running server do.

use std::sync::Arc;

use archive::control::Request;
use gate::Name;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    audit::{Act, By},
    control::{Order, Reply},
    house::House,
    revoke::Which,
};

/// Acts that a command may have written, because it does them itself.
const COMMANDS_ACTS: [&str; 8] = [
    "key-made",
    "key-imported",
    "key-retired",
    "key-removed",
    "password-set",
    "password-removed",
    "master-key-changed",
    "target-pinned",
];

/// Carries out an order, and tells whoever gave it what came of it.
pub async fn carry_out(house: Arc<House>, order: Order, by: By) {
    let Order { what, tell, .. } = order;
    let done = match what {
        Request::Reload => reload(&house, by).await.map(|()| done("settings and policy read again")),
        Request::Record { act } => record(&house, act, &by).await,
        Request::Bindings => house.login.listed().map_err(text).and_then(json),
        Request::Names => house.login.bindings().owners().map_err(text).and_then(json),
        Request::Revoke { user, key } => revoke(&house, by, user, key).await,
        Request::Release { name } => release(&house, by, &name).await,
        other => Err(format!("no order: {other:?}")),
    };
    drop(tell.send(done)); // whoever asked may be gone by now
}

/// Reads settings and policy again, and says in the log how that went.
///
/// # Errors
/// What is wrong; then the old ones stay.
pub async fn reload(house: &House, by: By) -> Result<(), String> {
    match house.reload(by.clone()).await {
        Ok(()) => {
            tracing::info!("settings and policy read again");
            Ok(())
        }
        Err(failure) => {
            let way_out = failure.way_out.unwrap_or_default();
            tracing::error!(try_this = way_out, "settings and policy stay as they were: {}", failure.what);
            if let Err(fault) = house.audit.write(Act::RulesRefused { by, why: failure.what.clone() }).await {
                tracing::error!("{fault}");
            }
            Err(failure.what)
        }
    }
}

async fn record(house: &House, mut act: Map<String, Value>, by: &By) -> Result<Reply, String> {
    let kind = act.get("act").and_then(Value::as_str).unwrap_or_default();
    if !COMMANDS_ACTS.contains(&kind) {
        return Err(format!("no command does {kind:?} by itself"));
    }
    // Who asks is known by the socket, whatever is claimed.
    act.insert("by".into(), serde_json::to_value(by).map_err(text)?);
    house.audit.write_as_told(act).await.map_err(text)?;
    Ok(done("written"))
}

async fn revoke(house: &House, by: By, user: Option<String>, key: Option<String>) -> Result<Reply, String> {
    let user = user.map(|name| name.parse::<Name>()).transpose().map_err(text)?;
    json(house.revoke(by, Which { user, person: None, key }).await.map_err(text)?)
}

async fn release(house: &House, by: By, name: &str) -> Result<Reply, String> {
    let name = name.parse::<Name>().map_err(text)?;
    json(house.release(by, &name).await.map_err(text)?)
}

fn done(said: &str) -> Reply {
    Reply::Done(said.to_owned())
}

fn json(value: impl Serialize) -> Result<Reply, String> {
    serde_json::to_vec(&value).map(Reply::Json).map_err(text)
}

fn text(fault: impl ToString) -> String {
    fault.to_string()
}
