//! What is shipped: the systemd unit and the Debian package.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use tests::world::{have, project, tier};

const UNIT: &str = "packaging/bastion.service";

/// What the unit takes away or allows, word for word. A line that goes missing is a door that opens.
const HARDENING: &[(&str, &str)] = &[
    ("User", "bastion"),
    ("UMask", "0077"),
    ("StateDirectoryMode", "0700"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("NoNewPrivileges", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateUsers", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "~@privileged @resources @obsolete"),
    ("LimitCORE", "0"),
    ("Restart", "on-failure"),
];

/// systemd's own figure, 0 (safe) to 10. The unit has 1.2 with systemd 252.
const EXPOSURE_MAX: f64 = 1.5;

#[test]
fn the_unit_gives_the_server_no_privilege() {
    let text = fs::read_to_string(project().join(UNIT)).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();

    for wanted in HARDENING {
        assert!(lines.contains(wanted), "{UNIT} lacks {}={}", wanted.0, wanted.1);
    }
    for (key, path) in [("ExecStart", "/usr/bin/bastion serve"), ("ExecReload", "/bin/kill -HUP")] {
        assert!(lines.iter().any(|(name, value)| *name == key && value.starts_with(path)), "{key}");
    }
}

#[test]
fn systemd_itself_finds_the_unit_little_exposed() {
    if !have("systemd-analyze") {
        println!("not run: no systemd-analyze; the unit's lines are checked one by one elsewhere");
        return;
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager"]).arg(project().join(UNIT));
    let told = analyze.output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    let figure = text.lines().find_map(|line| line.split_once("exposure level for bastion.service: "));
    let figure: f64 = figure
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&told.stderr)));

    assert!(figure <= EXPOSURE_MAX, "exposure {figure}:\n{text}");
}

/// `[package.metadata.deb]` of package bastion.
fn metadata() -> toml::Table {
    let manifest = fs::read_to_string(project().join("bastion/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["package"]["metadata"]["deb"].as_table().expect("cargo-deb's table").clone()
}

/// Where each file comes from, by where it goes.
fn assets() -> BTreeMap<String, String> {
    let listed = metadata()["assets"].as_array().expect("a list of assets").clone();
    let row = |row: &toml::Value| {
        let text = |at: usize| row[at].as_str().expect("an asset is three strings").to_owned();
        let (from, to) = (text(0), text(1));
        let name = Path::new(&from).file_name().expect("an asset is a file").to_string_lossy().into_owned();
        (if to.ends_with('/') { to + &name } else { to }, from)
    };
    listed.iter().map(row).collect()
}

#[test]
fn every_file_of_the_package_exists() {
    let assets = assets();
    for wanted in ["usr/bin/bastion", "usr/bin/replay", "usr/share/doc/bastion/examples/policy.toml"] {
        assert!(assets.contains_key(wanted), "{wanted} in {assets:?}");
    }
    // Errors and the unit name these pages.
    for page in fs::read_dir(project().join("docs")).unwrap() {
        let name = page.unwrap().file_name().to_string_lossy().into_owned();
        let packed = assets.contains_key(&format!("usr/share/doc/bastion/{name}"));
        assert!(packed || name == "benchmarks.md", "docs/{name} is not in the package");
    }
    for from in assets.values() {
        let built = from.starts_with("target/release/");
        assert!(built || project().join("bastion").join(from).is_file(), "bastion/{from} does not exist");
    }
    let metadata = metadata();
    let units = &metadata["systemd-units"];
    let folder = project().join("bastion").join(units["unit-scripts"].as_str().unwrap());
    assert!(folder.join("bastion.service").is_file());
    let scripts = project().join("bastion").join(metadata["maintainer-scripts"].as_str().unwrap());
    assert!(fs::read_to_string(scripts.join("postinst")).unwrap().contains("#DEBHELPER#"));
}

#[test]
fn the_package_builds_and_has_the_files_that_it_should() {
    if !tier().packages {
        println!("not run: building a package is part of the long tier");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut deb = Command::new("cargo");
    deb.args(["deb", "--package", "bastion", "--locked", "--output"])
        .arg(folder.path())
        .current_dir(project());
    let told = deb.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let package = fs::read_dir(folder.path()).unwrap().next().expect("a package was written").unwrap().path();
    let listed = Command::new("dpkg-deb").arg("-c").arg(&package).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();

    for file in assets().keys().map(String::as_str).chain(["usr/lib/systemd/system/bastion.service"]) {
        let here = listed
            .lines()
            .any(|line| line.contains(&format!("./{file}")) || line.contains(&format!("./{file}.gz")));
        assert!(here, "{file} in\n{listed}");
    }
    for odd in ["master.key", "host_key", ".pem"] {
        assert!(!listed.contains(odd), "{odd} in\n{listed}");
    }
}
