//! Where an opening leads: read from the user name and from what is asked for.

use gate::{Caller, Destination, DestinationFault, Opens, Said};

/// Where an opening leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// To a target, with this.
    To(Destination, Opens),
    /// A word of the bastion's own, and its arguments.
    Word(String, Vec<String>),
    /// Nothing was named.
    Nowhere,
}

/// Where an opening leads, from the user name and from what was asked for.
pub(super) fn lead(user: &str, opens: &Opens) -> Result<Leads, DestinationFault> {
    if let Some(destination) = Caller::parse(user)?.destination {
        return Ok(Leads::To(destination, opens.clone()));
    }
    Ok(match opens {
        Opens::Shell => Leads::Nowhere,
        Opens::Exec(command) => match Said::parse(command)? {
            Said::Target(destination, Some(command)) => Leads::To(destination, Opens::Exec(command)),
            Said::Target(destination, None) => Leads::To(destination, Opens::Shell),
            Said::Word(word, arguments) => Leads::Word(word, arguments),
            Said::Nothing => Leads::Nowhere,
        },
        Opens::Subsystem(name) => match Destination::of_subsystem(name) {
            Some(read) => {
                let (destination, name) = read?;
                Leads::To(destination, Opens::Subsystem(name))
            }
            None => Leads::Nowhere,
        },
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gate::Name;

    use super::*;

    fn exec(command: &'static str) -> Opens {
        Opens::Exec(Bytes::from_static(command.as_bytes()))
    }

    fn to(target: &str) -> Destination {
        Destination { login: None, target: target.parse::<Name>().unwrap() }
    }

    #[test]
    fn a_user_name_with_a_target_leaves_every_request_as_it_is() {
        for opens in [exec("web2 id"), exec(":help"), Opens::Shell, Opens::Subsystem("web2 sftp".into())] {
            assert_eq!(lead("alice%web1", &opens), Ok(Leads::To(to("web1"), opens)));
        }
    }

    #[test]
    fn a_command_names_its_target_first_and_alone_it_means_a_shell() {
        assert_eq!(lead("alice", &exec("web1 rm -rf /")), Ok(Leads::To(to("web1"), exec("rm -rf /"))));
        assert_eq!(lead("alice", &exec("web1")), Ok(Leads::To(to("web1"), Opens::Shell)));
        let sftp = Opens::Subsystem("web1 sftp".into());
        assert_eq!(lead("alice", &sftp), Ok(Leads::To(to("web1"), Opens::Subsystem("sftp".into()))));
    }

    #[test]
    fn nothing_named_leads_nowhere() {
        for opens in [Opens::Shell, exec("  "), Opens::Subsystem("sftp".into())] {
            assert_eq!(lead("alice", &opens), Ok(Leads::Nowhere));
        }
    }
}
