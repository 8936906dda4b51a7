//! Requests for certificates, their approval and what is issued.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};

use super::meta::Naming;
use super::rules::unique;
use super::{Validate, meta};
use crate::field::{Errors, Path};
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
/// Requests may be called anything.
const NAMING: Naming = Naming { name: |_| Vec::new(), namespaced: false };
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECONDS_MIN: i32 = 600;
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Validate for CertificateSigningRequest {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, NAMING, errors);
        request(self, None, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        change(self, old, Change::Main, errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        change(self, old, Change::Status, errors);
    }
}

/// What is wrong with a request whose approval is to replace that of `old`.
#[must_use]
pub fn update_approval(new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Errors {
    let mut errors = Errors::new();
    meta::update(&new.metadata, &old.metadata, &mut errors);
    change(new, old, Change::Approval, &mut errors);
    errors
}

/// Which part is being changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Main,
    Status,
    Approval,
}

fn request(new: &CertificateSigningRequest, old: Option<&CertificateSigningRequest>, errors: &mut Errors) {
    spec(&new.spec, errors);
    conditions(conditions_of(new), errors);
    if old.is_none_or(|old| certificate_of(old) != certificate_of(new))
        && let Err(wrong) = certificates(certificate_of(new))
    {
        errors.invalid(&STATUS.child("certificate"), "<certificate data>", &wrong);
    }
}

fn spec(spec: &CertificateSigningRequestSpec, errors: &mut Errors) {
    if let Err(wrong) = signing_request(&spec.request.0) {
        errors.invalid(&SPEC.child("request"), &spec.request, wrong);
    }
    let list = SPEC.child("usages");
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.is_empty() {
        errors.required(&list, "");
    }
    for (i, usage) in usages.iter().enumerate() {
        if !USAGES.contains(&usage.as_str()) {
            errors.not_supported(&list.index(i), usage, &USAGES);
        }
    }
    unique(usages, |usage| Some(usage.clone()), &list, None, errors);
    let at = SPEC.child("signerName");
    if spec.signer_name == LEGACY_SIGNER {
        errors.invalid(&at, LEGACY_SIGNER, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&spec.signer_name, &at, errors);
    }
    if let Some(seconds) = spec.expiration_seconds.filter(|s| *s < EXPIRATION_SECONDS_MIN) {
        let rule = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&SPEC.child("expirationSeconds"), &seconds, rule);
    }
}

/// `example.com/name`
fn signer_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let [domain, rest] = name.split('/').collect::<Vec<_>>()[..] else {
        let rule = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(path, name, rule);
    };
    if domain.len() > names::SUBDOMAIN_BYTES_MAX {
        errors.too_long(path, names::SUBDOMAIN_BYTES_MAX);
    }
    labels(domain, names::dns_label, path, errors);
    if !domain.contains('.') {
        errors.invalid(path, domain, "should be a domain with at least two segments separated by dots");
    }
    labels(rest, names::dns_subdomain, path, errors);
    let bytes_max = 2 * names::SUBDOMAIN_BYTES_MAX + names::LABEL_BYTES_MAX + 2;
    if name.len() > bytes_max {
        errors.too_long(path, bytes_max);
    }
}

/// The first part between dots that is wrong.
fn labels(text: &str, check: fn(&str) -> Vec<String>, path: &Path<'_>, errors: &mut Errors) {
    if let Some((label, wrong)) = text.split('.').map(|label| (label, check(label))).find(|(_, w)| !w.is_empty()) {
        let wrong = wrong.into_iter().map(|w| format!("validating label {label:?}: {w}"));
        errors.invalid_each(path, text, wrong.collect());
    }
}

