//! Files that hold secrets: read only if nobody else can read or swap them, written so that they are whole or not there.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};
use zeroize::Zeroizing;

/// A vault of 1,000 keys has 600 KB; a key, a token, a client secret a few.
const SECRET_BYTES_MAX: u64 = 16 * 1024 * 1024;

const ROOT: u32 = 0;

/// Why a file is not trusted with a secret, or could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileFault {
    /// The system said no.
    #[error("{}: {cause}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A link can be turned to another file between two looks.
    #[error("{} is a symbolic link, and a secret must be the file itself", file.display())]
    Link {
        /// The link.
        file: PathBuf,
    },
    /// A folder, a pipe, a device.
    #[error("{} is no plain file", file.display())]
    NotAFile {
        /// What is no file.
        file: PathBuf,
    },
    /// Somebody else owns it.
    #[error("{} belongs to user {owner}, and bastion runs as user {us}", file.display())]
    Owner {
        /// The file or folder.
        file: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that this process runs as.
        us: u32,
    },
    /// Others can read or write it.
    #[error("{} has mode {mode:04o}, and others can read it: at most 0600 will do", file.display())]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others can put another file in its place.
    #[error("{} has mode {mode:04o}: whoever writes to this folder can swap the secrets in it", folder.display())]
    Folder {
        /// The folder that holds the file.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No secret of ours has this size.
    #[error("{} has {bytes} bytes, and no secret is larger than {SECRET_BYTES_MAX}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It was to be made new, and is there.
    #[error("{} is already there", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
}

impl SecretFileFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self {
            SecretFileFault::Io { file, cause } if cause.kind() == io::ErrorKind::NotFound => {
                format!("make {}, or name another file in the settings", file.display())
            }
            SecretFileFault::Io { file, .. } => {
                format!("let the user who runs bastion read and write {}", file.display())
            }
            SecretFileFault::Link { file } => format!("name the file that {} leads to", file.display()),
            SecretFileFault::NotAFile { file } => format!("put a plain file at {}", file.display()),
            SecretFileFault::Owner { file, us, .. } => format!("chown {us} {}", file.display()),
            SecretFileFault::Mode { file, .. } => format!("chmod 600 {}", file.display()),
            SecretFileFault::Folder { folder, .. } => format!("chmod go-w {}", folder.display()),
            SecretFileFault::TooLarge { file, .. } => format!("look what {} is", file.display()),
            SecretFileFault::Exists { file } => format!("keep {}, or move it away first", file.display()),
        }
    }
}

/// Reads `file`, if nobody but us and root can read it, change it, or put another in its place.
///
/// # Errors
/// Each violation by name, with the file.
pub fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileFault> {
    check_folder(file)?;
    let (open, about) = open(file)?;
    judge_file(file, &Facts::of(&about), geteuid().as_raw(), 0o077)?;
    read_open(file, open, &about)
}

/// Reads a credential from the folder that systemd made for this service alone.
///
/// systemd lets a service's user in by an access list, which shows as a group's right to read.
///
/// # Errors
/// As [`read`], but a group may read.
pub fn read_credential(file: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileFault> {
    let (open, about) = open(file)?;
    judge_file(file, &Facts::of(&about), geteuid().as_raw(), 0o037)?;
    read_open(file, open, &about)
}

/// Would [`read`] read it?
///
/// # Errors
/// As [`read`].
pub fn check(file: &Path) -> Result<(), SecretFileFault> {
    check_folder(file)?;
    let (_, about) = open(file)?;
    judge_file(file, &Facts::of(&about), geteuid().as_raw(), 0o077)
}

/// Writes a file that is not there yet, with mode 0600. After a power cut it is whole, or not there.
///
/// # Errors
/// If it is there, or cannot be written.
pub fn write_new(file: &Path, bytes: &[u8]) -> Result<(), SecretFileFault> {
    let io = |cause| SecretFileFault::Io { file: file.to_owned(), cause };
    let beside = write_beside(file, bytes, 0o600).map_err(io)?;
    // A hard link, because a rename would replace a file that came between.
    let linked = std::fs::hard_link(&beside, file);
    std::fs::remove_file(&beside).map_err(io)?;
    match linked {
        Ok(()) => sync_folder(file).map_err(io),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            Err(SecretFileFault::Exists { file: file.to_owned() })
        }
        Err(cause) => Err(io(cause)),
    }
}

