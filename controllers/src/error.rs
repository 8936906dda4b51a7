//! Why the controllers stopped.

/// A controller that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the {controller} controller panicked")]
    Panicked { controller: &'static str },

    #[error("the {controller} controller ended before it was asked to")]
    Ended { controller: &'static str },

    #[error("the lease of the controllers was lost to another process")]
    LeadershipLost,
}