fn conditions_of(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

fn certificate_of(request: &CertificateSigningRequest) -> &[u8] {
    request.status.as_ref().and_then(|s| s.certificate.as_ref()).map(|c| c.0.as_slice()).unwrap_or_default()
}

fn conditions(conditions: &[CertificateSigningRequestCondition], errors: &mut Errors) {
    let list = STATUS.child("conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        let (type_, status) = (condition.type_.as_str(), condition.status.as_str());
        if type_.is_empty() {
            errors.required(&path.child("type"), "");
        }
        let allowed: &[&str] = match type_ {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if status.is_empty() {
            errors.required(&path.child("status"), "");
        } else if !allowed.contains(&status) {
            errors.not_supported(&path.child("status"), status, allowed);
        }
        let opposite = match type_ {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => continue,
        };
        if conditions[..i].iter().any(|before| before.type_ == opposite) {
            errors.invalid(&list, type_, "Approved and Denied conditions are mutually exclusive");
        }
    }
    unique(conditions, |c| Some(c.type_.clone()), &list, Some("type"), errors);
}

/// What was decided stays decided; what is issued stays as it is.
fn change(new: &CertificateSigningRequest, old: &CertificateSigningRequest, what: Change, errors: &mut Errors) {
    request(new, Some(old), errors);
    let list = STATUS.child("conditions");
    let of_type = |request, type_: &str| -> Vec<CertificateSigningRequestCondition> {
        conditions_of(request).iter().filter(|c| c.type_ == type_).cloned().collect()
    };
    for type_ in ["Approved", "Denied", "Failed"] {
        let (new, old) = (of_type(new, type_), of_type(old, type_));
        let why = match new.len().cmp(&old.len()) {
            std::cmp::Ordering::Less => "remove",
            _ if what == Change::Approval || type_ == "Failed" => continue,
            std::cmp::Ordering::Greater => "add",
            std::cmp::Ordering::Equal if new != old => "modify",
            std::cmp::Ordering::Equal => continue,
        };
        errors.forbidden(&list, &format!("updates may not {why} a condition of type {type_:?}"));
    }
    if certificate_of(new) != certificate_of(old) {
        let at = STATUS.child("certificate");
        if what != Change::Status {
            errors.forbidden(&at, "updates may not set certificate content");
        } else if !certificate_of(old).is_empty() {
            errors.forbidden(&at, "updates may not modify existing certificate content");
        }
    }
}

/// A part of a PEM file.
struct Block {
    label: String,
    has_headers: bool,
    der: Option<Vec<u8>>,
}

/// The parts of a PEM file; what stands around them is no part of it. Source: RFC 7468.
fn pem(text: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(text);
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) else { continue };
        let end = format!("-----END {label}-----");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        let has_headers = body.iter().any(|line| line.contains(':'));
        let encoded: String = body.iter().filter(|line| !line.contains(':')).map(|line| line.trim()).collect();
        blocks.push(Block { label: label.to_owned(), has_headers, der: BASE64.decode(encoded).ok() });
    }
    blocks
}

/// Whether this is a PEM file with a PKCS #10 request; that its signature is right is for the API server to see.
fn signing_request(text: &[u8]) -> Result<(), &'static str> {
    const NO_BLOCK: &str = "PEM block type must be CERTIFICATE REQUEST";
    let block = pem(text).into_iter().next().filter(|b| b.label == "CERTIFICATE REQUEST").ok_or(NO_BLOCK)?;
    let der = block.der.ok_or(NO_BLOCK)?;
    is_signing_request(&der).then_some(()).ok_or("asn1: structure error: this is no certificate request")
}

/// One value of DER: its tag, its content, and what follows.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The tags of the values that stand one after the other.
fn tags(mut der: &[u8]) -> Option<Vec<u8>> {
    let mut tags = Vec::new();
    while !der.is_empty() {
        let (tag, _, rest) = value(der)?;
        tags.push(tag);
        der = rest;
    }
    Some(tags)
}

/// `SEQUENCE { SEQUENCE { version, name, key, [0] attributes }, algorithm, signature }`. Source: RFC 2986.
fn is_signing_request(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const ATTRIBUTES: u8 = 0xa0;
    let Some((SEQUENCE, content, [])) = value(der) else { return false };
    let Some((SEQUENCE, info, _)) = value(content) else { return false };
    tags(content).is_some_and(|tags| tags == [SEQUENCE, SEQUENCE, BIT_STRING])
        && tags(info).is_some_and(|tags| tags == [INTEGER, SEQUENCE, SEQUENCE, ATTRIBUTES])
}

