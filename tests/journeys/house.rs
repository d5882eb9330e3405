//! One gateway that journeys share, each as a person of her own.

use std::sync::OnceLock;

use tests::world::TestBastion;

/// A gateway with one target, `web1`. It ends with the test program.
pub fn house() -> &'static TestBastion {
    static HOUSE: OnceLock<TestBastion> = OnceLock::new();
    HOUSE.get_or_init(TestBastion::start)
}
