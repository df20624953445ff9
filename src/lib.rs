//! Many-to-One Signaling Server.
