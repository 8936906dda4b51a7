//! What the client is told beside the answer, in `Warning` headers, whether the answer is what it asked for or a refusal.
//!
//! Source: RFC 7234 as upstream uses it (`WithWarningRecorder`, `NewWarningHeader`); `APILifecycleDeprecated` of the
//! types of `k8s.io/api`, and `deprecation.WarningMessage`.

use std::sync::{Mutex, MutexGuard};

use axum::body::Body;
use coracle_api::kind::Kind;
use http::Response;
use http::header::{HeaderName, HeaderValue};

/// Characters of all warnings of one answer; once there are more, each is cut to [`CUT_CHARS`], and those that then are
/// beyond it are left out.
const TOTAL_CHARS_MAX: usize = 4 * 1024;
const CUT_CHARS: usize = 256;

/// What there is to tell with one answer, in the order in which it came up.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Tells each of `warnings`, once.
    pub(crate) fn add(&self, warnings: impl IntoIterator<Item = String>) {
        let mut all = self.all();
        for warning in warnings {
            if !warning.is_empty() && !all.contains(&warning) {
                all.push(warning);
            }
        }
    }

    /// Puts a header for each onto the answer.
    pub(crate) fn tell(&self, response: &mut Response<Body>) {
        for text in fitted(&self.all()) {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
                response.headers_mut().append(HeaderName::from_static("warning"), value);
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("nothing panics while it holds the warnings")
    }
}

/// The warnings as one answer has room for them. What a header cannot say is not told at all.
fn fitted(warnings: &[String]) -> Vec<&str> {
    let printable = || warnings.iter().filter(|text| !text.chars().any(char::is_control));
    let chars = |text: &str| text.chars().count();
    if printable().map(|text| chars(text)).sum::<usize>() <= TOTAL_CHARS_MAX {
        return printable().map(String::as_str).collect();
    }
    let mut told = 0;
    printable()
        .map(|text| text.char_indices().nth(CUT_CHARS).map_or(text.as_str(), |(end, _)| &text[..end]))
        .take_while(|text| {
            let has_room = told < TOTAL_CHARS_MAX;
            told += chars(text);
            has_room
        })
        .collect()
}

/// What is told with every answer about objects of a kind that is on its way out.
pub(crate) fn deprecation(kind: &Kind) -> Option<String> {
    if let Some(model) = kind.model.custom() {
        return model.warning.clone();
    }
    let told = match (&*kind.group, &*kind.version, &*kind.plural) {
        ("", "v1", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        ("", "v1", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        _ => return None,
    };
    Some(told.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_room_for_so_much() {
        let long = |letter: char| letter.to_string().repeat(2_000);
        let cut = |letter: char| letter.to_string().repeat(CUT_CHARS);
        let many: Vec<String> = (0..200).map(|i| format!("{i:030}")).collect();
        for (given, told) in [
            (vec!["a".to_owned(), "ä\"".to_owned()], vec!["a".to_owned(), "ä\"".to_owned()]),
            (vec!["line\nline".to_owned(), "b".to_owned()], vec!["b".to_owned()]),
            (vec![long('a'), long('b')], vec![long('a'), long('b')]),
            (vec![long('a'), long('b'), long('ç')], vec![cut('a'), cut('b'), cut('ç')]),
            // The one that crosses the bound is still told.
            (many.clone(), many[..137].to_vec()),
        ] {
            let warnings = Warnings::default();
            warnings.add(given.iter().cloned().chain(given.first().cloned()));
            assert_eq!(fitted(&warnings.all()), told);
        }
    }
}
