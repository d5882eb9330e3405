//! What `docs/replay.md` says of keys is what the player does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

#[test]
fn the_documented_keys_are_those_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/replay.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = replay::keymap::as_markdown();
    assert!(page.contains(&table), "{path} should contain this table:\n{table}");
}
