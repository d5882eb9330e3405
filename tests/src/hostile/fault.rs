//! Everything that a provider can do wrong, one switch for each.

/// Stands in everything that a hostile provider says and that nobody may be shown.
pub const TAINT: &str = "tainted";

/// What is asked of a provider, in the order of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its discovery document.
    Discovery,
    /// Its public keys.
    Keys,
    /// A device code.
    Device,
    /// The tokens.
    Token,
}

/// How an answer fails that never becomes one of the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The connection is cut.
    Cut,
    /// 503.
    Troubled,
    /// 404, with a page.
    Missing,
    /// 200, with a page.
    Html,
    /// 302, to another address of the same server.
    Elsewhere,
    /// A body without end, as fast as it is read.
    Endless,
    /// A body of one byte a second.
    Trickle,
    /// Nothing at all.
    Silence,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a hostile provider does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            /// An answer that never becomes one of the protocol's.
            At(Place, How),
            $($(#[$doc])* $name,)*
        }

        /// All that have a name of their own.
        const NAMED: &[Fault] = &[$(Fault::$name,)*];
    };
}

faults! {
    /// Nothing: its tokens are signed with RSA.
    Nothing,
    /// Nothing: they are signed with ECDSA.
    SignsWithEcdsa,
    /// Nothing: they are signed with Ed25519.
    SignsWithEdDsa,
    /// Nothing: the audience is a list with one entry.
    AudienceListOfOne,
    /// Another issuer in the token.
    IssuerWrong,
    /// The token is for another client.
    AudienceWrong,
    /// The token is for this client and another, and does not say whom it was given to.
    AudienceListWithoutAzp,
    /// The token was given to another client.
    AzpWrong,
    /// The token ran out an hour ago.
    Expired,
    /// The token never runs out.
    ExpiryMissing,
    /// The token is good from in an hour on.
    NotYetValid,
    /// The token was made tomorrow.
    IssuedTomorrow,
    /// No subject.
    SubjectMissing,
    /// A subject of no characters.
    SubjectEmpty,
    /// A subject of 300 characters.
    SubjectLong,
    /// A subject with an escape sequence.
    SubjectWithControls,
    /// Two subjects in one token.
    SubjectTwice,
    /// A nonce that nobody sent.
    NonceUnasked,
    /// `alg` is `none`, and there is no signature.
    AlgNone,
    /// `alg` is `HS256`, and the public key is the secret.
    HmacWithPublicKey,
    /// `alg` is none that there is.
    AlgUnheardOf,
    /// Signed with a key that lies in the token's own header.
    KeyInHeader,
    /// Signed with a key that lies where the header says.
    KeyAddressInHeader,
    /// The same, with a certificate's address.
    CertificateAddressInHeader,
    /// A header field that must be understood.
    CriticalHeader,
    /// The key is an elliptic curve's, and `alg` says RSA.
    EcdsaUnderRsa,
    /// A key id that is not in the set.
    KeyUnknown,
    /// Two keys in the set with the id that the token names.
    KeyTwice,
    /// An access token in place of the ID token.
    AccessToken,
    /// No ID token.
    IdTokenMissing,
    /// The ID token is no token.
    IdTokenGarbled,
    /// The signature is cut off.
    SignatureStripped,
    /// The signature is over other claims.
    SignatureOfAnother,
    /// No claim that names the person.
    NameMissing,
    /// The name is a number.
    NameNumber,
    /// The name is that of every system's owner.
    NameRoot,
    /// The name is another person's.
    NameOfAnother,
    /// The name goes on with `%`.
    NameWithPercent,
    /// The name goes on with `/`.
    NameWithSlash,
    /// The name begins with `:`.
    NameWithColon,
    /// The name has an escape sequence.
    NameWithControls,
    /// The name has letters that look like others.
    NameOfTwoScripts,
    /// A name of 140 characters.
    NameLong,
    /// Nothing: the name has a capital letter.
    NameCapital,
    /// Nothing, but the e-mail address is not verified.
    EmailUnverified,
    /// Nothing, but the e-mail address has a control character.
    EmailWithControls,
    /// The groups are a number.
    GroupsNumber,
    /// The groups lie in groups.
    GroupsNested,
    /// 600 groups.
    GroupsMany,
    /// A group with an escape sequence.
    GroupsWithControls,
    /// 64 KiB of claims.
    ClaimsHuge,
    /// The key set is empty.
    KeysNone,
    /// Discovery names another issuer.
    DiscoveryOfAnother,
    /// Discovery names this issuer with a slash at the end.
    DiscoveryWithSlash,
    /// The device endpoint is plain http, and not on this machine.
    DeviceEndpointUnsafe,
    /// The token endpoint is.
    TokenEndpointUnsafe,
    /// The address of the keys is.
    KeysAddressUnsafe,
    /// There is no device endpoint.
    DeviceEndpointMissing,
    /// There is no token endpoint.
    TokenEndpointMissing,
    /// A device sign-in is refused, with `invalid_client`.
    DeviceRefused,
    /// The same, with an error code that has an escape sequence.
    DeviceRefusedOddly,
    /// Nothing: it wants no pause between two polls.
    IntervalZero,
    /// A pause of -5 s.
    IntervalNegative,
    /// A pause of 10^9 s.
    IntervalHuge,
    /// A code that is good for no time.
    ValidZero,
    /// A code that is good for -1 s.
    ValidNegative,
    /// Nothing: a code that is good for ever.
    ValidHuge,
    /// An escape sequence in the code.
    CodeEscape,
    /// A code that would fill the clipboard.
    CodeClipboard,
    /// Two lines in the code.
    CodeNewline,
    /// An empty code.
    CodeEmpty,
    /// A code of 10 kB.
    CodeLong,
    /// An escape sequence in the address.
    AddressEscape,
    /// An address that would fill the clipboard.
    AddressClipboard,
    /// Two lines in the address.
    AddressNewline,
    /// `file:`.
    AddressFile,
    /// `javascript:`.
    AddressScript,
    /// Plain http, and not on this machine.
    AddressUnsafe,
    /// A user in front of the host, which looks like the host.
    AddressWithUser,
    /// An address of 10 kB.
    AddressLong,
    /// An address with the code in it that would fill the clipboard.
    CompleteClipboard,
    /// The same, `javascript:`.
    CompleteScript,
    /// `slow_down` is all that a poll hears; the code is good for 4 s, and wants a poll each second.
    SlowDown,
    /// Nobody ever confirms; the code is good for 4 s, and wants no pause between two polls.
    NeverConfirmed,
    /// A poll is refused, with `invalid_grant`.
    PollRefused,
    /// The same, with an error code of 700 characters.
    PollRefusedAtLength,
    /// A mistake in JSON, under a name of 10 kB.
    PollBroken,
}

