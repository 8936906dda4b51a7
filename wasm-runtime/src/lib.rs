//! coracle-runtime
