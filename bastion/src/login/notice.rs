//! What a person is told while she signs in.
//!
//! Fixed sentences, alike for known and unknown names: a caller learns nothing here about who exists.

use std::{fmt::Write, net::IpAddr};

use super::device::Invitation;

/// The provider said no.
pub(super) const DENIED: &str = "The sign-in was denied at the provider.";

/// Nobody confirmed in time.
pub(super) const EXPIRED: &str = "The code has expired before it was confirmed. Connect again for a new one.";

/// The provider does not answer.
pub(super) const PROVIDER_DOWN: &str =
    "The sign-in provider does not answer at the moment, so nobody can sign in anew. Try again later.";

/// The provider answers what it must not.
pub(super) const PROVIDER_UNFIT: &str =
    "The sign-in provider gives an answer that cannot be used. The server's log has the details.";

/// The ID token does not hold.
pub(super) const NOT_PROVEN: &str =
    "The sign-in provider's answer does not prove who signed in. The server's log has the details.";

/// She is somebody, but not the one whose name was given to ssh.
pub(super) const NOT_HER_NAME: &str = "This sign-in does not go with the user name given to ssh. \
    Use the name that the provider knows you by; if you did, ask an administrator of this bastion.";

/// Policy wants another way of her.
pub(super) const NOT_BY_A_CODE: &str = "Policy does not let you sign in by a code in the browser. Ask an administrator of this bastion for another way.";

/// The key is somebody else's.
pub(super) const ANOTHERS_KEY: &str = "This key belongs to another person's sign-in. Use a key of your own.";

/// What would have to be known or written down cannot be.
pub(super) const NO_RECORD: &str =
    "The bastion cannot keep its records at the moment, so nobody can sign in. Try again later.";

/// Where to go, what to type there, for how long, and what it will let in; the sentence is left for the caller to end.
pub(super) fn invitation(invitation: &Invitation, source: IpAddr, key: Option<&str>) -> String {
    let mut text = String::from("To sign in, open\n\n");
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        writeln!(text, "{line}").unwrap_or_default();
    };
    match &invitation.complete {
        Some(complete) => {
            line(format!("    {complete}\n"));
            line(format!("or {} and enter the code {}", invitation.address, invitation.user_code));
        }
        None => {
            line(format!("    {}\n", invitation.address));
            line(format!("and enter the code {}", invitation.user_code));
        }
    }
    let key = key.map_or("without a key".to_owned(), |key| format!("with the key {key}"));
    line(format!("The code is good for {} and lets in this connection from {source}", length(invitation)));
    line(format!("{key}. Confirm it only if you began it yourself,"));
    text
}

/// Asked again: the person pressed Enter, and the provider knows nothing yet.
pub(super) fn not_yet(invitation: &Invitation) -> String {
    let address = invitation.complete.as_ref().unwrap_or(&invitation.address);
    format!("Not confirmed yet. Open {address} (code {}), confirm, then press Enter: ", invitation.user_code)
}

fn length(invitation: &Invitation) -> String {
    match invitation.valid.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
