//! SSH's data types (RFC 4251, section 5) and the numbers of its messages.

/// Numbers of messages (RFC 4250, section 4.1).
#[allow(missing_docs, reason = "their names are the RFCs' own")]
pub mod msg {
    pub const DISCONNECT: u8 = 1;
    pub const IGNORE: u8 = 2;
    pub const UNIMPLEMENTED: u8 = 3;
    pub const DEBUG: u8 = 4;
    pub const SERVICE_REQUEST: u8 = 5;
    pub const SERVICE_ACCEPT: u8 = 6;
    pub const EXT_INFO: u8 = 7;
    pub const KEXINIT: u8 = 20;
    pub const NEWKEYS: u8 = 21;
    pub const KEX_ECDH_INIT: u8 = 30;
    pub const KEX_ECDH_REPLY: u8 = 31;
    pub const USERAUTH_REQUEST: u8 = 50;
    pub const USERAUTH_FAILURE: u8 = 51;
    pub const USERAUTH_SUCCESS: u8 = 52;
    pub const USERAUTH_BANNER: u8 = 53;
    /// Also USERAUTH_PK_OK: which of them it is depends on the method.
    pub const USERAUTH_INFO_REQUEST: u8 = 60;
    pub const USERAUTH_INFO_RESPONSE: u8 = 61;
    pub const GLOBAL_REQUEST: u8 = 80;
    pub const REQUEST_SUCCESS: u8 = 81;
    pub const CHANNEL_OPEN: u8 = 90;
    pub const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
    pub const CHANNEL_WINDOW_ADJUST: u8 = 93;
    pub const CHANNEL_DATA: u8 = 94;
    pub const CHANNEL_CLOSE: u8 = 97;
    pub const CHANNEL_REQUEST: u8 = 98;
    pub const CHANNEL_SUCCESS: u8 = 99;
    /// OpenSSH's `ping@openssh.com`.
    pub const PING: u8 = 192;
}

/// A payload under construction.
#[derive(Clone, Default)]
pub struct Words(Vec<u8>);

impl Words {
    /// A message of this kind.
    pub fn of(kind: u8) -> Words {
        Words(vec![kind])
    }

    /// Nothing yet: for what stands inside a string.
    pub fn none() -> Words {
        Words::default()
    }

    /// A length and these bytes.
    pub fn string(mut self, bytes: impl AsRef<[u8]>) -> Words {
        let bytes = bytes.as_ref();
        self.0.extend(u32::try_from(bytes.len()).expect("a string's length fits").to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// A number.
    pub fn number(mut self, number: u32) -> Words {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// A truth value.
    pub fn truth(self, is_so: bool) -> Words {
        self.raw([u8::from(is_so)])
    }

    /// These bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Words {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// A number that is not negative, of any size, as `mpint`.
    pub fn mpint(self, big_endian: &[u8]) -> Words {
        let from = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
        let digits = &big_endian[from..];
        let sign: &[u8] = if digits.first().is_some_and(|byte| *byte >= 0x80) { &[0] } else { &[] };
        self.string([sign, digits].concat())
    }

    /// All of it.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a string from the front.
///
/// # Panics
/// If there is none.
pub(super) fn take<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let length = take_number(bytes) as usize;
    let (string, rest) = bytes.split_at(length);
    *bytes = rest;
    string
}

/// Takes a number from the front.
///
/// # Panics
/// If there is none.
pub(super) fn take_number(bytes: &mut &[u8]) -> u32 {
    let (number, rest) = bytes.split_first_chunk::<4>().expect("the server sends whole packets");
    *bytes = rest;
    u32::from_be_bytes(*number)
}

/// Bytes as text, for what a test compares or shows.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