/// Writes a file with mode 0600, in place of one that is there. After a power cut the old or the new is there, whole.
///
/// # Errors
/// If it cannot be written; the old one is then still there.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), SecretFileFault> {
    let io = |cause| SecretFileFault::Io { file: file.to_owned(), cause };
    let beside = write_beside(file, bytes, 0o600).map_err(io)?;
    std::fs::rename(&beside, file).map_err(io)?;
    sync_folder(file).map_err(io)
}

/// Makes a folder that only we can enter, with those above it, if it is not there.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), SecretFileFault> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|cause| SecretFileFault::Io { file: folder.to_owned(), cause })
}

/// What is judged of a file or folder.
struct Facts {
    owner: u32,
    mode: u32,
    plain: bool,
}

impl Facts {
    fn of(about: &Metadata) -> Self {
        Facts { owner: about.uid(), mode: about.mode() & 0o7777, plain: about.is_file() }
    }
}

fn judge_file(file: &Path, facts: &Facts, us: u32, forbidden: u32) -> Result<(), SecretFileFault> {
    let file = file.to_owned();
    if !facts.plain {
        return Err(SecretFileFault::NotAFile { file });
    }
    if facts.owner != us && facts.owner != ROOT {
        return Err(SecretFileFault::Owner { file, owner: facts.owner, us });
    }
    if facts.mode & forbidden != 0 {
        return Err(SecretFileFault::Mode { file, mode: facts.mode });
    }
    Ok(())
}

fn judge_folder(folder: &Path, facts: &Facts, us: u32) -> Result<(), SecretFileFault> {
    let folder = folder.to_owned();
    if facts.owner != us && facts.owner != ROOT {
        return Err(SecretFileFault::Owner { file: folder, owner: facts.owner, us });
    }
    // A sticky folder keeps strangers from removing our file, not from putting theirs there first.
    if facts.mode & 0o022 != 0 {
        return Err(SecretFileFault::Folder { folder, mode: facts.mode });
    }
    Ok(())
}

/// May a secret be put at `file`: can nobody else write to its folder?
///
/// # Errors
/// If somebody can, or there is no such folder.
pub fn check_folder(file: &Path) -> Result<(), SecretFileFault> {
    let folder = folder_of(file);
    let about =
        std::fs::metadata(folder).map_err(|cause| SecretFileFault::Io { file: folder.to_owned(), cause })?;
    judge_folder(folder, &Facts::of(&about), geteuid().as_raw())
}

/// What is judged is the open file, so nobody can swap it between the look and the reading.
fn open(file: &Path) -> Result<(File, Metadata), SecretFileFault> {
    let io = |cause| SecretFileFault::Io { file: file.to_owned(), cause };
    // Without NONBLOCK a pipe in its place would let us wait for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file);
    let open = open.map_err(|cause| match cause.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            SecretFileFault::Link { file: file.to_owned() }
        }
        _ => io(cause),
    })?;
    let about = open.metadata().map_err(io)?;
    Ok((open, about))
}

