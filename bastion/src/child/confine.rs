//! What a text interface does to itself before it reads a byte from outside: it gives up what it does not need.

use std::{fmt, io};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError, RulesetStatus,
    Scope,
};
use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::set_no_new_privs,
};

/// Address space: the program itself, its stack, and 10,000 targets many times over.
const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// Processor time, in seconds: hours of typing. One that spins is killed by the kernel.
const CPU_SECONDS_MAX: u64 = 120;
/// Open files: standard ones, the terminal, and what waiting takes.
const FILES_MAX: u64 = 32;
/// What Landlock is asked for, as far as the kernel knows it: files, TCP, abstract sockets, signals.
const ASKED: ABI = ABI::V7;

/// How a process is confined.
#[derive(Debug, PartialEq, Eq)]
pub struct Confined {
    status: RulesetStatus,
    landlock: LandlockStatus,
}

impl Confined {
    /// A confined process begins its answer with this, and says how on the same line.
    pub const SAYS: &'static str = "confined by ";
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.landlock, &self.status) {
            (_, RulesetStatus::NotEnforced) => write!(f, "limits alone, for this kernel has no Landlock"),
            (LandlockStatus::Available { effective_abi, .. }, _) => {
                write!(f, "limits and Landlock (ABI {})", effective_abi as i32)
            }
            (_, _) => write!(f, "limits and Landlock"),
        }
    }
}

/// Why a process could not confine itself.
#[derive(Debug, thiserror::Error)]
pub enum ConfineFault {
    /// The system refused a limit.
    #[error("a limit was refused: {0}")]
    Limit(#[from] io::Error),
    /// Landlock is there, and failed.
    #[error("Landlock: {0}")]
    Landlock(#[from] RulesetError),
}

/// Gives up, for good: new privileges, being looked into by others of the same user, core dumps, further processes,
/// files that grow, most memory and time; and with Landlock every file that is not open yet, TCP, abstract sockets and
/// signals to others. Call it while the process has one thread.
///
/// Where the kernel has no Landlock the rest holds.
///
/// # Errors
/// The system refuses something that it has.
pub fn confine() -> Result<Confined, ConfineFault> {
    set_no_new_privs(true).map_err(io::Error::from)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Core, 0),
        (Resource::Nofile, FILES_MAX),
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(io::Error::from)?;
    }
    let rules = Ruleset::default().handle_access(AccessFs::from_all(ASKED))?;
    let rules = rules.handle_access(AccessNet::from_all(ASKED))?.scope(Scope::from_all(ASKED))?;
    let restricted = rules.create()?.restrict_self()?;
    Ok(Confined { status: restricted.ruleset, landlock: restricted.landlock })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        net::{TcpListener, TcpStream},
        process::Command,
    };

    use super::*;

    /// This very test, in a process of its own: there it is told what to try.
    #[test]
    fn a_confined_process_opens_no_file_no_connection_and_no_further_process() {
        const TRIES: &str = "BASTION_TEST_CONFINED_TRIES";
        if let Ok(tries) = std::env::var(TRIES) {
            return try_all(&tries);
        }
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("vault");
        fs::write(&secret, "secret").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tries = format!("{} {}", secret.display(), listener.local_addr().unwrap());

        let name =
            "child::confine::tests::a_confined_process_opens_no_file_no_connection_and_no_further_process";
        let mut this = Command::new(std::env::current_exe().unwrap());
        let told = this.args(["--exact", name, "--nocapture"]).env(TRIES, tries).output().unwrap();
        let told =
            format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));

        let found: Vec<&str> =
            told.lines().filter_map(|line| line.split_once("tried: ")).map(|(_, t)| t).collect();
        let denied = "Err(PermissionDenied)";
        let (files, others) =
            if told.contains("no Landlock") { ("Ok(())", "Ok(())") } else { (denied, denied) };
        assert_eq!(
            found,
            [
                "before Ok(()) Ok(())",
                &format!("read {files}"),
                &format!("connect {others}"),
                // A further process is refused by Landlock, which opens no program, or by the limit.
                "run false",
                "allocate false",
            ],
            "{told}"
        );
    }

    fn try_all(tries: &str) {
        let (file, address) = tries.split_once(' ').unwrap();
        let read = || File::open(file).map(drop).map_err(|fault| fault.kind());
        let connect = || TcpStream::connect(address).map(drop).map_err(|fault| fault.kind());
        println!("\ntried: before {:?} {:?}", read(), connect());
        println!("{}", confine().unwrap());
        println!("tried: read {:?}", read());
        println!("tried: connect {:?}", connect());
        println!("tried: run {}", Command::new("/bin/true").status().is_ok());
        let mut much: Vec<u8> = Vec::new();
        println!("tried: allocate {}", much.try_reserve_exact(1 << 30).is_ok());
    }
}
