//! Where recordings lie: the tails of open segments, the journal of closed ones, the sealed files of finished
//! sessions, and the one way to read all three.
