//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes all that the system grants this process. Every pod of a cluster has sockets and a log, so that the usual first limit
/// of 1,024, which is there for programs that use `select`, is reached at some hundred pods.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, most)
    {
        tracing::warn!(%error, "the number of open files stays limited");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_granted_is_taken() {
        // A cluster started from a shell with the usual 1,024 descriptors ran out of them at some hundred pods.
        raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