fn read_open(file: &Path, open: File, about: &Metadata) -> Result<Zeroizing<Vec<u8>>, SecretFileFault> {
    if about.len() > SECRET_BYTES_MAX {
        return Err(SecretFileFault::TooLarge { file: file.to_owned(), bytes: about.len() });
    }
    // Reserved whole: a buffer that grows leaves copies behind that nobody wipes.
    let size = usize::try_from(about.len()).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    open.take(about.len())
        .read_to_end(&mut bytes)
        .map_err(|cause| SecretFileFault::Io { file: file.to_owned(), cause })?;
    Ok(bytes)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The bytes, on disk, under a name of their own in the same folder.
fn write_beside(file: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|fault| io::Error::other(fault.to_string()))?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", u64::from_ne_bytes(random)));
    let beside = folder_of(file).join(name);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut open| {
            open.write_all(bytes)?;
            open.sync_all()
        });
    if written.is_err() {
        // The first fault is the one to tell; what is left behind is a file of ours that nothing reads.
        std::fs::remove_file(&beside).ok();
    }
    written.map(|()| beside)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use tempfile::TempDir;

    use super::*;

    /// A folder with a secret file in it, both as they should be.
    fn secret() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o700);
        let file = folder.path().join("secret");
        write_new(&file, b"hush").unwrap();
        (folder, file)
    }

    fn chmod(file: &Path, mode: u32) {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_only_we_can_read_is_read() {
        let (_folder, file) = secret();

        assert_eq!(read(&file).unwrap().as_slice(), b"hush");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_its_name() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777] {
            let (_folder, file) = secret();
            chmod(&file, mode);

            let fault = read(&file).unwrap_err();
            assert!(matches!(fault, SecretFileFault::Mode { .. }), "{mode:o}: {fault}");
            assert!(fault.to_string().contains("secret") && fault.way_out().starts_with("chmod 600 "));
            check(&file).unwrap_err();
        }
    }

    #[test]
    fn a_link_to_a_secret_is_refused() {
        let (folder, file) = secret();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();

        assert!(matches!(read(&link), Err(SecretFileFault::Link { .. })));
    }

    #[test]
    fn a_secret_in_a_folder_that_others_can_write_is_refused_sticky_or_not() {
        for mode in [0o770, 0o707, 0o1777] {
            let (folder, file) = secret();
            chmod(folder.path(), mode);

            let fault = read(&file).unwrap_err();
            assert!(matches!(fault, SecretFileFault::Folder { .. }), "{mode:o}: {fault}");
        }
    }

    #[test]
    fn a_secret_of_somebody_else_is_refused_and_one_of_root_is_not() {
        let facts = |owner| Facts { owner, mode: 0o600, plain: true };
        let file = Path::new("/etc/bastion/master.key");

        let fault = judge_file(file, &facts(1000), 990, 0o077).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "/etc/bastion/master.key belongs to user 1000, and bastion runs as user 990"
        );
        judge_file(file, &facts(ROOT), 990, 0o077).unwrap();
        judge_file(file, &facts(990), 990, 0o077).unwrap();

        judge_folder(file, &facts(1000), 990).unwrap_err();
    }

    #[test]
    fn what_is_no_plain_file_is_refused_and_nobody_waits_for_it() {
        let (folder, _) = secret();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();

        assert!(matches!(read(&pipe), Err(SecretFileFault::NotAFile { .. })));
        assert!(matches!(read(&folder.path().join("none")), Err(SecretFileFault::Io { .. })));
    }

    #[test]
    fn a_new_secret_never_replaces_one_that_is_there() {
        let (folder, file) = secret();

        assert!(matches!(write_new(&file, b"other"), Err(SecretFileFault::Exists { .. })));
        assert_eq!(read(&file).unwrap().as_slice(), b"hush");

        replace(&file, b"other").unwrap();
        assert_eq!(read(&file).unwrap().as_slice(), b"other");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_credential_of_systemd_may_show_a_group_and_nobody_else() {
        let (_folder, file) = secret();
        chmod(&file, 0o440);
        assert_eq!(read_credential(&file).unwrap().as_slice(), b"hush");

        chmod(&file, 0o444);
        assert!(matches!(read_credential(&file), Err(SecretFileFault::Mode { .. })));
    }
}