/// Whether these are certificates, if anything.
fn certificates(text: &[u8]) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let blocks = pem(text);
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in blocks {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".to_owned());
        }
        if block.der.is_none_or(|der| !matches!(value(&der), Some((0x30, _, [])))) {
            return Err("x509: malformed certificate".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{object, refused, refused_status, refused_update};

    /// What a request with an Ed25519 key looks like.
    const PEM: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIGNMEECAQAwDjEMMAoGA1UEAwwDYW5uMCowBQYDK2VwAyEAK+6H7Xh+pCRWHKPq
aBcBDEfGhIjKlMnOpQrStUvWxYygADAFBgMrZXADQQAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
-----END CERTIFICATE REQUEST-----
";

    fn request(spec: &str, status: &str) -> String {
        let pem = BASE64.encode(PEM);
        format!(r#"{{"metadata":{{"name":"A b"}},"spec":{{"request":"{pem}"{spec}}},"status":{status}}}"#)
    }

    const RIGHT: &str = r#","signerName":"a.b/c","usages":["client auth"]"#;

    #[test]
    fn requests_say_what_for() {
        for (spec, expected) in [
            (RIGHT, &[][..]),
            ("", &["spec.usages Required", "spec.signerName Required"]),
            (r#","signerName":"a/c","usages":["signing"]"#, &["spec.signerName Invalid"]),
            (r#","signerName":"a.b","usages":["signing"]"#, &["spec.signerName Invalid"]),
            (r#","signerName":"A.b/C","usages":["signing"]"#, &["spec.signerName Invalid", "spec.signerName Invalid"]),
            (r#","signerName":"kubernetes.io/legacy-unknown","usages":["signing"]"#, &["spec.signerName Invalid"]),
            (
                r#","signerName":"a.b/c","usages":["x","signing","signing"],"expirationSeconds":599"#,
                &["spec.usages[0] NotSupported", "spec.usages[2] Duplicate", "spec.expirationSeconds Invalid"],
            ),
        ] {
            assert_eq!(refused::<CertificateSigningRequest>(&request(spec, "{}")), expected, "{spec}");
        }
        let json = format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"request":"bm90IGEgY3Ny"{RIGHT}}}}}"#);
        assert_eq!(refused::<CertificateSigningRequest>(&json), ["spec.request Invalid"]);
    }

    #[test]
    fn what_is_decided_stays_decided() {
        let with = |status: &str| request(RIGHT, status);
        const APPROVED: &str = r#"{"conditions":[{"type":"Approved","status":"True"}]}"#;
        let (none, approved) = (with("{}"), with(APPROVED));
        let added = ["status.conditions Forbidden"];
        assert_eq!(refused_update::<CertificateSigningRequest>(&none, &approved), added);
        assert_eq!(refused_status::<CertificateSigningRequest>(&none, &approved), added);
        assert_eq!(refused_update::<CertificateSigningRequest>(&approved, &none), added);
        let approval = |old: &str, new: &str| {
            let (old, new) = (object::<CertificateSigningRequest>(old), object::<CertificateSigningRequest>(new));
            let typed = |o: &crate::AnyObject| o.downcast_ref::<CertificateSigningRequest>().cloned().expect("one");
            update_approval(&typed(&new), &typed(&old)).len()
        };
        assert_eq!(approval(&none, &approved), 0);
        assert_eq!(approval(&approved, &none), 1);
        let both = with(r#"{"conditions":[{"type":"Approved","status":"True"},{"type":"Denied","status":"False"}]}"#);
        assert_eq!(approval(&none, &both), 2);
        let issued = with(r#"{"certificate":"bm90IGEgY3Ny"}"#);
        assert_eq!(refused_status::<CertificateSigningRequest>(&none, &issued), ["status.certificate Invalid"]);
        let expected = ["status.certificate Invalid", "status.certificate Forbidden"];
        assert_eq!(refused_update::<CertificateSigningRequest>(&none, &issued), expected);
    }
}
