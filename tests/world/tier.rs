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
    /// Steps of a sign-in that are tried in every order.
    pub sign_in_steps: usize,
    /// Rounds in which the times of two answers are compared.
    pub timing_rounds: usize,
    /// Connections that stop half-way, one after the other.
    pub half_open: usize,
    /// Seconds that a flood, or the mutator, goes on.
    pub flood_seconds: u64,
    /// Messages of one kind that are sent without reading anything.
    pub flood_packets: usize,
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
    sign_in_steps: 3,
    timing_rounds: 7,
    half_open: 500,
    flood_seconds: 3,
    flood_packets: 100_000,
    packages: false,
};

const LONG: Tier = Tier {
    large: 1 << 30,
    kills: 50,
    commands: 400,
    gets: 20,
    sftp: 256 << 20,
    conformance_mb: 64,
    sign_in_steps: 4,
    timing_rounds: 25,
    half_open: 5000,
    flood_seconds: 20,
    flood_packets: 1_000_000,
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