impl Fault {
    /// Each of them.
    pub fn all() -> Vec<Fault> {
        let mut all = NAMED.to_vec();
        for place in [Place::Discovery, Place::Keys, Place::Device, Place::Token] {
            for how in [How::Cut, How::Troubled, How::Missing, How::Html, How::Elsewhere] {
                all.push(Fault::At(place, how));
            }
            for how in [How::Endless, How::Trickle, How::Silence] {
                all.push(Fault::At(place, how));
            }
        }
        all
    }
}

/// What the token endpoint does with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Gives a new ID token; the refresh token stays good.
    Good,
    /// Gives an access token alone.
    WithoutIdToken,
    /// Gives another refresh token besides; the old one is good no more.
    Rotated,
    /// `invalid_grant`: she has left.
    Refused,
    /// The same, with another error of OAuth's or of its own.
    Error(&'static str),
    /// Vouches for somebody else.
    OtherSubject,
    /// Vouches for her, with no groups.
    NoGroups,
    /// 503.
    Troubled,
    /// 429, and to come again in so many seconds.
    Busy(u32),
    /// 500: it fails with this question.
    Broken,
    /// 200, with a page.
    Unreadable,
    /// 404, with a page.
    Missing,
    /// Cuts the connection.
    Cut,
    /// Never answers.
    Silence,
    /// Gives none at a sign-in.
    NotGiven,
}
