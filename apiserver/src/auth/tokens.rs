//! Bearer tokens from a file, one a line: `token,user,uid,"group,group"`.
//!
//! Source: upstream's `--token-auth-file`.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::Identity;

/// The tokens that a cluster accepts.
///
/// They are kept by their digests: a look-up then takes the same time however much of a guess is right.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    by_digest: HashMap<[u8; 32], Identity>,
    /// As read or made, to be written.
    lines: Vec<(String, Identity)>,
}

impl Tokens {
    /// A fresh token for the cluster's owner.
    pub fn generate() -> Self {
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self::of(vec![(token, Identity::admin())])
    }

    /// Reads the lines of a file.
    ///
    /// # Errors
    /// When a line has no token or no user; the text says which line, and never the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let parsed: Result<Vec<_>, String> = lines.map(|(index, line)| parse_line(index + 1, line)).collect();
        Ok(Self::of(parsed?))
    }

    fn of(lines: Vec<(String, Identity)>) -> Self {
        let by_digest = lines.iter().map(|(token, identity)| (digest(token), identity.clone())).collect();
        Self { by_digest, lines }
    }

    /// The lines, as [`Tokens::parse`] reads them.
    pub fn to_csv(&self) -> String {
        let line = |(token, identity): &(String, Identity)| {
            let (user, uid, groups) = (&identity.user, &identity.uid, identity.groups.join(","));
            format!("{token},{user},{uid},\"{groups}\"\n")
        };
        self.lines.iter().map(line).collect()
    }

    /// Whose token this is.
    pub fn identity(&self, token: &str) -> Option<&Identity> {
        self.by_digest.get(&digest(token))
    }

    /// The token of `user`, if it has one.
    pub fn token_of(&self, user: &str) -> Option<&str> {
        self.lines.iter().find(|(_, identity)| identity.user == user).map(|(token, _)| token.as_str())
    }
}

fn parse_line(number: usize, line: &str) -> Result<(String, Identity), String> {
    let mut columns = line.splitn(4, ',').map(str::trim);
    match (columns.next(), columns.next(), columns.next(), columns.next()) {
        (Some(token), Some(user), uid, groups) if !token.is_empty() && !user.is_empty() => {
            let groups = groups.unwrap_or_default().trim_matches('"').split(',').map(str::trim);
            let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned).collect();
            let uid = uid.unwrap_or_default().to_owned();
            Ok((token.to_owned(), Identity { user: user.to_owned(), groups, uid, ..Identity::default() }))
        }
        _ => Err(format!("line {number} is not token,user,uid,\"groups\"")),
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let made = Tokens::generate();
        let read = Tokens::parse(&made.to_csv()).unwrap();
        let token = read.token_of("kubernetes-admin").unwrap();
        assert_eq!(read.identity(token), Some(&Identity::admin()));
        assert_eq!(read.identity("wrong"), None);
    }

    #[test]
    fn lines() {
        let read = Tokens::parse("# people\nt1,ann,1,\"a,b\"\n\nt2,bob\n").unwrap();
        let ann = Identity { uid: "1".to_owned(), ..Identity::new("ann", &["a", "b"]) };
        assert_eq!(read.identity("t1"), Some(&ann));
        assert_eq!(read.identity("t2"), Some(&Identity::new("bob", &[])));
        assert_eq!(Tokens::parse("nothing").unwrap_err(), "line 1 is not token,user,uid,\"groups\"");
    }
}
