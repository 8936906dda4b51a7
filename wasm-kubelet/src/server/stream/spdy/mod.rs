//! SPDY/3.1, as far as Kubernetes speaks it: streams that the client opens, with headers, data both ways, resets and
//! pings. There is no flow control; whoever does not read holds its connection up, and nobody else's.
//!
//! [`frame`] is the format, pure and bounded; [`headers`] the compressed blocks in it; [`session`] a connection.

pub mod frame;
pub mod headers;
pub mod session;
