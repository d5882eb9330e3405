//! How many rounds, and how much: `BASTION_TEST_TIER` is `ci` (bounded counts) or `long` (full ones).

/// The counts that tests with many rounds take.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// Bytes of the large transfers.
    pub large: u64,
    /// Rounds of kill -9 under load.
    pub kills: usize,
    /// Commands over one multiplexed connection.
    pub commands: usize,
    /// `sftp get` of [`Tier::sftp`] bytes in a row.
    pub gets: usize,
    /// Bytes of one `sftp get`.
    pub sftp: u64,
    /// Megabytes of the conformance suite's large transfers.
    pub conformance_mb: u32,
    /// Whether packages are built.
    pub packages: bool,
}

const CI: Tier = Tier {
    large: 64 << 20,
    kills: 3,
    commands: 60,
    gets: 3,
    sftp: 96 << 20,
    conformance_mb: 16,
    packages: false,
};

const LONG: Tier = Tier {
    large: 1 << 30,
    kills: 50,
    commands: 400,
    gets: 20,
    sftp: 256 << 20,
    conformance_mb: 64,
    packages: true,
};

/// What the environment asks for; CI's counts if it asks for nothing.
///
/// # Panics
/// If it asks for something else.
pub fn tier() -> Tier {
    match std::env::var("BASTION_TEST_TIER").as_deref() {
        Err(_) | Ok("" | "ci") => CI,
        Ok("long") => LONG,
        Ok(other) => panic!("BASTION_TEST_TIER is {other:?}: it may be ci or long"),
    }
}
